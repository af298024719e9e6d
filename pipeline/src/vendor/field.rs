//! The fields of a vendor's form.

use regex::Regex;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One thing to enter: enough to draw an input and to say what is wrong with what was entered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Field {
    /// Its name: what the vendor calls it, in snake case.
    pub name: String,
    /// Its name for people.
    pub label: String,
    /// What is entered.
    pub kind: Kind,
    /// Whether it has to be entered.
    #[serde(default)]
    pub required: bool,
    /// What holds when nothing is entered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default: Option<Value>,
    /// What can be chosen, for [`Kind::Choice`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub choices: Vec<Choice>,
    /// What the whole text has to match; for [`Kind::List`] each of the texts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pattern: Option<Pattern>,
    /// The smallest number, for [`Kind::Number`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    /// The largest number, for [`Kind::Number`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
    /// What has to hold, as a sentence without its subject: `must be …`.
    pub rule: String,
    /// One that is right, made up.
    pub example: Value,
    /// Where a person finds it, or what it does.
    pub find: String,
    /// Whether it is never shown again once it is entered.
    #[serde(default)]
    pub secret: bool,
    /// Whether the server makes one when none is given: a secret of Standard Webhooks, that is `whsec_`
    /// and the base64 of 24 to 64 random bytes.
    #[serde(default)]
    pub generated: bool,
}

/// What is entered into a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Text that matches the pattern.
    Text,
    /// One of the choices.
    Choice,
    /// A full address, `https` or `http`, without user name, password and fragment. Whether something
    /// may be sent there is decided by egress, not here.
    Url,
    /// A time in RFC 3339.
    Time,
    /// A number between `min` and `max`.
    Number,
    /// Yes or no.
    Boolean,
    /// Several texts, each of which matches the pattern.
    List,
}

/// One of several values to choose from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Choice {
    /// The value.
    pub value: String,
    /// Its name for people.
    pub label: String,
}

/// A regular expression for a whole text: it begins with `^` and ends with `$`, and means the same in
/// a browser.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Pattern(Regex);

impl Pattern {
    /// Whether `text` matches as a whole.
    pub fn matches(&self, text: &str) -> bool {
        self.0.is_match(text)
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl TryFrom<String> for Pattern {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if !text.starts_with('^') || !text.ends_with('$') {
            return Err(format!("`pattern` is `{text}`, it must begin with `^` and end with `$`"));
        }
        Regex::new(&text).map(Self).map_err(|error| error.to_string())
    }
}

impl From<Pattern> for String {
    fn from(pattern: Pattern) -> Self {
        pattern.0.as_str().to_owned()
    }
}

/// What holds between several fields, each named `settings.…` or `credentials.…`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Rule {
    /// One of them is entered, and no other.
    ExactlyOneOf {
        /// Those to choose from, the recommended one first.
        fields: Vec<String>,
        /// What has to hold, as in [`Field::rule`].
        rule: String,
    },
    /// Where one is entered, others are needed too.
    Requires {
        /// The one.
        field: String,
        /// The value that it needs to have for the others to be needed; absent for any.
        #[serde(skip_serializing_if = "Option::is_none")]
        is: Option<Value>,
        /// The others.
        needs: Vec<String>,
        /// What has to hold, as in [`Field::rule`].
        rule: String,
    },
}

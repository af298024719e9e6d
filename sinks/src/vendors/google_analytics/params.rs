//! Parameters of an event: plain values within Google's limits, with names that it takes.
//!
//! An event with an object, an array other than `items`, or `null` among its parameters is dropped
//! by Google in silence, so nothing of the kind leaves here.

use super::names;
use serde_json::{Map, Number, Value};

/// Parameters of one event.
const PARAMS_MAX: usize = 25;
/// Items of one event.
const ITEMS_MAX: usize = 200;
/// Parameters of an item that are none of Google's.
const OWN_PARAMS_MAX: usize = 10;
/// Characters of a text.
const TEXT_MAX: usize = 100;

/// The parameters that Google gives a meaning, and what they have to be.
const FIXED: [(&str, Form); 13] = [
    ("currency", Form::Currency),
    ("discount", Form::Number),
    ("engagement_time_msec", Form::Positive),
    ("index", Form::Integer),
    ("items", Form::Items),
    ("price", Form::Number),
    ("quantity", Form::Number),
    ("search_term", Form::Text),
    ("session_id", Form::Positive),
    ("shipping", Form::Number),
    ("tax", Form::Number),
    ("transaction_id", Form::Text),
    ("value", Form::Number),
];

/// What an item is made of: Google's name, and the properties of a product that say it.
const ITEM: [(&str, &[&str], Form); 18] = [
    ("item_id", &["item_id", "product_id", "sku"], Form::Text),
    ("item_name", &["item_name", "name"], Form::Text),
    ("item_brand", &["item_brand", "brand"], Form::Text),
    ("item_variant", &["item_variant", "variant"], Form::Text),
    ("item_category", &["item_category", "category"], Form::Text),
    ("item_category2", &["item_category2"], Form::Text),
    ("item_category3", &["item_category3"], Form::Text),
    ("item_category4", &["item_category4"], Form::Text),
    ("item_category5", &["item_category5"], Form::Text),
    ("item_list_id", &["item_list_id"], Form::Text),
    ("item_list_name", &["item_list_name"], Form::Text),
    ("location_id", &["location_id"], Form::Text),
    ("affiliation", &["affiliation"], Form::Text),
    ("coupon", &["coupon"], Form::Text),
    ("price", &["price"], Form::Number),
    ("quantity", &["quantity"], Form::Number),
    ("index", &["index", "position"], Form::Integer),
    ("discount", &["discount"], Form::Number),
];

/// What a parameter with a meaning has to be.
#[derive(Clone, Copy, Debug)]
pub(super) enum Form {
    /// Any plain value, as a text that is not empty.
    Text,
    /// A number, also where it is written as a text.
    Number,
    /// A whole number.
    Integer,
    /// A whole number over 0.
    Positive,
    /// Three letters (ISO 4217).
    Currency,
    /// Products.
    Items,
}

impl Form {
    /// The value in this form; `None` where it cannot be.
    pub(super) fn read(self, value: &Value) -> Option<Value> {
        match self {
            Self::Text => text(value).map(|text| cut(&text, TEXT_MAX).into()),
            Self::Number => number(value).map(Value::Number),
            Self::Integer => number(value)?.as_i64().map(Value::from),
            Self::Positive => number(value)?.as_u64().filter(|number| *number > 0).map(Value::from),
            Self::Currency => {
                let code = value.as_str()?.trim().to_ascii_uppercase();
                let is_code = code.len() == 3 && code.bytes().all(|byte| byte.is_ascii_uppercase());
                is_code.then(|| code.into())
            }
            Self::Items => {
                let items: Vec<Value> = value
                    .as_array()?
                    .iter()
                    .filter_map(Value::as_object)
                    .filter_map(item)
                    .take(ITEMS_MAX)
                    .collect();
                (!items.is_empty()).then(|| items.into())
            }
        }
    }
}

/// The parameters of an event in the making: those with a meaning first, then all others that fit.
#[derive(Debug, Default)]
pub(super) struct Params(Map<String, Value>);

impl Params {
    /// Sets a parameter with a meaning, where there is a value.
    pub(super) fn set(&mut self, name: &str, value: Option<Value>) {
        if let Some(value) = value {
            self.0.insert(name.to_owned(), value);
        }
    }

    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// Takes the parameters with a meaning out of `properties`, those that are set already excepted.
    pub(super) fn take_fixed(&mut self, properties: &mut Map<String, Value>) {
        for (name, form) in FIXED {
            if let (None, Some(value)) =
                (self.get(name), properties.get(name).and_then(|value| form.read(value)))
            {
                self.set(name, Some(value));
                properties.remove(name);
            }
        }
    }

    /// Adds all properties as parameters of the customer's own, as many as Google takes. Names that
    /// can stay as they are go first, so that a mended one never takes their place.
    pub(super) fn add(&mut self, properties: &Map<String, Value>) {
        let mut plain = Vec::new();
        flatten("", properties, &mut plain);
        let (kept, mended): (Vec<_>, Vec<_>) = plain
            .into_iter()
            .filter_map(|(key, value)| {
                let name = names::param_name(&key)?;
                let is_fixed = FIXED.iter().any(|(fixed, _)| *fixed == name);
                let name = if is_fixed { names::own_param(&name) } else { name };
                Some((key == name, name, value))
            })
            .partition(|(is_kept, _, _)| *is_kept);
        for (_, name, value) in kept.into_iter().chain(mended) {
            if self.0.len() < PARAMS_MAX && !self.0.contains_key(&name) {
                let value = limited(&name, value);
                self.0.insert(name, value);
            }
        }
    }

    /// Adds parameters with a meaning.
    pub(super) fn append(&mut self, others: Self) {
        self.0.extend(others.0);
    }

    pub(super) fn into_value(self) -> Value {
        Value::Object(self.0)
    }
}

/// A product as an item; `None` where it has neither an id nor a name.
pub(super) fn item(product: &Map<String, Value>) -> Option<Value> {
    let mut item = Map::new();
    for (name, sources, form) in ITEM {
        if let Some(value) =
            sources.iter().filter_map(|source| product.get(*source)).find_map(|value| form.read(value))
        {
            item.insert(name.to_owned(), value);
        }
    }
    if !item.contains_key("item_id") && !item.contains_key("item_name") {
        return None;
    }
    let mut plain = Vec::new();
    flatten("", &without_item(product), &mut plain);
    let mut own = 0;
    for (key, value) in plain {
        let Some(name) = names::param_name(&key).filter(|name| !item.contains_key(name)) else { continue };
        let is_fixed =
            FIXED.iter().any(|(fixed, _)| *fixed == name) || ITEM.iter().any(|(known, ..)| *known == name);
        let name = if is_fixed { names::own_param(&name) } else { name };
        if own < OWN_PARAMS_MAX && !item.contains_key(&name) {
            own += 1;
            item.insert(name, limited("", value));
        }
    }
    Some(Value::Object(item))
}

/// The properties that say nothing about an item.
pub(super) fn without_item(product: &Map<String, Value>) -> Map<String, Value> {
    product
        .iter()
        .filter(|(key, _)| !is_of_item(key))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

/// The properties that say something about an item.
pub(super) fn of_item(product: &Map<String, Value>) -> Map<String, Value> {
    product
        .iter()
        .filter(|(key, _)| is_of_item(key))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

fn is_of_item(key: &str) -> bool {
    ITEM.iter().any(|(_, sources, _)| sources.contains(&key))
}

/// Objects become parameters of their own, `a.b` as `a_b`; arrays become their JSON; nothing stays
/// of what is empty.
fn flatten(prefix: &str, object: &Map<String, Value>, plain: &mut Vec<(String, Value)>) {
    for (key, value) in object {
        let key = if prefix.is_empty() { key.clone() } else { format!("{prefix}_{key}") };
        match value {
            Value::Null => {}
            Value::String(text) if text.is_empty() => {}
            Value::Array(array) if array.is_empty() => {}
            Value::Array(_) => plain.push((key, value.to_string().into())),
            Value::Object(object) => flatten(&key, object, plain),
            plain_value => plain.push((key, plain_value.clone())),
        }
    }
}

/// The value with its text cut to what Google takes of this parameter.
fn limited(name: &str, value: Value) -> Value {
    let characters_max = match name {
        "page_title" => 300,
        "page_referrer" => 420,
        "page_location" => 1000,
        _ => TEXT_MAX,
    };
    match value {
        Value::String(text) => cut(&text, characters_max).into(),
        number_or_truth if characters_max != TEXT_MAX => number_or_truth.to_string().into(),
        number_or_truth => number_or_truth,
    }
}

/// A text for a parameter such as `page_location`, where there is one.
pub(super) fn page_text(name: &str, value: Option<&Value>) -> Option<Value> {
    value.and_then(text).map(|text| limited(name, text.into()))
}

/// A plain value as a text that is not empty.
pub(super) fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.trim().to_owned()).filter(|text| !text.is_empty()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

fn number(value: &Value) -> Option<Number> {
    match value {
        Value::Number(number) => Some(number.clone()),
        Value::String(text) => {
            let text = text.trim();
            text.parse::<i64>().map(Number::from).ok().or_else(|| Number::from_f64(text.parse().ok()?))
        }
        _ => None,
    }
}

/// The first characters.
pub(super) fn cut(text: &str, characters_max: usize) -> String {
    text.chars().take(characters_max).collect()
}

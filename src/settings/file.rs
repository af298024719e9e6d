//! The settings file: TOML, one key for each setting, no sections.

use super::{KNOWN, Origin, Texts, WrongSetting};
use std::path::Path;

pub(super) fn read(path: &Path, texts: &mut Texts) -> Result<(), WrongSetting> {
    let shown = path.display();
    let text = std::fs::read_to_string(path)
        .map_err(|error| WrongSetting(format!("the settings file `{shown}` cannot be read: {error}")))?;
    // A parse error quotes the line, which may hold a key: only its message and place are shown.
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
        let before = &text[..error.span().map_or(0, |span| span.start).min(text.len())];
        let line = before.matches('\n').count() + 1;
        WrongSetting(format!("the settings file `{shown}` is no TOML in line {line}: {}", error.message()))
    })?;
    for (name, value) in table {
        let Some(setting) = KNOWN.iter().find(|setting| setting.name == name) else {
            let names: Vec<_> = KNOWN.iter().map(|setting| setting.name).collect();
            return Err(WrongSetting(format!(
                "setting `{name}` in `{shown}` is unknown: allowed are {}",
                names.join(", ")
            )));
        };
        let text = as_text(&value).ok_or_else(|| {
            let kind = value.type_str();
            WrongSetting(format!(
                "setting `{name}` in `{shown}` is of type {kind}: allowed is {}",
                setting.allowed
            ))
        })?;
        texts.insert(setting.name, (text, Origin::File(path.to_owned())));
    }
    Ok(())
}

/// Text, numbers and truth values as they are, a list of texts with commas.
fn as_text(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Float(number) => Some(number.to_string()),
        toml::Value::Boolean(truth) => Some(truth.to_string()),
        toml::Value::Array(values) => {
            let texts: Option<Vec<_>> = values.iter().map(toml::Value::as_str).collect();
            texts.map(|texts| texts.join(","))
        }
        _ => None,
    }
}

//! Which destinations an event is meant for.

use serde_json::{Map, Value};

/// Whether an event with this `integrations` object is meant for the destination known by `names`.
///
/// As at Segment (Spec, "Integrations", read 2026-11): a name set to `false` leaves the destination
/// out, any other value keeps it in; without its name, `All` decides, and without `All` it is in.
/// Names are case-sensitive. What is no object says nothing.
pub(crate) fn include(integrations: Option<&str>, names: &[&str]) -> bool {
    let Some(text) = integrations else { return true };
    let Ok(integrations) = serde_json::from_str::<Map<String, Value>>(text) else { return true };
    names
        .iter()
        .find_map(|name| integrations.get(*name))
        .or_else(|| integrations.get("All"))
        .is_none_or(|value| *value != Value::Bool(false))
}

#[cfg(test)]
mod tests {
    use super::include;

    #[test]
    fn the_integrations_object_decides_as_at_segment() {
        let names = ["Segment.io", "segment"];
        for (integrations, included) in [
            ("{}", true),
            (r#"{"All":true}"#, true),
            (r#"{"All":false}"#, false),
            (r#"{"Segment.io":false}"#, false),
            (r#"{"segment":false}"#, false),
            (r#"{"All":false,"Segment.io":true}"#, true),
            (r#"{"All":false,"Segment.io":{"versionSettings":{}}}"#, true),
            (r#"{"All":true,"Segment.io":false}"#, false),
            (r#"{"All":false,"Mixpanel":true}"#, false),
            (r#"{"all":false}"#, true),
            (r#"{"Mixpanel":false}"#, true),
        ] {
            assert_eq!(include(Some(integrations), &names), included, "{integrations}");
        }
        assert!(include(None, &names));
    }
}

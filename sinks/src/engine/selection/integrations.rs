//! The `integrations` object of events.

use super::lookup::member;

/// Whether an event with this `integrations` object is meant for the destination known by `names`.
///
/// As at Segment (Spec, "Integrations", read 2026-11): a name set to `false` leaves the destination
/// out, any other value keeps it in; without its name, `All` decides, and without `All` it is in. An
/// `explicit` destination is out without its name. Of several names the first that is mentioned
/// decides. Names are case-sensitive. What is no object says nothing.
pub(crate) fn include(integrations: Option<&str>, names: &[impl AsRef<str>], explicit: bool) -> bool {
    let Some(text) = integrations.filter(|text| *text != "{}") else { return !explicit };
    let named = names.iter().find_map(|name| member(text, name.as_ref()));
    match named {
        Some(value) => value != "false",
        None => !explicit && member(text, "All") != Some("false"),
    }
}

#[cfg(test)]
mod tests {
    use super::include;

    #[test]
    fn the_integrations_object_decides_as_at_segment() {
        let names = ["Segment.io", "segment"];
        for (integrations, included, explicitly) in [
            ("{}", true, false),
            (r#"{"All":true}"#, true, false),
            (r#"{"All":false}"#, false, false),
            (r#"{"Segment.io":false}"#, false, false),
            (r#"{"segment":false}"#, false, false),
            (r#"{"segment" : false , "All":true}"#, false, false),
            (r#"{"segment":true}"#, true, true),
            (r#"{"All":false,"Segment.io":true}"#, true, true),
            (r#"{"Segment.io":true,"All":false}"#, true, true),
            (r#"{"All":false,"Segment.io":{"versionSettings":{}}}"#, true, true),
            (r#"{"All":true,"Segment.io":false}"#, false, false),
            (r#"{"segment":true,"Segment.io":false}"#, false, false),
            (r#"{"All":false,"Mixpanel":true}"#, false, false),
            (r#"{"all":false}"#, true, false),
            (r#"{"Mixpanel":false}"#, true, false),
            (r#"{"\u0041ll":false}"#, false, false),
            ("null", true, false),
            ("[]", true, false),
        ] {
            assert_eq!(include(Some(integrations), &names, false), included, "{integrations}");
            assert_eq!(include(Some(integrations), &names, true), explicitly, "{integrations}, explicit");
        }
        assert!(include(None, &names, false));
        assert!(!include(None, &names, true));
    }
}

use super::*;
use crate::condition::{Condition, ConditionError};
use std::sync::Arc;

/// Takes nothing but `true`, and points at the second character of the rest.
struct OnlyTrue;

impl Compiler for OnlyTrue {
    fn compile(&self, text: &str) -> Result<Arc<dyn Condition>, ConditionError> {
        struct Always;
        impl Condition for Always {
            fn holds(
                &self,
                events: &[crate::log::Stored<crate::event::Event<'static>>],
            ) -> Result<Vec<bool>, String> {
                Ok(vec![true; events.len()])
            }
        }
        match text {
            "true" => Ok(Arc::new(Always)),
            _ => Err(ConditionError { message: "no condition".into(), at: Some(1) }),
        }
    }
}

fn parse(value: Value) -> Result<Routing, Vec<Mistake>> {
    Routing::parse(&value, &OnlyTrue)
}

#[test]
fn a_whole_routing_is_read_and_written_as_the_same_json() {
    let given = json!({
        "kinds": ["track", "identify"],
        "names": ["Order Completed"],
        "condition": "true",
        "mapping": [
            {"rename": {"from": "properties.total", "to": "properties.value"}},
            {"drop": {"path": "traits['postal code']"}},
            {"set": {"path": "context.channel", "value": {"a": [1]}}},
            {"copy": {"from": ["properties.a", "user_id"], "to": "traits.b"}},
        ],
        "rate_cap": 12.5,
        "order": "strict",
        "ambiguous": "hold",
        "consent": {"categories": ["Advertising"], "required": true},
    });
    let routing = parse(given.clone()).unwrap();
    assert_eq!(serde_json::to_value(&routing).unwrap(), given);
    assert_eq!(parse(json!({})).unwrap(), Routing::default());
    assert_eq!(
        parse(json!({"condition": null, "rate_cap": null, "order": null})).unwrap(),
        Routing::default()
    );
}

#[test]
fn every_mistake_names_its_field_and_its_rule() {
    for (given, field, at) in [
        (json!([]), "routing", None),
        (json!({"kind": ["track"]}), "routing.kind", None),
        (json!({"kinds": "track"}), "routing.kinds", None),
        (json!({"kinds": ["track", "Track"]}), "routing.kinds[1]", None),
        (json!({"names": [1]}), "routing.names", None),
        (json!({"names": ["a", " "]}), "routing.names[1]", None),
        (json!({"names": vec!["a"; 501]}), "routing.names", None),
        (json!({"condition": 1}), "routing.condition", None),
        (json!({"condition": "tru"}), "routing.condition", Some(1)),
        (json!({"condition": "true".repeat(5000)}), "routing.condition", None),
        (json!({"rate_cap": 0}), "routing.rate_cap", None),
        (json!({"rate_cap": -1.5}), "routing.rate_cap", None),
        (json!({"rate_cap": "fast"}), "routing.rate_cap", None),
        (json!({"order": "random"}), "routing.order", None),
        (json!({"consent": {"category": []}}), "routing.consent", None),
        (json!({"consent": {"required": true}}), "routing.consent.categories", None),
        (json!({"consent": {"categories": [""]}}), "routing.consent.categories[0]", None),
        (json!({"mapping": {}}), "routing.mapping", None),
        (json!({"mapping": [{"drop": {"path": "traits"}}, {"delete": {}}]}), "routing.mapping[1]", None),
        (json!({"mapping": [{"drop": {}}]}), "routing.mapping[0]", None),
        (json!({"mapping": [{"drop": {"path": "traits."}}]}), "routing.mapping[0].drop.path", Some(7)),
        (json!({"mapping": [{"drop": {"path": "props.a"}}]}), "routing.mapping[0].drop.path", Some(0)),
        (
            json!({"mapping": [{"set": {"path": "message_id", "value": 1}}]}),
            "routing.mapping[0].set.path",
            Some(0),
        ),
        (
            json!({"mapping": [{"copy": {"from": [], "to": "traits.a"}}]}),
            "routing.mapping[0].copy.from",
            None,
        ),
        (
            json!({"mapping": [{"copy": {"from": ["type", "x"], "to": "traits.a"}}]}),
            "routing.mapping[0].copy.from[1]",
            Some(0),
        ),
        (
            json!({"mapping": [{"rename": {"from": "traits.a", "to": "type"}}]}),
            "routing.mapping[0].rename.to",
            Some(0),
        ),
    ] {
        let mistakes = parse(given.clone()).unwrap_err();
        let [mistake] = &mistakes[..] else { panic!("{given}: {mistakes:?}") };
        assert_eq!((mistake.field.as_str(), mistake.at), (field, at), "{given}: {mistake:?}");
        assert!(!mistake.rule.is_empty(), "{given}");
    }
    let all = parse(json!({"kinds": ["x"], "rate_cap": 0, "condition": "x"})).unwrap_err();
    assert_eq!(all.len(), 3, "none hides another: {all:?}");
}

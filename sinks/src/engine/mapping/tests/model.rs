//! Mapping against a plain model: the same rules on values that are read and written whole.

use super::*;
use crate::engine::mapping::path::Step;
use proptest::prelude::*;
use serde_json::Map;

/// What an event is to the model: its objects and texts as members of one object.
type Model = Map<String, Value>;

fn get(mut value: &Value, steps: &[Step]) -> Option<Value> {
    for step in steps {
        value = match step {
            Step::Key(name) => value.as_object()?.get(&**name)?,
            Step::Index(index) => value.as_array()?.get(*index)?,
        };
    }
    Some(value.clone())
}

fn remove(value: &mut Value, steps: &[Step]) {
    let Some((step, rest)) = steps.split_first() else { return };
    match (value, step, rest.is_empty()) {
        (Value::Object(members), Step::Key(name), true) => drop(members.remove(&**name)),
        (Value::Array(elements), Step::Index(index), true) if *index < elements.len() => {
            elements.remove(*index);
        }
        (Value::Object(members), Step::Key(name), false) => {
            members.get_mut(&**name).into_iter().for_each(|child| remove(child, rest));
        }
        (Value::Array(elements), Step::Index(index), false) => {
            elements.get_mut(*index).into_iter().for_each(|child| remove(child, rest));
        }
        _ => {}
    }
}

/// The value with another one put in; `None` where it cannot be.
fn with(value: Option<Value>, steps: &[Step], new: Value) -> Option<Value> {
    let Some((step, rest)) = steps.split_first() else { return Some(new) };
    match (value.filter(|value| !value.is_null()), step) {
        (None, Step::Key(name)) => Some(json!({ &**name: with(None, rest, new)? })),
        (None, Step::Index(0)) => Some(json!([with(None, rest, new)?])),
        (Some(Value::Object(mut members)), Step::Key(name)) => {
            let child = with(members.get(&**name).cloned(), rest, new)?;
            members.insert(name.clone().into(), child);
            Some(Value::Object(members))
        }
        (Some(Value::Array(mut elements)), Step::Index(index)) if *index <= elements.len() => {
            let child = with(elements.get(*index).cloned(), rest, new)?;
            elements.truncate(elements.len().max(*index));
            match elements.get_mut(*index) {
                Some(place) => *place = child,
                None => elements.push(child),
            }
            Some(Value::Array(elements))
        }
        _ => None,
    }
}

fn put(model: &mut Model, path: &Path, new: Value) -> bool {
    let name = path.field.as_str();
    let new = match with(model.get(name).cloned(), &path.steps, new) {
        Some(Value::String(text)) if path.field.is_id() && text.is_empty() => return false,
        Some(Value::Number(number)) if path.field.is_text() => Value::String(number.to_string()),
        Some(Value::String(text)) if path.field.is_text() => Value::String(text),
        Some(Value::Object(members)) if path.field.is_object() => Value::Object(members),
        _ => return false,
    };
    model.insert(name.to_owned(), new);
    true
}

fn take(model: &mut Model, path: &Path) {
    let name = path.field.as_str();
    match (path.steps.is_empty(), model.get_mut(name)) {
        (true, _) => drop(model.remove(name)),
        (false, Some(value)) => remove(value, &path.steps),
        (false, None) => {}
    }
}

fn apply(model: &mut Model, rule: &Rule) {
    let path = |text: &str| Path::parse(text).expect("a path");
    let read = |model: &Model, path: &Path| get(model.get(path.field.as_str())?, &path.steps);
    match rule {
        Rule::Drop { path: text } => take(model, &path(text)),
        Rule::Set { path: text, value } => {
            put(model, &path(text), value.clone());
        }
        Rule::Copy { from, to } => {
            let found =
                from.iter().find_map(|from| read(model, &path(from)).filter(|value| !value.is_null()));
            if let Some(value) = found {
                put(model, &path(to), value);
            }
        }
        Rule::Rename { from, to } => {
            let (from, to) = (path(from), path(to));
            let Some(value) = read(model, &from) else { return };
            let inside = |inner: &Path, outer: &Path| {
                inner.field == outer.field && inner.steps.starts_with(&outer.steps)
            };
            if inside(&from, &to) {
                put(model, &to, value);
            } else if inside(&to, &from) {
                if let Some(value) = with(None, &to.steps[from.steps.len()..], value) {
                    put(model, &from, value);
                }
            } else if put(model, &to, value) {
                take(model, &from);
            }
        }
    }
}

const OBJECTS: [&str; 3] = ["properties", "traits", "context"];
const TEXTS: [&str; 3] = ["user_id", "event", "name"];

fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        "[a-c\"\\\\ü]{0,3}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 20, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            members(inner).prop_map(Value::Object),
        ]
    })
}

fn members(values: impl Strategy<Value = Value>) -> impl Strategy<Value = Map<String, Value>> {
    prop::collection::vec(("[a-c]", values), 0..4).prop_map(|members| members.into_iter().collect())
}

fn paths() -> impl Strategy<Value = String> {
    let steps = prop::collection::vec(prop_oneof![3 => "\\.[a-c]", 1 => "\\[[0-2]\\]"], 0..4);
    let inside = (0..OBJECTS.len(), steps).prop_map(|(object, mut steps)| {
        if steps.first().is_some_and(|step| step.starts_with('[')) {
            steps.insert(0, ".a".into());
        }
        format!("{}{}", OBJECTS[object], steps.concat())
    });
    prop_oneof![6 => inside, 1 => (0..TEXTS.len()).prop_map(|text| TEXTS[text].to_owned())]
}

fn rules() -> impl Strategy<Value = Rule> {
    prop_oneof![
        (paths(), paths()).prop_map(|(from, to)| Rule::Rename { from, to }),
        paths().prop_map(|path| Rule::Drop { path }),
        (paths(), values()).prop_map(|(path, value)| Rule::Set { path, value }),
        (prop::collection::vec(paths(), 1..3), paths()).prop_map(|(from, to)| Rule::Copy { from, to }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn rules_do_what_the_model_does_and_leave_the_rest_as_it_was(
        objects in prop::collection::vec(prop::option::of(members(values())), 3..=3),
        texts in prop::collection::vec(prop::option::of("[a-c]{1,2}"), 3..=3),
        rules in prop::collection::vec(rules(), 1..5),
    ) {
        let rules: Vec<Rule> = rules.into_iter().filter(|rule| Mapping::compile(std::slice::from_ref(rule)).is_ok()).collect();
        let mut model = Model::new();
        let mut before = event();
        let blank = |members: &Map<String, Value>| {
            // Blanks show whether text was left alone.
            serde_json::to_string_pretty(members).expect("JSON")
        };
        before.record.properties = objects[0].as_ref().map(|members| Cow::Owned(blank(members)));
        before.record.traits = objects[1].as_ref().map(|members| Cow::Owned(blank(members)));
        before.record.context = objects[2].as_ref().map(|members| Cow::Owned(blank(members)));
        before.record.user_id = texts[0].clone().map(Cow::Owned);
        before.record.event = texts[1].clone().map(Cow::Owned);
        before.record.name = texts[2].clone().map(Cow::Owned);
        for (name, members) in OBJECTS.into_iter().zip(&objects) {
            model.extend(members.clone().map(|members| (name.to_owned(), Value::Object(members))));
        }
        for (name, text) in TEXTS.into_iter().zip(&texts) {
            model.extend(text.clone().map(|text| (name.to_owned(), Value::String(text))));
        }
        let unchanged = model.clone();
        rules.iter().for_each(|rule| apply(&mut model, rule));
        let after = Mapping::compile(&rules).expect("each compiles").apply(before.clone());
        for name in OBJECTS {
            let text = text(&after.record, name);
            let value = text.map(|text| serde_json::from_str::<Value>(text).expect("JSON"));
            prop_assert_eq!(value.as_ref(), model.get(name), "`{}` after {:?}", name, rules);
            let mentioned = rules.iter().any(|rule| format!("{rule:?}").contains(name));
            if !mentioned && unchanged.get(name) == model.get(name) {
                prop_assert_eq!(text, super::text(&before.record, name), "`{}` after {:?}", name, rules);
            }
        }
        for name in TEXTS {
            let text = text(&after.record, name).map(Value::from);
            prop_assert_eq!(text.as_ref(), model.get(name), "`{}` after {:?}", name, rules);
        }
        prop_assert_eq!((after.offset, after.record.message_id), (before.offset, before.record.message_id));
    }
}

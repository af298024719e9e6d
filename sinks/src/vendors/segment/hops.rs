//! The mark that ends a loop: how often an event has been sent to Segment by a Flowstate.
//!
//! A Segment workspace that sends its events back here would let them go round for ever. The mark is
//! `context.flowstate.hops`; the rest of the context stays byte for byte, unless it has a mark
//! already.

use serde_json::value::RawValue;
use serde_json::{Value, value::to_raw_value};
use std::collections::BTreeMap;

/// An event that has gone round so often is not sent again.
pub(super) const HOPS_MAX: u64 = 3;

type Object = BTreeMap<String, Box<RawValue>>;

/// How often an event with this context, a JSON object, has been sent.
pub(super) fn count(context: &str) -> u64 {
    if !may_be_marked(context) {
        return 0;
    }
    let context: Value = serde_json::from_str(context).unwrap_or_default();
    context["flowstate"]["hops"].as_u64().unwrap_or(0)
}

/// The context with this count.
pub(super) fn mark(context: &str, hops: u64) -> String {
    if may_be_marked(context) {
        return mark_again(context, hops).unwrap_or_else(|_| context.to_owned());
    }
    let rest = context.trim_start().trim_start_matches('{');
    let comma = if rest.trim_start().starts_with('}') { "" } else { "," };
    format!("{{\"flowstate\":{{\"hops\":{hops}}}{comma}{rest}")
}

/// Whether some key could be `flowstate`, written as it is or with escapes.
fn may_be_marked(context: &str) -> bool {
    context.contains("flowstate") || context.contains('\\')
}

fn mark_again(context: &str, hops: u64) -> serde_json::Result<String> {
    let mut context: Object = serde_json::from_str(context)?;
    let ours = context.get("flowstate").map(|ours| serde_json::from_str::<Object>(ours.get()));
    let mut ours = ours.and_then(Result::ok).unwrap_or_default();
    ours.insert("hops".to_owned(), to_raw_value(&hops)?);
    context.insert("flowstate".to_owned(), to_raw_value(&ours)?);
    serde_json::to_string(&context)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_leaves_the_rest_as_it_is() {
        for (context, marked) in [
            ("{}", r#"{"flowstate":{"hops":1}}"#),
            (" { } ", r#"{"flowstate":{"hops":1} } "#),
            (r#"{"n": 1.10,"ip":"::1"}"#, r#"{"flowstate":{"hops":1},"n": 1.10,"ip":"::1"}"#),
            (r#"{"b":1.10,"a":"\n"}"#, r#"{"a":"\n","b":1.10,"flowstate":{"hops":1}}"#),
            (r#"{"flowstate":{"x":1.0}}"#, r#"{"flowstate":{"hops":1,"x":1.0}}"#),
            (r#"{"flowstate":7}"#, r#"{"flowstate":{"hops":1}}"#),
            (r#"{"fl\u006fwstate":{"hops":0}}"#, r#"{"flowstate":{"hops":1}}"#),
        ] {
            assert_eq!(mark(context, 1), marked);
            assert_eq!(count(&mark(context, 1)), 1, "{context}");
            assert_eq!(count(&mark(&mark(context, 1), 2)), 2, "{context}");
        }
    }

    #[test]
    fn what_is_no_count_counts_nothing() {
        for context in ["{}", r#"{"flowstate":3}"#, r#"{"flowstate":{"hops":"3"}}"#, r#"{"app":"flowstate"}"#]
        {
            assert_eq!(count(context), 0, "{context}");
        }
    }
}

use super::*;
use proptest::prelude::*;

#[test]
fn paths_are_read_as_in_javascript() {
    let key = |name: &str| Step::Key(name.into());
    for (text, field, steps) in [
        ("user_id", Field::UserId, vec![]),
        ("traits", Field::Traits, vec![]),
        ("properties.order.id", Field::Properties, vec![key("order"), key("id")]),
        ("traits.address['postal code']", Field::Traits, vec![key("address"), key("postal code")]),
        (r#"context["a.b"].c"#, Field::Context, vec![key("a.b"), key("c")]),
        (
            "properties.products[12].price",
            Field::Properties,
            vec![key("products"), Step::Index(12), key("price")],
        ),
        (r"extra['it\'s']['\\']", Field::Extra, vec![key("it's"), key(r"\")]),
        ("properties.größe.$x_1", Field::Properties, vec![key("größe"), key("$x_1")]),
        ("properties['0']['']", Field::Properties, vec![key("0"), key("")]),
        ("properties.user_id", Field::Properties, vec![key("user_id")]),
    ] {
        assert_eq!(Path::parse(text), Ok(Path { field, steps }), "{text}");
    }
}

#[test]
fn what_is_no_path_is_refused_with_its_place() {
    for (text, at, words) in [
        ("", 0, "a name is missing"),
        ("userId", 0, "`userId` is no field of an event; there are user_id, "),
        ("user_id.x", 7, "`user_id` has no parts"),
        ("properties.", 11, "a name is missing"),
        ("properties..x", 11, "a name is missing"),
        ("properties.order-id", 16, "`-` cannot stand here"),
        ("properties.größe x", 16, "` ` cannot stand here"),
        (".properties", 0, "a name is missing"),
        ("properties.0", 11, "an element is written as [0]"),
        ("properties[0]", 10, "[0] has to be ['0']"),
        ("properties.x[", 13, "in brackets stands"),
        ("properties.x[-1]", 13, "in brackets stands"),
        ("properties.x[1", 14, "a `]` is missing"),
        ("properties.x['y'", 16, "a `]` is missing"),
        ("properties.x['y", 15, "a closing ' is missing"),
        (r"properties.x['\y']", 15, r"after `\` stands"),
        ("properties.x[99999999999999999999]", 13, "no list has an element"),
    ] {
        let error = Path::parse(text).expect_err(text);
        assert_eq!(error.at, at, "{text}: {error}");
        assert!(error.message.contains(words), "{text}: {error}");
    }
    let deep = format!("properties{}", ".x".repeat(33));
    assert_eq!(Path::parse(&deep).expect_err("too deep").at, 10 + 64);
}

proptest! {
    #[test]
    fn a_path_reads_as_it_was_written(
        names in prop::collection::vec(prop_oneof![
            any::<String>().prop_map(|name| Step::Key(name.into())),
            "[a-z_$][a-z0-9_]{0,5}".prop_map(|name| Step::Key(name.into())),
            any::<usize>().prop_map(Step::Index),
        ], 0..10),
    ) {
        let steps: Vec<_> = [Step::Key("first".into())].into_iter().chain(names).collect();
        let path = Path { field: Field::Context, steps };
        prop_assert_eq!(Path::parse(&path.to_string()), Ok(path.clone()), "{}", path);
    }

    #[test]
    fn no_text_is_too_much(text in "(properties|traits|x)?[a-z0-9.'\"\\\\\\[\\]]{0,12}") {
        if let Err(error) = Path::parse(&text) {
            prop_assert!(error.at <= text.chars().count(), "{}: {}", text, error);
        }
    }
}

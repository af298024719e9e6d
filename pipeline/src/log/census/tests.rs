use super::*;

fn counted(rows: impl IntoIterator<Item = (&'static str, String)>) -> Census {
    let mut census = Census::default();
    rows.into_iter().for_each(|(name, properties)| census.count_row(name, Some(&properties)));
    census
}

#[test]
fn keys_of_more_than_one_row_in_a_hundred_are_frequent() {
    let rows = (0..1_000).map(|at| {
        let rare = if at % 100 == 0 { r#","rare":1"# } else { "" };
        let frequent = if at % 90 == 0 { r#","coupon":"X""# } else { "" };
        ("Order", format!(r#"{{"price":{at}.5,"items":[{at}]{rare}{frequent}}}"#))
    });
    let mut census = counted(rows);
    let frequent = census.frequent();
    assert_eq!(frequent, [("price".into(), PromotedType::Double), ("coupon".into(), PromotedType::Text)]);
    assert_eq!((census.events.len(), census.keys), (0, 0));
}

#[test]
fn an_event_that_was_seen_seldom_is_not_decided_about() {
    let mut census = counted((0..999).map(|_| ("Order", r#"{"price":1}"#.to_owned())));
    assert!(census.frequent().is_empty());
    census.count_row("Order", None);
    assert_eq!(census.frequent(), [("price".into(), PromotedType::Bigint)]);
}

#[test]
fn memory_is_bounded() {
    let mut census = Census::default();
    for at in 0..2 * EVENTS_MAX {
        let keys: Vec<String> = (0..60).map(|key| format!(r#""{at}-{key}":1"#)).collect();
        census.count_row(&format!("event {at}"), Some(&format!("{{{}}}", keys.join(","))));
    }
    assert_eq!((census.events.len(), census.keys), (EVENTS_MAX, KEYS_MAX));
    assert!(census.frequent().is_empty());
}

#[test]
fn keys_that_collide_are_told_and_get_no_column() {
    let promoted = Promoted::new(vec![PromotedColumn::new("Price", PromotedType::Double, false).unwrap()]);
    let keys = ["orderId", "order_id", "price", "Price", "ü", "brand"];
    let keys = keys.map(|key| (key.to_owned(), PromotedType::Text)).to_vec();
    let (free, not) = sorted(Promotion::Automatic, &promoted, keys);
    assert_eq!(free, [("brand".into(), PromotedType::Text)]);
    let not: Vec<_> = not.iter().map(|not| (&*not.key, &*not.reason)).collect();
    assert_eq!(
        not,
        [
            ("orderId", "its column `p_order_id` would be that of `order_id` too"),
            ("order_id", "its column `p_order_id` would be that of `orderId` too"),
            ("price", "its column `p_price` would be that of `Price` too"),
            ("ü", "it makes no name for a column"),
        ]
    );
}

#[test]
fn where_columns_are_for_pinned_keys_a_frequent_one_is_told_and_gets_none() {
    let promoted = Promoted::new(vec![PromotedColumn::new("price", PromotedType::Double, false).unwrap()]);
    let keys = ["price", "Price", "brand"].map(|key| (key.to_owned(), PromotedType::Text)).to_vec();
    let (free, not) = sorted(Promotion::Pinned, &promoted, keys);
    assert_eq!(free, []);
    let not: Vec<_> = not.iter().map(|not| (&*not.key, &*not.reason)).collect();
    assert_eq!(
        not,
        [
            ("Price", "its column `p_price` would be that of `price` too"),
            ("brand", "it is not pinned, and only pinned properties get a column here"),
        ]
    );
}

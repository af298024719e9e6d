use super::connections::patch;
use super::*;

#[actix_web::test]
async fn a_routing_that_does_not_parse_points_at_the_character() {
    let room = room().await;
    let app = app!(room);
    let body = json!({"vendor": "segment", "name": "a", "settings": {"region": "eu"},
        "credentials": {"write_key": "0123456789abcdef"}});
    let (_, made) = answer!(&app, post("/api/v1/connections", body)).await;
    let path = format!("/api/v1/connections/{}", made["id"].as_str().unwrap());
    for (routing, field, at) in [
        (json!({"condition": "sum revenu"}), "routing.condition", json!(4)),
        (json!({"mapping": [{"drop": {"path": "traits.a-b"}}]}), "routing.mapping[0].drop.path", json!(8)),
        (
            json!({"mapping": [{"set": {"path": "revenue", "value": 1}}]}),
            "routing.mapping[0].set.path",
            json!(0),
        ),
        (
            json!({"mapping": [{"drop": {"path": "traits"}}, {"remove": {}}]}),
            "routing.mapping[1]",
            Value::Null,
        ),
        (json!({"kind": []}), "routing.kind", Value::Null),
    ] {
        let (status, refused) = answer!(&app, patch(&path, json!({"routing": routing}))).await;
        assert_eq!((status, &refused["code"]), (400, &json!("invalid_field")), "{refused}");
        let mistake = &refused["fields"][0];
        assert_eq!((&mistake["field"], &mistake["at"]), (&json!(field), &at), "{refused}");
    }
    assert_eq!(answer!(&app, get(&path)).await.1["version"], 1, "a refused change changes nothing");
}

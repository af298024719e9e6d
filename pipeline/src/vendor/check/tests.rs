use crate::vendor::{Checked, FieldError, all, named};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

const SIGNING_SECRET: &str = "whsec_Zmxvd3N0YXRlLWV4YW1wbGUtc2VjcmV0";
const TOKEN: &str = "0123456789abcdef0123456789abcdef";

#[test]
fn the_right_settings_are_trimmed_and_completed() {
    let checked = accept(
        "mixpanel",
        json!({"region": " eu ", "project_id": 2195193, "identity_mode": null, "group_keys": ["company_id "]}),
        &[("project_token", &format!(" {TOKEN}\n")), ("service_account", "a.mp-service-account:EXAMPLE")],
    );
    let expected = json!({
        "region": "eu", "project_id": "2195193", "identity_mode": "simplified", "group_keys": ["company_id"],
    });
    assert_eq!(Value::Object(checked.settings), expected);
    assert_eq!(checked.credentials["project_token"], TOKEN);
    assert_eq!(checked.credentials["service_account"], "a.mp-service-account:EXAMPLE");

    let checked = accept("segment", json!({"region": "us"}), &[("write_key", "EXAMPLEexample")]);
    assert_eq!(Value::Object(checked.settings), json!({"region": "us"}));

    let checked =
        accept("google_analytics", json!({"measurement_id": "G-EXAMPLE123"}), &[("api_secret", "EX_a-1")]);
    let expected = json!({
        "measurement_id": "G-EXAMPLE123", "region": "global", "currency": "USD", "user_properties": [],
        "send_user_id": true, "send_ip": false,
    });
    assert_eq!(Value::Object(checked.settings), expected);
    let app = json!({"firebase_app_id": "1:123:android:abc", "region": "eu", "measurement_id": "  "});
    let checked = accept("google_analytics", app, &[("api_secret", "EX_a-1")]);
    assert_eq!(checked.settings["firebase_app_id"], "1:123:android:abc");
    assert_eq!(checked.settings.get("measurement_id"), None, "blank is not entered");

    let checked = accept("webhook", json!({"url": "https://hooks.example.com/in?room=1"}), &[]);
    assert_eq!(checked.settings["url"], "https://hooks.example.com/in?room=1");
    assert!(checked.credentials.is_empty(), "the server makes the secret, not the check");
    let changing =
        json!({"url": "https://example.com/", "signing_secret_previous_until": "2026-12-01T01:00:00+01:00"});
    let checked = accept("webhook", changing, &[("signing_secret_previous", SIGNING_SECRET)]);
    assert_eq!(checked.credentials["signing_secret_previous"], SIGNING_SECRET);
}

#[test]
fn what_is_wrong_is_refused_with_field_rule_and_example() {
    let refused = |vendor: &str, settings: Value, credentials: &[(&str, &str)]| {
        let errors = check(vendor, settings, credentials).unwrap_err();
        errors.into_iter().map(|error| (error.field, error.rule, error.example)).collect::<Vec<_>>()
    };
    let one = |field: &str, rule: &str, example: &str| vec![(field.into(), rule.into(), example.into())];

    let region = "must be the region of the workspace, `us` or `eu`";
    let key = [("write_key", "EXAMPLEexample")];
    let missing = format!("is missing, it {region}");
    assert_eq!(refused("segment", json!({}), &key), one("settings.region", &missing, "eu"));
    for wrong in [json!("mars"), json!(1), json!(true), json!(["us"]), json!({"us": 1})] {
        assert_eq!(refused("segment", json!({"region": wrong}), &key), one("settings.region", region, "eu"));
    }
    let errors = refused("segment", json!({"region": "us", "write_key": "EXAMPLEexample"}), &key);
    assert_eq!(errors, one("settings.write_key", "belongs to the credentials", "credentials.write_key"));
    let errors = refused("segment", json!({"region": "us", "regin": "us"}), &key);
    assert_eq!(errors, one("settings.regin", "is not known, the settings are `region`", "settings.region"));
    let errors = refused("segment", json!({"region": "us"}), &[key[0], ("token", "x")]);
    let rule = "is not known, the credentials are `write_key`";
    assert_eq!(errors, one("credentials.token", rule, "credentials.write_key"));

    let errors = refused("mixpanel", json!({}), &[]);
    let fields: Vec<_> = errors.iter().map(|error| &*error.0).collect();
    assert_eq!(
        fields,
        ["settings.region", "credentials.project_token"],
        "all at once, in the order of the form"
    );
    let account = [("project_token", TOKEN), ("service_account", "a.mp-service-account:EXAMPLE")];
    let rule = "must be given with a service account, which may belong to several projects";
    assert_eq!(
        refused("mixpanel", json!({"region": "us"}), &account),
        one("settings.project_id", rule, "2195193")
    );
    let wrong_id = json!({"region": "us", "project_id": "12a"});
    let rule = "must be the number of the project; a service account needs it";
    let errors = refused("mixpanel", wrong_id, &account);
    assert_eq!(errors, one("settings.project_id", rule, "2195193"), "wrong is not called missing as well");
    for wrong in [json!("company_id"), json!([1.5]), json!([""]), json!(vec!["key"; 101])] {
        let errors = refused("mixpanel", json!({"region": "us", "group_keys": wrong}), &account[..1]);
        assert_eq!(errors[0].0, "settings.group_keys");
        assert_eq!(errors[0].2, r#"["company_id"]"#);
    }

    let secret = [("api_secret", "EXAMPLE")];
    let rule = "must be the only one: give either `measurement_id` for a web stream or `firebase_app_id` for an app stream";
    assert_eq!(
        refused("google_analytics", json!({}), &secret),
        one("settings.measurement_id", rule, "G-EXAMPLE123")
    );
    let both = json!({"measurement_id": "G-EXAMPLE123", "firebase_app_id": "1:123:ios:abc"});
    let example = "1:123456789012:android:0123456789abcdef";
    assert_eq!(refused("google_analytics", both, &secret), one("settings.firebase_app_id", rule, example));
    for wrong in ["UA-12345-1", "g-EXAMPLE123", "G-", "G-EXAMPLE123 G-EXAMPLE123"] {
        let errors = refused("google_analytics", json!({"measurement_id": wrong}), &secret);
        assert_eq!(errors.len(), 1, "{wrong}");
        assert_eq!(errors[0].0, "settings.measurement_id");
    }

    for wrong in [
        "hooks.example.com",
        "ftp://hooks.example.com",
        "https://",
        "https://anna:secret@hooks.example.com",
        "https://anna@hooks.example.com",
        "https://hooks.example.com/#top",
        "https://hooks.example.com/a b",
        "https://hooks.example\n.com",
    ] {
        let errors = refused("webhook", json!({"url": wrong}), &[]);
        assert_eq!(errors.len(), 1, "{wrong}");
        assert_eq!((&*errors[0].0, &*errors[0].2), ("settings.url", "https://hooks.example.com/flowstate"));
    }
}

#[test]
fn two_secrets_sign_only_until_a_time() {
    let fields =
        |settings: Value| match check("webhook", settings, &[("signing_secret_previous", SIGNING_SECRET)]) {
            Ok(_) => Vec::new(),
            Err(errors) => errors.into_iter().map(|error| (error.field, error.example)).collect(),
        };
    let until =
        || vec![("settings.signing_secret_previous_until".to_owned(), "2026-12-01T00:00:00Z".to_owned())];
    assert_eq!(fields(json!({"url": "https://example.com/"})), until());
    for wrong in [json!("tomorrow"), json!("2026-02-30T00:00:00Z"), json!(1_800_000_000)] {
        let settings = json!({"url": "https://example.com/", "signing_secret_previous_until": wrong});
        assert_eq!(fields(settings), until(), "{wrong}");
    }
}

#[test]
fn a_signing_secret_holds_24_to_64_bytes() {
    use std::iter::repeat_n;
    // The base64 of n zero bytes.
    let base64 = |bytes: usize| {
        let letters = (bytes * 4).div_ceil(3);
        repeat_n('A', letters).chain(repeat_n('=', (4 - letters % 4) % 4)).collect::<String>()
    };
    for bytes in 0..100 {
        let secret = format!("whsec_{}", base64(bytes));
        let taken =
            check("webhook", json!({"url": "https://example.com"}), &[("signing_secret", &secret)]).is_ok();
        assert_eq!(taken, (24..=64).contains(&bytes), "{bytes} bytes: {secret}");
    }
    for wrong in ["Zmxvd3N0YXRlLWV4YW1wbGUtc2VjcmV0", "whsec_Zmxvd3N0YXRlLWV4YW1wbGUtc2VjcmV", "whsec_abc"] {
        assert!(
            check("webhook", json!({"url": "https://example.com"}), &[("signing_secret", wrong)]).is_err()
        );
    }
}

#[test]
fn the_chosen_way_in_says_which_credentials_are_needed() {
    let fields =
        |settings: Value, credentials: &[(&str, &str)]| match check("salesforce", settings, credentials) {
            Ok(_) => Vec::new(),
            Err(errors) => errors.into_iter().map(|error| error.field).collect(),
        };
    let id = ("client_id", "3MVG9EXAMPLEexample");
    let key = ("private_key", "-----BEGIN PRIVATE KEY-----\nEXAMPLE\n-----END PRIVATE KEY-----\n");
    assert_eq!(fields(json!({"my_domain": "acme"}), &[id]), ["credentials.client_secret"]);
    assert!(fields(json!({"my_domain": "acme"}), &[id, ("client_secret", "EXAMPLEexample")]).is_empty());
    let jwt = json!({"my_domain": "acme", "grant_type": "jwt_bearer", "username": "flowstate@acme.example"});
    assert_eq!(fields(jwt.clone(), &[id]), ["credentials.private_key"]);
    assert!(fields(jwt.clone(), &[id, key]).is_empty());
    let long = key.1.replace("EXAMPLE", &"A".repeat(8 * 1024));
    assert_eq!(fields(jwt, &[id, ("private_key", &long)]), ["credentials.private_key"], "nothing is endless");
    let numbers = |percent: Value| fields(json!({"my_domain": "acme", "pause_at_percent": percent}), &[id]);
    assert_eq!(numbers(json!(101)), ["settings.pause_at_percent", "credentials.client_secret"]);
    assert_eq!(numbers(json!("90")), ["settings.pause_at_percent", "credentials.client_secret"]);
    assert_eq!(numbers(json!(0.5)), ["settings.pause_at_percent", "credentials.client_secret"]);
    assert_eq!(numbers(json!(100)), ["credentials.client_secret"]);
}

#[test]
fn errors_and_debug_never_repeat_a_credential() {
    const MARK: &str = "mark-of-a-secret";
    for vendor in all() {
        for credential in &vendor.credentials {
            for value in [
                format!("{MARK} {MARK}"),
                format!("{}{MARK} é", credential.example.as_str().expect("credentials are text")),
            ] {
                let credentials = BTreeMap::from([(credential.name.clone(), value)]);
                let errors = vendor.check(&Map::new(), &credentials).unwrap_err();
                let field = format!("credentials.{}", credential.name);
                assert!(errors.iter().any(|error| error.field == field), "{}: {field}", vendor.name);
                for error in errors {
                    let shown = format!("{error} {error:?} {}", serde_json::to_string(&error).unwrap());
                    assert!(!shown.contains(MARK), "{}: {shown}", vendor.name);
                }
            }
        }
    }
    let checked = accept("segment", json!({"region": "us"}), &[("write_key", MARK)]);
    assert_eq!(checked.credentials["write_key"], MARK);
    assert!(!format!("{checked:?}").contains(MARK), "{checked:?}");
}

fn check(vendor: &str, settings: Value, credentials: &[(&str, &str)]) -> Result<Checked, Vec<FieldError>> {
    let Value::Object(settings) = settings else { panic!("settings are an object") };
    let credentials =
        credentials.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
    named(vendor).unwrap().check(&settings, &credentials)
}

fn accept(vendor: &str, settings: Value, credentials: &[(&str, &str)]) -> Checked {
    check(vendor, settings, credentials).unwrap_or_else(|errors| panic!("{vendor}: {errors:?}"))
}

use super::*;
use proptest::prelude::*;
use reqwest::Method;
use std::time::Duration;

const SECRET: &str = "xoxb-1234567890-AbCdEfGhIjKl";

fn redactor(secrets: &[&str]) -> Redactor {
    Redactor::new(secrets.iter().copied())
}

fn base64(text: &str) -> String {
    let mut encoded = String::from_utf8(pattern::encode(text.as_bytes()).collect()).unwrap();
    while !encoded.len().is_multiple_of(4) {
        encoded.push('=');
    }
    encoded
}

fn percent(text: &str, digits: fn(u8) -> String) -> String {
    let encode = |byte: u8| if byte.is_ascii_alphanumeric() { char::from(byte).into() } else { digits(byte) };
    text.bytes().map(encode).collect()
}

/// Every form in which a secret may travel, and what of it is the secret's alone.
fn forms(secret: &str) -> Vec<(String, String)> {
    let json = serde_json::to_string(secret).unwrap();
    let json = json[1..json.len() - 1].to_owned();
    let mut forms: Vec<_> = [
        secret.to_owned(),
        json.replace('/', "\\/"),
        json,
        secret.bytes().map(|byte| format!("\\u{byte:04x}")).collect(),
        percent(secret, |byte| format!("%{byte:02X}")),
        percent(secret, |byte| format!("%{byte:02x}")),
        secret.bytes().map(|byte| format!("%{byte:02X}")).collect(),
        url::form_urlencoded::byte_serialize(secret.as_bytes()).collect(),
    ]
    .map(|form| (form.clone(), form))
    .into();
    for before in ["", "u", "us", "user:"] {
        for after in ["", ":p", "pass"] {
            let form = base64(&format!("{before}{secret}{after}"));
            // Whole characters of six bits.
            let from = (8 * before.len()).div_ceil(6);
            let to = 8 * (before.len() + secret.len()) / 6;
            let core = form[from..to].to_owned();
            let safe = |text: &str| text.replace('+', "-").replace('/', "_").replace('=', "");
            let escaped = |text: &str| percent(text, |byte| format!("%{byte:02X}"));
            forms.push((safe(&form), safe(&core)));
            forms.push((escaped(&form), escaped(&core)));
            forms.push((form, core));
        }
    }
    forms
}

/// Six characters in a row of `core` that are in `shown`.
fn leak(core: &str, shown: &str) -> Option<String> {
    let windows = core.as_bytes().windows(6).map(|window| String::from_utf8(window.to_vec()).unwrap());
    windows.into_iter().find(|window| shown.contains(window))
}

proptest! {
    #[test]
    fn no_form_of_a_secret_stays(
        secret in "[!-~]{14,60}",
        before in "[ -~é\n]{0,20}",
        after in "[ -~é\n]{0,20}",
        other in "[a-z]{6,9}",
        bytes_max in 3usize..400,
    ) {
        let redactor = redactor(&[&other, &secret]);
        for (form, core) in forms(&secret) {
            // What stands beside the secret proves nothing.
            prop_assume!(leak(&core, &format!("{before} {after}")).is_none());
            let text = format!("{before}{form}{after}");
            let shown = redactor.text(&text);
            prop_assert_eq!(leak(&core, &shown), None, "`{}` became `{}`", text, shown);
            prop_assert!(shown.contains("[secret"), "`{shown}`");

            let url = Url::parse("https://example.com/").unwrap();
            let body = Bytes::from(text);
            let request = Request { method: Method::POST, url, headers: HeaderMap::new(), body, timeout: Duration::MAX };
            let cut = redactor.request(&request, bytes_max);
            prop_assert!(cut.len() <= bytes_max, "{} bytes", cut.len());
            prop_assert_eq!(leak(&core, &cut), None, "`{}`", cut);
        }
    }

    #[test]
    fn a_cut_text_ends_with_no_part_of_a_secret(length in 3usize..200, at in 0usize..60) {
        let body = Bytes::from(format!("{}{SECRET}{}", "x".repeat(at), "y".repeat(100)));
        let answer = Answer { status: 200, headers: HeaderMap::new(), body };
        let shown = redactor(&[SECRET]).answer(&answer, length);
        prop_assert!(shown.len() <= length, "{} bytes", shown.len());
        prop_assert!(!shown.contains(&SECRET[..4]), "{shown}");
    }

    #[test]
    fn texts_without_secrets_stay_as_they_are(text in "[ -~é\n\t]{0,200}") {
        prop_assume!(!text.contains("xoxb"));
        prop_assert_eq!(redactor(&[SECRET, "zzzzzz-zzzzzz"]).text(&text), text);
    }
}

#[test]
fn a_long_secret_is_recognised_by_its_end() {
    assert_eq!(redactor(&[SECRET]).text(&format!("token={SECRET}!")), "token=[secret …IjKl]!");
    // Too short for a hint, or with an end that would break the mark.
    assert_eq!(redactor(&["0123456789abcdefghijklm"]).text("0123456789abcdefghijklm"), "[secret]");
    assert_eq!(redactor(&["0123456789abcdefghijkl]]"]).text("0123456789abcdefghijkl]]"), "[secret]");
}

#[test]
fn short_secrets_are_not_looked_for() {
    assert_eq!(redactor(&["short", "", "  "]).text("a short text"), "a short text");
    assert_eq!(redactor(&["longer"]).text("a longer text"), "a [secret] text");
}

#[test]
fn secrets_that_overlap_are_hidden_whole() {
    let both = redactor(&["abcdefgh", "efghijkl"]);
    assert_eq!(both.text("-abcdefghijkl-"), "-[secret]-");
    assert_eq!(redactor(&["abcdef", "abcdefghi"]).text("-abcdefghi-abcdef-"), "-[secret]-[secret]-");
}

#[test]
fn secrets_with_escapes_in_them_are_found() {
    for secret in
        ["50%25off%2Fx", "back\\\\slash\\n", "\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\", "a+b c+d e"]
    {
        for (form, core) in forms(secret) {
            let shown = redactor(&[secret]).text(&format!("<{form}>"));
            assert!(shown.contains("[secret]") && leak(&core, &shown).is_none(), "{form}: {shown}");
        }
    }
}

#[test]
fn keys_of_several_lines_are_hidden() {
    let key = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkq\nhkiG9w0BAQEFAASC\n-----END PRIVATE KEY-----\n";
    let body = serde_json::json!({ "private_key": key }).to_string();
    assert_eq!(redactor(&[key]).text(&body), r#"{"private_key":"[secret]\n"}"#);
}

#[test]
fn a_url_that_is_a_secret_is_hidden_in_its_parts() {
    let secret = "https://hooks.example.com/services/T0000/B0000/XXXXYYYYZZZZ0000";
    let hide = redactor(&[secret]);
    for text in [secret, "POST /services/T0000/B0000/XXXXYYYYZZZZ0000", "unknown hook XXXXYYYYZZZZ0000"] {
        let shown = hide.text(text);
        assert!(!shown.contains("XXXX") && shown.contains("[secret …0000]"), "{shown}");
    }
    assert_eq!(hide.text("services at hooks.example.com"), "services at hooks.example.com");
}

#[test]
fn a_request_is_shown_without_its_secrets() {
    let mut headers = HeaderMap::new();
    let mut marked = HeaderValue::from_static("canary");
    marked.set_sensitive(true);
    headers.insert("x-marked", marked);
    for name in ["authorization", "cookie", "x-api-key", "x-auth-token", "x-shop-access-token"] {
        headers.insert(name, HeaderValue::from_static("canary"));
    }
    headers.insert("content-type", HeaderValue::from_static("application/json"));
    let request = Request {
        method: Method::POST,
        url: Url::parse(&format!(
            "https://example.com:8443/bot{SECRET}/send?api_key=canary&user=7&sig=canary&x#canary"
        ))
        .unwrap(),
        headers,
        body: Bytes::from(format!(r#"{{"text":"hello","token":"{SECRET}"}}"#)),
        timeout: Duration::MAX,
    };
    let shown = redactor(&[SECRET]).request(&request, 4096);
    assert_eq!(
        shown,
        "POST https://example.com:8443/bot[secret …IjKl]/send?api_key=[hidden]&user=7&sig=[hidden]&x\n\
         x-marked: [hidden]\nauthorization: [hidden]\ncookie: [hidden]\nx-api-key: [hidden]\n\
         x-auth-token: [hidden]\nx-shop-access-token: [hidden]\ncontent-type: application/json\n\n\
         {\"text\":\"hello\",\"token\":\"[secret …IjKl]\"}"
    );
}

#[test]
fn an_answer_is_shown_without_its_secrets() {
    let mut headers = HeaderMap::new();
    headers.insert("set-cookie", HeaderValue::from_static("canary"));
    headers.insert("retry-after", HeaderValue::from_static("7"));
    let body = Bytes::from(format!("bad token {SECRET}\u{1b}[31m\r\n"));
    let shown = redactor(&[SECRET]).answer(&Answer { status: 401, headers, body }, 4096);
    assert_eq!(
        shown,
        "401\nset-cookie: [hidden]\nretry-after: 7\n\nbad token [secret …IjKl]\u{fffd}[31m\u{fffd}\n"
    );
}

#[test]
fn a_url_with_a_password_is_shown_without_it() {
    let url = Url::parse("https://me:canary@example.com/a").unwrap();
    assert_eq!(super::url(&url), "https://[hidden]@example.com/a");
}

#[test]
fn a_body_that_is_no_text_is_counted() {
    let mut headers = HeaderMap::new();
    let answer = |headers: &HeaderMap, body: &'static [u8]| Answer {
        status: 200,
        headers: headers.clone(),
        body: Bytes::from_static(body),
    };
    let hide = redactor(&[]);
    assert_eq!(hide.answer(&answer(&headers, b"\x89PNG\0"), 99), "200\n\n[5 bytes, no text]");
    assert_eq!(hide.answer(&answer(&headers, b"caf\xe9"), 99), "200\n\ncaf\u{fffd}");
    assert_eq!(hide.answer(&answer(&headers, b""), 99), "200\n");
    headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    assert_eq!(
        hide.answer(&answer(&headers, b"\x1f\x8b"), 99),
        "200\ncontent-encoding: gzip\n\n[2 bytes gzip]"
    );
}

#[test]
fn what_is_too_long_is_cut_between_characters() {
    let answer = Answer { status: 200, headers: HeaderMap::new(), body: Bytes::from("é".repeat(100)) };
    for length in 10..30 {
        let shown = redactor(&[]).answer(&answer, length);
        assert!(
            shown.len() <= length && shown.len() + 2 > length && shown.ends_with('…'),
            "{length}: {shown}"
        );
    }
}

#[test]
fn debug_shows_no_secret() {
    let shown = format!("{:?} {:#?}", redactor(&[SECRET]), redactor(&[SECRET]));
    assert_eq!(shown, "Redactor(1 secrets) Redactor(1 secrets)");
}

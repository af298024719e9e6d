//! How far a connection to Google Analytics can be proven: Google confirms no key.

use super::{GoogleAnalytics, Stream};
use crate::engine::Step;
use crate::vendors::{answer, steps};
use pipeline::Micros;
use pipeline::clock::SECOND;
use pipeline::egress::Http;
use serde_json::{Value, json};

const REALTIME: &str =
    "Send the sample event and look in Google Analytics under Realtime: if you see it, the keys are right.";

/// The shape of the stream's id, whether Google can be reached, and on demand an event to look for.
pub(super) async fn steps(sink: &GoogleAnalytics, http: &dyn Http, now: Micros, sample: bool) -> Vec<Step> {
    if let Some(step) = misshapen(&sink.stream) {
        return vec![step];
    }
    // Google's validation server stores nothing and looks at the body alone, so it proves no more than
    // the way there and back.
    let host = sink.host;
    let validated = http.send(sink.post("/debug/mp/collect", body(sink, now, true))).await;
    let validated = match validated {
        Ok(answer) if (200..300).contains(&answer.status) => answer,
        Ok(answer) => {
            let found = answer::failure(&answer, now).detail;
            return vec![steps::failed("reachable", format!("{host}: {found}"), "Try again later.")];
        }
        Err(error) => return vec![steps::unreachable(host, &error)],
    };
    let mut done = vec![steps::passed("reachable", format!("{host} answered"))];
    let found = "Google does not confirm keys: it answers the same to a wrong API secret or stream.";
    done.push(steps::unprovable("authenticated", found, REALTIME));
    if let Some(message) = refusal(&validated.body) {
        let remedy = "Report this as a defect: Google's validation server refuses our sample event.";
        done.push(steps::failed("sample_event", message, remedy));
        return done;
    }
    if !sample {
        done.push(steps::skipped("sample_event", "no event was sent"));
        return done;
    }
    done.push(match http.send(sink.post("/mp/collect", body(sink, now, false))).await {
        Ok(answer) if (200..300).contains(&answer.status) => {
            let found = "the event `flowstate_test` was sent; Google does not say what became of it";
            let remedy = "Look for `flowstate_test` in Google Analytics under Realtime, for up to a minute.";
            steps::unprovable("sample_event", found, remedy)
        }
        Ok(answer) => {
            let found = answer::failure(&answer, now).detail;
            steps::failed("sample_event", found, "Try again later.")
        }
        Err(error) => steps::failed("sample_event", error.detail, "Try again later."),
    });
    done
}

/// A failed step where the id does not look like one of this kind of stream.
fn misshapen(stream: &Stream) -> Option<Step> {
    let is_upper = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit();
    let (id, fits, like, place) = match stream {
        Stream::Web(id) => {
            let rest = id.strip_prefix("G-").unwrap_or_default();
            let fits = rest.len() >= 4 && rest.bytes().all(is_upper);
            (id, fits, "G-ABCDE12345", "Admin, Data streams, your web stream")
        }
        Stream::App(id) => {
            let parts: Vec<&str> = id.split(':').collect();
            let fits = matches!(parts[..], ["1", number, "android" | "ios", app]
                if number.bytes().all(|byte| byte.is_ascii_digit())
                    && app.bytes().all(|byte| byte.is_ascii_hexdigit()));
            (id, fits, "1:1234567890:android:0a1b2c3d4e5f", "the Firebase console, Project settings")
        }
    };
    if fits {
        return None;
    }
    let found = format!("`{id}` is no id of a stream, which looks like `{like}`");
    Some(steps::failed("object_exists", found, format!("Copy it again from {place}.")))
}

/// The event that a check sends.
fn body(sink: &GoogleAnalytics, now: Micros, validate: bool) -> Vec<u8> {
    let mut body = json!({
        "events": [{
            "name": "flowstate_test",
            "timestamp_micros": now,
            "params": {"debug_mode": 1, "engagement_time_msec": 1},
        }],
    });
    match &sink.stream {
        Stream::Web(_) => body["client_id"] = format!("1.{}", now / SECOND).into(),
        Stream::App(_) => body["app_instance_id"] = "0".repeat(32).into(),
    }
    if validate {
        body["validation_behavior"] = "ENFORCE_RECOMMENDATIONS".into();
    }
    body.to_string().into_bytes()
}

/// The first thing that the validation server has to say.
fn refusal(answer: &[u8]) -> Option<String> {
    let answer: Value = serde_json::from_slice(answer).unwrap_or_default();
    let message = answer["validationMessages"].as_array()?.first()?;
    let word = |key: &str| message[key].as_str().unwrap_or_default();
    Some(answer::cut(format!(
        "{} at `{}`: {}",
        word("validationCode"),
        word("fieldPath"),
        word("description")
    )))
}

//! Names as Google takes them, and those that it keeps for itself.
//!
//! Google's "Protocol reference", sections "Limitations" and "Reserved names" (read 2026-11): up to
//! 40 letters, digits and `_`, the first a letter; some names and prefixes are its own.

/// The longest name of an event or a parameter, in characters.
const NAME_MAX: usize = 40;
/// The longest name of a user property, in characters.
const USER_PROPERTY_MAX: usize = 24;

const RESERVED_PREFIXES: [&str; 4] = ["_", "firebase_", "ga_", "google_"];

const RESERVED_EVENTS: [&str; 31] = [
    "ad_activeview",
    "ad_click",
    "ad_exposure",
    "ad_query",
    "ad_reward",
    "adunit_exposure",
    "app_clear_data",
    "app_exception",
    "app_install",
    "app_remove",
    "app_store_refund",
    "app_update",
    "app_upgrade",
    "dynamic_link_app_open",
    "dynamic_link_app_update",
    "dynamic_link_first_open",
    "error",
    "firebase_campaign",
    "firebase_in_app_message_action",
    "firebase_in_app_message_dismiss",
    "firebase_in_app_message_impression",
    "first_open",
    "first_visit",
    "notification_dismiss",
    "notification_foreground",
    "notification_open",
    "notification_receive",
    "notification_send",
    "os_update",
    "session_start",
    "user_engagement",
];

/// Events that a web stream does not take.
const APP_EVENTS: [&str; 2] = ["ad_impression", "screen_view"];

const RESERVED_USER_PROPERTIES: [&str; 5] =
    ["first_open_after_install", "first_open_time", "first_visit_time", "last_deep_link_referrer", "user_id"];

/// The name of a `track` call in snake case; with `e_` in front where Google would not take it.
/// `None` where it has neither a letter nor a digit of the Latin alphabet.
pub(super) fn event_name(name: &str, is_app: bool) -> Option<String> {
    let snake = snake_case(name);
    if snake.is_empty() {
        return None;
    }
    let is_taken = RESERVED_EVENTS.contains(&snake.as_str())
        || (!is_app && APP_EVENTS.contains(&snake.as_str()))
        || !is_allowed(&snake);
    Some(cut(if is_taken { own_event(&snake) } else { snake }, NAME_MAX))
}

/// The name of an event that shares its own with one of Google's.
pub(super) fn own_event(name: &str) -> String {
    cut(format!("e_{name}"), NAME_MAX)
}

/// `Order Completed` and `orderCompleted` are `order_completed`.
pub(super) fn snake_case(name: &str) -> String {
    let mut snake = String::with_capacity(name.len() + 4);
    let mut is_word_open = false;
    for character in name.chars() {
        if !character.is_ascii_alphanumeric() {
            is_word_open = false;
            if !snake.is_empty() && !snake.ends_with('_') {
                snake.push('_');
            }
            continue;
        }
        if character.is_ascii_uppercase() && is_word_open {
            snake.push('_');
        }
        is_word_open = !character.is_ascii_uppercase();
        snake.push(character.to_ascii_lowercase());
    }
    snake.truncate(snake.trim_end_matches('_').len());
    snake
}

/// The name of a property as a parameter: what Google does not take becomes `_`, and `p_` goes in
/// front where it is reserved or begins with no letter. `None` where nothing of it is left.
pub(super) fn param_name(name: &str) -> Option<String> {
    mended(name).map(|name| cut(name, NAME_MAX))
}

/// The name of a parameter that shares its own with one of Google's.
pub(super) fn own_param(name: &str) -> String {
    cut(format!("p_{name}"), NAME_MAX)
}

/// The name of a trait as a user property, by the rules of parameters.
pub(super) fn user_property_name(name: &str) -> Option<String> {
    let name = mended(name)?;
    let is_taken = RESERVED_USER_PROPERTIES.contains(&name.as_str());
    Some(cut(if is_taken { own_param(&name) } else { name }, USER_PROPERTY_MAX))
}

fn mended(name: &str) -> Option<String> {
    let allowed = |character: char| if character.is_ascii_alphanumeric() { character } else { '_' };
    let word: String = name.chars().map(allowed).collect();
    let bare = word.trim_matches('_');
    if bare.is_empty() {
        return None;
    }
    if is_allowed(&word) { Some(word) } else { Some(format!("p_{}", word.trim_start_matches('_'))) }
}

fn is_allowed(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_alphabetic())
        && !RESERVED_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// The first characters; names are ASCII.
fn cut(mut name: String, characters_max: usize) -> String {
    name.truncate(characters_max);
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_such_as_google_takes() {
        for (name, event) in [
            ("Video Playback Started", Some("video_playback_started")),
            ("orderCompleted", Some("order_completed")),
            ("API Called (v2)", Some("api_called_v2")),
            ("  --Level_Up!", Some("level_up")),
            ("2nd Visit", Some("e_2nd_visit")),
            ("session_start", Some("e_session_start")),
            ("Google Thing", Some("e_google_thing")),
            ("screen_view", Some("e_screen_view")),
            ("购买", None),
        ] {
            assert_eq!(event_name(name, false).as_deref(), event, "{name}");
        }
        assert_eq!(event_name("screen_view", true).as_deref(), Some("screen_view"));
        assert_eq!(event_name(&"Session ".repeat(9), false).unwrap().len(), NAME_MAX);
        assert_eq!(param_name("Größe").as_deref(), Some("Gr__e"));
        assert_eq!(param_name("_hidden").as_deref(), Some("p_hidden"));
        assert_eq!(param_name("ga_id").as_deref(), Some("p_ga_id"));
        assert_eq!(param_name("firebase_conversion").as_deref(), Some("p_firebase_conversion"));
        assert_eq!(param_name("价格"), None);
        assert_eq!(user_property_name("user_id").as_deref(), Some("p_user_id"));
        assert_eq!(user_property_name(&"x".repeat(60)).unwrap().len(), USER_PROPERTY_MAX);
    }
}

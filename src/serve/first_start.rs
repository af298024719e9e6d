//! The keys of the first start: given by the settings, or made and shown once.

use crate::output::{shell_word, this_program};
use crate::settings::Settings;
use crate::source::new_source;
use anyhow::{Context, bail};
use pipeline::Clock;
use pipeline::control::{ApiKey, Control, Scope, Secret, SourceKind};
use std::path::Path;

const SOURCE: &str = "default";
const API_KEY: &str = "admin";

/// The keys that were made now, and are in no store.
#[derive(Debug, Default)]
pub(super) struct Made {
    write_key: Option<Secret>,
    api_key: Option<Secret>,
}

/// Sees to it that there is a source and an API key. Given keys are taken, at every start the same;
/// without them, keys are made where there are none at all.
pub(super) async fn ensure_keys(
    control: &dyn Control,
    settings: &Settings,
    clock: &Clock,
) -> anyhow::Result<Made> {
    let mut made = Made::default();
    let sources = control.sources().await?;
    if let Some(key) = given(settings.write_key.as_ref())? {
        if !sources.iter().any(|source| source.write_key_hash == key.hash()) {
            if sources.iter().any(|source| source.name == SOURCE) {
                bail!(
                    "FLOWSTATE_WRITE_KEY is not the key of the source `{SOURCE}`: give the key it was \
                     made with, or none"
                );
            }
            control.add_source(new_source(SOURCE.into(), SourceKind::Server, false, &key, clock)).await?;
        }
    } else if sources.is_empty() {
        let key = Secret::write_key()?;
        control.add_source(new_source(SOURCE.into(), SourceKind::Server, false, &key, clock)).await?;
        made.write_key = Some(key);
    }

    let api_keys = control.api_keys().await?;
    if let Some(key) = given(settings.admin_key.as_ref())? {
        if !api_keys.iter().any(|known| known.hash == key.hash()) {
            if api_keys.iter().any(|known| known.name == API_KEY) {
                bail!(
                    "FLOWSTATE_ADMIN_KEY is not the API key `{API_KEY}`: give the key it was made with, \
                     or none"
                );
            }
            control.add_api_key(api_key(&key, clock)).await?;
        }
    } else if api_keys.is_empty() {
        let key = Secret::api_key()?;
        control.add_api_key(api_key(&key, clock)).await?;
        made.api_key = Some(key);
    }
    Ok(made)
}

impl Made {
    /// Shows what was made, on standard error, with a line to try.
    pub(super) fn show(&self, url: &str, data: &Path) {
        let rule = "─".repeat(78);
        if self.write_key.is_some() || self.api_key.is_some() {
            eprintln!("{rule}\nThis is the first start. Keep these keys; they are shown only now.\n");
        }
        if let Some(key) = &self.write_key {
            eprintln!("  write key of the source `{SOURCE}`:  {}", key.reveal());
        }
        if let Some(key) = &self.api_key {
            eprintln!("  API key for the management API:  {}", key.reveal());
        }
        if let Some(key) = &self.write_key {
            let event = r#"{"event":"Signed Up","userId":"anna"}"#;
            eprintln!(
                "\nSend an event, then look at it:\n\n  curl {url}/v1/track -u {}: \\\n    \
                 -H 'content-type: application/json' -d '{event}'\n  \
                 {} sql --data {} \"SELECT event, user_id, received_at FROM events\"",
                key.reveal(),
                this_program(),
                shell_word(&data.display().to_string()),
            );
        }
        if self.write_key.is_some() || self.api_key.is_some() {
            eprintln!("{rule}");
        }
    }
}

fn given(key: Option<&crate::settings::Private>) -> anyhow::Result<Option<Secret>> {
    key.map(|key| Secret::given(key.reveal()).context("the settings checked this key")).transpose()
}

fn api_key(key: &Secret, clock: &Clock) -> ApiKey {
    crate::api_key::new_api_key(API_KEY.into(), vec![Scope::Admin], None, key, clock)
}

#[cfg(test)]
mod tests {
    use super::*;
    use pipeline::control::sqlite::Sqlite;

    fn settings(environment: &[(&str, &str)]) -> Settings {
        let environment = environment.iter().map(|(name, value)| (name.into(), value.into()));
        Settings::load(None, environment, &[]).unwrap()
    }

    #[tokio::test]
    async fn keys_are_made_at_the_first_start_only() {
        let dir = tempfile::tempdir().unwrap();
        let control = Sqlite::open(&dir.path().join("control.db")).await.unwrap();
        let (settings, clock) = (settings(&[]), Clock::given(5));
        let made = ensure_keys(&control, &settings, &clock).await.unwrap();
        let source = &control.sources().await.unwrap()[0];
        assert_eq!((source.name.as_str(), source.kind), ("default", SourceKind::Server));
        assert_eq!(source.write_key_hash, made.write_key.unwrap().hash());
        assert_eq!(control.api_keys().await.unwrap()[0].hash, made.api_key.unwrap().hash());
        let again = ensure_keys(&control, &settings, &clock).await.unwrap();
        assert!(again.write_key.is_none() && again.api_key.is_none());
    }

    #[tokio::test]
    async fn given_keys_are_taken_at_every_start_and_no_other_is_made() {
        let dir = tempfile::tempdir().unwrap();
        let control = Sqlite::open(&dir.path().join("control.db")).await.unwrap();
        let clock = Clock::given(5);
        let keys =
            [("FLOWSTATE_WRITE_KEY", "write-key-of-a-test"), ("FLOWSTATE_ADMIN_KEY", "admin-key-of-a-test")];
        for _ in 0..2 {
            let made = ensure_keys(&control, &settings(&keys), &clock).await.unwrap();
            assert!(made.write_key.is_none() && made.api_key.is_none());
        }
        assert_eq!(control.sources().await.unwrap().len(), 1);
        let other = settings(&[("FLOWSTATE_WRITE_KEY", "another-write-key-1")]);
        let refused = ensure_keys(&control, &other, &clock).await.unwrap_err().to_string();
        assert!(refused.contains("FLOWSTATE_WRITE_KEY") && !refused.contains("another-write"), "{refused}");
        let other = settings(&[("FLOWSTATE_ADMIN_KEY", "another-admin-key-1")]);
        assert!(ensure_keys(&control, &other, &clock).await.is_err());
    }
}

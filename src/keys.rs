//! `flowstate keys rotate`: seals every credential under a new master key.

use crate::cli::{KeysArgs, KeysCommand};
use crate::output::print;
use crate::serve::{Announcement, delivery};
use crate::settings::Settings;
use anyhow::{Context, bail};
use pipeline::Clock;
use pipeline::connection::{ConnectionStore, Connections};
use pipeline::control::sqlite::Sqlite;
use queries::Conditions;
use std::sync::Arc;
use std::time::Duration;

/// How long a server that may run here has to answer.
const ASK_TIMEOUT: Duration = Duration::from_secs(5);

pub(crate) async fn run(args: KeysArgs) -> anyhow::Result<()> {
    let KeysCommand::Rotate { flags } = args.command;
    let settings = flags.settings()?;
    crate::telemetry::start(&settings);
    refuse_beside_a_server(&settings).await?;
    if !settings.control_path().exists() {
        bail!(
            "there is no Flowstate in `{}`: name another data directory with --data",
            settings.data.display()
        );
    }
    let sqlite = Arc::new(Sqlite::open(&settings.control_path()).await?);
    let rotated = rotate(&settings, &sqlite).await;
    sqlite.close().await;
    print(rotated?)?;
    Ok(())
}

/// A server has the keys in memory; it could not open what is sealed under one that it does not know.
async fn refuse_beside_a_server(settings: &Settings) -> anyhow::Result<()> {
    let Some(server) = Announcement::read(&settings.data)? else { return Ok(()) };
    let asked =
        server.request(reqwest::Method::GET, "/api/v1/integrations")?.timeout(ASK_TIMEOUT).send().await;
    if asked.is_ok_and(|answer| answer.status().is_success()) {
        bail!("the server of process {} uses the keys: stop it, rotate, and start it again", server.pid);
    }
    Ok(())
}

/// Rotates, and says what was done. Whatever ends it half-way, the old key stays and opens everything.
async fn rotate(settings: &Settings, sqlite: &Arc<Sqlite>) -> anyhow::Result<String> {
    let mut keyring = delivery::keyring(settings, sqlite).await?;
    let path = delivery::master_key_path(settings);
    let is_given = settings.master_key.is_some();
    if !is_given {
        keyring.add_key()?;
        keyring.save(&path)?;
    }
    let store: Arc<dyn ConnectionStore> = Arc::clone(sqlite) as _;
    let compiler = Arc::new(Conditions::new()?);
    let connections = Connections::new(store, Arc::new(keyring.clone()), compiler, Clock::system());
    let rewrapped = connections.rewrap().await.context("the old key is still there and opens everything")?;
    let credentials = if rewrapped == 1 { "credential is" } else { "credentials are" };
    let key = keyring.current();
    if is_given {
        return Ok(format!(
            "{rewrapped} {credentials} now sealed under key {key}, the first of FLOWSTATE_MASTER_KEY; the others \
             may be taken away.\n"
        ));
    }
    keyring.keep_current();
    keyring.save(&path)?;
    Ok(format!("{rewrapped} {credentials} now sealed under the new key {key} in `{}`.\n", path.display()))
}

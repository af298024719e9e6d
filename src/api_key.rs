//! `flowstate api-key`: the keys to the management API.

use crate::cli::{ApiKeyArgs, ApiKeyCommand};
use crate::output::print;
use crate::settings::WrongSetting;
use crate::source::{open, tell_server};
use pipeline::control::{ApiKey, Control, Scope, Secret};
use pipeline::event::{format_timestamp, parse_timestamp};
use pipeline::{Clock, Micros};
use std::fmt::Write;

pub(crate) async fn run(args: ApiKeyArgs) -> anyhow::Result<()> {
    match args.command {
        ApiKeyCommand::Add { name, scopes, expires, flags } => {
            let settings = flags.settings()?;
            let clock = Clock::system();
            let expires_at = expires.map(|text| time_to_come(&text, clock.now())).transpose()?;
            let mut scopes: Vec<_> = scopes.iter().filter_map(|word| Scope::parse(word)).collect();
            scopes.sort_unstable();
            scopes.dedup();
            let key = Secret::api_key()?;
            let control = open(&settings, true).await?;
            control.add_api_key(new_api_key(name.clone(), scopes, expires_at, &key, &clock)).await?;
            tell_server(&settings).await;
            control.close().await;
            eprintln!("API key `{name}` was added; it is shown only now:");
            print(format!("{}\n", key.reveal()))?;
        }
        ApiKeyCommand::List { flags } => {
            let control = open(&flags.settings()?, false).await?;
            print(table(&control.api_keys().await?, Clock::system().now())?)?;
            control.close().await;
        }
        ApiKeyCommand::Revoke { name, flags } => {
            let settings = flags.settings()?;
            let control = open(&settings, false).await?;
            control.revoke_api_key(&name).await?;
            tell_server(&settings).await;
            control.close().await;
            eprintln!("API key `{name}` is revoked now");
        }
    }
    Ok(())
}

/// An API key that is not stored yet.
pub(crate) fn new_api_key(
    name: String,
    scopes: Vec<Scope>,
    expires_at: Option<Micros>,
    key: &Secret,
    clock: &Clock,
) -> ApiKey {
    ApiKey {
        name,
        hash: key.hash(),
        prefix: key.prefix(),
        scopes,
        expires_at,
        last_used_at: None,
        created_at: clock.now(),
    }
}

fn time_to_come(text: &str, now: Micros) -> Result<Micros, WrongSetting> {
    parse_timestamp(text).filter(|at| *at > now).ok_or_else(|| {
        WrongSetting::new(format!(
            "`--expires` is `{text}`, and it must be a time to come as RFC 3339, such as `2036-11-23T18:00:00Z`"
        ))
    })
}

fn table(keys: &[ApiKey], now: Micros) -> Result<String, std::fmt::Error> {
    let width = keys.iter().map(|key| key.name.len()).max().unwrap_or(0).max("NAME".len());
    let mut lines =
        format!("{:width$}  KEY              EXPIRES               LAST USED             SCOPES\n", "NAME");
    let second = |at: Option<Micros>| match at {
        Some(at) => format!("{}Z", &format_timestamp(at)[..19]),
        None => "never".to_owned(),
    };
    for key in keys {
        let expires = if key.is_expired(now) { "expired".to_owned() } else { second(key.expires_at) };
        let scopes: Vec<_> = key.scopes.iter().map(|scope| scope.as_str()).collect();
        let (name, prefix, used) = (&key.name, format!("{}…", key.prefix), second(key.last_used_at));
        writeln!(lines, "{name:width$}  {prefix:15}  {expires:20}  {used:20}  {}", scopes.join(" "))?;
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_ends_in_the_time_to_come() {
        assert_eq!(time_to_come("2026-01-15T12:00:00Z", 0).unwrap(), 1_768_478_400_000_000);
        for wrong in ["2026-01-15T12:00:00Z", "tomorrow", ""] {
            let message = time_to_come(wrong, i64::MAX).unwrap_err().to_string();
            assert!(message.contains("--expires") && message.contains(wrong), "{message}");
        }
    }

    #[test]
    fn the_list_shows_no_key_and_says_what_each_may_do() {
        let key = Secret::given("fs_api_0123456789abcdef").unwrap();
        let clock = Clock::given(5);
        let old = new_api_key("ci".into(), vec![Scope::Read, Scope::SourcesWrite], Some(6), &key, &clock);
        let table = table(&[old], 7).unwrap();
        assert!(table.contains("expired") && table.contains("read sources:write"), "{table}");
        assert!(table.contains("fs_api_") && !table.contains(key.reveal()), "{table}");
    }
}

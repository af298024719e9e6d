//! How the text of a setting becomes its value.

use pipeline::Micros;
use pipeline::clock::DAY;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;
use url::Url;

/// Why a text was not taken.
pub(crate) enum Refused {
    /// It is not what the setting allows.
    NotAllowed,
    /// A reason of its own.
    Because(&'static str),
}

/// What taking a text comes to.
pub(crate) type Taken = Result<(), Refused>;

/// How the program writes its own log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object for each line.
    Json,
}

/// A text that is never printed.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Private(String);

impl Private {
    /// The text itself.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Private {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("…")
    }
}

pub(super) fn put<T>(place: &mut T, value: Option<T>) -> Taken {
    *place = value.ok_or(Refused::NotAllowed)?;
    Ok(())
}

pub(super) fn number(text: &str, allowed: RangeInclusive<u64>) -> Option<u64> {
    text.parse().ok().filter(|number| allowed.contains(number))
}

/// Whole days, such as `400d`, in µs.
pub(super) fn days(text: &str) -> Option<Micros> {
    let days = number(text.strip_suffix('d')?, 1..=36_500)?;
    i64::try_from(days).ok().map(|days| days * DAY)
}

/// Seconds, with or without a fraction.
pub(super) fn seconds(text: &str, allowed: RangeInclusive<f64>) -> Option<Duration> {
    text.parse().ok().filter(|seconds| allowed.contains(seconds)).map(Duration::from_secs_f64)
}

/// Bytes: a whole number, alone or with a unit behind it: KiB to TiB, or kB to TB.
pub(super) fn bytes(text: &str, allowed: RangeInclusive<u64>) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit: u64 = match unit.trim_start() {
        "" | "B" => 1,
        "kB" | "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "TB" => 1_000_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(unit).filter(|bytes| allowed.contains(bytes))
}

pub(super) fn path(text: &str) -> Option<PathBuf> {
    (!text.is_empty()).then(|| PathBuf::from(text))
}

pub(super) fn networks(text: &str) -> Option<Vec<ingest::Network>> {
    text.split(',').map(str::trim).filter(|one| !one.is_empty()).map(|one| one.parse().ok()).collect()
}

pub(super) fn private(text: &str) -> Option<Private> {
    (!text.is_empty()).then(|| Private(text.to_owned()))
}

/// A key from outside.
pub(super) fn key(text: &str) -> Option<Private> {
    pipeline::control::Secret::given(text).and_then(|_| private(text))
}

/// Master keys, each of 64 hexadecimal digits.
pub(super) fn master_key(text: &str) -> Option<Private> {
    pipeline::seal::Keyring::parse(text).ok().and_then(|_| private(text))
}

/// A web address with a key as its user name.
pub(super) fn destination(text: &str) -> Option<Private> {
    let url = Url::parse(text).ok()?;
    let web = matches!(url.scheme(), "http" | "https") && url.has_host();
    (web && !url.username().is_empty()).then(|| Private(text.to_owned()))
}

pub(super) fn store(text: &str) -> Result<Url, Refused> {
    match text.split_once("://") {
        None => path(text).and_then(|path| directory_url(&path)).ok_or(Refused::NotAllowed),
        Some(("file", _)) => Url::parse(text)
            .ok()
            .and_then(|url| url.to_file_path().ok())
            .and_then(|path| directory_url(&path))
            .ok_or(Refused::NotAllowed),
        Some(("s3", _)) => Url::parse(text)
            .ok()
            .filter(|url| url.host_str().is_some_and(|bucket| !bucket.is_empty()))
            .filter(|url| url.username().is_empty() && url.port().is_none() && url.query().is_none())
            .ok_or(Refused::NotAllowed),
        Some(_) => Err(Refused::Because(
            "this kind of store is not known; allowed is a path, a file: URL or s3://<bucket>/<prefix>",
        )),
    }
}

pub(super) fn control(text: &str) -> Result<PathBuf, Refused> {
    if text.starts_with("postgres:") || text.starts_with("postgresql:") {
        return Err(Refused::Because(
            "PostgreSQL is not available in this version; allowed is sqlite: and a path",
        ));
    }
    text.strip_prefix("sqlite:").and_then(path).ok_or(Refused::NotAllowed)
}

/// The `file:` URL of a directory, which need not exist.
pub(super) fn directory_url(path: &Path) -> Option<Url> {
    Url::from_directory_path(std::path::absolute(path).ok()?).ok()
}

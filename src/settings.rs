//! Settings: the file `flowstate.toml`, then the environment, then flags; later ones win.
//!
//! [`KNOWN`] lists them all. A wrong setting stops the start and says which, where it was set, what
//! it is and what is allowed.

mod file;
mod known;
#[cfg(test)]
mod tests;
mod values;

pub(crate) use known::{KNOWN, Scope, Setting};
pub(crate) use values::{LogFormat, Private};

use pipeline::clock::HOUR;
use pipeline::log::retention::Limits;
use pipeline::log::store::StoreConfig;
use pipeline::log::{Durability, Promotion};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use url::Url;

/// What the program was told, all of it checked. Each field is described in [`KNOWN`].
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) data: PathBuf,
    pub(crate) listen: SocketAddr,
    pub(crate) store: Option<Url>,
    /// The `AWS_…` variables of the environment.
    pub(crate) store_access: Vec<(String, Private)>,
    pub(crate) control: Option<PathBuf>,
    pub(crate) durability: Durability,
    pub(crate) commit_age: Duration,
    pub(crate) commit_bytes: u64,
    pub(crate) wal_bytes_max: u64,
    pub(crate) dedup_window_h: u64,
    pub(crate) dedup_memory_bytes_max: u64,
    pub(crate) promote_columns: Promotion,
    pub(crate) retention: Limits,
    pub(crate) body_timeout: Duration,
    pub(crate) request_bytes_max: u64,
    pub(crate) rate_limit_source: u64,
    pub(crate) rate_limit_address: u64,
    pub(crate) trusted_proxies: Vec<ingest::Network>,
    pub(crate) tls_certificate: Option<PathBuf>,
    pub(crate) tls_key: Option<PathBuf>,
    pub(crate) forward_to: Option<Private>,
    pub(crate) allow_private_egress: bool,
    pub(crate) master_key: Option<Private>,
    pub(crate) sql_timeout_s: u64,
    pub(crate) sql_memory_bytes_max: u64,
    pub(crate) sql_rows_max: u64,
    pub(crate) log_format: LogFormat,
    pub(crate) log_level: String,
    pub(crate) admin_key: Option<Private>,
    pub(crate) write_key: Option<Private>,
    /// What was set, and where; settings that have their default are not among them.
    pub(crate) told: Vec<Told>,
}

/// A setting's value and where it came from, for people.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    /// The setting.
    pub(crate) name: &'static str,
    /// Its value; never a secret.
    pub(crate) shown: String,
    /// Where it was set.
    pub(crate) place: String,
}

/// A setting that cannot be used; the message says which and what is allowed.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct WrongSetting(String);

impl WrongSetting {
    /// A setting that turned out to be wrong in use, such as a file that cannot be read.
    pub(crate) fn new(message: String) -> Self {
        Self(message)
    }
}

/// Where a value came from.
#[derive(Clone, Debug)]
enum Origin {
    File(PathBuf),
    Environment,
    Flag,
}

/// The text of each setting that was set, by name, with its origin.
type Texts = BTreeMap<&'static str, (String, Origin)>;

/// The file that is read when none is named, if it is there.
const FILE: &str = "flowstate.toml";

impl Settings {
    /// Reads the file, then `environment`, then `flags` (by setting name), and checks everything.
    ///
    /// # Errors
    /// For the first setting that is wrong.
    pub(crate) fn load(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
        flags: &[(&'static str, String)],
    ) -> Result<Self, WrongSetting> {
        let mut texts = Texts::new();
        match file {
            Some(path) => file::read(path, &mut texts)?,
            None if Path::new(FILE).exists() => file::read(Path::new(FILE), &mut texts)?,
            None => {}
        }
        let mut access = Vec::new();
        read_environment(environment, &mut texts, &mut access)?;
        for (name, text) in flags {
            texts.insert(name, (text.clone(), Origin::Flag));
        }
        Ok(Self { store_access: access, ..Self::from_texts(&texts)? })
    }

    /// Where the tables lie, and how that is reached.
    pub(crate) fn store(&self) -> Result<StoreConfig, WrongSetting> {
        let url = match &self.store {
            Some(url) => url.clone(),
            None => values::directory_url(&self.data.join("tables"))
                .ok_or_else(|| WrongSetting(format!("`{}` is no path for tables", self.data.display())))?,
        };
        let access = self.store_access.iter().map(|(name, value)| (name.clone(), value.reveal().to_owned()));
        Ok(StoreConfig { url, access: access.collect() })
    }

    /// A directory or bucket that is named beside the settings, reached as the store is.
    pub(crate) fn place(&self, text: &str) -> Result<StoreConfig, WrongSetting> {
        let url = values::store(text).map_err(|_| {
            WrongSetting(format!(
                "`{text}` is no place: allowed is a path, a file: URL or s3://<bucket>/<prefix>"
            ))
        })?;
        Ok(StoreConfig { url, ..self.store()? })
    }

    /// The file of the control store.
    pub(crate) fn control_path(&self) -> PathBuf {
        self.control.clone().unwrap_or_else(|| self.data.join("control.db"))
    }

    fn from_texts(texts: &Texts) -> Result<Self, WrongSetting> {
        let mut settings = Self::unset();
        for setting in KNOWN {
            if !setting.default.is_empty() {
                let outcome = (setting.set)(&mut settings, setting.default);
                outcome.map_err(|_| WrongSetting(format!("the default of `{}` is wrong", setting.name)))?;
            }
            if let Some((text, origin)) = texts.get(setting.name) {
                (setting.set)(&mut settings, text).map_err(|why| setting.wrong(text, origin, why))?;
                let shown = if setting.secret { "a secret that is not shown" } else { text };
                let place = format!("set {}", setting.place(origin));
                settings.told.push(Told { name: setting.name, shown: shown.to_owned(), place });
            }
        }
        settings.check_together()?;
        Ok(settings)
    }

    fn check_together(&self) -> Result<(), WrongSetting> {
        let wrong = |message: &str| Err(WrongSetting(message.to_owned()));
        if self.tls_certificate.is_some() != self.tls_key.is_some() {
            return wrong("settings `tls_certificate` and `tls_key` belong together: set both or neither");
        }
        if self.commit_bytes > self.wal_bytes_max / 2 {
            return wrong("setting `commit_bytes` is over half of `wal_bytes_max`: allowed is at most half");
        }
        self.check_retention()
    }

    fn check_retention(&self) -> Result<(), WrongSetting> {
        let Limits { events, rejected, receipts, .. } = self.retention;
        let window = i64::try_from(self.dedup_window_h).unwrap_or(i64::MAX).saturating_mul(HOUR);
        if events.is_some_and(|events| events < window) {
            return Err(WrongSetting(format!(
                "setting `retention_events` is shorter than `dedup_window_h`, which is {} hours: the ids that tell \
                 repeats are found in the events when their index is made anew; allowed is at least {}d",
                self.dedup_window_h,
                self.dedup_window_h.div_ceil(24)
            )));
        }
        let kept = |limit: Option<i64>| limit.unwrap_or(i64::MAX);
        for (name, limit) in [("retention_events", events), ("retention_rejected", rejected)] {
            if kept(receipts) < kept(limit) {
                let longer = if limit.is_some() { "is longer" } else { "is not set, which keeps for ever" };
                return Err(WrongSetting(format!(
                    "setting `retention_receipts` is set and `{name}` {longer}: receipts account for what they \
                     came with, so allowed is at least as long as that"
                )));
            }
        }
        Ok(())
    }

    /// Nothing is set yet; every default is applied from [`KNOWN`], which a test checks.
    fn unset() -> Self {
        Self {
            data: PathBuf::new(),
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            store: None,
            store_access: Vec::new(),
            control: None,
            durability: Durability::Local,
            commit_age: Duration::ZERO,
            commit_bytes: 0,
            wal_bytes_max: 0,
            dedup_window_h: 0,
            dedup_memory_bytes_max: 0,
            promote_columns: Promotion::Automatic,
            retention: Limits::default(),
            body_timeout: Duration::ZERO,
            request_bytes_max: 0,
            rate_limit_source: 0,
            rate_limit_address: 0,
            trusted_proxies: Vec::new(),
            tls_certificate: None,
            tls_key: None,
            forward_to: None,
            allow_private_egress: false,
            master_key: None,
            sql_timeout_s: 0,
            sql_memory_bytes_max: 0,
            sql_rows_max: 0,
            log_format: LogFormat::Text,
            log_level: String::new(),
            admin_key: None,
            write_key: None,
            told: Vec::new(),
        }
    }
}

impl Setting {
    fn place(&self, origin: &Origin) -> String {
        match origin {
            Origin::File(path) => format!("in `{}`", path.display()),
            Origin::Environment => format!("in the environment as `{}`", self.variable()),
            Origin::Flag => format!("by `--{}`", self.flag_name()),
        }
    }

    fn wrong(&self, text: &str, origin: &Origin, why: values::Refused) -> WrongSetting {
        let (name, value) = (self.name, if self.secret { "a secret that is not shown" } else { text });
        let place = self.place(origin);
        let reason = match why {
            values::Refused::NotAllowed => format!("allowed is {}", self.allowed),
            values::Refused::Because(reason) => reason.to_owned(),
        };
        WrongSetting(format!("setting `{name}`, set {place}, is `{value}`: {reason}"))
    }
}

/// Takes `FLOWSTATE_…` variables. An empty one counts as not set, as compose files write it; an
/// unknown one is passed over, because Kubernetes makes such variables for a service of our name.
/// `AWS_…` variables say how a bucket is reached, as everywhere.
fn read_environment(
    environment: impl IntoIterator<Item = (OsString, OsString)>,
    texts: &mut Texts,
    access: &mut Vec<(String, Private)>,
) -> Result<(), WrongSetting> {
    for (variable, text) in environment {
        if let (Some(name), Some(value)) = (variable.to_str(), text.to_str())
            && name.starts_with("AWS_")
        {
            access.extend(values::private(value).map(|value| (name.to_owned(), value)));
            continue;
        }
        let Some(setting) = KNOWN.iter().find(|setting| variable == *setting.variable()) else {
            continue;
        };
        let text = text.into_string().map_err(|_| {
            WrongSetting(format!("`{}` in the environment is not valid UTF-8", setting.variable()))
        })?;
        if !text.is_empty() {
            texts.insert(setting.name, (text, Origin::Environment));
        }
    }
    Ok(())
}

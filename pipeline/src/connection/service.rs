//! How connections are made and changed: everything is checked first, and every credential sealed.

mod error;
mod generate;
mod replays;
mod states;

pub use error::ConnectionError;

use super::{Change, Connection, ConnectionStore, Credential, Mistake, Routing, State, Summary};
use crate::Clock;
use crate::condition::Compiler;
use crate::control::Secret;
use crate::egress::HostMap;
use crate::seal::{Keyring, SealError, Sealed};
use crate::vendor::{self, Checked, Vendor};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The one place where connections are made and changed, and where credentials are opened.
pub struct Connections {
    store: Arc<dyn ConnectionStore>,
    keyring: Arc<Keyring>,
    compiler: Arc<dyn Compiler>,
    clock: Clock,
    /// One change at a time, as a change is checked together with what stays.
    changing: tokio::sync::Mutex<()>,
}

/// What a person enters for a new connection. It has no `Debug`, as the credentials are in the clear.
pub struct Entered {
    /// The name of the vendor.
    pub vendor: String,
    /// A name for the connection.
    pub name: String,
    /// The settings, by the names of the vendor's facts.
    pub settings: Map<String, Value>,
    /// The credentials, by the names of the vendor's facts.
    pub credentials: BTreeMap<String, String>,
    /// Other addresses for hosts of the vendor.
    pub hosts: BTreeMap<String, String>,
    /// The routing as JSON.
    pub routing: Value,
}

/// What a person changes about a connection; what is `None` or not named stays. It has no `Debug`, as
/// the credentials are in the clear.
#[derive(Default)]
pub struct Edit {
    /// Another name.
    pub name: Option<String>,
    /// Settings by name; null takes one away.
    pub settings: Map<String, Value>,
    /// Credentials by name; `None` takes one away.
    pub credentials: BTreeMap<String, Option<String>>,
    /// All other addresses for hosts anew.
    pub hosts: Option<BTreeMap<String, String>>,
    /// The routing anew, as JSON.
    pub routing: Option<Value>,
}

/// A connection that was just made or changed. It has no `Debug`, as generated credentials are in the clear.
pub struct Made {
    /// The connection.
    pub connection: Connection,
    /// The credentials that the server made, by name: to be shown now and never again.
    pub generated: BTreeMap<String, String>,
}

impl Connections {
    /// Connections of this store, sealed under the keys of this keyring.
    pub fn new(
        store: Arc<dyn ConnectionStore>,
        keyring: Arc<Keyring>,
        compiler: Arc<dyn Compiler>,
        clock: Clock,
    ) -> Self {
        Self { store, keyring, compiler, clock, changing: tokio::sync::Mutex::default() }
    }

    /// Where they are kept.
    pub fn store(&self) -> &dyn ConnectionStore {
        &*self.store
    }

    /// Makes a connection, as a draft. Credentials that are not entered and that the server can make
    /// are made.
    ///
    /// # Errors
    /// [`ConnectionError::Wrong`] with every mistake, [`ConnectionError::NotAvailable`] when nothing
    /// can be sent to the vendor yet, and [`crate::control::ControlError::Exists`] when the name is
    /// taken.
    pub async fn create(&self, entered: Entered) -> Result<Made, ConnectionError> {
        let vendor = known_vendor(&entered.vendor)?;
        if vendor.outbound.state != vendor::State::Works {
            return Err(ConnectionError::NotAvailable { vendor: vendor.label.clone(), works: working() });
        }
        let mut credentials = entered.credentials;
        let generated = generate::missing(vendor, &mut credentials)?;
        let mut mistakes = check_name(&entered.name);
        let checked = vendor
            .check(&entered.settings, &credentials)
            .map_err(|errors| into_mistakes(errors, &mut mistakes));
        mistakes.extend(check_hosts(vendor, &entered.hosts));
        let routing = Routing::parse(&entered.routing, &*self.compiler).map_err(|all| mistakes.extend(all));
        let (Ok(Checked { settings, credentials }), Ok(routing), true) =
            (checked, routing, mistakes.is_empty())
        else {
            return Err(ConnectionError::Wrong(mistakes));
        };

        let now = self.clock.now();
        let id = generate::id("con_", now)?;
        let sealed = credentials.iter().map(|(name, text)| Ok((name.clone(), self.seal(&id, name, text)?)));
        let connection = Connection {
            name: entered.name.trim().to_owned(),
            vendor: entered.vendor,
            settings,
            hosts: entered.hosts,
            routing,
            credentials: sealed.collect::<Result<_, ConnectionError>>()?,
            state: State::Draft,
            reason: None,
            version: 1,
            start: None,
            last_check: None,
            created_at: now,
            updated_at: now,
            id,
        };
        self.store.add_connection(&connection).await?;
        Ok(Made { connection, generated })
    }

    /// Changes a connection. New credentials for a held connection enable it. Taking away a credential
    /// that the server can make makes another.
    ///
    /// # Errors
    /// As [`Connections::create`]; and [`crate::control::ControlError::Unknown`] when there is no such
    /// connection.
    pub async fn update(&self, id: &str, edit: Edit) -> Result<Made, ConnectionError> {
        let _alone = self.changing.lock().await;
        let connection = self.store.connection(id).await?;
        let vendor = known_vendor(&connection.vendor)?;
        let mut mistakes = edit.name.as_deref().map(check_name).unwrap_or_default();
        let hosts = edit.hosts.as_ref();
        mistakes.extend(hosts.map(|hosts| check_hosts(vendor, hosts)).unwrap_or_default());
        let routing = edit.routing.map(|routing| Routing::parse(&routing, &*self.compiler)).transpose();
        let routing = routing.map_err(|all| mistakes.extend(all)).unwrap_or_default();
        let mut change = Change {
            name: edit.name.map(|name| name.trim().to_owned()),
            hosts: edit.hosts,
            routing,
            ..Change::default()
        };
        let mut generated = BTreeMap::new();

        if !edit.settings.is_empty() || !edit.credentials.is_empty() {
            let mut settings = connection.settings.clone();
            settings.extend(edit.settings);
            let mut credentials = self.open_but(&connection, |name| edit.credentials.contains_key(name))?;
            let entered = edit.credentials.iter();
            credentials.extend(entered.filter_map(|(name, text)| Some((name.clone(), text.clone()?))));
            generated = generate::missing(vendor, &mut credentials)?;
            match vendor.check(&settings, &credentials) {
                Err(errors) => into_mistakes(errors, &mut mistakes),
                Ok(checked) => {
                    change.settings = Some(checked.settings);
                    let named: BTreeSet<_> = edit.credentials.keys().chain(generated.keys()).collect();
                    for name in named {
                        match checked.credentials.get(name) {
                            Some(text) => {
                                let sealed = self.seal(id, name, text)?;
                                change.credentials.insert(name.clone(), sealed);
                            }
                            None => change.forget.push(name.clone()),
                        }
                    }
                }
            }
        }
        if !mistakes.is_empty() {
            return Err(ConnectionError::Wrong(mistakes));
        }
        if change == Change::default() {
            return Ok(Made { connection, generated });
        }
        let connection = self.store.change_connection(id, change, self.clock.now()).await?;
        Ok(Made { connection, generated })
    }

    /// The credentials of a connection in the clear: for the moment in which they are used.
    ///
    /// # Errors
    /// [`ConnectionError::Sealed`] when the keyring cannot open them.
    pub fn open_credentials(
        &self,
        connection: &Connection,
    ) -> Result<BTreeMap<String, Secret>, ConnectionError> {
        let opened = self.open_but(connection, |_| false)?;
        Ok(opened.into_iter().map(|(name, text)| (name, Secret::credential(text))).collect())
    }

    /// Seals all credentials anew that are not sealed under the current master key, and says how many:
    /// the middle of a rotation, see [`crate::seal`].
    ///
    /// # Errors
    /// [`ConnectionError::Sealed`] when one of them needs a key that is not at hand.
    pub async fn rewrap(&self) -> Result<usize, ConnectionError> {
        let _alone = self.changing.lock().await;
        let mut rewrapped = 0;
        for connection in self.store.connections().await? {
            for (name, credential) in &connection.credentials {
                let sealed = Sealed::from_bytes(credential.sealed.clone())?;
                if let Some(anew) = self.keyring.rewrap(&sealed)? {
                    let (old, new) = (&credential.sealed, anew.as_bytes());
                    self.store.reseal(&connection.id, name, old, new).await?;
                    rewrapped += 1;
                }
            }
        }
        Ok(rewrapped)
    }

    /// The credentials in the clear but for those that are left out.
    fn open_but(
        &self,
        connection: &Connection,
        left_out: impl Fn(&str) -> bool,
    ) -> Result<BTreeMap<String, String>, ConnectionError> {
        let wanted = connection.credentials.iter().filter(|(name, _)| !left_out(name));
        wanted
            .map(|(name, credential)| {
                let sealed = Sealed::from_bytes(credential.sealed.clone())?;
                let context = context(&connection.id, name);
                let opened = self.keyring.open(&context, &sealed)?;
                let text = std::str::from_utf8(opened.reveal());
                let text = text.map_err(|_| SealError::DamagedOrMisplaced(context))?;
                Ok((name.clone(), text.to_owned()))
            })
            .collect()
    }

    fn seal(&self, id: &str, name: &str, text: &str) -> Result<Credential, ConnectionError> {
        let sealed = self.keyring.seal(&context(id, name), text.as_bytes())?;
        let summary = Summary::of(text, self.clock.now());
        Ok(Credential { sealed: sealed.as_bytes().to_vec(), summary })
    }
}

/// What a credential is sealed for, so that it cannot be moved to another connection or field.
fn context(id: &str, name: &str) -> String {
    format!("connection/{id}/{name}")
}

/// The names of the vendors that events can be sent to today.
fn working() -> Vec<&'static str> {
    let works = |vendor: &&Vendor| vendor.outbound.state == vendor::State::Works;
    vendor::all().iter().filter(works).map(|vendor| vendor.name.as_str()).collect()
}

fn known_vendor(name: &str) -> Result<&'static Vendor, ConnectionError> {
    vendor::named(name).ok_or_else(|| {
        let names: Vec<_> = vendor::all().iter().map(|vendor| format!("`{}`", vendor.name)).collect();
        let rule = format!("must be one of {}", names.join(", "));
        ConnectionError::Wrong(vec![Mistake::new("vendor", rule, working().first().copied().unwrap_or(""))])
    })
}

fn check_name(name: &str) -> Vec<Mistake> {
    let length = name.trim().chars().count();
    if (1..=Connection::NAME_MAX).contains(&length) && !name.contains(char::is_control) {
        return Vec::new();
    }
    let rule = format!("must be 1 to {} characters in one line", Connection::NAME_MAX);
    vec![Mistake::new("name", rule, "Marketing")]
}

fn check_hosts(vendor: &Vendor, hosts: &BTreeMap<String, String>) -> Vec<Mistake> {
    const EXAMPLE: &str = "http://127.0.0.1:8900";
    let mut mistakes = Vec::new();
    for (name, address) in hosts {
        let shown: String = name.chars().take(80).collect();
        let field = format!("hosts.{shown}");
        // A name with a word in braces stands for many hosts, so that others cannot be ruled out.
        let known = |host: &vendor::Host| host.name == *name || host.name.contains('{');
        if name != "*" && !vendor.hosts.iter().any(known) {
            let names = vendor.hosts.iter().map(|host| host.name.as_str()).chain(["*"]);
            let names: Vec<_> = names.map(|name| format!("`{name}`")).collect();
            let rule = format!("is no host of the vendor, allowed are {}", names.join(", "));
            mistakes.push(Mistake::new(field, rule, EXAMPLE));
        } else if let Err(error) = HostMap::parse(&BTreeMap::from([(name.clone(), address.clone())])) {
            mistakes.push(Mistake::new(field, format!("cannot be used: {error}"), EXAMPLE));
        }
    }
    mistakes
}

fn into_mistakes(errors: Vec<vendor::FieldError>, mistakes: &mut Vec<Mistake>) {
    mistakes.extend(errors.into_iter().map(|error| Mistake::new(error.field, error.rule, error.example)));
}

#[cfg(test)]
mod tests;

//! All settings, one entry for each.

use super::Settings;
use super::values::{self, LogFormat, Refused, Taken, bytes, number, put, seconds};
use pipeline::log::{Durability, Promotion};

/// One setting.
pub(crate) struct Setting {
    /// The name in the file; `FLOWSTATE_` and the name in capitals is its variable.
    pub(crate) name: &'static str,
    /// What it does, in a sentence; the unit where there is one.
    pub(crate) doc: &'static str,
    /// The text that holds when nothing is set; empty for none.
    pub(crate) default: &'static str,
    /// What may be set, to stand behind "allowed is".
    pub(crate) allowed: &'static str,
    /// Which commands take it as a flag.
    pub(crate) scope: Scope,
    /// Whether its value must never be shown.
    pub(crate) secret: bool,
    pub(super) set: fn(&mut Settings, &str) -> Taken,
}

/// Which commands take a setting as a flag.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Every command.
    Everywhere,
    /// Commands that run a server.
    Server,
    /// None: a flag would show in the list of processes.
    NoFlag,
}

impl Setting {
    /// Its variable in the environment.
    pub(crate) fn variable(&self) -> String {
        format!("FLOWSTATE_{}", self.name.to_ascii_uppercase())
    }

    /// Its flag, without the dashes in front.
    pub(crate) fn flag_name(&self) -> String {
        self.name.replace('_', "-")
    }
}

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const TIB: u64 = 1 << 40;

const fn setting(
    name: &'static str,
    scope: Scope,
    default: &'static str,
    doc: &'static str,
    allowed: &'static str,
    set: fn(&mut Settings, &str) -> Taken,
) -> Setting {
    Setting { name, doc, default, allowed, scope, secret: false, set }
}

const fn secret(setting: Setting) -> Setting {
    Setting { secret: true, ..setting }
}

/// All settings, in the order of the help.
pub(crate) const KNOWN: &[Setting] = &[
    setting(
        "data",
        Scope::Everywhere,
        "./flowstate-data",
        "Directory of the write-ahead log and the control store; one server at a time",
        "a path",
        |s, text| put(&mut s.data, values::path(text)),
    ),
    setting(
        "store",
        Scope::Everywhere,
        "",
        "Where the Delta tables lie; <data>/tables when not set. A bucket is reached as AWS_ACCESS_KEY_ID, \
         AWS_SECRET_ACCESS_KEY, AWS_REGION and AWS_ENDPOINT_URL say",
        "a path, a file: URL or s3://<bucket>/<prefix>",
        |s, text| values::store(text).map(|url| s.store = Some(url)),
    ),
    setting(
        "control",
        Scope::Everywhere,
        "",
        "The control store: sources, keys, cursors; sqlite:<data>/control.db when not set",
        "sqlite: and a path",
        |s, text| values::control(text).map(|path| s.control = Some(path)),
    ),
    setting(
        "listen",
        Scope::Server,
        "127.0.0.1:8080",
        "Address and port to listen on; port 0 takes a free one",
        "an IP address and a port, such as 127.0.0.1:8080 or [::]:8080",
        |s, text| put(&mut s.listen, text.parse().ok()),
    ),
    setting(
        "tls_certificate",
        Scope::Server,
        "",
        "PEM file of the certificate chain; with `tls_key`, the server speaks HTTPS. Renewed \
         files are taken over while it runs",
        "a path to a PEM file",
        |s, text| put(&mut s.tls_certificate, values::path(text).map(Some)),
    ),
    setting(
        "tls_key",
        Scope::Server,
        "",
        "PEM file of the certificate's private key",
        "a path to a PEM file",
        |s, text| put(&mut s.tls_key, values::path(text).map(Some)),
    ),
    setting(
        "trusted_proxies",
        Scope::Server,
        "",
        "Whose X-Forwarded-For is believed, separated by commas",
        "a list of addresses and networks, such as 10.0.0.1,192.168.0.0/16",
        |s, text| put(&mut s.trusted_proxies, values::networks(text)),
    ),
    setting(
        "rate_limit_source",
        Scope::Server,
        "0",
        "Events per second that one source may send; beyond it requests are answered 429. 0 is no limit",
        "0 to 1000000",
        |s, text| put(&mut s.rate_limit_source, number(text, 0..=1_000_000)),
    ),
    setting(
        "rate_limit_address",
        Scope::Server,
        "0",
        "Requests per second that one address may send; beyond it they are answered 429. 0 is no limit",
        "0 to 1000000",
        |s, text| put(&mut s.rate_limit_address, number(text, 0..=1_000_000)),
    ),
    secret(setting(
        "forward_to",
        Scope::Server,
        "",
        "The destination of all events, such as https://WRITE_KEY@api.segment.io; rather set it in \
         the environment, as flags show in the list of processes",
        "an http or https URL with a write key as its user name",
        |s, text| put(&mut s.forward_to, values::destination(text).map(Some)),
    )),
    setting(
        "allow_private_egress",
        Scope::Server,
        "false",
        "Lets requests to vendors go to private addresses, over http, and to the `hosts` of a connection: \
         for development and tests",
        "true or false",
        |s, text| put(&mut s.allow_private_egress, text.parse().ok()),
    ),
    setting(
        "durability",
        Scope::Server,
        "local",
        "When an event is acknowledged: synced to the local disk, or stored as an object, too, so that it \
         survives the loss of the machine (see `flowstate adopt`)",
        "local or object",
        |s, text| {
            let durability = match text {
                "local" => Some(Durability::Local),
                "object" => Some(Durability::Object),
                _ => None,
            };
            put(&mut s.durability, durability)
        },
    ),
    setting(
        "commit_age_s",
        Scope::Server,
        "5",
        "Seconds after which new events are committed to the tables",
        "0.01 to 3600",
        |s, text| put(&mut s.commit_age, seconds(text, 0.01..=3600.0)),
    ),
    setting(
        "commit_bytes",
        Scope::Server,
        "32MiB",
        "Bytes of new events after which they are committed at once",
        "1KiB to 1GiB",
        |s, text| put(&mut s.commit_bytes, bytes(text, KIB..=GIB)),
    ),
    setting(
        "wal_bytes_max",
        Scope::Server,
        "8GiB",
        "Bytes the write-ahead log may take; beyond it requests are answered 503",
        "16MiB to 16TiB",
        |s, text| put(&mut s.wal_bytes_max, bytes(text, 16 * MIB..=16 * TIB)),
    ),
    setting(
        "dedup_window_h",
        Scope::Server,
        "168",
        "Hours for which a message id is remembered, so that a repeat is not stored again",
        "1 to 8760",
        |s, text| put(&mut s.dedup_window_h, number(text, 1..=8760)),
    ),
    setting(
        "dedup_memory_bytes_max",
        Scope::Server,
        "128MiB",
        "Bytes of memory for finding repeats",
        "1MiB to 64GiB",
        |s, text| put(&mut s.dedup_memory_bytes_max, bytes(text, MIB..=64 * GIB)),
    ),
    setting(
        "promote_columns",
        Scope::Server,
        "automatic",
        "Which properties get columns of their own in `events`: those that more than one in a hundred rows of an \
         event have, and pinned ones, or pinned ones only (see `flowstate column`). Columns that there are stay",
        "automatic or pinned",
        |s, text| {
            let promotion = match text {
                "automatic" => Some(Promotion::Automatic),
                "pinned" => Some(Promotion::Pinned),
                _ => None,
            };
            put(&mut s.promote_columns, promotion)
        },
    ),
    setting(
        "retention_events",
        Scope::Server,
        "",
        "How long events are kept, by the day they were received; for ever when not set. Destinations \
         that are enabled get them first. No shorter than `dedup_window_h`; see `flowstate retention`",
        DAYS,
        |s, text| put(&mut s.retention.events, values::days(text).map(Some)),
    ),
    setting(
        "retention_rejected",
        Scope::Server,
        "",
        "How long rejected events are kept; for ever when not set",
        DAYS,
        |s, text| put(&mut s.retention.rejected, values::days(text).map(Some)),
    ),
    setting(
        "retention_receipts",
        Scope::Server,
        "",
        "How long receipts are kept, which account for every item; for ever when not set. No shorter \
         than `retention_events` and `retention_rejected`",
        DAYS,
        |s, text| put(&mut s.retention.receipts, values::days(text).map(Some)),
    ),
    setting(
        "retention_deliveries",
        Scope::Server,
        "",
        "How long it is kept what became of events at destinations; for ever when not set",
        DAYS,
        |s, text| put(&mut s.retention.deliveries, values::days(text).map(Some)),
    ),
    setting(
        "body_timeout_s",
        Scope::Server,
        "30",
        "Seconds for a request's whole body to arrive; then it is answered 408",
        "0.1 to 3600",
        |s, text| put(&mut s.body_timeout, seconds(text, 0.1..=3600.0)),
    ),
    setting(
        "request_bytes_max",
        Scope::Server,
        "4MiB",
        "Bytes of one request's body, after decompression",
        "64KiB to 64MiB",
        |s, text| put(&mut s.request_bytes_max, bytes(text, 64 * KIB..=64 * MIB)),
    ),
    setting(
        "sql_timeout_s",
        Scope::Everywhere,
        "60",
        "Seconds after which a query is stopped",
        "1 to 86400",
        |s, text| put(&mut s.sql_timeout_s, number(text, 1..=86_400)),
    ),
    setting(
        "sql_memory_bytes_max",
        Scope::Everywhere,
        "256MiB",
        "Bytes of memory for all queries together; beyond it they spill to disk or fail",
        "16MiB to 1TiB",
        |s, text| put(&mut s.sql_memory_bytes_max, bytes(text, 16 * MIB..=TIB)),
    ),
    setting(
        "sql_rows_max",
        Scope::Everywhere,
        "100000",
        "Rows that one query may answer",
        "1 to 1000000000",
        |s, text| put(&mut s.sql_rows_max, number(text, 1..=1_000_000_000)),
    ),
    setting(
        "log_format",
        Scope::Everywhere,
        "text",
        "How the program's own log is written to standard error",
        "text or json",
        |s, text| {
            let format = match text {
                "text" => Some(LogFormat::Text),
                "json" => Some(LogFormat::Json),
                _ => None,
            };
            put(&mut s.log_format, format)
        },
    ),
    setting(
        "log_level",
        Scope::Everywhere,
        "info",
        "How much of it is written",
        "error, warn, info, debug or trace",
        |s, text| {
            if !["error", "warn", "info", "debug", "trace"].contains(&text) {
                return Err(Refused::NotAllowed);
            }
            s.log_level = text.to_owned();
            Ok(())
        },
    ),
    secret(setting(
        "master_key",
        Scope::NoFlag,
        "",
        "Keys that credentials are sealed under, the current one first; without it, one is kept in \
         <data>/master.key",
        "64 hexadecimal digits, as `openssl rand -hex 32` prints them; several are separated by spaces",
        |s, text| put(&mut s.master_key, values::master_key(text).map(Some)),
    )),
    secret(setting(
        "admin_key",
        Scope::NoFlag,
        "",
        "An API key that the server shall know; without one, the first start makes one and prints it. \
         While it is set, revoking that key holds until the next start only",
        KEY,
        |s, text| put(&mut s.admin_key, values::key(text).map(Some)),
    )),
    secret(setting(
        "write_key",
        Scope::NoFlag,
        "",
        "The write key of the source `default`; without one, the first start makes one and prints it",
        KEY,
        |s, text| put(&mut s.write_key, values::key(text).map(Some)),
    )),
];

const DAYS: &str = "a number of days such as 400d, from 1d to 36500d";
const KEY: &str = "a key of 16 to 200 visible ASCII characters without colons";

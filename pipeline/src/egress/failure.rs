//! What went wrong on the way, in the words of [`Class`] and in one line for people.

use super::{HttpError, Refused};
use crate::delivery::Class;
use std::error::Error;
use std::io;

/// The longest detail, in bytes: causes may quote what the other side sent.
const DETAIL_BYTES_MAX: usize = 600;

/// Names an error of the client. `origin` is scheme, host and port of the URL; path and query may
/// hold secrets and are never shown.
pub(super) fn classify(error: reqwest::Error, origin: &str) -> HttpError {
    let error = error.without_url();
    let class = class(&error, origin.starts_with("https:"));
    let what = match class {
        Class::BlockedEgress => {
            let refused = causes(&error).find_map(|cause| cause.downcast_ref::<Refused>());
            let why = refused.map_or_else(|| chain(&error), ToString::to_string);
            return blocked(origin, &why);
        }
        Class::NetworkDns => "the host name was not found; check its spelling and this machine's DNS",
        Class::NetworkConnect => {
            "no connection, so nothing was sent; check that the host is up and that a firewall lets this \
             machine reach it"
        }
        Class::NetworkTls => {
            "no secured connection, so nothing was sent; check the host's certificate and that the port \
             speaks https"
        }
        Class::Timeout => "no whole answer in time; the request may have been taken",
        _ => "the connection broke before the whole answer; the request may have been taken",
    };
    HttpError { class, detail: one_line(&format!("`{origin}`: {what}: {}", chain(&error))) }
}

/// The error for a request that is not sent at all.
pub(super) fn blocked(origin: &str, why: &str) -> HttpError {
    HttpError { class: Class::BlockedEgress, detail: one_line(&format!("`{origin}` is refused: {why}")) }
}

fn class(error: &reqwest::Error, secured: bool) -> Class {
    if error.is_builder() || causes(error).any(|cause| cause.is::<Refused>()) {
        return Class::BlockedEgress;
    }
    if error.is_dns() {
        return Class::NetworkDns;
    }
    if error.is_connect() {
        // The TLS layer wraps its errors; those of the socket come bare from the system.
        let mut sockets = causes(error).filter_map(|cause| cause.downcast_ref::<io::Error>());
        let wrapped = sockets.any(|error| error.get_ref().is_some());
        return if secured && wrapped && !error.is_timeout() {
            Class::NetworkTls
        } else {
            Class::NetworkConnect
        };
    }
    if error.is_timeout() { Class::Timeout } else { Class::NetworkReset }
}

fn causes(error: &reqwest::Error) -> impl Iterator<Item = &(dyn Error + 'static)> {
    std::iter::successors(error.source(), |&cause| cause.source())
}

/// The causes from the outermost to the innermost, without those that only repeat another.
fn chain(error: &reqwest::Error) -> String {
    let mut told = String::new();
    for cause in causes(error).map(ToString::to_string) {
        if !told.contains(&cause) {
            told.push_str(if told.is_empty() { "" } else { ": " });
            told.push_str(&cause);
        }
    }
    if told.is_empty() { error.to_string() } else { told }
}

fn one_line(text: &str) -> String {
    let mut line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    line.truncate(line.floor_char_boundary(DETAIL_BYTES_MAX));
    line
}

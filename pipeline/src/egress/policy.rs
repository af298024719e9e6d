//! What may be sent where.

use super::address::{Open, range};
use std::net::IpAddr;
use url::{Host, Url};

/// Ports of services that expect no web request: file, mail, login and name services, databases,
/// queues, caches and cluster managers.
const INTERNAL_PORTS: [u16; 62] = [
    0, 7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 53, 69, 79, 110, 111, 119, 123, 135, 137, 139,
    143, 161, 179, 389, 445, 465, 512, 513, 514, 587, 636, 873, 993, 995, 1433, 1521, 2049, 2181, 2375, 2376,
    2379, 2380, 3306, 3389, 4222, 5432, 5672, 5900, 6000, 6379, 6443, 9042, 9092, 9200, 9300, 10250, 11211,
];
/// MongoDB's.
const INTERNAL_PORTS_MONGO: std::ops::RangeInclusive<u16> = 27017..=27019;

const EXAMPLE: &str = "such as `https://example.com/events`";

/// Which addresses requests may go to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// Public ones, over `https`.
    Public,
    /// Those of private networks and of this machine too, and over `http`: for development and
    /// tests. Link-local, metadata, multicast and reserved addresses stay closed.
    PrivateToo,
}

/// Why nothing is sent to an address, and what would be allowed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refused(pub(super) String);

impl Policy {
    /// Checks what a URL says by itself: scheme, user name, port, and an address in place of a host
    /// name. What a host name stands for is checked whenever a connection is made.
    ///
    /// # Errors
    /// Says what is wrong and what is allowed, for the person who typed the URL. It shows no path
    /// and no query.
    pub fn check_url(self, url: &Url) -> Result<(), Refused> {
        match (url.scheme(), self) {
            ("https", _) | ("http", Self::PrivateToo) => {}
            ("http", Self::Public) => {
                return refuse(format!(
                    "the address begins with `http://`: it must begin with `https://`, {EXAMPLE} \
                     (`--allow-private-egress` allows `http://` for development)"
                ));
            }
            (scheme, _) => {
                return refuse(format!(
                    "the address begins with `{scheme}:`: it must begin with `https://`, {EXAMPLE}"
                ));
            }
        }
        if !url.username().is_empty() || url.password().is_some() {
            return refuse(format!(
                "the address has a user name or password before its host: leave them out, {EXAMPLE}"
            ));
        }
        let port = url.port_or_known_default().unwrap_or(0);
        if INTERNAL_PORTS.contains(&port) || INTERNAL_PORTS_MONGO.contains(&port) {
            return refuse(format!(
                "port `{port}` belongs to an internal service: use a web server's port, such as 443 or 8443"
            ));
        }
        match url.host() {
            Some(Host::Ipv4(address)) => self.check_address(address.into()),
            Some(Host::Ipv6(address)) => self.check_address(address.into()),
            Some(Host::Domain(name)) => self.check_name(name),
            None => refuse(format!("the address has no host: write it in full, {EXAMPLE}")),
        }
    }

    /// Checks an address that a connection would be made to.
    ///
    /// # Errors
    /// Names the address and its range.
    pub fn check_address(self, address: IpAddr) -> Result<(), Refused> {
        let range = range(address);
        match (range.open, self) {
            (Open::Public, _) | (Open::Private, Self::PrivateToo) => Ok(()),
            (Open::Private, Self::Public) => refuse(format!(
                "`{address}` is {range}: use a public host, {EXAMPLE} \
                 (`--allow-private-egress` allows it for development)"
            )),
            (Open::Never, _) => refuse(format!(
                "`{address}` is {range}, where nothing may be sent: use a public host, {EXAMPLE}"
            )),
        }
    }

    /// `localhost` always is this machine (RFC 6761), which can be told without asking a resolver.
    fn check_name(self, name: &str) -> Result<(), Refused> {
        let name = name.trim_end_matches('.');
        if self == Self::Public && (name == "localhost" || name.ends_with(".localhost")) {
            return refuse(format!(
                "`{name}` is this machine: use a public host, {EXAMPLE} \
                 (`--allow-private-egress` allows it for development)"
            ));
        }
        Ok(())
    }
}

fn refuse(why: String) -> Result<(), Refused> {
    Err(Refused(why))
}

#[cfg(test)]
mod tests;

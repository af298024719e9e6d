//! Connections whose requests go to another host than the vendor's.

use super::{Answer, Egress, Http, HttpError, Request};
use async_trait::async_trait;
use std::collections::BTreeMap;
use url::{Host, Url};

/// What [`Egress::for_hosts`] says where hosts may not be replaced.
pub(super) const NOT_ALLOWED: &str =
    "`hosts` is for development and tests: remove it, or start with `--allow-private-egress`";

/// Where requests to a vendor's hosts go instead: a connection's `hosts`.
///
/// A key is a host name of the vendor's facts, or `*` for all that have no entry of their own. The
/// value is a base URL, whose path is put before the request's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostMap {
    named: BTreeMap<String, Url>,
    any: Option<Url>,
}

/// An entry of `hosts` that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HostMapError {
    /// The key is no host name.
    #[error(
        "`{0}` in `hosts` is no host name: write it without scheme, port and path, such as `api.example.com`, \
         or `*` for every host"
    )]
    Host(String),
    /// The value is no base URL.
    #[error(
        "the address of `{host}` in `hosts` {reason}: write a base URL, such as `http://127.0.0.1:8080/fake`"
    )]
    Base {
        /// The key.
        host: String,
        /// What is wrong.
        reason: &'static str,
    },
}

impl HostMap {
    /// Reads a connection's `hosts`.
    ///
    /// # Errors
    /// Names the entry, what is wrong with it, and what is allowed.
    pub fn parse(hosts: &BTreeMap<String, String>) -> Result<Self, HostMapError> {
        let mut map = Self::default();
        for (host, base) in hosts {
            let base =
                parse_base(base).map_err(|reason| HostMapError::Base { host: host.clone(), reason })?;
            if host == "*" {
                map.any = Some(base);
                continue;
            }
            let name = Host::parse(host).map_err(|_| HostMapError::Host(host.clone()))?;
            map.named.insert(name.to_string(), base);
        }
        Ok(map)
    }

    /// Whether no host is replaced.
    pub(super) fn is_empty(&self) -> bool {
        self.named.is_empty() && self.any.is_none()
    }

    /// Where a request to `url` goes; a URL whose host is not named stays as it is.
    pub(super) fn route(&self, url: Url) -> Url {
        let named = url.host_str().and_then(|host| self.named.get(host));
        let Some(base) = named.or(self.any.as_ref()) else { return url };
        let mut routed = base.clone();
        routed.set_path(&format!("{}{}", base.path().trim_end_matches('/'), url.path()));
        routed.set_query(url.query());
        routed
    }
}

fn parse_base(text: &str) -> Result<Url, &'static str> {
    let base = Url::parse(text).map_err(|_| "is no URL")?;
    if !matches!(base.scheme(), "http" | "https") {
        return Err("begins with neither `http://` nor `https://`");
    }
    if !base.username().is_empty() || base.password().is_some() {
        return Err("has a user name or password");
    }
    if base.query().is_some() || base.fragment().is_some() {
        return Err("has a query or a fragment");
    }
    Ok(base)
}

/// The client of a connection with `hosts`.
pub(super) struct Rerouted {
    pub(super) egress: Egress,
    pub(super) hosts: HostMap,
}

#[async_trait]
impl Http for Rerouted {
    async fn send(&self, mut request: Request) -> Result<Answer, HttpError> {
        request.url = self.hosts.route(request.url);
        self.egress.send(request).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(entries: &[(&str, &str)]) -> Result<HostMap, HostMapError> {
        HostMap::parse(&entries.iter().map(|&(host, base)| (host.into(), base.into())).collect())
    }

    fn routed(map: &HostMap, url: &str) -> String {
        map.route(Url::parse(url).unwrap()).into()
    }

    #[test]
    fn requests_go_to_the_base_with_path_and_query_kept() {
        let map =
            map(&[("API.example.com", "http://127.0.0.1:9/fake/"), ("*", "http://127.0.0.1:8")]).unwrap();
        let to = |url| routed(&map, url);
        assert_eq!(to("https://api.example.com/v1/a%2Fb?x=%20y"), "http://127.0.0.1:9/fake/v1/a%2Fb?x=%20y");
        assert_eq!(to("https://api.example.com"), "http://127.0.0.1:9/fake/");
        assert_eq!(to("https://other.example.com:444/z"), "http://127.0.0.1:8/z");
    }

    #[test]
    fn hosts_without_an_entry_stay() {
        let one = map(&[("api.example.com", "http://127.0.0.1:9")]).unwrap();
        assert_eq!(routed(&one, "https://example.com/a"), "https://example.com/a");
        assert!(map(&[]).unwrap().is_empty() && !one.is_empty());
    }

    #[test]
    fn wrong_entries_are_named_with_what_is_allowed() {
        for host in ["https://api.example.com", "api.example.com:80", "a/b", ""] {
            let error = map(&[(host, "http://127.0.0.1")]).unwrap_err();
            assert!(error.to_string().contains("such as `api.example.com`"), "{host}: {error}");
        }
        for (base, reason) in [
            ("127.0.0.1:80", "is no URL"),
            ("localhost:80", "neither"),
            ("ftp://127.0.0.1", "neither"),
            ("http://me:pass@127.0.0.1", "password"),
            ("http://127.0.0.1/?a=b", "query"),
            ("http://127.0.0.1/#a", "fragment"),
        ] {
            let error = map(&[("*", base)]).unwrap_err().to_string();
            assert!(error.contains(reason) && error.starts_with("the address of `*`"), "{base}: {error}");
            assert!(!error.contains("pass@"), "{error}");
        }
    }
}

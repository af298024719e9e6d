//! Whose address a request came from.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

/// A range of addresses: `10.0.0.0/8`, `2001:db8::/32`, or one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    first: u128,
    bits: u8,
    v4: bool,
}

/// Text that is no range of addresses.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{0}` is no range of addresses; allowed is one such as `10.0.0.0/8`, or one address")]
pub struct NetworkError(String);

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let wrong = || NetworkError(text.to_owned());
        let (ip, bits) = text.split_once('/').map_or((text, None), |(ip, bits)| (ip, Some(bits)));
        let ip: IpAddr = ip.trim().parse().map_err(|_| wrong())?;
        let width = if ip.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Ok(width), |bits| bits.trim().parse().map_err(|_| wrong()))?;
        Self::new(ip, bits).ok_or_else(wrong)
    }
}

impl Network {
    /// The addresses whose first `bits` bits are those of `ip`; `None` when it has fewer.
    pub fn new(ip: IpAddr, bits: u8) -> Option<Self> {
        let width = if ip.is_ipv4() { 32 } else { 128 };
        let network = Self { first: 0, bits, v4: ip.is_ipv4() };
        (bits <= width).then(|| Self { first: network.masked(ip), ..network })
    }

    /// Whether `ip` lies in the range. An IPv4 address in IPv6 form counts as IPv4.
    pub fn contains(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        ip.is_ipv4() == self.v4 && self.masked(ip) == self.first
    }

    fn masked(&self, ip: IpAddr) -> u128 {
        let (number, width) = match ip {
            IpAddr::V4(ip) => (u128::from(u32::from(ip)), 32),
            IpAddr::V6(ip) => (u128::from(ip), 128),
        };
        number.checked_shr(width - u32::from(self.bits)).unwrap_or(0)
    }
}

/// The address of the client: the peer, or behind trusted proxies the first address from the right
/// of `X-Forwarded-For` (all its lines, in order) that is not one of theirs.
///
/// What stands left of an unreadable entry cannot be trusted, so the last readable one counts.
pub(crate) fn client<'a>(
    peer: Option<IpAddr>,
    forwarded_for: impl DoubleEndedIterator<Item = &'a str>,
    trusted: &[Network],
) -> Option<IpAddr> {
    let mut client = peer?.to_canonical();
    let hops = forwarded_for.rev().flat_map(|line| line.rsplit(','));
    for hop in hops {
        if !trusted.iter().any(|network| network.contains(client)) {
            break;
        }
        let Some(ip) = address(hop.trim()) else { break };
        client = ip.to_canonical();
    }
    Some(client)
}

/// An address, with or without a port or brackets.
fn address(hop: &str) -> Option<IpAddr> {
    let bare = hop.strip_prefix('[').and_then(|hop| hop.strip_suffix(']')).unwrap_or(hop);
    bare.parse().ok().or_else(|| hop.parse::<SocketAddr>().ok().map(|socket| socket.ip()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn networks(texts: &[&str]) -> Vec<Network> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn client_of(peer: &str, forwarded: &[&str], trusted: &[&str]) -> String {
        let peer = Some(peer.parse().unwrap());
        client(peer, forwarded.iter().copied(), &networks(trusted)).unwrap().to_string()
    }

    #[test]
    fn only_a_trusted_proxy_is_believed() {
        assert_eq!(client_of("9.9.9.9", &["1.1.1.1"], &["10.0.0.0/8"]), "9.9.9.9");
        assert_eq!(client_of("10.1.2.3", &["1.1.1.1"], &["10.0.0.0/8"]), "1.1.1.1");
        assert_eq!(client_of("::ffff:10.1.2.3", &["1.1.1.1"], &["10.0.0.0/8"]), "1.1.1.1");
        assert_eq!(client_of("10.1.2.3", &[], &["10.0.0.0/8"]), "10.1.2.3");
    }

    #[test]
    fn the_rightmost_address_that_is_no_proxy_is_the_client() {
        let trusted = &["10.0.0.0/8", "2001:db8::/32"];
        assert_eq!(client_of("10.0.0.1", &["6.6.6.6, 1.1.1.1, 10.0.0.2"], trusted), "1.1.1.1");
        assert_eq!(client_of("10.0.0.1", &["6.6.6.6", "1.1.1.1", "2001:db8::5"], trusted), "1.1.1.1");
        assert_eq!(client_of("10.0.0.1", &["10.0.0.3, 10.0.0.2"], trusted), "10.0.0.3");
        assert_eq!(client_of("10.0.0.1", &["1.1.1.1, forged, 10.0.0.2"], trusted), "10.0.0.2");
    }

    #[test]
    fn addresses_are_read_with_and_without_a_port() {
        for (hop, ip) in [
            ("1.2.3.4", "1.2.3.4"),
            ("1.2.3.4:80", "1.2.3.4"),
            ("[2001:4860::1]:443", "2001:4860::1"),
            ("[2001:4860::1]", "2001:4860::1"),
            ("2001:4860::1", "2001:4860::1"),
        ] {
            assert_eq!(client_of("10.0.0.1", &[hop], &["10.0.0.1"]), ip);
        }
    }

    #[test]
    fn a_range_holds_what_lies_in_it() {
        let all: Network = "0.0.0.0/0".parse().unwrap();
        assert!(all.contains([255, 0, 0, 1].into()) && !all.contains("::1".parse().unwrap()));
        let half: Network = "192.0.2.128/25".parse().unwrap();
        assert!(half.contains([192, 0, 2, 129].into()) && !half.contains([192, 0, 2, 127].into()));
        for text in ["", "x", "1.2.3.4/33", "::/129", "1.2.3.4/x", "1.2.3/8"] {
            assert_eq!(text.parse::<Network>(), Err(NetworkError(text.to_owned())));
        }
    }
}

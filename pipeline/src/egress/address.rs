//! Which addresses a request may go to.
//!
//! The ranges are those that IANA's registries of special-purpose addresses call not globally
//! reachable (the state of October 2025, read in November 2026), and the addresses at which clouds
//! hand out a machine's credentials.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// How far a range of addresses is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Open {
    /// Always.
    Public,
    /// In development: private networks and this machine.
    Private,
    /// Never.
    Never,
}

/// A range of addresses of one use.
#[derive(Debug)]
pub(super) struct Range {
    base: IpAddr,
    prefix: u32,
    pub(super) open: Open,
    what: &'static str,
}

impl std::fmt::Display for Range {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({}/{})", self.what, self.base, self.prefix)
    }
}

/// The smallest range of known use that holds the address. An IPv6 address whose connections end at
/// an IPv4 address is judged by that one.
pub(super) fn range(address: IpAddr) -> &'static Range {
    let address = match address {
        IpAddr::V6(v6) => embedded(v6).map_or(address, IpAddr::V4),
        IpAddr::V4(_) => address,
    };
    let (ranges, width): (&[Range], u32) = if address.is_ipv4() { (&V4, 32) } else { (&V6, 128) };
    let differs = |range: &Range| (bits(address) ^ bits(range.base)).checked_shr(width - range.prefix);
    ranges
        .iter()
        .filter(|&range| differs(range).unwrap_or(0) == 0)
        .max_by_key(|range| range.prefix)
        .expect("the first range of each table holds every address")
}

/// The IPv4 address that connections to this address end at: mapped (`::ffff:0:0/96`, RFC 4291), or
/// translated by NAT64 (`64:ff9b::/96`, RFC 6052, and `64:ff9b:1::/48`, RFC 8215).
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let o = address.octets();
    match address.segments() {
        [0, 0, 0, 0, 0, 0xffff, _, _] | [0x64, 0xff9b, 0 | 1, 0, 0, 0, _, _] => {
            Some(Ipv4Addr::new(o[12], o[13], o[14], o[15]))
        }
        // Here the whole local prefix stands before the address, with eight zero bits inside it.
        [0x64, 0xff9b, 1, ..] if o[8] == 0 && o[11..] == [0; 5] => {
            Some(Ipv4Addr::new(o[6], o[7], o[9], o[10]))
        }
        _ => None,
    }
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => v4.to_bits().into(),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

const fn v4(base: [u8; 4], prefix: u32, open: Open, what: &'static str) -> Range {
    let [a, b, c, d] = base;
    Range { base: IpAddr::V4(Ipv4Addr::new(a, b, c, d)), prefix, open, what }
}

/// A range by the first four of its eight groups.
const fn v6(base: [u16; 4], prefix: u32, open: Open, what: &'static str) -> Range {
    let [a, b, c, d] = base;
    Range { base: IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0)), prefix, open, what }
}

const METADATA: &str = "an address where a cloud hands out credentials";
const MACHINE: &str = "an address of this machine";
const PRIVATE: &str = "a private address";
const PROTOCOLS: &str = "an address for protocols";
const DOCUMENTATION: &str = "an address for documentation";

static V4: [Range; 21] = [
    v4([0, 0, 0, 0], 0, Open::Public, "a public address"),
    v4([0, 0, 0, 0], 8, Open::Never, "an address of this network"),
    v4([10, 0, 0, 0], 8, Open::Private, PRIVATE),
    v4([100, 64, 0, 0], 10, Open::Private, "a carrier's private address"),
    v4([100, 100, 100, 200], 32, Open::Never, METADATA), // Alibaba Cloud
    v4([127, 0, 0, 0], 8, Open::Private, MACHINE),
    v4([168, 63, 129, 16], 32, Open::Never, METADATA), // Azure
    v4([169, 254, 0, 0], 16, Open::Never, "a link-local address"), // AWS has several more in it
    v4([169, 254, 169, 254], 32, Open::Never, METADATA), // AWS, Azure, Google and most others
    v4([172, 16, 0, 0], 12, Open::Private, PRIVATE),
    v4([192, 0, 0, 0], 24, Open::Never, PROTOCOLS), // Oracle's 192.0.0.192 in it
    v4([192, 0, 2, 0], 24, Open::Never, DOCUMENTATION),
    v4([192, 88, 99, 0], 24, Open::Never, "a 6to4 relay"),
    v4([192, 168, 0, 0], 16, Open::Private, PRIVATE),
    v4([198, 18, 0, 0], 15, Open::Private, "an address for benchmarks"),
    v4([198, 51, 100, 0], 24, Open::Never, DOCUMENTATION),
    v4([203, 0, 113, 0], 24, Open::Never, DOCUMENTATION),
    v4([224, 0, 0, 0], 4, Open::Never, "a multicast address"),
    v4([233, 252, 0, 0], 24, Open::Never, DOCUMENTATION),
    v4([240, 0, 0, 0], 4, Open::Never, "a reserved address"),
    v4([255, 255, 255, 255], 32, Open::Never, "the broadcast address"),
];

static V6: [Range; 22] = [
    v6([0, 0, 0, 0], 0, Open::Never, "an address outside the public ranges"),
    v6([0, 0, 0, 0], 96, Open::Never, "an IPv4-compatible address"),
    v6([0, 0, 0, 0], 128, Open::Never, "the unspecified address"),
    Range { base: IpAddr::V6(Ipv6Addr::LOCALHOST), prefix: 128, open: Open::Private, what: MACHINE },
    v6([0x64, 0xff9b, 1, 0], 48, Open::Never, "a local NAT64 address"),
    v6([0x100, 0, 0, 0], 64, Open::Never, "an address that discards"),
    v6([0x100, 0, 0, 1], 64, Open::Never, "a dummy address"),
    v6([0x2000, 0, 0, 0], 3, Open::Public, "a public address"),
    v6([0x2001, 0, 0, 0], 23, Open::Never, PROTOCOLS),
    v6([0x2001, 0, 0, 0], 32, Open::Never, "a Teredo address"),
    v6([0x2001, 0xdb8, 0, 0], 32, Open::Never, DOCUMENTATION),
    v6([0x2002, 0, 0, 0], 16, Open::Never, "a 6to4 address"),
    v6([0x3ffe, 0, 0, 0], 16, Open::Never, "an address of a closed test network"),
    v6([0x3fff, 0, 0, 0], 20, Open::Never, DOCUMENTATION),
    v6([0x5f00, 0, 0, 0], 16, Open::Never, "a segment routing address"),
    v6([0xfc00, 0, 0, 0], 7, Open::Private, PRIVATE),
    v6([0xfd00, 0xec2, 0, 0], 32, Open::Never, METADATA), // AWS: fd00:ec2::254 and ::23
    v6([0xfd00, 0x42, 0, 0], 32, Open::Never, METADATA),  // Scaleway: fd00:42::42
    v6([0xfd20, 0xce, 0, 0], 32, Open::Never, METADATA),  // Google Cloud: fd20:ce::254
    v6([0xfe80, 0, 0, 0], 10, Open::Never, "a link-local address"),
    v6([0xfec0, 0, 0, 0], 10, Open::Never, "a site-local address"),
    v6([0xff00, 0, 0, 0], 8, Open::Never, "a multicast address"),
];

#[cfg(test)]
mod tests;

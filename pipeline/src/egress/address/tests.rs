use super::*;

fn open(address: &str) -> Open {
    range(address.parse().unwrap_or_else(|_| panic!("`{address}` is no address"))).open
}

fn all(open_as: Open, addresses: &[&str]) {
    for address in addresses {
        assert_eq!(open(address), open_as, "{address} is {}", range(address.parse().unwrap()));
    }
}

#[test]
fn every_special_ipv4_range_is_closed_up_to_its_edges() {
    all(
        Open::Private,
        &[
            "10.0.0.0",
            "10.255.255.255",
            "100.64.0.0",
            "100.127.255.255",
            "100.100.100.199",
            "100.100.100.201",
            "127.0.0.0",
            "127.0.0.1",
            "127.255.255.255",
            "172.16.0.0",
            "172.31.255.255",
            "192.168.0.0",
            "192.168.255.255",
            "198.18.0.0",
            "198.19.255.255",
        ],
    );
    all(
        Open::Never,
        &[
            "0.0.0.0",
            "0.255.255.255",
            "100.100.100.200",
            "168.63.129.16",
            "169.254.0.0",
            "169.254.169.254",
            "169.254.170.2",
            "169.254.255.255",
            "192.0.0.0",
            "192.0.0.192",
            "192.0.0.255",
            "192.0.2.0",
            "192.0.2.255",
            "192.88.99.0",
            "192.88.99.255",
            "198.51.100.0",
            "198.51.100.255",
            "203.0.113.0",
            "203.0.113.255",
            "224.0.0.0",
            "233.252.0.1",
            "239.255.255.255",
            "240.0.0.0",
            "255.255.255.254",
            "255.255.255.255",
        ],
    );
}

#[test]
fn ipv4_addresses_beside_the_special_ranges_are_open() {
    all(
        Open::Public,
        &[
            "1.0.0.0",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "168.63.129.15",
            "168.63.129.17",
            "169.253.255.255",
            "169.255.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "191.255.255.255",
            "192.0.1.0",
            "192.0.1.255",
            "192.0.3.0",
            "192.88.98.255",
            "192.88.100.0",
            "192.167.255.255",
            "192.169.0.0",
            "198.17.255.255",
            "198.20.0.0",
            "198.51.99.255",
            "198.51.101.0",
            "203.0.112.255",
            "203.0.114.0",
            "223.255.255.255",
            "8.8.8.8",
        ],
    );
}

#[test]
fn every_special_ipv6_range_is_closed_up_to_its_edges() {
    all(
        Open::Private,
        &[
            "::1",
            "fc00::",
            "fd00::1",
            "fd00:ec1:ffff::",
            "fd00:ec3::",
            "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        ],
    );
    all(
        Open::Never,
        &[
            "::",
            "::2",
            "::8.8.8.8",
            "::10.0.0.1",
            "0:0:0:0:0:1::",
            "::ffff:0:8.8.8.8",
            "100::",
            "100::ffff:ffff:ffff:ffff",
            "100:0:0:1::",
            "100:0:0:1:ffff:ffff:ffff:ffff",
            "100:0:0:2::",
            "1fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
            "2001::",
            "2001:0:ffff::",
            "2001:1ff:ffff::",
            "2001:db8::",
            "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff",
            "2002::",
            "2002:808:808::1",
            "2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
            "3ffe::1",
            "3fff::",
            "3fff:fff:ffff::",
            "4000::",
            "5f00::",
            "5f00:ffff::",
            "fbff:ffff::",
            "fd00:ec2::254",
            "fd00:ec2::23",
            "fd00:42::42",
            "fd20:ce::254",
            "fe00::",
            "fe80::",
            "fe80::a9fe:a9fe",
            "febf:ffff::",
            "fec0::",
            "feff:ffff::",
            "ff00::",
            "ff02::1",
            "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        ],
    );
}

#[test]
fn ipv6_addresses_beside_the_special_ranges_are_open() {
    all(
        Open::Public,
        &[
            "2000::",
            "2001:200::",
            "2001:db7:ffff::",
            "2001:db9::",
            "2001:4860:4860::8888",
            "2003::",
            "2606:4700::1",
            "3ffd:ffff::",
            "3fff:1000::",
        ],
    );
}

#[test]
fn an_ipv6_address_for_an_ipv4_address_is_judged_by_that() {
    for (address, expected) in [
        ("8.8.8.8", Open::Public),
        ("127.0.0.1", Open::Private),
        ("10.1.2.3", Open::Private),
        ("169.254.169.254", Open::Never),
        ("0.0.0.0", Open::Never),
    ] {
        for prefix in ["::ffff:", "64:ff9b::", "64:ff9b:1::"] {
            all(expected, &[&format!("{prefix}{address}")]);
        }
    }
    // With the prefix of 48 bits, the address stands around eight zero bits.
    all(Open::Public, &["64:ff9b:1:808:8:800::"]);
    all(Open::Private, &["64:ff9b:1:a01:2:300::"]);
    all(Open::Never, &["64:ff9b:1:a9fe:a9:fe00::"]);
    // Neither form: nobody knows where it ends.
    all(
        Open::Never,
        &["64:ff9b:1:808:108:800::", "64:ff9b:1:808:8:800::1", "64:ff9b:2::8.8.8.8", "64:ff9b::1:8.8.8.8"],
    );
}

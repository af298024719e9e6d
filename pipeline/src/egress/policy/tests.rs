use super::*;

fn check(policy: Policy, url: &str) -> Result<(), Refused> {
    policy.check_url(&Url::parse(url).unwrap_or_else(|error| panic!("`{url}`: {error}")))
}

fn refusal(policy: Policy, url: &str) -> String {
    check(policy, url).expect_err(url).to_string()
}

#[test]
fn public_https_addresses_are_taken() {
    for url in [
        "https://example.com",
        "https://example.com:8443/hook?x=1",
        "https://8.8.8.8/",
        "https://[2606:4700::1]/",
        "https://localhost.example.com/",
        "https://10.0.0.1.example.com/",
    ] {
        for policy in [Policy::Public, Policy::PrivateToo] {
            assert_eq!(check(policy, url), Ok(()), "{url}");
        }
    }
}

#[test]
fn a_private_address_is_refused_in_every_spelling_unless_allowed() {
    for host in [
        "127.0.0.1",
        "127.0.0.1.",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "0177.0.0.1",
        "017700000001",
        "0x7F.0x0.0x0.0x1",
        "%31%32%37.0.0.1",
        "１２７.0.0.1",
        "127。0。0。1",
        "10.1",
        "0xa000001",
        "012.0.0.1",
        "192.168.1",
        "3232235777",
        "[::1]",
        "[0:0:0:0:0:0:0:1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[0:0::ffff:a00:1]",
        "[64:ff9b::10.0.0.1]",
        "[fd12::1]",
        "localhost",
        "LOCALHOST.",
        "a.localhost",
    ] {
        let url = format!("https://{host}/");
        let why = refusal(Policy::Public, &url);
        assert!(
            why.contains("`--allow-private-egress`") && why.contains("such as `https://"),
            "{host}: {why}"
        );
        assert_eq!(check(Policy::PrivateToo, &url), Ok(()), "{host}");
    }
}

#[test]
fn metadata_and_reserved_addresses_stay_closed_even_when_private_ones_are_open() {
    for host in [
        "169.254.169.254",
        "2852039166",
        "0xa9fea9fe",
        "0251.0376.0251.0376",
        "169.254.43518",
        "[::ffff:169.254.169.254]",
        "[::ffff:a9fe:a9fe]",
        "[64:ff9b::a9fe:a9fe]",
        "[fd00:ec2::254]",
        "[fe80::a9fe:a9fe]",
        "100.100.100.200",
        "168.63.129.16",
        "0",
        "0.0.0.0",
        "224.0.0.1",
        "255.255.255.255",
        "[::]",
        "[ff02::1]",
        "[::127.0.0.1]",
        "[2002:7f00:1::]",
    ] {
        for policy in [Policy::Public, Policy::PrivateToo] {
            let why = refusal(policy, &format!("https://{host}/"));
            assert!(why.contains("where nothing may be sent"), "{host}: {why}");
        }
    }
}

#[test]
fn plain_http_is_for_development_only() {
    assert!(refusal(Policy::Public, "http://example.com/").contains("must begin with `https://`"));
    assert_eq!(check(Policy::PrivateToo, "http://example.com/"), Ok(()));
    for url in ["ftp://example.com/", "file:///etc/passwd", "gopher://example.com/", "data:text/plain,x"] {
        for policy in [Policy::Public, Policy::PrivateToo] {
            assert!(refusal(policy, url).contains("must begin with `https://`"), "{url}");
        }
    }
}

#[test]
fn user_names_and_passwords_in_an_address_are_refused_and_not_repeated() {
    for url in ["https://me@example.com/", "https://me:canary@example.com/", "https://:canary@example.com/"] {
        let why = refusal(Policy::PrivateToo, url);
        assert!(why.contains("user name or password") && !why.contains("canary"), "{why}");
    }
    // What looks like a host before an `@` is a user name.
    assert!(refusal(Policy::Public, "https://example.com@10.0.0.1/").contains("user name"));
}

#[test]
fn ports_of_internal_services_are_refused() {
    for port in [0, 22, 25, 3306, 5432, 6379, 9200, 2375, 10250, 11211, 27017, 27018, 27019] {
        for policy in [Policy::Public, Policy::PrivateToo] {
            let why = refusal(policy, &format!("https://example.com:{port}/"));
            assert!(why.contains(&format!("port `{port}`")) && why.contains("443"), "{why}");
        }
    }
    for port in [80, 443, 3000, 8080, 8443, 27016, 27020, 65535] {
        assert_eq!(check(Policy::Public, &format!("https://example.com:{port}/")), Ok(()), "{port}");
    }
}

#[test]
fn a_refusal_shows_neither_path_nor_query() {
    for url in ["http://example.com/canary?canary", "https://10.0.0.1/canary?canary", "https://a.b:22/canary"]
    {
        assert!(!refusal(Policy::Public, url).contains("canary"), "{url}");
    }
}

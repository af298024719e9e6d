use super::*;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};

const NAMES: [&str; 17] = [
    "discord",
    "gmail",
    "google_analytics",
    "google_calendar",
    "hubspot",
    "mixpanel",
    "outlook",
    "outlook_calendar",
    "paypal",
    "pipedrive",
    "salesforce",
    "segment",
    "sendgrid",
    "slack",
    "stripe",
    "telegram",
    "webhook",
];

#[test]
fn there_are_facts_about_every_vendor_once() {
    let names: Vec<_> =
        facts::FACTS.iter().map(|text| toml::from_str::<Vendor>(text).unwrap().name).collect();
    let distinct: BTreeSet<_> = names.iter().map(String::as_str).collect();
    assert_eq!(distinct, BTreeSet::from(NAMES));
    assert_eq!(names.len(), NAMES.len(), "a name stands twice");
    for name in NAMES {
        assert_eq!(named(name).unwrap().name, name);
    }
    assert_eq!(named("Segment"), None);
}

#[test]
fn the_catalogue_says_truly_what_works() {
    let works: BTreeSet<_> =
        all().iter().filter(|v| v.outbound.state == State::Works).map(|v| &*v.name).collect();
    assert_eq!(works, BTreeSet::from(["google_analytics", "mixpanel", "segment", "webhook"]));
    assert!(all().iter().all(|vendor| vendor.inbound.state == State::Planned));
}

#[test]
fn facts_survive_the_way_through_the_api() {
    for vendor in all() {
        let json = serde_json::to_string(vendor).unwrap();
        assert_eq!(serde_json::from_str::<Vendor>(&json).unwrap(), *vendor);
    }
}

#[test]
fn facts_name_their_source_and_are_sentences() {
    for vendor in all() {
        let name = &vendor.name;
        assert!(vendor.documentation.starts_with("https://"), "{name}");
        assert_eq!(vendor.read, "2026-11", "{name}");
        let texts = [&vendor.summary, &vendor.outbound.how, &vendor.inbound.how, &vendor.proof.how];
        let more = vendor.notes.iter().chain(vendor.proof.unproven.iter());
        for text in texts.into_iter().chain(more).chain(vendor.auth.iter().map(|auth| &auth.when)) {
            assert!(text.ends_with('.'), "{name}: {text}");
        }
    }
}

#[test]
fn every_field_can_be_drawn_and_takes_its_own_example() {
    for (vendor, group, field) in fields() {
        let at = format!("{}: {group}.{}", vendor.name, field.name);
        assert!(field.rule.starts_with("must "), "{at}: {}", field.rule);
        assert!(field.find.ends_with('.'), "{at}: {}", field.find);
        assert_eq!(field.kind == Kind::Choice, !field.choices.is_empty(), "{at}");
        let has_text = matches!(field.kind, Kind::Text | Kind::List);
        assert!(!has_text || field.pattern.is_some(), "{at} takes any text, line ends too");
        for choice in &field.choices {
            assert!(field.rule.contains(&format!("`{}`", choice.value)), "{at}: {}", field.rule);
        }
        let mut alone = vendor.clone();
        alone.rules.clear();
        alone.settings.retain(|other| group == "settings" && other.name == field.name);
        alone.credentials.retain(|other| group == "credentials" && other.name == field.name);
        for value in field.default.iter().chain([&field.example]) {
            let (settings, credentials) = match group {
                "settings" => (Map::from_iter([(field.name.clone(), value.clone())]), BTreeMap::new()),
                _ => (
                    Map::new(),
                    BTreeMap::from([(
                        field.name.clone(),
                        value.as_str().expect("credentials are text").to_owned(),
                    )]),
                ),
            };
            let checked =
                alone.check(&settings, &credentials).unwrap_or_else(|errors| panic!("{at}: {errors:?}"));
            assert_eq!((checked.settings, checked.credentials), (settings, credentials), "{at}");
        }
    }
}

/// A browser wants `-` and `/` escaped in a class, and lacks some of what Rust has.
#[test]
fn patterns_mean_the_same_in_a_browser() {
    for (vendor, _, field) in fields() {
        let Some(pattern) = field.pattern.clone().map(String::from) else { continue };
        let bare = pattern.replace("\\-", "").replace("\\/", "");
        for wrong in ["-]", "[-", "/", "\\p", "\\A", "\\z", "(?"] {
            assert!(!bare.contains(wrong), "{} {}: {pattern}", vendor.name, field.name);
        }
    }
}

#[test]
fn every_region_has_a_host_for_every_purpose() {
    for vendor in all() {
        let regions =
            vendor.settings.iter().filter(|field| field.name == "region" || field.name == "environment");
        let regions: Vec<_> = regions.flat_map(|field| &field.choices).map(|choice| &*choice.value).collect();
        for host in &vendor.hosts {
            for region in &regions {
                assert!(vendor.host(&host.purpose, region).is_some(), "{} {region} {host:?}", vendor.name);
            }
            let known = host.region.as_deref().is_none_or(|region| regions.contains(&region));
            assert!(known, "{} has no region for {host:?}", vendor.name);
        }
        assert_eq!(vendor.hosts.is_empty(), vendor.name == "webhook", "{}", vendor.name);
    }
    let mixpanel = named("mixpanel").unwrap();
    assert_eq!(mixpanel.host("ingestion", "eu"), Some("api-eu.mixpanel.com"));
    assert_eq!(mixpanel.host("app", "in"), Some("in.mixpanel.com"));
    let segment = named("segment").unwrap();
    assert_eq!(segment.host("settings", "eu"), Some("cdn.segment.com"));
    assert_eq!(segment.host("nothing", "eu"), None);
}

#[test]
fn every_name_that_facts_refer_to_exists() {
    for vendor in all() {
        let name = &vendor.name;
        let purposes: Vec<_> = vendor.hosts.iter().map(|host| format!("hosts.{}", host.purpose)).collect();
        let mut addresses: Vec<&str> = vendor.hosts.iter().map(|host| &*host.name).collect();
        for auth in &vendor.auth {
            for credential in &auth.credentials {
                assert!(vendor.field(&format!("credentials.{credential}")).is_some(), "{name}: {credential}");
            }
            let is_oauth = matches!(auth.form, Form::Oauth2 | Form::ClientCredentials | Form::JwtBearer);
            assert_eq!(is_oauth, auth.oauth.is_some(), "{name}: {}", auth.label);
            let Some(oauth) = &auth.oauth else { continue };
            assert_eq!(auth.form == Form::Oauth2, oauth.authorize_url.is_some(), "{name}: {}", auth.label);
            assert!(!oauth.scopes.is_empty(), "{name}: {}", auth.label);
            addresses.push(&oauth.token_url);
            addresses.extend(oauth.authorize_url.as_deref());
            addresses.extend(oauth.revoke_url.as_deref());
        }
        for address in addresses {
            for word in address.split('{').skip(1).map(|rest| rest.split('}').next().unwrap()) {
                let known = purposes.iter().any(|purpose| purpose == word);
                assert!(known || vendor.field(&format!("settings.{word}")).is_some(), "{name}: {address}");
            }
        }
        for credential in &vendor.credentials {
            let used = vendor.auth.iter().any(|auth| auth.credentials.contains(&credential.name));
            assert!(used, "{name}: no way in uses {}", credential.name);
        }
        for rule in &vendor.rules {
            let (paths, text): (Vec<&String>, _) = match rule {
                Rule::ExactlyOneOf { fields, rule } => (fields.iter().collect(), rule),
                Rule::Requires { field, needs, rule, .. } => (needs.iter().chain([field]).collect(), rule),
            };
            assert!(text.starts_with("must "), "{name}: {text}");
            for path in paths {
                assert!(vendor.field(path).is_some(), "{name}: {path}");
            }
        }
    }
}

#[test]
fn what_works_has_all_that_the_engine_asks_for() {
    for vendor in all() {
        let (name, outbound) = (&vendor.name, &vendor.outbound);
        assert!(!outbound.integrations.is_empty() && !outbound.endpoints.is_empty(), "{name}");
        assert!(outbound.concurrency_max > 0, "{name}");
        assert!(outbound.rates.iter().all(|rate| rate.amount > 0.0 && rate.per_s > 0.0), "{name}");
        let shared = vendor.outbound.integrations_explicit;
        assert_eq!(shared, name == "salesforce", "as at Segment, one vendor must be named: {name}");
        for endpoint in &outbound.endpoints {
            assert!(endpoint.operations_max > 0, "{name} {}", endpoint.name);
            assert_eq!(outbound.endpoint(&endpoint.name), Some(endpoint), "{name} has it twice");
            let (batch, one) = (endpoint.batch_bytes_max, endpoint.operation_bytes_max);
            if outbound.state == State::Works {
                assert!(one.unwrap() <= batch.unwrap(), "{name} {}", endpoint.name);
            }
        }
    }
    let names: Vec<_> = all().iter().flat_map(|vendor| &vendor.outbound.integrations).collect();
    assert_eq!(
        names.iter().collect::<BTreeSet<_>>().len(),
        names.len(),
        "two vendors share a name: {names:?}"
    );
    assert_eq!(named("google_analytics").unwrap().outbound.event_age_max_s, Some(72 * 60 * 60));
}

/// Our figures against the machine-readable contracts, when the folder with them is named.
#[test]
#[expect(clippy::disallowed_methods, reason = "names what is not part of the repository")]
fn limits_and_hosts_are_those_of_the_contracts() {
    let Ok(folder) = std::env::var("FLOWSTATE_SPECS") else {
        let test = "limits_and_hosts_are_those_of_the_contracts: FLOWSTATE_SPECS is not set";
        eprintln!("skipped: {test}");
        if let Ok(path) = std::env::var("FLOWSTATE_TEST_SKIPPED") {
            let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
            std::io::Write::write_all(&mut file, format!("{test}\n").as_bytes()).unwrap();
        }
        return;
    };
    let mut compared = 0;
    for (name, file) in [
        ("segment", "segment"),
        ("mixpanel", "mixpanel"),
        ("google_analytics", "ga4"),
        ("hubspot", "hubspot"),
        ("salesforce", "salesforce"),
    ] {
        let vendor = named(name).unwrap();
        let text = std::fs::read_to_string(format!("{folder}/contracts/{file}.json")).unwrap();
        let contract: Value = serde_json::from_str(&text).unwrap();
        for (hosts, purpose) in [("hosts", "ingestion"), ("app_hosts", "app")] {
            for (region, address) in contract[hosts].as_object().into_iter().flatten() {
                let Some(address) = address.as_str().filter(|_| vendor.host(purpose, region).is_some())
                else {
                    continue;
                };
                let host = format!("https://{}", vendor.host(purpose, region).unwrap());
                assert_eq!(host, address, "{name} {region}");
                compared += 1;
            }
        }
        for (operation, facts) in contract["ops"].as_object().unwrap() {
            let operation = if operation == "upsert_many" { "upsert" } else { operation };
            let Some(endpoint) = vendor.outbound.endpoint(operation) else { continue };
            let method = format!("{} ", facts["method"].as_str().unwrap());
            assert!(endpoint.request.starts_with(&method), "{name} {operation}");
            let limits = [
                ("max_items", Some(endpoint.vendor_operations_max.unwrap_or(endpoint.operations_max))),
                ("our_items", Some(endpoint.operations_max)),
                ("max_bytes", endpoint.vendor_batch_bytes_max.or(endpoint.batch_bytes_max)),
                ("max_item_bytes", endpoint.vendor_operation_bytes_max.or(endpoint.operation_bytes_max)),
            ];
            for (limit, ours) in limits {
                let Some(stated) = facts[limit].as_u64() else { continue };
                assert_eq!(ours, Some(usize::try_from(stated).unwrap()), "{name} {operation} {limit}");
                compared += 1;
            }
        }
    }
    assert_eq!(compared, 26);
}

fn fields() -> impl Iterator<Item = (&'static Vendor, &'static str, &'static Field)> {
    all().iter().flat_map(|vendor| {
        let settings = vendor.settings.iter().map(move |field| (vendor, "settings", field));
        settings.chain(vendor.credentials.iter().map(move |field| (vendor, "credentials", field)))
    })
}

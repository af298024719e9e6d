use super::*;

fn load(
    file: &str,
    environment: &[(&str, &str)],
    flags: &[(&'static str, &str)],
) -> Result<Settings, String> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("flowstate.toml");
    std::fs::write(&path, file).unwrap();
    let environment = environment.iter().map(|(name, value)| (name.into(), value.into()));
    let flags: Vec<_> = flags.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    Settings::load(Some(&path), environment, &flags).map_err(|error| error.to_string())
}

#[test]
fn every_default_is_allowed_and_set() {
    let settings = load("", &[], &[]).unwrap();
    assert_eq!(settings.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(settings.commit_bytes, 32 << 20);
    assert_eq!(settings.wal_bytes_max, 8 << 30);
    assert_eq!(settings.control_path(), Path::new("./flowstate-data/control.db"));
    assert!(settings.store().unwrap().url.as_str().ends_with("/flowstate-data/tables/"));
    for setting in KNOWN {
        assert!(setting.doc.len() > 10 && setting.allowed.len() > 3, "{}", setting.name);
    }
}

#[test]
fn the_defaults_and_bounds_of_ingest_are_those_of_the_settings() {
    let (settings, ingest) = (load("", &[], &[]).unwrap(), ingest::Config::default());
    assert_eq!(settings.request_bytes_max, ingest.request_bytes_max as u64);
    assert_eq!(settings.body_timeout, ingest.body_timeout);
    for timeout in [0.1, 3600.0] {
        let body_timeout = load(&format!("body_timeout_s = {timeout}"), &[], &[]).unwrap().body_timeout;
        ingest::Config { body_timeout, ..ingest.clone() }.check().unwrap();
    }
}

#[test]
fn flags_win_over_the_environment_and_the_environment_over_the_file() {
    let file = "commit_age_s = 0.7\nsql_timeout_s = 8\nlog_level = 'debug'";
    let environment = [("FLOWSTATE_COMMIT_AGE_S", "9"), ("FLOWSTATE_SQL_TIMEOUT_S", "10")];
    let settings = load(file, &environment, &[("commit_age_s", "11")]).unwrap();
    assert_eq!((settings.commit_age.as_secs(), settings.sql_timeout_s), (11, 10));
    assert_eq!(settings.log_level, "debug");
}

#[test]
fn an_empty_or_foreign_variable_changes_nothing() {
    let environment = [("FLOWSTATE_LISTEN", ""), ("FLOWSTATE_SERVICE_HOST", "10.0.0.1")];
    assert_eq!(load("", &environment, &[]).unwrap().listen.port(), 8080);
}

#[test]
fn lists_and_sizes_are_understood() {
    let file = "trusted_proxies = ['10.0.0.0/8', '::1']\ncommit_bytes = 65536\nwal_bytes_max = '1 GiB'";
    let settings = load(file, &[], &[]).unwrap();
    let networks = ["10.0.0.0/8", "::1"].map(|network| network.parse().unwrap());
    assert_eq!(settings.trusted_proxies, networks);
    assert_eq!((settings.commit_bytes, settings.wal_bytes_max), (65_536, 1 << 30));
}

/// A wrong text for every setting there is, so that a new one without a check is noticed.
const WRONG: &[(&str, &str)] = &[
    ("data", ""),
    ("store", "ftp://bucket/path"),
    ("store", "s3:///path"),
    ("control", "postgres://db/flowstate"),
    ("listen", "localhost"),
    ("tls_certificate", ""),
    ("tls_key", ""),
    ("trusted_proxies", "10.0.0.0/33"),
    ("rate_limit_source", "-1"),
    ("rate_limit_address", "some"),
    ("forward_to", "https://api.segment.io"),
    ("allow_private_egress", "perhaps"),
    ("durability", "half"),
    ("commit_age_s", "0"),
    ("commit_bytes", "64 apples"),
    ("wal_bytes_max", "99999999999TiB"),
    ("dedup_window_h", "-1"),
    ("dedup_memory_bytes_max", "1KiB"),
    ("promote_columns", "none"),
    ("retention_events", "400"),
    ("retention_rejected", "0d"),
    ("retention_receipts", "-1d"),
    ("retention_deliveries", "1w"),
    ("body_timeout_s", "NaN"),
    ("request_bytes_max", "a lot"),
    ("sql_timeout_s", "1.5"),
    ("sql_memory_bytes_max", "1"),
    ("sql_rows_max", "0"),
    ("log_format", "xml"),
    ("log_level", "loud"),
    ("master_key", "not a key"),
    ("admin_key", "short"),
    ("write_key", "a key with blanks in it"),
];

#[test]
fn every_wrong_setting_is_named_with_its_place_and_what_is_allowed() {
    let mut names: Vec<_> = WRONG.iter().map(|(name, _)| *name).collect();
    names.dedup();
    assert_eq!(names, KNOWN.iter().map(|setting| setting.name).collect::<Vec<_>>());
    for (name, wrong) in WRONG {
        let setting = KNOWN.iter().find(|setting| setting.name == *name).unwrap();
        let mut messages = vec![
            (load(&format!("{name} = '{wrong}'"), &[], &[]).unwrap_err(), "flowstate.toml".to_owned()),
            (load("", &[], &[(setting.name, wrong)]).unwrap_err(), format!("--{}", setting.flag_name())),
        ];
        if !wrong.is_empty() {
            let variable = setting.variable();
            messages.push((load("", &[(&variable, wrong)], &[]).unwrap_err(), variable.clone()));
        }
        for (message, place) in messages {
            assert!(message.contains(&format!("setting `{name}`")), "{message}");
            assert!(message.contains(&place), "{message}");
            assert!(message.contains("allowed is"), "{message}");
            assert_eq!(message.contains(&format!("`{wrong}`")), !setting.secret, "{message}");
        }
    }
}

#[test]
fn a_wrong_file_is_explained_without_showing_its_text() {
    let unknown = load("lisen = 'x'", &[], &[]).unwrap_err();
    assert!(unknown.contains("`lisen`") && unknown.contains("listen"), "{unknown}");
    let kind = load("listen = { port = 1 }", &[], &[]).unwrap_err();
    assert!(kind.contains("`listen`") && kind.contains("table"), "{kind}");
    let broken = load("log_level = 'info'\nwrite_key = 'secret-secret-secret", &[], &[]).unwrap_err();
    assert!(broken.contains("line 2") && !broken.contains("secret-secret"), "{broken}");
    let missing = Settings::load(Some(Path::new("/nowhere/at-all.toml")), [], &[]).unwrap_err();
    assert!(missing.to_string().contains("/nowhere/at-all.toml"));
}

#[test]
fn settings_that_contradict_each_other_are_refused() {
    for (file, named) in [
        ("tls_key = 'a.pem'", "`tls_certificate`"),
        ("wal_bytes_max = '16MiB'\ncommit_bytes = '16MiB'", "`wal_bytes_max`"),
        ("retention_events = '6d'", "`dedup_window_h`, which is 168 hours"),
        ("retention_receipts = '30d'", "`retention_events` is not set"),
        ("retention_receipts = '30d'\nretention_events = '20d'", "`retention_rejected` is not set"),
        (
            "retention_receipts = '30d'\nretention_events = '31d'\nretention_rejected = '30d'",
            "`retention_events` is longer",
        ),
    ] {
        let message = load(file, &[], &[]).unwrap_err();
        assert!(message.contains(named), "{message}");
    }
}

#[test]
fn rows_are_kept_for_ever_or_for_so_many_days() {
    assert_eq!(load("", &[], &[]).unwrap().retention, Limits::default());
    let days = |days: i64| Some(days * 24 * HOUR);
    let file = "retention_events = '7d'\nretention_rejected = '1d'\nretention_receipts = '7d'";
    let expected = Limits { events: days(7), rejected: days(1), receipts: days(7), deliveries: days(36_500) };
    let flags = [("retention_deliveries", "36500d")];
    assert_eq!(load(file, &[], &flags).unwrap().retention, expected);
    load("retention_events = '2d'\ndedup_window_h = 48", &[], &[]).unwrap();
}

#[test]
fn secrets_are_not_in_debug() {
    let environment = [
        ("FLOWSTATE_WRITE_KEY", "write-write-write-1"),
        ("FLOWSTATE_FORWARD_TO", "https://hidden@host.test"),
    ];
    let settings = load("", &environment, &[]).unwrap();
    assert_eq!(settings.write_key.as_ref().unwrap().reveal(), "write-write-write-1");
    let debug = format!("{settings:?}");
    assert!(!debug.contains("write-write") && !debug.contains("hidden"), "{debug}");
}

#[test]
fn columns_are_promoted_unless_only_pinned_ones_are_wanted() {
    assert_eq!(load("", &[], &[]).unwrap().promote_columns, Promotion::Automatic);
    let environment = [("FLOWSTATE_PROMOTE_COLUMNS", "pinned")];
    assert_eq!(load("", &environment, &[]).unwrap().promote_columns, Promotion::Pinned);
    let flags = [("promote_columns", "automatic")];
    assert_eq!(load("", &environment, &flags).unwrap().promote_columns, Promotion::Automatic);
}

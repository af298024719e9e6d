use super::*;
use clap::CommandFactory;

fn parse(line: &str) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(line.split_whitespace())
}

#[test]
fn the_command_line_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn commands_and_their_settings_are_read() {
    let cli = parse("flowstate serve --listen 127.0.0.1:0 --commit-age-s 1 --data /tmp/x").unwrap();
    let Command::Serve(serve) = cli.command else { panic!("{cli:?}") };
    let set = [("data", "/tmp/x"), ("listen", "127.0.0.1:0"), ("commit_age_s", "1")];
    assert_eq!(serve.flags.texts(), set.map(|(name, text)| (name, text.to_owned())));

    let cli = parse("flowstate source add web --kind browser --test --data d").unwrap();
    let Command::Source(SourceArgs {
        command: SourceCommand::Add { name, kind: Kind::Browser, test: true, flags },
    }) = cli.command
    else {
        panic!("{cli:?}")
    };
    assert_eq!((name.as_str(), flags.texts()), ("web", [("data", "d".to_owned())].as_slice()));

    let cli = parse("flowstate sql --format csv SELECT").unwrap();
    let Command::Sql(sql) = cli.command else { panic!("{cli:?}") };
    assert_eq!((sql.query.as_deref(), sql.format), (Some("SELECT"), Format::Csv));
}

#[test]
fn wrong_usage_is_refused_with_code_2() {
    for line in [
        "flowstate",
        "flowstate fly",
        "flowstate sql --format xml SELECT",
        "flowstate source add web",
        "flowstate source add web --kind other",
        "flowstate source list --listen 127.0.0.1:0",
        "flowstate serve --write-key 0123456789abcdef",
        "flowstate backup /mnt/backup --keep 0",
        "flowstate backup /mnt/backup --keep all",
    ] {
        assert_eq!(parse(line).unwrap_err().exit_code(), 2, "{line}");
    }
}

#[test]
fn the_help_of_serve_lists_every_setting_but_keys_only_as_variables() {
    let mut command = Cli::command();
    let help = command.find_subcommand_mut("serve").unwrap().render_long_help().to_string();
    for setting in crate::settings::KNOWN {
        assert!(help.contains(&setting.variable()), "{}", setting.name);
    }
    assert!(!help.contains("--admin-key"), "{help}");
}

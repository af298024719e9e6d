//! The settings as flags of a command, drawn from the list of settings.

use crate::settings::{KNOWN, Scope, Setting, Settings, WrongSetting};
use clap::{Arg, ArgMatches, Command};
use std::path::PathBuf;

const CONFIG: &str = "config";
const HEADING: &str = "Settings";

/// The settings given as flags; `SERVER` says whether the command runs a server and takes them all.
#[derive(Debug, Default)]
pub(crate) struct Flags<const SERVER: bool> {
    config: Option<PathBuf>,
    texts: Vec<(&'static str, String)>,
}

impl<const SERVER: bool> Flags<SERVER> {
    /// All settings: from the file, the environment and these flags.
    ///
    /// # Errors
    /// For the first setting that is wrong.
    pub(crate) fn settings(&self) -> Result<Settings, WrongSetting> {
        Settings::load(self.config.as_deref(), std::env::vars_os(), &self.texts)
    }

    /// What was given, by the setting's name, in the order of the list.
    #[cfg(test)]
    pub(crate) fn texts(&self) -> &[(&'static str, String)] {
        &self.texts
    }

    fn taken() -> impl Iterator<Item = &'static Setting> {
        KNOWN.iter().filter(|setting| match setting.scope {
            Scope::Everywhere => true,
            Scope::Server => SERVER,
            Scope::NoFlag => false,
        })
    }
}

impl<const SERVER: bool> clap::Args for Flags<SERVER> {
    fn augment_args(command: Command) -> Command {
        let config = Arg::new(CONFIG)
            .long(CONFIG)
            .value_name("FILE")
            .env("FLOWSTATE_CONFIG")
            .hide_env_values(true)
            .value_parser(clap::value_parser!(PathBuf))
            .help_heading(HEADING)
            .help("The settings file; `flowstate.toml` in the working directory when not set");
        let command =
            Self::taken().fold(command.arg(config), |command, setting| command.arg(argument(setting)));
        if !SERVER {
            return command;
        }
        let only_variables: String = KNOWN
            .iter()
            .filter(|setting| setting.scope == Scope::NoFlag)
            .map(|setting| format!("\n  {}\n          {}", setting.variable(), setting.doc))
            .collect();
        command.after_long_help(format!(
            "Only in the file or the environment, as flags show in the list of processes:{only_variables}"
        ))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl<const SERVER: bool> clap::FromArgMatches for Flags<SERVER> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let texts = Self::taken().filter_map(|setting| {
            let text = matches.get_one::<String>(setting.name)?;
            Some((setting.name, text.clone()))
        });
        Ok(Self { config: matches.get_one::<PathBuf>(CONFIG).cloned(), texts: texts.collect() })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// The environment is read by the settings, not by clap; the help only names the variable.
fn argument(setting: &'static Setting) -> Arg {
    let default = match setting.default {
        "" => String::new(),
        default => format!(", default {default}"),
    };
    let help = format!("{} ({}{default}) [{}]", setting.doc, setting.allowed, setting.variable());
    // clap wants flags that live as long as the program, as the list of them does.
    let flag: &'static str = setting.flag_name().leak();
    let argument = Arg::new(setting.name).long(flag).value_name("VALUE").help_heading(HEADING).help(help);
    // A switch needs no value; one may still be given, as `--switch=false`.
    if setting.default == "false" {
        return argument.num_args(0..=1).require_equals(true).default_missing_value("true");
    }
    argument
}

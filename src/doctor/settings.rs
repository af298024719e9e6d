//! Which settings hold, and where they were set.

use super::report::Report;
use crate::settings::Settings;

pub(super) fn look(settings: &Settings, report: &mut Report) {
    for told in &settings.told {
        report.ok(&format!("setting {}", told.name), format!("{}, {}", told.shown, told.place));
    }
    if settings.allow_private_egress {
        report.warn(
            "egress",
            "requests to vendors may go to private addresses and over http",
            "unset `allow_private_egress` outside of development",
        );
    }
}

//! The one destination of all events, when the settings name one.

use crate::settings::{Settings, WrongSetting};
use pipeline::Clock;
use pipeline::control::Control;
use pipeline::log::Log;
use std::sync::Arc;

pub(super) struct Sink;

pub(super) struct Forwarding;

/// The destination of the settings.
pub(super) fn sink(settings: &Settings) -> Result<Option<Sink>, WrongSetting> {
    match &settings.forward_to {
        Some(_) => Err(WrongSetting::new("setting `forward_to` is not available in this build".into())),
        None => Ok(None),
    }
}

pub(super) fn start(_: Sink, _: &Arc<dyn Control>, _: &Arc<Log>, _: &Clock) -> Forwarding {
    Forwarding
}

impl Forwarding {
    pub(super) async fn stop(self) {}
}

//! The console's reads, answered by the room of queries.

use crate::settings::Settings;
use console::{Account, AccountsOf, Format, Life, ReadError, Reads, Rows};
use futures::FutureExt;
use futures::future::BoxFuture;
use pipeline::log::Log;
use std::sync::Arc;

pub(super) struct LogReads;

impl LogReads {
    pub(super) fn new(_: &Arc<Log>, _: &Settings) -> anyhow::Result<Self> {
        Ok(Self)
    }
}

impl Reads for LogReads {
    fn sql(&self, _: String, _: Format) -> BoxFuture<'static, Result<Rows, ReadError>> {
        async { Err(ReadError::Failed("not available in this build".into())) }.boxed()
    }

    fn event(&self, _: String) -> BoxFuture<'static, Result<Life, ReadError>> {
        async { Err(ReadError::Failed("not available in this build".into())) }.boxed()
    }

    fn accounts(&self, _: AccountsOf) -> BoxFuture<'static, Result<Vec<Account>, ReadError>> {
        async { Err(ReadError::Failed("not available in this build".into())) }.boxed()
    }
}

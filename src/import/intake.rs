//! The console's imports, answered by the room of ingest.

use console::{Admission, Imported, Imports, ImportsError, Piece, Place, Reason, Repaired};
use futures::FutureExt;
use futures::future::BoxFuture;
use ingest::{AdmitError, ImportError, Ingest};
use pipeline::event::{format_timestamp, parse_timestamp};
use pipeline::log::{AppendError, PartitionId};
use std::sync::Arc;

/// When to try again where the log does not say, in seconds.
const RETRY_AFTER_S: u64 = 1;

/// The way in for events from files, over ingest.
pub(crate) struct Intake {
    pub(crate) ingest: Arc<Ingest>,
    /// The partition of the log that it appends to.
    pub(crate) partition: PartitionId,
}

impl Imports for Intake {
    fn import(&self, piece: Piece) -> BoxFuture<'static, Result<Imported, ImportsError>> {
        let ingest = Arc::clone(&self.ingest);
        async move {
            let Piece { source, file, first_line, deliver, lines } = piece;
            let piece = ingest::Piece { source, file, first_line, deliver, lines };
            Ok(imported(ingest.import(piece).await.map_err(refused)?))
        }
        .boxed()
    }

    fn admit(&self, repaired: Repaired) -> BoxFuture<'static, Result<Admission, ImportsError>> {
        let (ingest, log_partition) = (Arc::clone(&self.ingest), self.partition.to_string());
        async move {
            let admitted = ingest.admit(again(repaired)).await.map_err(not_admitted)?;
            let place = admitted.at.map(|(offset, at)| Place {
                received_at: format_timestamp(at),
                partition: log_partition,
                offset,
            });
            Ok(Admission { message_id: admitted.message_id, place })
        }
        .boxed()
    }

    fn check(&self, repaired: &Repaired) -> Result<(), ImportsError> {
        self.ingest.check(&again(repaired.clone())).map_err(not_admitted)
    }
}

fn again(Repaired { of, event }: Repaired) -> ingest::Repaired {
    ingest::Repaired {
        source: of.source,
        partition: PartitionId(of.partition.as_str().into()),
        offset: of.offset,
        received_at: parse_timestamp(&of.received_at).unwrap_or_default(),
        message_id: of.message_id,
        event,
    }
}

fn not_admitted(error: AdmitError) -> ImportsError {
    match error {
        AdmitError::UnknownSource(source) => refused(ImportError::UnknownSource(source)),
        AdmitError::DisabledSource(source) => refused(ImportError::DisabledSource(source)),
        AdmitError::Broken { code, field, message } => ImportsError::Broken { code, field, message },
        AdmitError::Append(error) => refused(ImportError::Append(error)),
    }
}

fn imported(from: ingest::Imported) -> Imported {
    let ingest::Imported { accepted, duplicate, rejected, reasons } = from;
    let reason = |reason: ingest::Reason| Reason {
        lines: reason.lines,
        first_line: reason.first_line,
        message: reason.message,
    };
    let reasons = reasons.into_iter().map(|(code, one)| (code, reason(one))).collect();
    Imported { accepted, duplicate, rejected, reasons }
}

fn refused(error: ImportError) -> ImportsError {
    let message = error.to_string();
    match error {
        ImportError::UnknownSource(_) => ImportsError::UnknownSource(message),
        ImportError::DisabledSource(_) => ImportsError::DisabledSource(message),
        ImportError::TooLong { .. } | ImportError::Append(AppendError::TooLarge { .. }) => {
            ImportsError::TooLarge(message)
        }
        ImportError::Append(AppendError::Failed(_)) => ImportsError::Failed(message),
        ImportError::Append(
            AppendError::Overloaded { retry_after_s }
            | AppendError::StorageFull { retry_after_s, .. }
            | AppendError::StoreUnavailable { retry_after_s, .. },
        ) => ImportsError::Busy { message, retry_after_s: retry_after_s.max(1) },
        ImportError::Append(AppendError::ShuttingDown) | ImportError::Failed => {
            ImportsError::Busy { message, retry_after_s: RETRY_AFTER_S }
        }
    }
}

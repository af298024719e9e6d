//! The console's imports, answered by the room of ingest.

use console::{Imported, Imports, ImportsError, Piece, Reason};
use futures::FutureExt;
use futures::future::BoxFuture;
use ingest::{ImportError, Ingest};
use pipeline::log::AppendError;
use std::sync::Arc;

/// When to try again where the log does not say, in seconds.
const RETRY_AFTER_S: u64 = 1;

/// The way in for events from files, over ingest.
pub(crate) struct Intake(pub(crate) Arc<Ingest>);

impl Imports for Intake {
    fn import(&self, piece: Piece) -> BoxFuture<'static, Result<Imported, ImportsError>> {
        let ingest = Arc::clone(&self.0);
        async move {
            let Piece { source, file, first_line, deliver, lines } = piece;
            let piece = ingest::Piece { source, file, first_line, deliver, lines };
            Ok(imported(ingest.import(piece).await.map_err(refused)?))
        }
        .boxed()
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

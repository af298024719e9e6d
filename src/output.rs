//! Results on standard output. Everything else the program says goes to standard error.

use std::io::{ErrorKind, Write, stdout};

/// Writes results. A reader that has gone is an error here, which `main` takes for a quiet end.
pub(crate) fn print(results: impl AsRef<[u8]>) -> std::io::Result<()> {
    let mut out = stdout().lock();
    out.write_all(results.as_ref())?;
    out.flush()
}

/// Whether the reader of standard output has gone, as with `flowstate sql … | head`.
pub(crate) fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == ErrorKind::BrokenPipe)
}

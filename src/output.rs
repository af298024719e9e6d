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

/// How to call this program from here, as a word of a shell.
pub(crate) fn this_program() -> String {
    let Ok(program) = std::env::current_exe() else { return "flowstate".to_owned() };
    let here = std::env::current_dir().ok();
    let below =
        here.and_then(|here| program.strip_prefix(here).ok().map(|path| format!("./{}", path.display())));
    shell_word(&below.unwrap_or_else(|| program.display().to_string()))
}

/// A text as one word of a shell: as it is, or in quotes where it must be.
pub(crate) fn shell_word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@%,=".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_one_word_of_a_shell() {
        assert_eq!(shell_word("./target/debug/flowstate"), "./target/debug/flowstate");
        assert_eq!(shell_word("/my programs/it's"), r"'/my programs/it'\''s'");
    }
}

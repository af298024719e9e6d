//! `flowstate sql` without a query, and the formats for programs.

use crate::harness::{Start, flowstate, has, skip, until};
use crate::load::event;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

const BINARY: &str = env!("CARGO_BIN_EXE_flowstate");

#[test]
fn statements_on_standard_input_are_answered_one_by_one() {
    let dir = tempfile::tempdir().unwrap();
    let server = Start::on(dir.path()).run();
    assert_eq!(server.batch(&[event("a-1"), event("a-2")]).status, 200);
    let text = "SELECT count(*) AS n FROM events; -- ; no end\nSELECT ';' AS mark;\nSELECT 7 AS last";
    let (code, out, said) = piped(dir.path(), &["--format", "csv"], text);
    assert_eq!((code, out.as_str()), (Some(0), "n\r\n2\r\nmark\r\n;\r\nlast\r\n7\r\n"), "{said}");
    let (code, _, said) = piped(dir.path(), &[], "SELECT 1; SELECT nothing; SELECT 2");
    assert!(code == Some(1) && said.contains("nothing"), "{said}");
}

#[test]
fn parquet_and_arrow_are_written_whole_or_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let server = Start::on(dir.path()).run();
    assert_eq!(server.batch(&[event("a-1"), event("a-2")]).status, 200);
    let file = dir.path().join("events.parquet").display().to_string();
    for _with_and_without_a_server in 0..2 {
        let output =
            flowstate(dir.path(), &["sql", "--format", "parquet", "-o", &file, "SELECT * FROM events"]);
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(output.stdout.is_empty());
        let bytes = std::fs::read(&file).unwrap();
        assert!(bytes.starts_with(b"PAR1") && bytes.ends_with(b"PAR1"));
        server.signal(rustix::process::Signal::TERM);
        until("the server to end", || (!dir.path().join("server.json").exists()).then_some(()));
    }
    let output = flowstate(dir.path(), &["sql", "--format", "arrow", "SELECT 1 AS one"]);
    assert_eq!(output.stdout[..4], [0xff; 4], "Arrow's stream begins with a continuation mark");
    let refused = flowstate(dir.path(), &["sql", "--format", "parquet", "-o", &file, "SELECT nothing"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(std::fs::read(&file).unwrap().starts_with(b"PAR1"), "the file from before is still there");
    assert!(!Path::new(&format!("{file}.part")).exists());
}

#[test]
fn a_shell_on_a_terminal_takes_many_lines_and_cancels() {
    if !has("script") {
        return skip("a_shell_on_a_terminal_takes_many_lines_and_cancels", "`script` is not installed");
    }
    let dir = tempfile::tempdir().unwrap();
    let server = Start::on(dir.path()).run();
    assert_eq!(server.batch(&[event("a-1")]).status, 200);
    let command = format!("{BINARY} sql --data {}", dir.path().display());
    let mut child = Command::new("script")
        .args(["-qefc", &command, "/dev/null"])
        .env("HOME", dir.path())
        .env("TERM", "xterm")
        .env_remove("XDG_STATE_HOME")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let screen = Arc::new(Mutex::new(String::new()));
    let mut stdout = child.stdout.take().unwrap();
    std::thread::spawn({
        let screen = Arc::clone(&screen);
        move || {
            let mut bytes = [0; 4_096];
            while let Ok(count @ 1..) = stdout.read(&mut bytes) {
                screen.lock().unwrap().push_str(&String::from_utf8_lossy(&bytes[..count]));
            }
        }
    });
    let mut keys = child.stdin.take().unwrap();
    // The shell may be gone by then, where something is pressed again and again.
    let mut press = |text: &str| {
        let _ = keys.write_all(text.as_bytes()).and_then(|()| keys.flush());
    };
    let sees = |text: &str| screen.lock().unwrap().contains(text).then_some(());
    until("the prompt", || sees("flowstate> "));
    press("SELECT 40 +\r2 AS answer;\r");
    until("the answer and the time it took", || {
        sees("42").and_then(|()| sees(" ms\r").or_else(|| sees(" s\r")))
    });
    // The next prompt: what is pressed before it may be lost, as in any shell.
    let mut prompts = 1;
    let mut prompt = || {
        prompts += 1;
        let shown = |screen: &str| screen.matches("\u{1b}[?2004h").count() >= prompts;
        until("the next prompt", || shown(&screen.lock().unwrap()).then_some(()));
    };
    prompt();
    press("\\d events\r");
    until("a column", || sees("message_id"));
    prompt();
    press("\\format pdf\r");
    until("what is allowed", || sees("there is no format `pdf`"));
    prompt();
    press("\\format parquet\r");
    until("the refusal of binary", || sees("is no format for a terminal"));
    prompt();
    press(
        "WITH RECURSIVE t AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM t WHERE n < 2000000000) SELECT max(n) FROM t;\r",
    );
    until("the query to be cancelled", || {
        press("\u{3}");
        sees("cancelled")
    });
    // Interrupts that came after it only drop what is written.
    until("the shell to go on", || {
        press("SELECT 'still' || 'here' AS s;\r");
        sees("stillhere")
    });
    child.kill().unwrap();
    child.wait().unwrap();
    let history = std::fs::read_to_string(dir.path().join(".local/state/flowstate/sql_history")).unwrap();
    assert!(history.contains("stillhere") || history.contains("'still' || 'here'"), "{history}");
}

/// Runs `flowstate sql` with statements on standard input: code, output, and what it said.
fn piped(dir: &Path, flags: &[&str], text: &str) -> (Option<i32>, String, String) {
    let mut child = Command::new(BINARY)
        .arg("sql")
        .args(flags)
        .arg("--data")
        .arg(dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

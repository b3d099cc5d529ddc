//! `with-server` exits with the command's exit code, and leaves no process or file.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failure here fails the test"
)]

use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, ChildStdout, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use tempfile::TempDir;

/// `with-server sh -c SCRIPT`, whose temporary files are in a folder of its own.
struct Run {
    process: Child,
    output: BufReader<ChildStdout>,
    folder: TempDir,
}

impl Run {
    fn start(script: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        // The server's user needs access.
        let open = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(folder.path(), open).unwrap();
        let mut process = Command::new(env!("CARGO_BIN_EXE_with-server"))
            .args(["sh", "-c", script])
            .env("TMPDIR", folder.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(process.stdout.take().unwrap());
        Self {
            process,
            output,
            folder,
        }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }

    /// Returns the exit code and standard error. Fails if the run left a file.
    fn end(self) -> (Option<i32>, String) {
        let output = self.process.wait_with_output().unwrap();
        assert_eq!(std::fs::read_dir(self.folder.path()).unwrap().count(), 0);
        let errors = String::from_utf8(output.stderr).unwrap();
        (output.status.code(), errors)
    }
}

fn port(url: &str) -> u16 {
    let (_, rest) = url.rsplit_once(':').unwrap();
    rest.trim_end_matches("/postgres").parse().unwrap()
}

#[test]
fn a_command_has_a_server_and_its_own_exit_code() {
    let mut run = Run::start("echo $PLATFORM_TEST_POSTGRES; read line; exit 7");
    let port = port(&run.line());
    let (code, errors) = run.end();
    assert_eq!(code, Some(7), "{errors}");
    TcpStream::connect(("127.0.0.1", port)).unwrap_err();
}

#[test]
fn a_signal_ends_the_command_its_descendants_and_the_server() {
    for (signal, code) in [(Signal::TERM, 143), (Signal::HUP, 129), (Signal::INT, 130)] {
        // The sleeping process is a descendant of the command.
        let mut run = Run::start("echo $PLATFORM_TEST_POSTGRES; sh -c 'echo $$; sleep 600; true'");
        let port = port(&run.line());
        let descendant: i32 = run.line().parse().unwrap();
        let descendant = Pid::from_raw(descendant).unwrap();
        test_kill_process(descendant).unwrap();
        let with_server = i32::try_from(run.process.id()).unwrap();
        kill_process(Pid::from_raw(with_server).unwrap(), signal).unwrap();
        // The output ends when the last process that inherited it ends.
        assert_eq!(run.line(), "");
        let (ended, errors) = run.end();
        assert_eq!(ended, Some(code), "{errors}");
        assert!(errors.contains("stopped by SIG"), "{errors}");
        TcpStream::connect(("127.0.0.1", port)).unwrap_err();
    }
}

#[test]
fn a_command_fails_if_its_server_died() {
    let script = r#"kill -QUIT $(head -n 1 "$TMPDIR"/platform-test.*/data/postmaster.pid)
        while kill -0 $(head -n 1 "$TMPDIR"/platform-test.*/data/postmaster.pid) 2>&1; do :; done"#;
    let (code, errors) = Run::start(script).end();
    assert_eq!(code, Some(1), "{errors}");
    assert!(errors.contains("the private Postgres died"), "{errors}");
    assert!(errors.contains("immediate shutdown request"), "{errors}");
}

#[test]
fn the_error_names_a_command_that_does_not_start() {
    let with_server = Command::new(env!("CARGO_BIN_EXE_with-server"))
        .arg("/nonesuch")
        .output()
        .unwrap();
    assert_eq!(with_server.status.code(), Some(1));
    let errors = String::from_utf8(with_server.stderr).unwrap();
    assert!(errors.contains("/nonesuch does not start"), "{errors}");
}

//! A running witness: the program `aics-witness`.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use platform_audit::seal;
use serde_json::Value;
use tempfile::TempDir;

use crate::checkers::python;
use crate::published::ORIGIN;

/// Stopped when dropped.
pub(crate) struct Witness {
    pub(crate) url: String,
    pub(crate) verifier_key: String,
    folder: TempDir,
    process: Child,
}

fn command(folder: &TempDir, name: &str) -> Command {
    let mut command = Command::new(python());
    command
        .args(["-m", "aics_witness", name, "--config"])
        .arg(folder.path().join("witness.json"))
        .stdin(Stdio::null());
    command
}

fn output(command: &mut Command) -> String {
    let ran = command.output().unwrap();
    let complaint = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{command:?}: {complaint}");
    String::from_utf8(ran.stdout).unwrap().trim().to_owned()
}

impl Witness {
    /// Starts a witness that knows the log with this key.
    pub(crate) fn start(log: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let verifier_key = output(command(&folder, "init").args([
            "--name",
            "witness.example/w1",
            "--listen",
            "127.0.0.1:0",
        ]));
        output(command(&folder, "add-log").args(["--origin", ORIGIN, "--vkey", log]));
        let mut process = command(&folder, "serve")
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let url = lines.by_ref().find_map(|line| {
            let line = line.unwrap();
            let (_, url) = line.split_once("listening on ")?;
            Some(url.split(' ').next().unwrap().to_owned())
        });
        // Otherwise the pipe fills up.
        std::thread::spawn(move || lines.count());
        Self {
            url: url.expect("the witness listens"),
            verifier_key,
            folder,
            process,
        }
    }

    pub(crate) fn of_the_seal(&self) -> seal::Witness {
        seal::Witness::new(&self.url, &self.verifier_key).unwrap()
    }

    /// The requests that contradicted what it cosigned before.
    pub(crate) fn evidence(&self) -> Vec<Value> {
        serde_json::from_str(&output(&mut command(&self.folder, "evidence"))).unwrap()
    }

    /// Stops it, and returns where nothing listens now.
    pub(crate) fn stop(mut self) -> String {
        self.kill();
        self.url.clone()
    }

    fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.kill();
    }
}

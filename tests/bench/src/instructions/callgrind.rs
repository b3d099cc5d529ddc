//! A private Postgres under callgrind, which counts the instructions of every transaction of every
//! backend.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;
use test_server::{BIN, Server};

use crate::audit::installation::LOCALE;

/// The folder of compiled locales.
const LOCALES: &str = "locales";

/// The function of Postgres that a backend calls once at the end of each transaction. On each call,
/// callgrind writes the number of instructions since the previous one to a file.
const END_OF_TRANSACTION: &str = "ProcArrayEndTransaction";

/// Checks that valgrind can be started.
///
/// # Errors
///
/// If it cannot; the message says how to install it.
pub(crate) fn find() -> Result<(), String> {
    let mut valgrind = Command::new("valgrind");
    valgrind.arg("--version").stdout(Stdio::null());
    match valgrind.status() {
        Ok(status) if status.success() => Ok(()),
        _ => Err("instructions are counted by valgrind, which is not installed: apt-get install valgrind (Debian, Ubuntu), dnf install valgrind (Fedora)".to_owned()),
    }
}

pub(crate) struct CountingServer {
    server: Server,
    /// Scripts that start Postgres' programs, and the output of callgrind.
    folder: TempDir,
    bin: PathBuf,
}

impl CountingServer {
    /// Starts the server without callgrind, which would make the setup of databases slow.
    pub(crate) fn start() -> Result<Self, String> {
        find()?;
        let bin = programs()?;
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let path = folder.path();
        // If this process is root's, the server runs as another user.
        std::fs::set_permissions(path, Permissions::from_mode(0o777))
            .map_err(|error| error.to_string())?;
        make_locale(path);
        let own = |name: &str| bin.join(name).display().to_string();
        write_script(path, "initdb", &format!("'{}' \"$@\"", own("initdb")))?;
        let pg_ctl = format!(
            "'{}' -p '{}/postgres' \"$@\"",
            own("pg_ctl"),
            path.display()
        );
        write_script(path, "pg_ctl", &pg_ctl)?;
        write_script(path, "postgres", &format!("'{}' \"$@\"", own("postgres")))?;
        let server = Server::start_from(path.to_owned())?;
        Ok(Self {
            server,
            folder,
            bin,
        })
    }

    pub(crate) fn url(&self) -> String {
        self.server.url()
    }

    /// Restarts the server under callgrind.
    pub(crate) fn restart(&self) -> Result<(), String> {
        let path = self.folder.path();
        let counted = format!(
            "valgrind --tool=callgrind --trace-children=yes --vgdb=no --dump-line=no --combine-dumps=yes --dump-before={END_OF_TRANSACTION} --callgrind-out-file='{}/%p' '{}' \"$@\"",
            path.display(),
            self.bin.join("postgres").display()
        );
        write_script(path, "postgres", &counted)?;
        self.server.crash()?;
        self.server.resume()
    }

    /// The number of instructions of each transaction that the backend with this process id has
    /// finished. The first includes the start of the backend.
    pub(crate) fn transactions(&self, backend: i32) -> Vec<u64> {
        let file = self.folder.path().join(backend.to_string());
        totals(&std::fs::read_to_string(file).unwrap_or_default())
    }
}

/// The number of instructions in each part of a file that callgrind wrote.
fn totals(file: &str) -> Vec<u64> {
    let totals = file
        .lines()
        .filter_map(|line| line.strip_prefix("totals: "));
    totals.filter_map(|total| total.parse().ok()).collect()
}

/// Compiles the locale of production for this server alone, if the system has its source. Otherwise
/// the server uses the system's locales.
fn make_locale(folder: &Path) {
    let locales = folder.join(LOCALES);
    let mut localedef = Command::new("localedef");
    localedef
        .args(["-i", "en_US", "-f", "UTF-8"])
        .arg(locales.join(LOCALE))
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let made = std::fs::create_dir(&locales).and_then(|()| localedef.status());
    if !made.is_ok_and(|status| status.success()) {
        drop(std::fs::remove_dir_all(&locales));
    }
}

fn write_script(folder: &Path, name: &str, command: &str) -> Result<(), String> {
    let file = folder.join(name);
    let locales = folder.join(LOCALES);
    let locales = match locales.is_dir() {
        true => format!("export LOCPATH='{}'\n", locales.display()),
        false => String::new(),
    };
    let written = std::fs::write(&file, format!("#!/bin/sh\n{locales}exec {command}\n"))
        .and_then(|()| std::fs::set_permissions(&file, Permissions::from_mode(0o755)));
    written.map_err(|error| format!("{}: {error}", file.display()))
}

/// The folder of Postgres' programs: the one that `./test` found, or Debian's newest.
fn programs() -> Result<PathBuf, String> {
    if let Some(bin) = std::env::var_os(BIN) {
        return Ok(bin.into());
    }
    let versions = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten();
    let newest = versions
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let version: u32 = path.file_name()?.to_str()?.parse().ok()?;
            Some((version, path.join("bin")))
        })
        .max();
    newest.map(|(_, bin)| bin).ok_or(format!(
        "Postgres was not found: set {BIN} to the folder of initdb, pg_ctl and postgres"
    ))
}

#[cfg(test)]
mod tests {
    use super::totals;

    #[test]
    fn each_part_of_a_file_has_its_total() {
        let file = "part: 1\nevents: Ir\nfn=(1) main\n0 7\n\ntotals: 7\n\npart: 2\ntotals: 65334\n";
        assert_eq!(totals(file), [7, 65_334]);
    }
}

//! Measures what the toolkit adds to compile time: builds the quickstart, and the same service
//! without the toolkit, each from scratch.

use std::collections::HashSet;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use serde_json::{Map, Value};

use crate::{checkout, cpu};

/// The services: the key in the figures, and the package.
pub(crate) const SERVICES: [(&str, &str); 2] =
    [("plain", "quickstart-plain"), ("quickstart", "quickstart")];
/// The first and the last line of the quickstart's tour in the expanded source. The plain service
/// has no tour.
const TOUR: (&str, &str) = ("mod tour {", "}");

/// The cost of building one service.
struct BuildCost {
    seconds: f64,
    cpu_seconds: Option<f64>,
    /// The duration of a rebuild after a change in the service's own source.
    rebuild_seconds: f64,
    crates: usize,
    source_bytes: usize,
    expanded_bytes: usize,
}

pub(crate) fn run() -> Map<String, Value> {
    say!(
        "a debug build from scratch, of the quickstart's service without the toolkit and with it\n"
    );
    say!(
        "{:<20} {:>9} {:>7} {:>9} {:>7} {:>14} {:>16}",
        "",
        "seconds",
        "CPU s",
        "rebuild s",
        "crates",
        "source, bytes",
        "expanded, bytes"
    );
    warm_up();
    let mut figures = Map::new();
    for (key, package) in SERVICES {
        eprint!("\rbuilding {package} ");
        let built = BuildCost::of(package);
        eprint!("\r{:40}\r", "");
        say!(
            "{package:<20} {:>9.1} {:>7.0} {:>9.1} {:>7} {:>14} {:>16}",
            built.seconds,
            built.cpu_seconds.unwrap_or(f64::NAN),
            built.rebuild_seconds,
            built.crates,
            built.source_bytes,
            built.expanded_bytes
        );
        let mut put =
            |name: &str, value: Value| figures.insert(format!("compile.{key}.{name}"), value);
        put("seconds", tenths(built.seconds).into());
        if let Some(seconds) = built.cpu_seconds {
            put("cpu_seconds", seconds.round().into());
        }
        put("again_seconds", tenths(built.rebuild_seconds).into());
        put("crates", built.crates.into());
        put("source_bytes", built.source_bytes.into());
        put("expanded_bytes", built.expanded_bytes.into());
    }
    say!();
    figures
}

/// Builds the larger service once, so that the sources are in the page cache.
fn warm_up() {
    let [.., (_, package)] = SERVICES;
    eprint!("\rreading the sources ");
    let folder = tempfile::tempdir().expect("a temporary folder");
    build(package, folder.path());
}

fn tenths(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

impl BuildCost {
    fn of(package: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let cpu = cpu::of_ended_children();
        let began = Instant::now();
        let crates = build(package, folder.path());
        let seconds = began.elapsed().as_secs_f64();
        let cpu_seconds = cpu::of_ended_children()
            .zip(cpu)
            .map(|(after, before)| (after - before) / 1e6);

        // Rebuilds only the service's own crate, as after a change.
        let clean = ["clean", "--quiet", "--package", package];
        output_of(cargo(folder.path()).args(clean));
        let began = Instant::now();
        build(package, folder.path());
        let rebuild_seconds = began.elapsed().as_secs_f64();

        Self {
            seconds,
            cpu_seconds,
            rebuild_seconds,
            crates,
            source_bytes: source(package).len(),
            expanded_bytes: without_tour(&expanded(package, folder.path())).len(),
        }
    }
}

/// Builds `package` into `folder`; returns the number of crates, including build scripts.
fn build(package: &str, folder: &Path) -> usize {
    let build = ["build", "--package", package, "--message-format", "json"];
    let messages = output_of(cargo(folder).args(build));
    let messages = messages.lines().map(|line| {
        let message: Value = serde_json::from_str(line).expect("cargo prints JSON");
        message
    });
    let artifacts = messages.filter(|message| message["reason"] == "compiler-artifact");
    let ids: HashSet<String> = artifacts
        .map(|message| message["package_id"].to_string())
        .collect();
    ids.len()
}

/// The source of `package` with its macros expanded, as the compiler prints it.
fn expanded(package: &str, folder: &Path) -> String {
    let expand = ["rustc", "--quiet", "--package", package, "--bin", package];
    let mut command = cargo(folder);
    command.args(expand).args(["--", "-Zunpretty=expanded"]);
    // `cargo expand` uses this option of nightly compilers.
    output_of(command.env("RUSTC_BOOTSTRAP", "1"))
}

fn source(package: &str) -> String {
    let folder = match package {
        "quickstart" => "examples/quickstart",
        _ => "tests/bench/plain",
    };
    let path = checkout::path(folder).join("src/main.rs");
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Removes the tour from expanded source, as it is not part of the service.
fn without_tour(text: &str) -> String {
    let (begin, end) = TOUR;
    let mut inside = false;
    let kept = text.lines().filter(|line| {
        inside |= *line == begin;
        let kept = !inside;
        inside &= *line != end;
        kept
    });
    kept.collect::<Vec<_>>().join("\n")
}

/// Cargo with default settings, as a new user has them, building into `folder`.
fn cargo(folder: &Path) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command
        .current_dir(checkout::path(""))
        .env("CARGO_TARGET_DIR", folder)
        .env_remove("CARGO_INCREMENTAL")
        .env_remove("RUSTFLAGS")
        .env_remove("RUSTC_WRAPPER");
    command
}

/// Runs `command`; returns its standard output.
fn output_of(command: &mut Command) -> String {
    let done = command
        .stderr(Stdio::inherit())
        .output()
        .expect("cargo starts");
    assert!(done.status.success(), "failed: {command:?}");
    String::from_utf8(done.stdout).expect("cargo prints UTF-8")
}

#[cfg(test)]
mod tests {
    use super::without_tour;

    #[test]
    fn only_the_tour_is_removed() {
        let text = "a {\n}\nmod tour {\n    b {\n    }\n}\nc {\n}";
        assert_eq!(without_tour(text), "a {\n}\nc {\n}");
    }
}

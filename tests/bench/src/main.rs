//! Measures the toolkit and its alternatives in one run, in alternating order, and reports ratios.
//!
//! `cargo run --release -p platform-bench -- MEASUREMENT [--json] [--quick]`, where MEASUREMENT is
//! `http`, `audit`, `instructions`, `bulk`, `seal`, `query`, `export`, `queue`, `compile`, `dead`
//! or `all`.
//!
//! - `--json` prints all figures as one flat JSON object, in the last line.
//! - `docs` writes the figures of `figures.json`, the last output of `all --json`, into README.md
//!   and COMPARE.md, and plots into `plots/`.
//! - `--records 1000000` sets the number of records of the log for `query`, `export` and `seal`.
//! - `audit --only near.one_row.16` measures only the combinations whose names start with that: the
//!   place of Postgres, the change, and the number of clients.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a measurement prints, and ends at the first error"
)]

/// Prints a line for people: to standard error if `--json` asks for JSON on standard output.
macro_rules! say {
    ($($line:tt)*) => {
        if $crate::prints_json() {
            eprintln!($($line)*)
        } else {
            println!($($line)*)
        }
    };
}

mod audit;
mod bulk;
mod checkout;
mod commit;
mod compile;
mod cpu;
mod dead;
mod delay;
mod docs;
mod export;
mod http;
mod instructions;
mod load;
mod log;
mod machine;
mod plot;
mod query;
mod queue;
mod requirements;
mod seal;
mod server;
mod spread;
mod subprocess;

use std::process::ExitCode;

use serde_json::{Map, Value};

/// Whether standard output is only for JSON.
fn prints_json() -> bool {
    std::env::args().any(|argument| argument == "--json")
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
    let quick = has("--quick");
    let after = |flag: &str| {
        let at = arguments.iter().position(|argument| argument == flag)?;
        arguments.get(at + 1).map(String::as_str)
    };
    if arguments.first().map(String::as_str) == Some("docs") {
        docs::write();
        return ExitCode::SUCCESS;
    }
    if arguments.first().map(String::as_str) == Some(export::ONE) {
        export::one(&arguments[1..]);
        return ExitCode::SUCCESS;
    }
    let measurement = arguments.first().map(String::as_str);
    if measurement == Some("instructions")
        && let Err(missing) = instructions::find_valgrind()
    {
        eprintln!("{missing}");
        return ExitCode::FAILURE;
    }
    if matches!(
        measurement,
        Some("audit" | "instructions" | "bulk" | "seal" | "query" | "export")
    ) && let Some(code) = server::start()
    {
        return code;
    }
    let records = after("--records").map(|it| it.parse().expect("--records takes a number"));
    let mut figures = machine::describe();
    let measured = match measurement {
        Some("http") => http::run(quick),
        Some("dead") => dead::run(quick),
        Some("queue") => queue::run(),
        Some("compile") => compile::run(),
        Some("query") => query::run(quick, records),
        Some("export") => export::run(records),
        Some("audit") => audit::run(quick, after("--only").unwrap_or("")),
        Some("instructions") => instructions::run(),
        Some("bulk") => bulk::run(quick),
        Some("seal") => seal::run(quick, records),
        Some("all") => [
            "http",
            "queue",
            "dead",
            "audit",
            "instructions",
            "bulk",
            "seal",
            "query",
            "export",
            "compile",
        ]
        .into_iter()
        // These take minutes.
        .filter(|measurement| !quick || !matches!(*measurement, "compile" | "dead"))
        .filter(|measurement| *measurement != "instructions" || can_count())
        .flat_map(|measurement| {
            let is_query = measurement == "query";
            run_in_subprocess(measurement, quick, after("--records").filter(|_| is_query))
        })
        .collect(),
        _ => {
            eprintln!(
                "usage: platform-bench http|audit|instructions|bulk|seal|query|export|queue|compile|dead|all [--json] [--quick], or docs"
            );
            return ExitCode::from(2);
        }
    };
    figures.extend(measured);
    if prints_json() {
        println!("{}", Value::Object(figures));
    }
    ExitCode::SUCCESS
}

/// Whether instructions can be counted. If not, prints why.
fn can_count() -> bool {
    let found = instructions::find_valgrind();
    if let Err(missing) = &found {
        say!("instructions: skipped; {missing}\n");
    }
    found.is_ok()
}

/// Runs a measurement in a new process, as some measurements set process-wide state.
fn run_in_subprocess(measurement: &str, quick: bool, records: Option<&str>) -> Map<String, Value> {
    let mut command = subprocess::command([measurement, "--json"]);
    if quick {
        command.arg("--quick");
    }
    if let Some(records) = records {
        command.args(["--records", records]);
    }
    let (tables, figures) = subprocess::run(&mut command);
    say!("{tables}");
    match figures {
        Value::Object(figures) => figures,
        other => panic!("{measurement} printed {other}"),
    }
}

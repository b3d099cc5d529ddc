//! What the toolkit costs beside what a user would pick instead: ratios within one run, in
//! alternating order.
//!
//! `cargo run --release -p platform-bench -- http|dead [--json] [--quick]`
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a measurement prints, and what goes wrong ends it"
)]

mod dead;
mod http;
mod spread;

fn main() -> std::process::ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
    let figures = match arguments.first().map(String::as_str) {
        Some("http") => http::run(has("--quick")),
        Some("dead") => dead::run(has("--quick")),
        _ => {
            eprintln!("usage: platform-bench http|dead [--json] [--quick]");
            return std::process::ExitCode::from(2);
        }
    };
    if has("--json") {
        println!("{}", serde_json::Value::Object(figures));
    }
    std::process::ExitCode::SUCCESS
}

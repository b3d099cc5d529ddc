use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use platform_audit::seal::{RecordProof, SealError, VerifierKey};

use crate::output::{self, escape_controls};

/// Verifies the proof of a record, without a database or a network
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  platform-audit verify-proof record.tlog-proof --vkey \"$VKEY\"

Exit status: 0 proven, 1 not proven, 2 error.")]
pub(crate) struct Options {
    /// The proof, as `platform-audit prove` printed it
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The verifier key of the log; may be repeated
    #[arg(long, value_name = "VKEY", required = true)]
    vkey: Vec<String>,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let keys = verifier_keys(&options.vkey)?;
    let file = options.file.display();
    let text = std::fs::read_to_string(&options.file)
        .with_context(|| format!("{file} could not be read"))?;
    let proven = match RecordProof::parse(&text).and_then(|proof| proof.verify(&keys)) {
        Ok(proven) => proven,
        Err(error @ SealError::NotProven(_)) => {
            output::say(error)?;
            return Ok(ExitCode::from(1));
        }
        Err(error) => return Err(error).context(file.to_string()),
    };
    for (name, value) in &proven.values {
        output::say(format_args!("{name}: {}", escape_controls(value)))?;
    }
    output::say(format_args!(
        "proven: record {} is entry {} of the log {}, whose checkpoint of {} entries is signed",
        proven.id,
        proven.position,
        escape_controls(&proven.origin),
        proven.size
    ))?;
    Ok(ExitCode::SUCCESS)
}

/// Parses the values of `--vkey`.
pub(crate) fn verifier_keys(texts: &[String]) -> anyhow::Result<Vec<VerifierKey>> {
    let parse = |key: &String| key.trim().parse().context("--vkey is not a verifier key");
    texts.iter().map(parse).collect()
}

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use platform_audit::seal::{Verdict, Verify};

use crate::connection::Target;
use crate::output;

/// Proves that no record was changed, removed or inserted later
///
/// Compares every record with its seal, the log with its tree, and the tree with signed
/// checkpoints. Only a checkpoint from outside the database (--tiles, --checkpoint) proves
/// something against the owner of the database.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  platform-audit verify --service accounting --vkey \"$VKEY\" --tiles /srv/audit-log
  platform-audit verify --service accounting --vkey \"$VKEY\" --checkpoint october.txt --json

Exit status: 0 proven, 1 harm found or not anchored, 2 not checked.")]
pub(crate) struct Options {
    #[command(flatten)]
    target: Target,
    /// The verifier key of the log, as `platform-audit key new` printed it; may be repeated after a
    /// change of the key
    #[arg(long, value_name = "VKEY", required = true)]
    vkey: Vec<String>,
    /// The directory of the published log
    #[arg(long, value_name = "DIR")]
    tiles: Option<PathBuf>,
    /// The file of a checkpoint that was kept; may be repeated
    #[arg(long, value_name = "FILE")]
    checkpoint: Vec<PathBuf>,
    /// Success also if no checkpoint from outside the database was compared
    #[arg(long)]
    allow_unanchored: bool,
    /// Prints the report as JSON
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(options: Options) -> anyhow::Result<ExitCode> {
    let mut verify = Verify::default();
    for key in &options.vkey {
        verify = verify.key(key)?;
    }
    if let Some(tiles) = &options.tiles {
        verify = verify.tiles(tiles);
    }
    for path in &options.checkpoint {
        let note = std::fs::read_to_string(path)
            .with_context(|| format!("{} could not be read", path.display()))?;
        verify = verify.checkpoint(path.display().to_string(), note);
    }
    let progress = output::progress();
    let shown = progress.clone();
    verify = verify.progress(move |done, all| {
        shown.set_length(all);
        shown.set_position(done);
    });
    let audit = options.target.open(None).await?;
    let report = audit.verify(&verify).await;
    progress.finish_and_clear();
    let report = report?;
    let verdict = report.verdict();
    if options.json {
        let mut json = serde_json::to_value(&report)?;
        json["verdict"] = serde_json::to_value(verdict)?;
        output::json(&json)?;
    } else {
        output::say(output::escape_lines(&report.to_string()))?;
    }
    Ok(ExitCode::from(match verdict {
        Verdict::Proven => 0,
        Verdict::Unanchored => u8::from(!options.allow_unanchored),
        Verdict::NothingChecked => 2,
        _ => 1,
    }))
}

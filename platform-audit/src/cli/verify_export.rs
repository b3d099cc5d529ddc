use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use platform_audit::export::{ExportError, verify};

use crate::output;

/// Checks that an exported file is what the manifest beside it says
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  platform-audit verify-export october.csv

Exit status: 0 it is, 1 it is not, 2 it could not be read.")]
pub(crate) struct Options {
    /// The file that was exported
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    match verify(&options.file) {
        Ok(manifest) => {
            output::say(format_args!(
                "{}: {} records, finished {}, as its manifest says",
                options.file.display(),
                manifest.records,
                manifest.finished_at
            ))?;
            Ok(ExitCode::SUCCESS)
        }
        Err(error @ ExportError::Damaged { .. }) => {
            // In one line, whatever the manifest holds.
            output::hint(output::inert(&error.to_string()));
            Ok(ExitCode::from(1))
        }
        Err(error) => Err(error.into()),
    }
}

use std::io::Write;
use std::process::ExitCode;

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::Cli;
use crate::output::Stdout;

/// Prints a shell completion script
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  platform-audit completions bash > /etc/bash_completion.d/platform-audit")]
pub(crate) struct Options {
    shell: Shell,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let mut command = Cli::command();
    // Generated into a buffer, because `generate` panics if it cannot write.
    let mut script = Vec::new();
    clap_complete::generate(options.shell, &mut command, "platform-audit", &mut script);
    Stdout::new().write_all(&script)?;
    Ok(ExitCode::SUCCESS)
}

use std::io::Write;
use std::process::ExitCode;

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::Cli;
use crate::output::Stdout;

/// Prints what a shell needs to complete this command
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  platform-audit completions bash > /etc/bash_completion.d/platform-audit")]
pub(crate) struct Options {
    shell: Shell,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let mut command = Cli::command();
    // Printed afterwards, as it panics where it cannot write.
    let mut script = Vec::new();
    clap_complete::generate(options.shell, &mut command, "platform-audit", &mut script);
    Stdout::new().write_all(&script)?;
    Ok(ExitCode::SUCCESS)
}

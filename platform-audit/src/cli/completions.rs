use std::process::ExitCode;

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::Cli;

/// Prints what a shell needs to complete this command
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  platform-audit completions bash > /etc/bash_completion.d/platform-audit")]
pub(crate) struct Options {
    shell: Shell,
}

pub(crate) fn run(options: &Options) -> ExitCode {
    let mut command = Cli::command();
    clap_complete::generate(
        options.shell,
        &mut command,
        "platform-audit",
        &mut crate::output::Stdout,
    );
    ExitCode::SUCCESS
}

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use platform_audit::seal::new_key;

use crate::output;

/// Creates the key that signs the sealed log
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  platform-audit key new accounting.key

Exit status: 0 success, 2 error.")]
pub(crate) struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Writes a new private key to a file that only its owner can read, and prints the verifier
    /// key, which auditors need
    New {
        /// The file, which must not exist
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// The name of the log, which no other log has, such as accounting.example.com/audit; by
        /// default the file's name without its extension
        #[arg(long, value_name = "NAME")]
        name: Option<String>,
    },
}

pub(crate) fn run(options: Options) -> anyhow::Result<ExitCode> {
    let Command::New { file, name } = options.command;
    let stem = || file.file_stem().map(|it| it.to_string_lossy().into_owned());
    let Some(name) = name.or_else(stem) else {
        bail!("{} is not a file name", file.display());
    };
    let key = new_key(&name)?;
    write_private(&file, key.to_private_text().as_str())?;
    output::say(key.verifier_key())?;
    Ok(ExitCode::SUCCESS)
}

/// Creates a file of mode 0600. An existing file is never overwritten.
fn write_private(path: &Path, text: &str) -> anyhow::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path).with_context(|| {
        format!(
            "{} could not be created; an existing key is not overwritten",
            path.display()
        )
    })?;
    let written = writeln!(file, "{text}").and_then(|()| file.sync_all());
    written.with_context(|| format!("{} could not be written", path.display()))
}

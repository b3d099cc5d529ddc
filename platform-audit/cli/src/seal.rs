use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use platform_audit::seal::{Seal, Sealed, Witness};

use crate::connection::Target;
use crate::output;
use crate::signals::shutdown_signal;

/// Seals the records: appends them to the log's tree, and signs and publishes its root
///
/// A service that has a key seals by itself. This command is for those who keep the key elsewhere;
/// it may run beside services that seal.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  platform-audit seal --service accounting --key accounting.key --publish /srv/audit-log
  platform-audit seal --service accounting --key accounting.key --publish /srv/audit-log --once

Exit status: 0 success, 2 error.")]
pub(crate) struct Options {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    log: Log,
    /// Seals what is committed now, and ends
    #[arg(long)]
    once: bool,
}

/// The key of the log, and where it is published.
#[derive(Debug, Args)]
pub(crate) struct Log {
    /// The file of the private key, as `platform-audit key new` writes it
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// The directory to which the log is published, for auditors: it contains no personal data
    #[arg(long, value_name = "DIR")]
    publish: Option<PathBuf>,
    /// A witness (C2SP tlog-witness) that cosigns each checkpoint: its submission prefix and its
    /// verifier key. May be repeated
    #[arg(long, num_args = 2, value_names = ["URL", "VKEY"])]
    witness: Vec<String>,
}

impl Log {
    pub(crate) fn seal(&self) -> anyhow::Result<Seal> {
        let seal = Seal::from_file(&self.key)?;
        let seal = match &self.publish {
            Some(directory) => seal.publish_to(directory),
            None => seal,
        };
        let (witnesses, _) = self.witness.as_chunks();
        witnesses.iter().try_fold(seal, |seal, [url, key]| {
            Ok(seal.witness(Witness::new(url, key)?))
        })
    }
}

pub(crate) async fn run(options: Options) -> anyhow::Result<ExitCode> {
    let seal = options.log.seal()?;
    let audit = options.target.open(None).await?;
    if options.once {
        say(&audit.seal_now(&seal).await?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let stop = shutdown_signal()?;
    // Fails at once if something is wrong, instead of retrying.
    say(&audit.seal_now(&seal).await?)?;
    tokio::select! {
        failed = audit.seal_forever(&seal) => match failed? {},
        () = stop => {}
    }
    say(&audit.seal_now(&seal).await?)?;
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn say(sealed: &Sealed) -> anyhow::Result<()> {
    if sealed.busy {
        output::say("another instance is sealing this log")?;
    }
    output::say(format_args!(
        "sealed {} entries; the log has {}",
        sealed.sealed, sealed.size
    ))?;
    Ok(())
}

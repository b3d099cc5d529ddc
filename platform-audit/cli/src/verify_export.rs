use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use platform_audit::export::{ExportError, Manifest, verify};

use crate::asking::Asker;
use crate::connection::Target;
use crate::output::{self, escape_controls};

/// Checks that an exported file is what the manifest beside it says, and the manifest what was
/// recorded
///
/// Whoever can change the file can change its manifest, too. So name the service: the record of the
/// export has the SHA-256 of the manifest.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  platform-audit verify-export october.csv --service accounting    # DATABASE_URL is set
  platform-audit verify-export october.csv                         # only the file and its manifest

Exit status: 0 it is, 1 it is not, 2 it could not be read or asked.")]
pub(crate) struct Options {
    /// The file that was exported
    #[arg(value_name = "FILE")]
    file: std::path::PathBuf,
    /// The service whose log it is from, to compare the manifest with the record of the export
    #[arg(long, value_name = "NAME", requires = "database_url")]
    service: Option<String>,
    /// The audit schema (SQLite: the prefix of the tables), if it is not <service>_audit
    #[arg(long, value_name = "NAME", requires = "service")]
    schema: Option<String>,
    /// The database, as postgres://USER@HOST/NAME or sqlite:FILE
    #[arg(long, env = "DATABASE_URL", hide_env_values = true, value_name = "URL")]
    database_url: Option<String>,
    /// Who reads, for the record of this reading; by default the user of this machine
    #[arg(long = "as", value_name = "NAME", env = "AUDIT_READER")]
    name: Option<String>,
    /// Why, for the same record
    #[arg(long, value_name = "TEXT")]
    because: Option<String>,
}

pub(crate) async fn run(options: Options) -> anyhow::Result<ExitCode> {
    let file = escape_controls(&options.file.display().to_string());
    let manifest = match verify(&options.file) {
        Ok(manifest) => manifest,
        Err(error @ ExportError::Damaged { .. }) => {
            // In one line, whatever the manifest holds.
            output::hint(escape_controls(&error.to_string()));
            return Ok(ExitCode::from(1));
        }
        Err(error) => return Err(error.into()),
    };
    let told = format!(
        "{file}: {} records, finished {}, as its manifest says",
        manifest.records, manifest.finished_at
    );
    let Some(asker) = options.asker() else {
        output::say(told)?;
        output::hint(
            "only the file and its manifest were compared, with each other: who changed both is not found out. Name the log with --service and --database-url, and the manifest is compared with the record of the export",
        );
        return Ok(ExitCode::SUCCESS);
    };
    match compare(&asker, &manifest).await? {
        Ok(recorded) => {
            output::say(format_args!("{told}, and {recorded}"))?;
            Ok(ExitCode::SUCCESS)
        }
        Err(refused) => {
            output::hint(escape_controls(&format!("{file}: {refused}")));
            Ok(ExitCode::from(1))
        }
    }
}

impl Options {
    /// Who asks which log, if one is named.
    fn asker(&self) -> Option<Asker> {
        let (service, url) = (self.service.clone()?, self.database_url.clone()?);
        let target = Target::new(url, service, self.schema.clone());
        Some(Asker::new(target, self.name.clone(), self.because.clone()))
    }
}

/// What the log says of the export with this manifest, or why the manifest is not to be believed.
async fn compare(asker: &Asker, manifest: &Manifest) -> anyhow::Result<Result<String, String>> {
    let reading = asker.reading().await?;
    let log = reading.origin();
    if (&log.service, &log.schema) != (&manifest.origin.service, &manifest.origin.schema) {
        return Ok(Err(format!(
            "its manifest says that it is of the service {} in the audit schema {}, not of {} in {}",
            manifest.origin.service, manifest.origin.schema, log.service, log.schema
        )));
    }
    let recorded = reading.exported(&manifest.own_sha256).await?;
    let Some(record) = recorded else {
        return Ok(Err(format!(
            "no export that {} recorded has this manifest (SHA-256 {}): it was changed since, or the export could not be recorded",
            log.schema, manifest.own_sha256
        )));
    };
    let at = record
        .recorded_at
        .context("a record was read back without its time")?;
    let user = match record.details.get("database_user") {
        Some(serde_json::Value::String(user)) => {
            format!(" (database user {})", escape_controls(user))
        }
        _ => String::new(),
    };
    Ok(Ok(format!(
        "as {}{user} recorded {} in the record {}",
        escape_controls(&record.actor.id),
        output::time(at),
        record.id
    )))
}

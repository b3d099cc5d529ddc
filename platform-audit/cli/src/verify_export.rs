use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use platform_audit::export::{ExportError, Manifest, verify};
use platform_audit::seal::SealError;
use uuid::Uuid;

use crate::connection::Target;
use crate::output::{self, escape_controls};
use crate::reader::ReaderOptions;
use crate::verify_proof::verifier_keys;

/// Checks that an exported file matches its manifest, and that the manifest matches its audit
/// record
///
/// Anyone who can change the file can also change its manifest. With --service, the manifest's
/// SHA-256 is compared with the record of the export. With --vkey, that record is proven to be in
/// the sealed log.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  platform-audit verify-export october.csv --service accounting    # DATABASE_URL is set
  platform-audit verify-export october.csv --service accounting --vkey \"$VKEY\" --tiles /srv/audit-log
  platform-audit verify-export october.csv                         # only the file and its manifest

Exit status: 0 they match, 1 they do not match, 2 error.")]
pub(crate) struct Options {
    /// The exported file
    #[arg(value_name = "FILE")]
    file: std::path::PathBuf,
    /// The service whose log was exported, to compare the manifest with the record of the export
    #[arg(long, value_name = "NAME", requires = "database_url")]
    service: Option<String>,
    /// The audit schema (on SQLite, the table prefix), if it is not <service>_audit
    #[arg(long, value_name = "NAME", requires = "service")]
    schema: Option<String>,
    /// The database: postgres://USER@HOST/NAME or sqlite:FILE
    #[arg(long, env = "DATABASE_URL", hide_env_values = true, value_name = "URL")]
    database_url: Option<String>,
    /// The verifier key of the sealed log, to prove the record of the export; may be repeated
    #[arg(long, value_name = "VKEY", requires = "service")]
    vkey: Vec<String>,
    /// The directory of the published log; by default the checkpoint in the database is used
    #[arg(long, value_name = "DIR", requires = "vkey")]
    tiles: Option<std::path::PathBuf>,
    /// The actor to record for this read; by default the current user
    #[arg(long = "as", value_name = "NAME", env = "AUDIT_READER")]
    name: Option<String>,
    /// The reason to record for this read
    #[arg(long, value_name = "TEXT")]
    because: Option<String>,
}

pub(crate) async fn run(options: Options) -> anyhow::Result<ExitCode> {
    let file = escape_controls(&options.file.display().to_string());
    let manifest = match verify(&options.file) {
        Ok(manifest) => manifest,
        Err(error @ ExportError::Damaged { .. }) => {
            // Escaped onto one line, because the manifest may contain line breaks.
            output::hint(escape_controls(&error.to_string()));
            return Ok(ExitCode::from(1));
        }
        Err(error) => return Err(error.into()),
    };
    let summary = format!(
        "{file}: {} records, finished {}, matches its manifest",
        manifest.records, manifest.finished_at
    );
    let Some(reader) = options.reader() else {
        output::say(summary)?;
        output::hint(
            "only the file and its manifest were compared with each other, which does not detect a change of both. Use --service and --database-url to compare the manifest with the record of the export",
        );
        return Ok(ExitCode::SUCCESS);
    };
    match compare(&reader, &manifest).await? {
        Ok((id, recorded)) => {
            output::say(format_args!("{summary}, and {recorded}"))?;
            options.prove(id, &manifest).await
        }
        Err(refused) => {
            output::hint(escape_controls(&format!("{file}: {refused}")));
            Ok(ExitCode::from(1))
        }
    }
}

impl Options {
    fn target(&self) -> Option<Target> {
        let (service, url) = (self.service.clone()?, self.database_url.clone()?);
        Some(Target::new(url, service, self.schema.clone()))
    }

    /// Proves that the sealed log contains the record of the export, with the manifest's SHA-256.
    async fn prove(&self, id: Uuid, manifest: &Manifest) -> anyhow::Result<ExitCode> {
        let keys = verifier_keys(&self.vkey)?;
        let (Some(target), false) = (self.target(), keys.is_empty()) else {
            return Ok(ExitCode::SUCCESS);
        };
        let audit = target.open(None).await?;
        let proof = audit.prove(id, self.tiles.as_deref()).await?;
        let proven = match proof.verify(&keys) {
            Ok(proven) => proven,
            Err(error @ SealError::NotProven(_)) => {
                output::hint(format_args!("the record {id} of the export is {error}"));
                return Ok(ExitCode::from(1));
            }
            Err(error) => return Err(error.into()),
        };
        let details = proven.values.iter().find(|(name, _)| *name == "details");
        if !details.is_some_and(|(_, details)| details.contains(&manifest.own_sha256)) {
            output::hint(format_args!(
                "the sealed record {id} is not that of this export: it contains another SHA-256"
            ));
            return Ok(ExitCode::from(1));
        }
        output::say(format_args!(
            "proven: that record is entry {} of the log {}, whose checkpoint of {} entries is signed",
            proven.position,
            escape_controls(&proven.origin),
            proven.size
        ))?;
        Ok(ExitCode::SUCCESS)
    }

    /// The log to compare with, if one is named.
    fn reader(&self) -> Option<ReaderOptions> {
        Some(ReaderOptions::new(
            self.target()?,
            self.name.clone(),
            self.because.clone(),
        ))
    }
}

/// Returns the record of the export with this manifest and its description, or why the manifest
/// cannot be trusted.
async fn compare(
    reader: &ReaderOptions,
    manifest: &Manifest,
) -> anyhow::Result<Result<(Uuid, String), String>> {
    let reading = reader.reading().await?;
    let log = reading.origin();
    if (&log.service, &log.schema) != (&manifest.origin.service, &manifest.origin.schema) {
        return Ok(Err(format!(
            "its manifest names the service {} in the audit schema {}, not {} in {}",
            manifest.origin.service, manifest.origin.schema, log.service, log.schema
        )));
    }
    let recorded = reading.find_export(&manifest.own_sha256).await?;
    let Some(record) = recorded else {
        return Ok(Err(format!(
            "{} has no record of an export with this manifest (SHA-256 {}): the manifest was changed since the export, or the export could not be recorded",
            log.schema, manifest.own_sha256
        )));
    };
    let at = record.recorded_at.context("a record has no time")?;
    let user = match record.details.get("database_user") {
        Some(serde_json::Value::String(user)) => {
            format!(" (database user {})", escape_controls(user))
        }
        _ => String::new(),
    };
    let recorded = format!(
        "as {}{user} recorded {} in the record {}",
        escape_controls(&record.actor.id),
        output::time(at),
        record.id
    );
    Ok(Ok((record.id, recorded)))
}

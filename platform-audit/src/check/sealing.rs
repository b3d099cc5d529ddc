//! Findings about the sealed log.

use serde::Deserialize;

use super::finding::{Finding, FindingKind};

/// How long a record may stay unsealed before that is a finding, in seconds. A sealer needs one.
const BEHIND: f64 = 60.0;

/// How far the log is sealed, as the database reports it.
#[derive(Debug, Deserialize)]
pub(crate) struct Sealing {
    /// The number of entries of the log.
    size: u64,
    /// The age of the oldest record without a seal, in seconds.
    unsealed_for: Option<f64>,
}

impl Sealing {
    /// The finding, if the log was sealed before and is not any more.
    pub(crate) fn finding(&self, schema: &str, service: &str) -> Option<Finding> {
        let seconds = self
            .unsealed_for
            .filter(|age| self.size > 0 && *age > BEHIND)?;
        Some(Finding {
            kind: FindingKind::SealingBehind,
            object: schema.to_owned(),
            message: format!(
                "a record of {schema} has not been sealed for {seconds:.0} seconds, so it could be changed without a trace: no sealer is running, or it fails"
            ),
            remedy: format!(
                "platform-audit seal --service {service} --key FILE --publish DIR, or AuditBuilder::seal in the service; its log says why it fails"
            ),
            remedy_is_multiline: false,
        })
    }

    /// The note, if the log was never sealed.
    pub(crate) fn note(&self, service: &str) -> Option<String> {
        (self.size == 0).then(|| {
            format!(
                "the log is not sealed, so the owner of the database could rewrite it without a trace: platform-audit key new FILE, then platform-audit seal --service {service} --key FILE --publish DIR, or AuditBuilder::seal in the service"
            )
        })
    }
}

/// The finding that the published log is ahead of the database, or contradicts it.
#[cfg(feature = "seal")]
pub(crate) fn contradicted(schema: &str, service: &str, error: &crate::seal::SealError) -> Finding {
    Finding {
        kind: FindingKind::LogContradicted,
        object: schema.to_owned(),
        message: error.to_string(),
        remedy: format!(
            "platform-audit verify --service {service} --vkey VKEY --tiles DIR says what differs; after a restore from a backup: platform-audit log resume --service {service} --key FILE --publish DIR --because TEXT"
        ),
        remedy_is_multiline: false,
    }
}

//! Witnesses: programs of other people that cosign the checkpoints (C2SP tlog-witness).

use std::collections::BTreeMap;
use std::time::Duration;

use platform_audit_tlog::checkpoint::SignedCheckpoint;
use platform_audit_tlog::note::{Algorithm, VerifierKey};
use platform_audit_tlog::tile::{consistency_proof, consistency_tiles};
use platform_audit_tlog::witness::{AddCheckpoint, conflict_size};
use reqwest::redirect::Policy;

use super::error::SealError;
use super::log::SealedLog;
use super::sinks::Backoff;
use crate::store::AuditDatabase;

/// How long a witness may take. A checkpoint waits for it, and so does sealing.
const TIMEOUT: Duration = Duration::from_secs(2);

/// The largest response: a cosignature has about 150 bytes.
const MAX_RESPONSE: usize = 64 * 1024;

/// A witness that cosigns the checkpoints of the log, such as an auditor's. It remembers the last
/// checkpoint, and cosigns only those that continue it: a log with a witness cannot show different
/// histories to different people.
///
/// Feature `witness`. Pass it to [`Seal::witness`](super::Seal::witness).
#[derive(Clone, Debug)]
pub struct Witness {
    url: String,
    key: VerifierKey,
    client: reqwest::Client,
}

impl Witness {
    /// A witness, by its submission prefix, such as `https://witness.example.com/`, and its
    /// verifier key.
    ///
    /// # Errors
    ///
    /// [`SealError::Key`] if the key is malformed, or not one for cosignatures.
    /// [`SealError::Witness`] if the URL is not one of HTTP, or the client cannot be created.
    pub fn new(submission_prefix: &str, verifier_key: &str) -> Result<Self, SealError> {
        let key: VerifierKey = verifier_key.trim().parse().map_err(|error| {
            SealError::Key(format!("the key of a witness is malformed: {error}"))
        })?;
        if key.algorithm() != Algorithm::CosignatureV1 {
            let name = key.name();
            return Err(SealError::Key(format!(
                "the key {name} is not one for cosignatures (cosignature/v1), which a witness has"
            )));
        }
        let url = format!("{}/add-checkpoint", submission_prefix.trim_end_matches('/'));
        let failed = |reason: String| SealError::Witness {
            url: url.clone(),
            reason,
        };
        let parsed = reqwest::Url::parse(&url).map_err(|error| failed(error.to_string()))?;
        if !matches!(parsed.scheme(), "http" | "https") {
            return Err(failed("it is not a URL of HTTP".to_owned()));
        }
        let client = reqwest::Client::builder()
            .timeout(TIMEOUT)
            .redirect(Policy::none())
            .user_agent(concat!("platform-audit/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| failed(error.to_string()))?;
        Ok(Self { url, key, client })
    }

    fn failed(&self, reason: impl std::fmt::Display) -> SealError {
        SealError::Witness {
            url: self.url.clone(),
            reason: reason.to_string(),
        }
    }

    /// Returns the status and the body of the response.
    async fn post(&self, request: &AddCheckpoint) -> Result<(u16, String), SealError> {
        let sent = self.client.post(&self.url).body(request.to_string());
        let mut response = sent
            .send()
            .await
            .map_err(|error| self.failed(cause(&error)))?;
        let mut body = Vec::new();
        let failed = |error: reqwest::Error| self.failed(cause(&error));
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            if body.len() + chunk.len() > MAX_RESPONSE {
                return Err(self.failed("its response is too long"));
            }
            body.extend_from_slice(&chunk);
        }
        let body = String::from_utf8_lossy(&body).into_owned();
        Ok((response.status().as_u16(), body))
    }
}

/// The innermost cause, such as a refused connection. The message of the error contains the URL.
fn cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

/// One witness, and what it cosigned.
#[derive(Debug)]
pub(super) struct WitnessState {
    witness: Witness,
    /// The size of the checkpoint that it cosigned last, if that is known.
    cosigned: Option<u64>,
    backoff: Backoff,
}

impl WitnessState {
    pub(super) fn new(witness: Witness) -> Self {
        Self {
            witness,
            cosigned: None,
            backoff: Backoff::default(),
        }
    }

    /// Whether it did not cosign the tree of `size` entries and may be asked now.
    pub(super) fn is_due(&self, size: u64) -> bool {
        self.cosigned != Some(size) && self.backoff.is_over()
    }

    /// Asks for a cosignature, and adds it to the checkpoint.
    pub(super) async fn cosign<DB: AuditDatabase>(
        &mut self,
        log: &mut SealedLog<'_, DB>,
        checkpoint: &mut SignedCheckpoint,
    ) -> Result<(), SealError> {
        let size = checkpoint.checkpoint().size();
        let cosigned = self.ask(log, checkpoint).await;
        match &cosigned {
            Ok(()) => {
                self.cosigned = Some(size);
                self.backoff.succeeded();
            }
            Err(_) => {
                self.cosigned = None;
                self.backoff.failed();
            }
        }
        cosigned
    }

    async fn ask<DB: AuditDatabase>(
        &self,
        log: &mut SealedLog<'_, DB>,
        checkpoint: &mut SignedCheckpoint,
    ) -> Result<(), SealError> {
        let witness = &self.witness;
        let size = checkpoint.checkpoint().size();
        // A witness that is asked from another size responds with the right one. It may cosign for
        // another instance of the service between two requests.
        let mut old = self.cosigned.unwrap_or(0);
        for _ in 0..3 {
            if old > size {
                return Err(witness.failed(format_args!(
                    "it cosigned a checkpoint of {old} entries before, but the database has {size}: it was restored from a backup, or its end was removed"
                )));
            }
            let proof = consistency(log, old, size).await?;
            let request = AddCheckpoint::new(old, proof, checkpoint.note().clone());
            let request = request.map_err(SealError::malformed)?;
            match witness.post(&request).await? {
                (200, lines) => {
                    let keys = std::slice::from_ref(&witness.key);
                    let added = checkpoint.add_cosignatures(&lines, keys);
                    let added = added.map_err(|error| witness.failed(error))?;
                    return match added.is_empty() {
                        true => Err(witness.failed("it did not cosign with the configured key")),
                        false => Ok(()),
                    };
                }
                (409, body) => {
                    let conflict = conflict_size(&body);
                    old = conflict
                        .ok_or_else(|| witness.failed("it responded 409 without a size"))?;
                }
                (422, _) => {
                    return Err(witness.failed(format_args!(
                        "it cosigned a checkpoint of {old} entries before, and the log does not continue that one: the history was rewritten; run platform-audit verify"
                    )));
                }
                (404, _) => {
                    return Err(witness.failed(
                        "it responded 404: it does not know the log, or the URL is wrong",
                    ));
                }
                (403, _) => {
                    return Err(
                        witness.failed("it responded 403: it knows the log with another key")
                    );
                }
                (status, _) => return Err(witness.failed(format_args!("it responded {status}"))),
            }
        }
        Err(witness.failed("it responded 409 to each request"))
    }
}

/// The proof that the tree of `new` entries begins with that of `old` entries.
async fn consistency<DB: AuditDatabase>(
    log: &mut SealedLog<'_, DB>,
    old: u64,
    new: u64,
) -> Result<Vec<platform_audit_tlog::tree::Hash>, SealError> {
    let mut tiles = BTreeMap::new();
    for id in consistency_tiles(old, new).map_err(SealError::malformed)? {
        let bytes = log.tile_at(id, new).await?.ok_or(SealError::Damaged)?;
        tiles.insert(id, bytes);
    }
    consistency_proof(old, new, &tiles).map_err(SealError::malformed)
}

//! How a service seals its log.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::future::BoxFuture;
use platform_audit_tlog::note::{Algorithm, Signer, SigningKey};

use super::error::SealError;

/// The key that signs checkpoints, and the places to which they are published.
///
/// Pass it to [`AuditBuilder::seal`](crate::AuditBuilder::seal). Every checkpoint is also logged as
/// an event with the target `audit.checkpoint`, so a service that exports its logs has an anchor
/// outside the database without more.
///
/// ```
/// # #[cfg(feature = "postgres")]
/// # fn example(audit: platform_audit::AuditBuilder<sqlx::Postgres>) -> Result<(), Box<dyn std::error::Error>> {
/// use platform_audit::seal::Seal;
///
/// let seal = Seal::from_file("/run/secrets/audit.key")?.publish_to("/var/lib/audit-log");
/// let audit = audit.seal(seal);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Seal {
    pub(super) signer: Arc<dyn Signer + Send + Sync>,
    pub(super) directory: Option<PathBuf>,
    pub(super) sinks: Vec<Arc<dyn CheckpointSink>>,
    #[cfg(feature = "object-store")]
    pub(super) buckets: Vec<super::bucket::Bucket>,
    #[cfg(feature = "witness")]
    pub(super) witnesses: Vec<super::Witness>,
}

/// A place to which signed checkpoints are published, such as a repository or another log. Each
/// contains the size and the root of the log, and no personal data.
pub trait CheckpointSink: fmt::Debug + Send + Sync + 'static {
    /// Publishes a checkpoint, in the format of C2SP tlog-checkpoint. It is called again, with the
    /// same or a newer one, after an error. It runs beside sealing, one call at a time, and is
    /// dropped after 30 seconds.
    fn publish<'a>(
        &'a self,
        checkpoint: &'a str,
    ) -> BoxFuture<'a, Result<(), Box<dyn std::error::Error + Send + Sync>>>;
}

impl Seal {
    /// Signs with a key of this process, or of a key management service.
    ///
    /// # Errors
    ///
    /// [`SealError::Key`] if the key is one for cosignatures.
    pub fn new(signer: impl Signer + Send + Sync + 'static) -> Result<Self, SealError> {
        if signer.key().algorithm() != Algorithm::Ed25519 {
            let name = signer.key().name();
            return Err(SealError::Key(format!(
                "the key {name} is one for cosignatures, which a witness has: a log needs an Ed25519 key, as `platform-audit key new` creates it"
            )));
        }
        Ok(Self {
            signer: Arc::new(signer),
            directory: None,
            sinks: Vec::new(),
            #[cfg(feature = "object-store")]
            buckets: Vec::new(),
            #[cfg(feature = "witness")]
            witnesses: Vec::new(),
        })
    }

    /// Reads the private key from a file, as `platform-audit key new` writes it.
    ///
    /// # Errors
    ///
    /// [`SealError::File`] if the file cannot be read. [`SealError::Key`] if it does not contain a
    /// private key, or if other users may read it (on Unix: its mode has to be 0600 or 0400).
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, SealError> {
        let path = path.as_ref();
        refuse_public(path)?;
        let text = std::fs::read_to_string(path).map_err(|source| SealError::File {
            path: path.to_owned(),
            action: "read",
            source,
        })?;
        Self::from_text(&text, &path.display().to_string())
    }

    /// Reads the private key from an environment variable.
    ///
    /// # Errors
    ///
    /// [`SealError::Key`] if the variable is not set or does not contain a private key.
    pub fn from_env(variable: &str) -> Result<Self, SealError> {
        let text = std::env::var(variable).map_err(|_| {
            SealError::Key(format!(
                "the environment variable {variable} is not set: it has to contain the private key of the log"
            ))
        })?;
        Self::from_text(&text, variable)
    }

    fn from_text(text: &str, place: &str) -> Result<Self, SealError> {
        let key: SigningKey = text.trim().parse().map_err(|error| {
            SealError::Key(format!("{place} does not contain a private key: {error}"))
        })?;
        Self::new(key)
    }

    /// Publishes the log to a directory, as C2SP tlog-tiles: `checkpoint`, `tile/`, and every
    /// checkpoint under `checkpoints/`. It contains no personal data. Any web server may serve it.
    pub fn publish_to(mut self, directory: impl Into<PathBuf>) -> Self {
        self.directory = Some(directory.into());
        self
    }

    /// Publishes the log to an object store, too, below `prefix`, as
    /// [`publish_to`](Self::publish_to) does to a directory. Nothing is overwritten but the object
    /// `checkpoint`, so the bucket may have a retention lock. Store it where the owner of the
    /// database cannot delete it: then it is an anchor.
    ///
    /// The service seals nothing if the bucket contains a newer checkpoint than the database, or
    /// another root. A bucket that cannot be reached delays nothing, and is tried again.
    ///
    /// Feature `object-store`. The credentials, and the features of the crate `object_store` for a
    /// certain cloud, are up to the service.
    #[cfg(feature = "object-store")]
    pub fn publish_to_store(
        mut self,
        store: Arc<dyn object_store::ObjectStore>,
        prefix: impl Into<String>,
    ) -> Self {
        let prefix = prefix.into();
        self.buckets.push(super::bucket::Bucket { store, prefix });
        self
    }

    /// Publishes each checkpoint to `sink`, too.
    pub fn sink(mut self, sink: impl CheckpointSink) -> Self {
        self.sinks.push(Arc::new(sink));
        self
    }

    /// Asks `witness` to cosign each checkpoint before it is published. A checkpoint that the
    /// witness does not cosign is published without its cosignature, with an error in the log; it
    /// is asked again.
    #[cfg(feature = "witness")]
    pub fn witness(mut self, witness: super::Witness) -> Self {
        self.witnesses.push(witness);
        self
    }

    /// The key that verifies the checkpoints, as text: what an auditor passes to
    /// `platform-audit verify --vkey`.
    pub fn verifier_key(&self) -> String {
        self.signer.key().to_string()
    }

    /// The name of the log: that of the key.
    pub(super) fn origin(&self) -> &str {
        self.signer.key().name()
    }
}

impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seal")
            .field("verifier_key", &self.verifier_key())
            .field("directory", &self.directory)
            .field("sinks", &self.sinks)
            .finish_non_exhaustive()
    }
}

#[cfg(unix)]
fn refuse_public(path: &Path) -> Result<(), SealError> {
    use std::os::unix::fs::PermissionsExt;

    let metadata = std::fs::metadata(path).map_err(|source| SealError::File {
        path: path.to_owned(),
        action: "read",
        source,
    })?;
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 == 0 {
        return Ok(());
    }
    let path = path.display();
    Err(SealError::Key(format!(
        "{path} has the mode {mode:04o}, so other users may read or replace the private key: chmod 600 {path}"
    )))
}

#[cfg(not(unix))]
fn refuse_public(_path: &Path) -> Result<(), SealError> {
    Ok(())
}

/// Generates the private key of a log. `name` becomes the origin of its checkpoints: a name that no
/// other log has, such as a host name with a path (C2SP tlog-checkpoint).
///
/// # Errors
///
/// [`SealError::Key`] if the name is empty or contains a space, a plus sign or a control character,
/// or if the system has no random numbers.
pub fn new_key(name: &str) -> Result<SigningKey, SealError> {
    SigningKey::generate(name, Algorithm::Ed25519)
        .map_err(|error| SealError::Key(format!("no key could be generated: {error}")))
}

//! The sealed log of the service: its key, and what it publishes. After each round, the rig
//! verifies the log in the database against it.

use std::path::PathBuf;
use std::sync::Arc;

use platform_audit::Audit;
use platform_audit::seal::{Seal, Verdict, Verification, Verify, new_key};
use sqlx::PgPool;
use tempfile::TempDir;

/// The environment variables of the service with the file of the key, and with the folder.
pub(crate) const KEY: &str = "FAULT_RIG_KEY";
pub(crate) const PUBLISHED: &str = "FAULT_RIG_PUBLISHED";

#[derive(Clone)]
pub(crate) struct Published {
    folder: Arc<TempDir>,
    verifier_key: String,
}

impl Published {
    /// Creates a key in a new folder.
    pub(crate) fn new() -> Result<Self, String> {
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let key = new_key("fault-rig").map_err(|error| error.to_string())?;
        let published = Self {
            folder: Arc::new(folder),
            verifier_key: key.verifier_key().to_string(),
        };
        write_private(&published.key(), key.to_private_text().as_str())
            .map_err(|error| format!("the key could not be written: {error}"))?;
        Ok(published)
    }

    pub(crate) fn key(&self) -> PathBuf {
        self.folder.path().join("key")
    }

    pub(crate) fn folder(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    /// Verifies the log in the database against what was published, also while it is sealed.
    pub(crate) async fn verify(&self, url: &str) -> Result<Verification, String> {
        let pool = PgPool::connect(url).await;
        let pool = pool.map_err(|error| format!("the database cannot be opened: {error}"))?;
        let verify = Verify::default().key(&self.verifier_key);
        let mut verify = verify.map_err(|error| error.to_string())?;
        if self.folder().join("checkpoint").exists() {
            verify = verify.tiles(self.folder());
        }
        let audit = Audit::builder(pool.clone(), "ledger");
        let verified = audit.verify(&verify).await;
        pool.close().await;
        verified.map_err(|error| format!("the log could not be verified: {error}"))
    }

    /// Whether the report contradicts the log.
    pub(crate) fn is_harmed(report: &Verification) -> bool {
        report.verdict() == Verdict::Harmed
    }
}

/// In the process of the service: the key and the folder, from its environment.
pub(crate) fn seal() -> Seal {
    let variable = |name| std::env::var_os(name).expect("the rig sets the variable");
    let seal = Seal::from_file(variable(KEY)).expect("the rig wrote the key");
    seal.publish_to(variable(PUBLISHED))
}

fn write_private(path: &std::path::Path, text: &str) -> std::io::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;

    let mut options = std::fs::OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    writeln!(file, "{text}")
}

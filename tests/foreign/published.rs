//! A log of some thousand records, sealed by the library and published.

use std::path::PathBuf;

use platform_audit::seal::{Seal, SealError, Sealed, SigningKey, new_key};
use platform_audit::{Actor, Audit, AuditBuilder, AuditDatabase};
use platform_harness::database::TestDatabase;
use sqlx::{Pool, Postgres, Sqlite};
use tempfile::TempDir;
use uuid::Uuid;

use crate::checkers::{Report, check};

pub(crate) const ORIGIN: &str = "ledger.example.com/audit";

/// Three full tiles, and a partial one on each of two levels.
pub(crate) const RECORDS: usize = 1_000;

pub(crate) struct Published<DB: AuditDatabase> {
    pub(crate) audit: Audit<DB>,
    pub(crate) seal: Seal,
    pub(crate) verifier_key: String,
    /// A record in the middle of the log.
    pub(crate) record: Uuid,
    pub(crate) pool: Pool<DB>,
    folder: TempDir,
    _database: TestDatabase,
}

impl Published<Sqlite> {
    pub(crate) async fn sqlite() -> Self {
        let database = TestDatabase::sqlite();
        let pool = Pool::connect(database.url()).await.unwrap();
        Self::publish(pool, database).await
    }

    /// A log without entries.
    pub(crate) async fn empty(key: SigningKey) -> Self {
        let database = TestDatabase::sqlite();
        let pool = Pool::connect(database.url()).await.unwrap();
        Self::new(pool, database, key).await
    }
}

impl Published<Postgres> {
    pub(crate) async fn postgres() -> Self {
        let database = TestDatabase::postgres().await;
        let pool = Pool::connect(database.url()).await.unwrap();
        Self::publish(pool, database).await
    }
}

impl<DB: AuditDatabase> Published<DB> {
    /// Writes the records, and seals and publishes after each half.
    async fn publish(pool: Pool<DB>, database: TestDatabase) -> Self {
        let key = new_key(ORIGIN).unwrap();
        let mut published = Self::new(pool, database, key).await;
        published.write(RECORDS / 2).await;
        published.seal().await;
        published.record = published.write(RECORDS / 2).await;
        published.seal().await;
        published
    }

    /// An empty log.
    async fn new(pool: Pool<DB>, database: TestDatabase, key: SigningKey) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let verifier_key = key.verifier_key().to_string();
        let seal = Seal::new(key)
            .unwrap()
            .publish_to(folder.path().join("log"));
        let audit = builder(&pool).start().await.unwrap();
        Self {
            audit,
            seal,
            verifier_key,
            record: Uuid::nil(),
            pool,
            folder,
            _database: database,
        }
    }

    /// Writes `records` records, and returns the id of one of them.
    pub(crate) async fn write(&self, records: usize) -> Uuid {
        const AT_ONCE: usize = 50;
        let mut id = Uuid::nil();
        for first in (0..records).step_by(AT_ONCE) {
            let actor = Actor::user("ada \u{e9}\"\\");
            let written = self.audit.transaction(actor, "entry.create", async |tx| {
                tx.reason("monthly");
                // Values that a JSON parser would round or merge.
                tx.details("quotient \"1\"\n", 0.1);
                tx.details("größe", (u64::MAX, "\u{1f512}"));
                for number in first..(first + AT_ONCE).min(records) {
                    tx.record("entry", number).detail("number", number);
                }
                Ok::<_, sqlx::Error>(tx.record_id())
            });
            id = written.await.unwrap();
        }
        id
    }

    pub(crate) async fn seal(&self) {
        self.try_seal(&self.seal).await.unwrap();
    }

    pub(crate) async fn try_seal(&self, seal: &Seal) -> Result<Sealed, SealError> {
        builder(&self.pool).seal_now(seal).await
    }

    pub(crate) fn note(&self) -> String {
        std::fs::read_to_string(self.directory().join("checkpoint")).unwrap()
    }

    pub(crate) fn directory(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    pub(crate) fn check(&self, proofs: &[&std::path::Path]) -> Report {
        let directory = self.directory();
        check(directory.to_str().unwrap(), &self.verifier_key, proofs)
    }

    /// Writes the proof of the record into a file.
    pub(crate) async fn prove(&self) -> PathBuf {
        let directory = self.directory();
        let audit = builder(&self.pool);
        let proof = audit.prove(self.record, Some(&directory)).await.unwrap();
        let file = self.folder.path().join("proof");
        std::fs::write(&file, proof.to_string()).unwrap();
        file
    }
}

pub(crate) fn builder<DB: AuditDatabase>(pool: &Pool<DB>) -> AuditBuilder<DB> {
    Audit::builder(pool.clone(), "ledger").development(true)
}

async fn other_programs_verify_the_log_and_a_proof<DB: AuditDatabase>(published: Published<DB>) {
    let proof = published.prove().await;
    let report = published.check(&[&proof]);
    // The records, and the verifier key.
    report.assert_verified(RECORDS as u64 + 1);
}

#[tokio::test]
async fn other_programs_verify_the_log_and_a_proof_on_postgres() {
    other_programs_verify_the_log_and_a_proof(Published::postgres().await).await;
}

#[tokio::test]
async fn other_programs_verify_the_log_and_a_proof_on_sqlite() {
    other_programs_verify_the_log_and_a_proof(Published::sqlite().await).await;
}

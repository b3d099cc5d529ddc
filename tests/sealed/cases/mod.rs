//! Tests that run on both databases: the including module provides `Db`, `database()` and the SQL
//! that differs.
//!
//! Record `n` has the id `n` and, as the key is entry 0, the position `n`.

mod checkpoints;
mod proofs;
mod restore;
mod rewrites;
mod rows;
mod sealing;
mod tiles;
mod values;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use platform_audit::seal::{Harm, Seal, Verdict, Verification, Verify, new_key};
use platform_audit::{Audit, AuditBuilder};
use platform_audit_tlog::checkpoint::{Checkpoint, SignedCheckpoint};
use platform_audit_tlog::note::SigningKey;
use platform_audit_tlog::tile::TileBuilder;
use platform_audit_tlog::tree::{Hash, leaf_hash};
use platform_harness::database::TestDatabase;
use sqlx::{AssertSqlSafe, Pool, Row};
use tempfile::TempDir;
use uuid::Uuid;

use super::{DISARM, Db, EMPTY_TREE, PREFIX, blob, database, records};

/// A log whose records are sealed and published.
pub(super) struct Log {
    pub(super) pool: Pool<Db>,
    pub(super) database: TestDatabase,
    key: String,
    folder: Arc<TempDir>,
}

impl Log {
    pub(super) async fn empty() -> Self {
        let database = database().await;
        let pool = Pool::<Db>::connect(database.url()).await.unwrap();
        let key = new_key("example.com/ledger").unwrap();
        let log = Self {
            pool,
            database,
            key: key.to_private_text().as_str().to_owned(),
            folder: Arc::new(tempfile::tempdir().unwrap()),
        };
        log.builder().migrate().await.unwrap();
        log
    }

    /// A log of 300 records, which is more than a tile, with a checkpoint after each hundred:
    /// after 101, 201 and 301 entries.
    pub(super) async fn sealed() -> Self {
        let log = Self::empty().await;
        for first in [1, 101, 201] {
            log.write(first, first + 99).await;
            log.seal().await;
        }
        log
    }

    pub(super) fn builder(&self) -> AuditBuilder<Db> {
        Audit::builder(self.pool.clone(), "ledger").development(true)
    }

    pub(super) fn key(&self) -> SigningKey {
        self.key.parse().unwrap()
    }

    pub(super) fn verifier_key(&self) -> String {
        self.key().verifier_key().to_string()
    }

    /// The directory of the published log.
    pub(super) fn published(&self) -> PathBuf {
        self.folder.path().join("published")
    }

    pub(super) fn file(&self, path: impl AsRef<Path>) -> PathBuf {
        self.published().join(path)
    }

    pub(super) fn sealer(&self) -> Seal {
        Seal::new(self.key()).unwrap().publish_to(self.published())
    }

    pub(super) async fn write(&self, first: u32, last: u32) {
        self.run(&records(first, last)).await;
    }

    pub(super) async fn seal(&self) {
        let sealed = self.builder().seal_now(&self.sealer()).await.unwrap();
        assert!(!sealed.busy);
    }

    /// Runs statements, in which `@` stands for the schema.
    pub(super) async fn run(&self, statements: &str) {
        let statements = statements.replace('@', PREFIX);
        sqlx::raw_sql(AssertSqlSafe(statements))
            .execute(&self.pool)
            .await
            .unwrap();
    }

    /// Runs statements as the owner of the database, whom no trigger stops.
    pub(super) async fn harm(&self, statements: &str) {
        self.run(DISARM).await;
        self.run(statements).await;
    }

    /// The number that a statement returns.
    pub(super) async fn number(&self, statement: &str) -> i64 {
        let statement = AssertSqlSafe(statement.replace('@', PREFIX));
        sqlx::query_scalar(statement)
            .fetch_one(&self.pool)
            .await
            .unwrap()
    }

    pub(super) fn options(&self) -> Verify {
        Verify::default().key(&self.verifier_key()).unwrap()
    }

    /// What an auditor with the published log finds.
    pub(super) async fn report(&self) -> Verification {
        self.verified(&self.options().tiles(self.published())).await
    }

    pub(super) async fn verified(&self, options: &Verify) -> Verification {
        self.builder().verify(options).await.unwrap()
    }

    /// The findings of an auditor with the published log, as [`line`] describes them.
    pub(super) async fn found(&self) -> Vec<String> {
        self.lines(&self.report().await)
    }

    /// The findings of an auditor without an anchor.
    pub(super) async fn found_unanchored(&self) -> Vec<String> {
        self.lines(&self.verified(&self.options()).await)
    }

    pub(super) fn lines(&self, report: &Verification) -> Vec<String> {
        assert_eq!(report.found, report.findings.len() as u64);
        let folder = format!("{}/", self.published().display());
        let lines = report.findings.iter().map(line);
        lines.map(|line| line.replace(&folder, "")).collect()
    }

    /// Fails if anything is found.
    pub(super) async fn assert_proven(&self) -> Verification {
        let report = self.report().await;
        assert_eq!(report.verdict(), Verdict::Proven, "{report}");
        report
    }

    /// A copy of the database, beside the same published log.
    pub(super) async fn backup(&self) -> Self {
        self.pool.close().await;
        let database = self.database.copy().await;
        Self {
            pool: Pool::<Db>::connect(database.url()).await.unwrap(),
            database,
            key: self.key.clone(),
            folder: Arc::clone(&self.folder),
        }
    }

    /// Connects again after [`backup`](Self::backup), which closes the connections.
    pub(super) async fn reconnect(&mut self) {
        self.pool = Pool::<Db>::connect(self.database.url()).await.unwrap();
    }

    /// The entries of the log, in their order.
    async fn entries(&self) -> Vec<Vec<u8>> {
        let seals = "SELECT position, CAST(id AS text) AS id, digest FROM @seal";
        let seals = AssertSqlSafe(seals.replace('@', PREFIX));
        let seals = sqlx::query(seals).fetch_all(&self.pool).await.unwrap();
        let mut entries: Vec<(i64, Vec<u8>)> = seals
            .iter()
            .map(|row| {
                let id: Uuid = row.get::<String, _>("id").parse().unwrap();
                let digest: Vec<u8> = row.get("digest");
                let entry = [&[1, 1], &id.as_bytes()[..], &digest].concat();
                (row.get("position"), entry)
            })
            .collect();
        let others = AssertSqlSafe("SELECT position, entry FROM @log_entry".replace('@', PREFIX));
        let others = sqlx::query(others).fetch_all(&self.pool).await.unwrap();
        entries.extend(others.iter().map(|row| (row.get(0), row.get(1))));
        entries.sort_unstable();
        entries.into_iter().map(|it| it.1).collect()
    }

    /// Hashes the tree again, as somebody who replaced a seal would: the tiles and the root.
    pub(super) async fn hash_again(&self) {
        let (builder, tiles) = self.tree(u64::MAX).await;
        for tile in tiles {
            let (level, index) = (tile.id().level(), tile.id().index());
            let (root, hashes) = (tile.root().unwrap(), blob(tile.bytes()));
            let root = blob(root.as_bytes());
            self.harm(&format!(
                r#"UPDATE @tile SET root = {root}, hashes = {hashes} WHERE level = {level} AND "index" = {index}"#
            ))
            .await;
        }
        let root = blob(builder.root().as_bytes());
        self.harm(&format!("UPDATE @tree SET root = {root}")).await;
    }

    /// Signs every checkpoint of the database again.
    pub(super) async fn sign_again(&self, key: &SigningKey) {
        let sizes = AssertSqlSafe("SELECT size FROM @checkpoint".replace('@', PREFIX));
        let sizes: Vec<i64> = sqlx::query_scalar(sizes)
            .fetch_all(&self.pool)
            .await
            .unwrap();
        for size in sizes {
            let note = sign(
                key,
                size.cast_unsigned(),
                self.root(size.cast_unsigned()).await,
            );
            self.harm(&format!(
                "UPDATE @checkpoint SET note = '{note}' WHERE size = {size}"
            ))
            .await;
        }
    }

    /// The root of the first `size` entries.
    pub(super) async fn root(&self, size: u64) -> Hash {
        self.tree(size).await.0.root()
    }

    async fn tree(&self, size: u64) -> (TileBuilder, Vec<platform_audit_tlog::tile::Tile>) {
        let entries = self.entries().await;
        let size = usize::try_from(size).unwrap().min(entries.len());
        let mut builder = TileBuilder::new();
        let tiles = builder.extend(entries[..size].iter().map(|it| leaf_hash(it)));
        (builder, tiles)
    }

    /// Changes record `n` and gives it a seal that fits, as somebody with the code can. The tree
    /// stays as it was.
    pub(super) async fn forge(&mut self, n: u32) {
        let id = id(n);
        self.harm(&format!(
            "UPDATE @record SET reason = 'forged' WHERE id = '{id}'"
        ))
        .await;
        let forged = self.backup().await;
        self.reconnect().await;
        forged.seal_anew(None).await;
        let seal = format!("SELECT salt, digest, hints FROM @seal WHERE id = '{id}'");
        let seal = AssertSqlSafe(seal.replace('@', PREFIX));
        let seal = sqlx::query(seal).fetch_one(&forged.pool).await.unwrap();
        let value = |column| blob(&seal.get::<Vec<u8>, _>(column));
        let (salt, digest, hints) = (value("salt"), value("digest"), value("hints"));
        self.harm(&format!(
            "UPDATE @seal SET salt = {salt}, digest = {digest}, hints = {hints} WHERE id = '{id}'"
        ))
        .await;
    }

    /// Removes all that is sealed.
    pub(super) async fn unseal(&self) {
        self.harm(
            "DELETE FROM @seal; DELETE FROM @log_entry; DELETE FROM @tile; DELETE FROM @checkpoint",
        )
        .await;
        self.run(EMPTY_TREE).await;
    }

    /// Seals the whole log anew with the log's key, or another one, and publishes it nowhere.
    pub(super) async fn seal_anew(&self, key: Option<SigningKey>) {
        self.unseal().await;
        let seal = Seal::new(key.unwrap_or_else(|| self.key())).unwrap();
        self.builder().seal_now(&seal).await.unwrap();
    }
}

/// A signed checkpoint of the log.
pub(super) fn sign(key: &SigningKey, size: u64, root: Hash) -> String {
    let checkpoint = Checkpoint::new(key.name(), size, root).unwrap();
    SignedCheckpoint::sign(checkpoint, key).unwrap().to_string()
}

/// The id of record `n`.
pub(super) fn id(n: u32) -> Uuid {
    Uuid::from_u128(n.into())
}

/// A finding as `kind at position..end record n: what`.
fn line(harm: &Harm) -> String {
    let mut line = harm.kind.name();
    match (harm.position, harm.end) {
        (Some(position), Some(end)) => line += &format!(" at {position}..{end}"),
        (Some(position), None) => line += &format!(" at {position}"),
        (None, _) => {}
    }
    if let Some(record) = &harm.record {
        let record: Uuid = record.parse().unwrap();
        line += &format!(" record {}", record.as_u128());
    }
    if let Some(what) = &harm.what {
        line += &format!(": {what}");
    }
    line
}

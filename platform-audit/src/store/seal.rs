//! The SQL of the sealed log. Each database implements it beside its SQL.

use super::Argument;
use super::row::{MalformedRow, Stored};

/// Which records the sealer looks for.
#[derive(Debug)]
pub(crate) enum Unsealed<'a> {
    /// Records of the transactions from `from` to `to`, exclusive, that `snapshot` sees.
    /// Postgres only, like all but [`Queue`](Self::Queue).
    Range {
        from: u64,
        to: u64,
        snapshot: &'a str,
    },
    /// Records of these transactions, which an earlier pass found running.
    Finished { xids: &'a [u64], snapshot: &'a str },
    /// Records with the number of a transaction that this server has not assigned yet: they were
    /// restored from another server.
    Restored,
    /// The queue of records that are not sealed. SQLite only.
    Queue,
}

/// A record as the sealer and the verifier read it.
#[derive(Debug)]
pub(crate) struct RecordRow<'a> {
    /// The 16 bytes that identify the record in the log.
    pub(crate) id: [u8; 16],
    /// The id as stored.
    pub(crate) id_text: String,
    /// When it was recorded, as a seal stores it: microseconds since 1970, or SQLite's text.
    pub(crate) recorded_at: String,
    /// The number of the transaction that wrote it; 0 on SQLite.
    pub(crate) xid: u64,
    /// The oid of the partition that contains it; 0 on SQLite.
    pub(crate) partition: u32,
    /// Its number in the queue of unsealed records; 0 on Postgres.
    pub(crate) number: i64,
    /// The values, in the order of [`COLUMNS`](crate::record::COLUMNS).
    pub(crate) values: Vec<Stored<'a>>,
}

/// A row of the table of seals.
#[derive(Debug)]
pub(crate) struct SealRow {
    pub(crate) position: u64,
    pub(crate) recorded_at: String,
    pub(crate) id: [u8; 16],
    pub(crate) salt: [u8; 16],
    pub(crate) digest: [u8; 32],
    pub(crate) hints: Vec<u8>,
    /// The commitments of erased values, as JSON.
    pub(crate) erased: Option<String>,
}

/// A seal to insert.
#[derive(Debug)]
pub(crate) struct NewSeal {
    pub(crate) recorded_at: String,
    pub(crate) id: [u8; 16],
    pub(crate) id_text: String,
    pub(crate) salt: [u8; 16],
    pub(crate) digest: [u8; 32],
    pub(crate) hints: Vec<u8>,
}

/// A statement and its arguments.
pub(crate) type Query = (String, Vec<String>);

/// The statements of the sealed log, and the rows that they return. In each statement, `{schema}`
/// stands for the audit schema, or on SQLite for the prefix of the tables.
pub(crate) trait SealSql: std::fmt::Debug + Send + Sync {
    /// Begins the transaction of the sealer.
    fn begin(&self) -> &'static str;

    /// Locks the tree and returns its `size` and `root`, and on Postgres `seen` and
    /// `same_server`, as a JSON object. Returns no row while another instance is sealing.
    fn lock_tree(&self) -> &'static str;

    /// Returns the tree like [`lock_tree`](Self::lock_tree), without locking it.
    fn tree(&self) -> &'static str;

    /// Returns the present `snapshot` and the `highest` number of a transaction among the records,
    /// as a JSON object. `None` on SQLite.
    fn snapshot(&self) -> Option<&'static str>;

    /// Selects at most `limit` records, in the order in which they are sealed.
    fn unsealed(&self, which: &Unsealed<'_>, limit: usize, exclude_sealed: bool) -> Query;

    /// Selects all records, in any order.
    fn records(&self) -> String;

    /// Selects a value if there are records from a day on, up to another, exclusive. Both are
    /// arguments, in UTC.
    fn records_between(&self) -> &'static str;

    /// Selects the record with the id that is the argument.
    fn record_by_id(&self) -> String;

    /// Selects the seals from a position on, which is the argument, up to another, in their order.
    fn seals(&self) -> &'static str;

    /// Selects the seal of the record whose id is the argument.
    fn seal_by_id(&self) -> &'static str;

    /// Selects position and entry of each entry that is not a record, from a position on.
    fn entries(&self) -> &'static str;

    /// Selects level, index, root and hashes of full tiles: of a level, from an index on, up to
    /// another, exclusive. All three are arguments.
    fn tiles(&self) -> &'static str;

    /// Selects the indexes of the full tiles of level 0.
    fn tile_indexes(&self) -> &'static str;

    /// Selects the roots of the tiles of a level from an index on. Both are arguments.
    fn tile_roots(&self) -> &'static str;

    /// Selects the signed checkpoints by size, as JSON objects.
    fn checkpoints(&self) -> &'static str;

    /// Selects the largest of the [`checkpoints`](Self::checkpoints).
    fn newest_checkpoint(&self) -> &'static str;

    /// Inserts seals.
    fn insert_seals(&self) -> &'static str;

    /// Passes the arguments of [`insert_seals`](Self::insert_seals) to `put`.
    fn put_seals(&self, first: u64, seals: &[NewSeal], put: &mut dyn FnMut(Argument<'_>));

    /// Arguments: position, and the entry in hexadecimal.
    fn insert_entry(&self) -> &'static str;

    /// Arguments: level, index, and root and hashes in hexadecimal.
    fn insert_tile(&self) -> &'static str;

    /// Arguments: size and note. Does nothing if there is a checkpoint of that size.
    fn insert_checkpoint(&self) -> &'static str;

    /// Stores the tree after a pass. `seen` is the snapshot up to which all records are sealed, and
    /// `last` the last sealed number of SQLite's queue.
    fn update_tree(&self, size: u64, root: &str, seen: Option<&str>, last: i64) -> Vec<Query>;

    /// Selects oid, name and bounds of each partition as JSON. `None` on SQLite.
    fn partitions(&self) -> Option<&'static str>;

    /// Selects the names of the columns of a record.
    fn columns(&self) -> &'static str;

    /// Selects the ids in SQLite's queue of records that are not sealed. `None` on Postgres.
    fn queue(&self) -> Option<&'static str>;

    /// Decodes the id of a record only.
    fn decode_id(&self, row: &[u8]) -> Result<[u8; 16], MalformedRow>;

    fn decode_record<'a>(&self, row: &'a [u8]) -> Result<RecordRow<'a>, MalformedRow>;

    fn decode_seal(&self, row: &[u8]) -> Result<SealRow, MalformedRow>;

    /// Decodes the columns of a row that are a number and bytes.
    fn decode_numbered(&self, row: &[u8]) -> Result<(u64, Vec<u8>), MalformedRow>;

    /// Decodes a tile: level, index, root, hashes.
    fn decode_tile(&self, row: &[u8]) -> Result<(u8, u64, [u8; 32], Vec<u8>), MalformedRow>;
}

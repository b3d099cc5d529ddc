//! The promises on SQLite.

use sqlx::Sqlite as Db;

const RECORD: &str = "ledger_audit_record";
/// What the toolkit writes records into.
const WRITTEN: &str = "ledger_audit_record";
/// The business table's column that names the transaction which wrote the row: SQLite has no
/// transaction ids, so the toolkit's own, which is that of the first record, stands for it.
const XID_COLUMN: &str = "xid TEXT GENERATED ALWAYS AS (record_id)";
/// That `entry` and `record` were written by the same transaction.
const JOINED: &str = "record.xid = entry.xid";
/// How many of a thousand handlers hang in the soak.
const HANGING: i64 = 10;
/// How many requests the soak sends.
const REQUESTS: i64 = 1_000;

async fn database() -> platform_harness::database::TestDatabase {
    platform_harness::database::TestDatabase::sqlite()
}

#[path = "cases/mod.rs"]
mod cases;
#[path = "sqlite/check.rs"]
mod check;
#[path = "sqlite/guard.rs"]
mod guard;
#[path = "sqlite/obligation.rs"]
mod obligation;
#[path = "sqlite/orders.rs"]
mod orders;

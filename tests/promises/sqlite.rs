//! The guarantees on SQLite, including those that are specific to SQLite.

use sqlx::Sqlite as Db;

const RECORD: &str = "ledger_audit_record";
/// The relation into which the toolkit inserts records.
const WRITTEN: &str = "ledger_audit_record";
/// The column of the business table with the id of the transaction that wrote the row. SQLite has
/// no transaction ids, so it is the toolkit's own id, that of the first record.
const XID_COLUMN: &str = "xid TEXT GENERATED ALWAYS AS (record_id)";
/// The condition that the same transaction wrote `entry` and `record`.
const JOINED: &str = "record.xid = entry.xid";
/// How many of a thousand handlers hang in the soak test.
const HANGING: i64 = 10;
/// How many requests the soak test sends.
const REQUESTS: i64 = 1_000;

async fn database() -> platform_harness::database::TestDatabase {
    platform_harness::database::TestDatabase::sqlite()
}

#[path = "cases/mod.rs"]
mod cases;
#[path = "sqlite/catalog.rs"]
mod catalog;
#[path = "sqlite/check.rs"]
mod check;
#[path = "sqlite/guard.rs"]
mod guard;
#[path = "sqlite/obligation.rs"]
mod obligation;
#[path = "sqlite/orders.rs"]
mod orders;

//! The guarantees on Postgres, including those that are specific to Postgres.

use sqlx::Postgres as Db;

const RECORD: &str = "ledger_audit.record";
/// The relation into which the toolkit inserts records.
const WRITTEN: &str = "ledger_audit.record_insert";
/// The column of the business table with the id of the transaction that wrote the row.
const XID_COLUMN: &str = "xid xid8 NOT NULL DEFAULT pg_current_xact_id()";
/// The condition that the same transaction wrote `entry` and `record`.
const JOINED: &str = "record.xid = entry.xid";
/// How many of a thousand handlers hang in the soak test.
const HANGING: i64 = 30;
/// How many requests the soak test sends.
const REQUESTS: i64 = 10_000;

async fn database() -> platform_harness::database::TestDatabase {
    platform_harness::database::TestDatabase::postgres().await
}

#[path = "cases/mod.rs"]
mod cases;
#[path = "postgres/commit.rs"]
mod commit;
#[path = "postgres/guard/mod.rs"]
mod guard;
#[path = "postgres/partitions.rs"]
mod partitions;
#[path = "postgres/wire.rs"]
mod wire;

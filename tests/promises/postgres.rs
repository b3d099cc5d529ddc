//! The promises on Postgres, and those that only Postgres can break.

use sqlx::Postgres as Db;

const RECORD: &str = "ledger_audit.record";
/// What the toolkit writes records into.
const WRITTEN: &str = "ledger_audit.record_insert";
/// The business table's column that names the transaction which wrote the row.
const XID_COLUMN: &str = "xid xid8 NOT NULL DEFAULT pg_current_xact_id()";
/// That `entry` and `record` were written by the same transaction.
const JOINED: &str = "record.xid = entry.xid";
/// How many of a thousand handlers hang in the soak.
const HANGING: i64 = 30;
/// How many requests the soak sends.
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

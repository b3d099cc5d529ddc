//! The query tests on Postgres, including those that only Postgres supports.

use serde_json::Value;
use sqlx::{PgPool, Postgres as Db};

/// Whether a tail limits its batches to 1,000 records.
const BATCHES_ARE_LIMITED: bool = true;

async fn database() -> platform_harness::database::TestDatabase {
    platform_harness::database::TestDatabase::postgres().await
}

/// Inserts a record unchanged, including its timestamps and transaction id.
async fn insert(pool: &PgPool, record: &Value) {
    sqlx::query("INSERT INTO ledger_audit.record SELECT * FROM jsonb_populate_record(NULL::ledger_audit.record, $1::text::jsonb)")
        .bind(record.to_string())
        .execute(pool)
        .await
        .unwrap();
}

#[path = "cases.rs"]
mod cases;
#[path = "counts.rs"]
mod counts;
#[path = "late_commits.rs"]
mod late_commits;
#[path = "locks.rs"]
mod locks;
#[path = "plans.rs"]
mod plans;
#[path = "reader_role.rs"]
mod reader_role;
#[path = "readings.rs"]
mod readings;
#[path = "tail.rs"]
mod tail;
#[path = "unite.rs"]
mod unite;
#[path = "unreadable_records.rs"]
mod unreadable_records;

//! Over Postgres, and what only Postgres has.

use serde_json::Value;
use sqlx::{PgPool, Postgres as Db};

/// Whether a tail is told at most 1,000 records at once.
const BIT_BY_BIT: bool = true;

async fn database() -> platform_harness::database::TestDatabase {
    platform_harness::database::TestDatabase::postgres().await
}

/// Writes a record as it is, its times and its transaction too.
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
#[path = "odd_records.rs"]
mod odd_records;
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

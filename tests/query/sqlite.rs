//! The query tests on SQLite.

use serde_json::Value;
use sqlx::{AssertSqlSafe, Sqlite as Db, SqlitePool};

/// Nothing is held back with a single writer, so batches are not limited.
const BATCHES_ARE_LIMITED: bool = false;

async fn database() -> platform_harness::database::TestDatabase {
    platform_harness::database::TestDatabase::sqlite()
}

/// Inserts a record unchanged, including its timestamps and transaction id.
async fn insert(pool: &SqlitePool, record: &Value) {
    let fields = record.as_object().unwrap();
    let columns: Vec<&str> = fields.keys().map(String::as_str).collect();
    let places: Vec<String> = (1..=columns.len()).map(|at| format!("${at}")).collect();
    let insert = format!(
        "INSERT INTO ledger_audit_record ({}) VALUES ({})",
        columns.join(", "),
        places.join(", ")
    );
    let mut query = sqlx::query(AssertSqlSafe(insert));
    for value in fields.values() {
        query = match value {
            Value::Null => query.bind(None::<String>),
            Value::String(text) => query.bind(text.clone()),
            Value::Number(number) => query.bind(number.as_i64()),
            other => query.bind(other.to_string()),
        };
    }
    query.execute(pool).await.unwrap();
}

#[path = "cases.rs"]
mod cases;
#[path = "counts.rs"]
mod counts;
#[path = "readings.rs"]
mod readings;
#[path = "tail.rs"]
mod tail;

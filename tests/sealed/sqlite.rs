//! The sealed log on SQLite.

use sqlx::Sqlite as Db;

const PREFIX: &str = "ledger_audit_";

async fn database() -> platform_harness::database::TestDatabase {
    platform_harness::database::TestDatabase::sqlite()
}

/// Writes records `first` to `last` in one transaction.
fn records(first: u32, last: u32) -> String {
    format!(
        "WITH RECURSIVE number (n) AS (SELECT {first} WHERE {first} <= {last} UNION ALL SELECT n + 1 FROM number WHERE n < {last})
         INSERT INTO @record (id, xid, occurred_at, service, actor_kind, actor_id, action, resource_type, resource_id, outcome, reason, changes, details)
         SELECT printf('00000000-0000-0000-0000-%012x', n), 'tx', strftime('%Y-%m-%dT%H:%M:%fZ', 'now'), 'ledger', 'user', 'ada', 'entry.update', 'entry', n, 'success', 'a test',
             '{{\"amount\": {{\"before\": 1.0, \"after\": 9007199254740993}}}}', '{{\"rate\": 1.0}}'
         FROM number"
    )
}

/// Bytes as a literal.
fn blob(bytes: &[u8]) -> String {
    format!("x'{}'", hex::encode(bytes))
}

/// Drops every trigger that refuses something. SQLite cannot disable them.
const DISARM: &str = "
    DROP TRIGGER IF EXISTS @record_no_update; DROP TRIGGER IF EXISTS @record_no_delete; DROP TRIGGER IF EXISTS @record_no_replace;
    DROP TRIGGER IF EXISTS @seal_no_update; DROP TRIGGER IF EXISTS @seal_no_delete; DROP TRIGGER IF EXISTS @seal_no_replace;
    DROP TRIGGER IF EXISTS @log_entry_no_update; DROP TRIGGER IF EXISTS @log_entry_no_delete;
    DROP TRIGGER IF EXISTS @tile_no_update; DROP TRIGGER IF EXISTS @tile_no_delete;
    DROP TRIGGER IF EXISTS @checkpoint_no_update; DROP TRIGGER IF EXISTS @checkpoint_no_delete;
";

/// What the sealer has when it begins.
const EMPTY_TREE: &str = "
    UPDATE @tree SET size = 0, root = x'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855';
    DELETE FROM @unsealed; INSERT INTO @unsealed (id) SELECT id FROM @record ORDER BY recorded_at, id";

#[path = "cases/mod.rs"]
mod cases;
#[path = "sqlite/ids.rs"]
mod ids;

//! The sealed log on Postgres, including what only Postgres has.

use sqlx::Postgres as Db;

const PREFIX: &str = "ledger_audit.";

async fn database() -> platform_harness::database::TestDatabase {
    platform_harness::database::TestDatabase::postgres().await
}

/// Writes records `first` to `last` in one transaction.
fn records(first: u32, last: u32) -> String {
    format!(
        "INSERT INTO @record (id, occurred_at, service, actor_kind, actor_id, action, resource_type, resource_id, outcome, reason, changes, details)
         SELECT lpad(to_hex(n), 32, '0')::uuid, now(), 'ledger', 'user', 'ada', 'entry.update', 'entry', n::text, 'success', 'a test',
             '{{\"amount\": {{\"before\": 1.0, \"after\": 9007199254740993}}}}', '{{\"rate\": 1.0}}'
         FROM generate_series({first}, {last}) AS n"
    )
}

/// Bytes as a literal.
fn blob(bytes: &[u8]) -> String {
    format!("'\\x{}'", hex::encode(bytes))
}

/// Disables every trigger of the audit schema, as its owner can.
const DISARM: &str = "DO $$ DECLARE it text; BEGIN
    FOR it IN SELECT oid::regclass FROM pg_class WHERE relnamespace = 'ledger_audit'::regnamespace AND relkind IN ('r', 'p') LOOP
        EXECUTE format('ALTER TABLE %s DISABLE TRIGGER ALL', it);
    END LOOP;
END $$";

/// What the sealer has when it begins.
const EMPTY_TREE: &str = "UPDATE @tree SET size = 0, root = sha256(''), seen = '1:1:'";

#[path = "cases/mod.rs"]
mod cases;
#[path = "postgres/partitions.rs"]
mod partitions;
#[path = "postgres/transactions.rs"]
mod transactions;

//! Generates a log like that of a health platform after 13 months.

use platform_audit::Audit;
use sqlx::{AssertSqlSafe, PgPool};

/// The number of records that one statement inserts.
const BATCH: i64 = 250_000;

/// The number of records of the import, which is one request in one trace.
pub(crate) const IMPORT: i64 = 11_000;
/// The id of that request.
pub(crate) const IMPORTS_REQUEST: &str = "import-request";
/// The trace id of that request.
pub(crate) const IMPORTS_TRACE: &str = "0123456789abcdef0123456789abcdef";

/// Writes `records` records of the last 13 months into a new audit schema of the service `ledger`:
///
/// - 5,000 actors. The busiest has an eighth of the records and is denied in two thirds of them;
///   the others are denied in 1 of 25.
/// - 200,000 resources. The busiest has a seventh of the records.
/// - Ten actions.
/// - In the middle, an import of [`IMPORT`] entries, or of an eighth of the log if that is less.
pub(crate) async fn write(pool: &PgPool, records: i64) {
    Audit::builder(pool.clone(), "ledger")
        .migrate()
        .await
        .expect("the migration succeeds");
    let run = async |statement: String| {
        sqlx::raw_sql(AssertSqlSafe(statement))
            .execute(pool)
            .await
            .expect("the log is written");
    };
    for month in 1..=13 {
        run(format!(
            "DO $$ DECLARE starts timestamptz := (date_trunc('month', now() AT TIME ZONE 'UTC') - interval '{month} months') AT TIME ZONE 'UTC';
            BEGIN
                EXECUTE format('CREATE TABLE ledger_audit.%I PARTITION OF ledger_audit.record FOR VALUES FROM (%L) TO (%L)',
                    'record_' || to_char(starts AT TIME ZONE 'UTC', 'YYYY_MM'), starts, ((starts AT TIME ZONE 'UTC') + interval '1 month') AT TIME ZONE 'UTC');
            END $$"
        ))
        .await;
    }
    // Creating the indexes after the records is several times as fast.
    let indexes: Vec<(String, String)> = sqlx::query_as(
        "SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid) FROM pg_index
        WHERE indrelid = 'ledger_audit.record'::regclass AND NOT indisprimary",
    )
    .fetch_all(pool)
    .await
    .expect("the catalogue has the indexes");
    for (name, _) in &indexes {
        run(format!("DROP INDEX {name}")).await;
    }
    let import = records / 2;
    for first in (0..records).step_by(BATCH as usize) {
        eprint!("\rwriting {first} of {records} records   ");
        let last = (first + BATCH).min(records) - 1;
        run(format!("
            INSERT INTO ledger_audit.record (
                id, occurred_at, recorded_at, service, actor_kind, actor_id, actor_tenant, action, resource_type, resource_id, outcome, status, reason,
                request_id, method, route, path, client_address, user_agent, trace_id, span_id, changes)
            SELECT
                (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || '7' || substr(md5(i::text), 1, 3) || '8' || substr(md5(i::text), 4, 15))::uuid,
                at, at, 'ledger', CASE WHEN actor = 0 THEN 'service' ELSE 'user' END, 'actor-' || actor, 'clinic-' || actor % 40,
                CASE WHEN imported THEN 'entry.import' ELSE (ARRAY['entry.create','entry.update','entry.update','entry.read','entry.read','entry.read','patient.read','patient.update','consent.create','export.run'])[1 + h % 10] END,
                'entry', 'entry-' || resource, CASE WHEN denied THEN 'denied' ELSE 'success' END, CASE WHEN denied THEN 403 ELSE 200 END,
                CASE WHEN h % 7 = 0 THEN 'ticket ' || i END,
                CASE WHEN imported THEN '{IMPORTS_REQUEST}' ELSE md5('request' || i) END, 'POST', '/entries/{{id}}', '/entries/' || resource, '10.0.' || h % 250 || '.' || i % 250, 'Mozilla/5.0 (X11; Linux x86_64)',
                CASE WHEN imported THEN '{IMPORTS_TRACE}' ELSE md5('trace' || i / 3) END, substr(md5('span' || i), 1, 16),
                jsonb_build_object('amount', jsonb_build_object('before', i, 'after', i + 1))
            FROM (
                SELECT i, h, imported,
                    now() - interval '1 minute' - CASE
                        WHEN imported THEN interval '390 days' * (1 - ({import} + 1.0) / {records}) - interval '1 ms' * (i - {import})
                        ELSE interval '390 days' * (1 - (i + 1.0) / {records})
                    END AS at,
                    CASE WHEN imported THEN 1 WHEN h % 8 = 3 THEN 0 ELSE (h / 8) % 5000 END AS actor,
                    CASE WHEN imported OR h % 7 <> 4 THEN (h / 7) % 200000 ELSE 0 END AS resource,
                    NOT imported AND (h % 25 = 0 OR h % 8 = 3 AND (h / 8) % 3 > 0) AS denied
                FROM (
                    SELECT i, abs(hashint8extended(i, 7)) AS h, i >= {import} AND i < {import} + least({IMPORT}, {records} / 8) AS imported
                    FROM generate_series({first}::bigint, {last}::bigint) AS i
                ) AS numbers
            ) AS given"))
        .await;
    }
    for (name, definition) in &indexes {
        eprint!("\rcreating {name}                                ");
        // With `ONLY`, the index would be created on the parent, but not on the partitions.
        run(definition.replacen(" ON ONLY ", " ON ", 1)).await;
    }
    eprint!("\rrunning VACUUM and ANALYZE                      ");
    run("VACUUM (ANALYZE, FREEZE) ledger_audit.record".to_owned()).await;
    eprint!("\r{:60}\r", "");
}

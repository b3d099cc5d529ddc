//! A log as a health platform would have it after 13 months.

use platform_audit::Audit;
use sqlx::{AssertSqlSafe, PgPool};

/// Records a statement.
const BATCH: i64 = 250_000;

/// Writes `records` records of the last 13 months into a new audit schema of the service `ledger`:
/// 5,000 actors, of whom the busiest does a tenth; 200,000 resources, of which the busiest has a
/// ninth; ten actions; one attempt of 25 denied.
pub(crate) async fn write(pool: &PgPool, records: i64) {
    Audit::new(pool.clone(), "ledger")
        .migrate()
        .await
        .expect("it migrates");
    let run = async |statement: String| {
        sqlx::raw_sql(AssertSqlSafe(statement))
            .execute(pool)
            .await
            .expect("the log is made");
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
    // Indexes are made at once when all is there, which is several times as fast.
    let indexes: Vec<(String, String)> = sqlx::query_as(
        "SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid) FROM pg_index
        WHERE indrelid = 'ledger_audit.record'::regclass AND NOT indisprimary",
    )
    .fetch_all(pool)
    .await
    .expect("the catalogue says so");
    for (name, _) in &indexes {
        run(format!("DROP INDEX {name}")).await;
    }
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
                (ARRAY['entry.create','entry.update','entry.update','entry.read','entry.read','entry.read','patient.read','patient.update','consent.create','export.run'])[1 + h % 10],
                'entry', 'entry-' || resource, CASE WHEN h % 25 = 0 THEN 'denied' ELSE 'success' END, CASE WHEN h % 25 = 0 THEN 403 ELSE 200 END,
                CASE WHEN h % 7 = 0 THEN 'ticket ' || i END,
                md5('request' || i), 'POST', '/entries/{{id}}', '/entries/' || resource, '10.0.' || h % 250 || '.' || i % 250, 'Mozilla/5.0 (X11; Linux x86_64)',
                md5('trace' || i / 3), substr(md5('span' || i), 1, 16),
                jsonb_build_object('amount', jsonb_build_object('before', i, 'after', i + 1))
            FROM (
                SELECT i, h, at,
                    CASE WHEN h % 10 = 3 THEN 0 ELSE (h / 10) % 5000 END AS actor,
                    CASE WHEN h % 9 = 4 THEN 0 ELSE (h / 9) % 200000 END AS resource
                FROM (
                    SELECT i, abs(hashint8extended(i, 7)) AS h, now() - interval '390 days' * (1 - (i + 1.0) / {records}) - interval '1 minute' AS at
                    FROM generate_series({first}::bigint, {last}::bigint) AS i
                ) AS numbers
            ) AS given"))
        .await;
    }
    for (name, definition) in &indexes {
        eprint!("\rmaking {name}                                ");
        // As it is told, it would be of the parent alone.
        run(definition.replacen(" ON ONLY ", " ON ", 1)).await;
    }
    eprint!("\rlooking at what is there                       ");
    run("VACUUM (ANALYZE, FREEZE) ledger_audit.record".to_owned()).await;
    eprint!("\r{:60}\r", "");
}

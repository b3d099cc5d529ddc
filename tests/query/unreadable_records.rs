//! Malformed records: refused when written, and readable where they exist.

use platform_audit::query::{AuditQuery, Direction, SortBy};
use platform_audit::{Actor, Audit};
use sqlx::{AssertSqlSafe, PgPool};

use super::cases::{Log, record};
use super::insert;

/// Inserts a record with one column set to `value`.
async fn write(pool: &PgPool, n: u32, column: &str, value: &str) -> sqlx::Result<()> {
    let mut values: std::collections::BTreeMap<_, _> = [
        ("recorded_at", format!("'2025-01-01T00:01:{n:02}Z'")),
        ("occurred_at", "'2025-01-01'".to_owned()),
        ("service", "'ledger'".to_owned()),
        ("actor_kind", "'user'".to_owned()),
        ("actor_id", "'ada'".to_owned()),
        ("action", "'entry.create'".to_owned()),
        ("outcome", "'success'".to_owned()),
    ]
    .into();
    values.insert(column, value.to_owned());
    let id = uuid::Uuid::from_u128(100 + u128::from(n));
    let columns = values.keys().copied().collect::<Vec<_>>().join(", ");
    let values = values.into_values().collect::<Vec<_>>().join(", ");
    let insert =
        format!("INSERT INTO ledger_audit.record (id, {columns}) VALUES ('{id}', {values})");
    let insert = sqlx::raw_sql(AssertSqlSafe(insert));
    insert.execute(pool).await.map(drop)
}

const TEXTS: [&str; 19] = [
    "service",
    "service_version",
    "actor_id",
    "actor_session",
    "actor_tenant",
    "actor_on_behalf_of",
    "action",
    "resource_type",
    "resource_id",
    "error_type",
    "reason",
    "request_id",
    "method",
    "route",
    "path",
    "client_address",
    "user_agent",
    "trace_id",
    "span_id",
];

#[tokio::test]
async fn oversized_and_malformed_values_are_refused_when_written() {
    let log = Log::empty().await;
    let long = "repeat('x', 268435456)";
    let stored = "(SELECT it FROM stored)";
    let texts = TEXTS.map(|column| (column, "repeat('x', 100000)"));
    let several = [
        ("reason", long),
        ("details", "jsonb_build_object('a', repeat('x', 100000))"),
        ("changes", "jsonb_build_object('a', repeat('x', 100000))"),
        ("cut", "jsonb_build_array(repeat('x', 100000))"),
        ("details", "'{\"n\": 1e100000}'"),
        ("details", "'[]'"),
        ("changes", "'7'"),
        ("cut", "'{}'"),
        ("occurred_at", "'infinity'"),
        ("occurred_at", "'-infinity'"),
        ("occurred_at", "'4000-01-01 BC'"),
        ("occurred_at", "'12000-01-01'"),
        ("outcome", "'odd'"),
        ("actor_kind", "'odd'"),
        // Compressed and stored out of line, as in a table of the application.
        ("reason", stored),
    ];
    let table = "CREATE TABLE stored AS SELECT repeat('x', 100000000) AS it";
    sqlx::raw_sql(table).execute(&log.pool).await.unwrap();
    for (n, (column, value)) in texts.into_iter().chain(several).enumerate() {
        let n = u32::try_from(n).unwrap();
        let written = write(&log.pool, n, column, value).await;
        let refused = written.expect_err(&format!("{column} = {value}"));
        let code = refused.as_database_error().unwrap().code().unwrap();
        assert!(["54000", "23514"].contains(&&*code), "{column}: {refused}");
    }
}

#[tokio::test]
async fn text_columns_are_bounded_in_every_partition() {
    let log = Log::empty().await;
    let unbounded = "SELECT count(*) FROM pg_attribute JOIN pg_partition_tree('ledger_audit.record') ON relid = attrelid WHERE atttypid = 'text'::regtype AND attstorage <> 'p'";
    let texts = "SELECT count(*) FROM pg_attribute JOIN pg_partition_tree('ledger_audit.record') ON relid = attrelid WHERE atttypid = 'text'::regtype";
    let count = async |statement: &'static str| -> i64 {
        let count = sqlx::query_scalar(statement);
        count.fetch_one(&log.pool).await.unwrap()
    };
    assert_eq!(count(unbounded).await, 0);
    // The parent, the default partition, and four months.
    assert_eq!(count(texts).await, 6 * 19);
}

/// The database's bounds have room for the largest record that the toolkit writes.
#[tokio::test]
async fn the_largest_record_of_the_toolkit_is_accepted() {
    let log = Log::empty().await;
    let audit = Audit::builder(log.pool.clone(), "ledger").development(true);
    let audit = audit.start().await.unwrap();
    let long = "\u{1f980}".repeat(5_000);
    let actor = Actor::user(&long).with_tenant(&long).with_session(&long);
    let written = audit.transaction(actor, "entry.create", async |tx| {
        tx.record(long.clone(), &long)
            .detail("numbers", vec![1; 100_000])
            .detail("large", vec![1e300; 1_000])
            .detail("\u{1}".repeat(100), "\u{1}".repeat(20_000));
        Ok::<_, sqlx::Error>(())
    });
    written.await.unwrap();
}

/// Removes the bounds and inserts malformed records, as a superuser can.
async fn malformed_log() -> Log {
    let log = Log::empty().await;
    for n in 1..=3 {
        insert(&log.pool, &record(n)).await;
    }
    let plain = TEXTS.map(|column| format!("ALTER {column} SET STORAGE EXTENDED"));
    let unbound = format!(
        "ALTER DOMAIN ledger_audit.bounded_object DROP CONSTRAINT bounded_object_check;
         ALTER DOMAIN ledger_audit.bounded_array DROP CONSTRAINT bounded_array_check;
         ALTER DOMAIN ledger_audit.moment DROP CONSTRAINT moment_check;
         ALTER DOMAIN ledger_audit.outcome DROP CONSTRAINT outcome_check;
         ALTER TABLE ledger_audit.record {}; ALTER TABLE ledger_audit.record_default {}",
        plain.join(", "),
        plain.join(", ")
    );
    let unbound = sqlx::raw_sql(AssertSqlSafe(unbound));
    unbound.execute(&log.pool).await.unwrap();
    for (n, (column, value)) in MALFORMED.into_iter().enumerate() {
        let n = u32::try_from(n).unwrap();
        write(&log.pool, n, column, value).await.expect(column);
    }
    log
}

const MALFORMED: [(&str, &str); 14] = [
    ("changes", "'[]'"),
    (
        "details",
        "('[' || repeat('[', 200) || repeat(']', 200) || ']')::jsonb",
    ),
    ("status", "-1"),
    ("cut", "'{}'"),
    ("details", "'{\"n\": 1e400}'"),
    ("reason", "repeat('x', 268435456)"),
    ("path", "repeat('x', 5000)"),
    (
        "details",
        "jsonb_build_object('a', (SELECT string_agg(md5(i::text), '') FROM generate_series(1, 100000) AS i))",
    ),
    ("outcome", "'odd'"),
    ("occurred_at", "'infinity'"),
    ("recorded_at", "'infinity'"),
    ("recorded_at", "'-infinity'"),
    // Makes the statement fail; see below.
    ("reason", "'a bomb'"),
    ("reason", "'a bomb'"),
];

#[tokio::test]
async fn a_malformed_record_does_not_hide_others() {
    let log = malformed_log().await;
    let all = 3 + MALFORMED.len();
    // A row fails for its size only above one gigabyte.
    let columns: Vec<String> = sqlx::query_scalar(
        "SELECT attname::text FROM pg_attribute WHERE attrelid = 'ledger_audit.records'::regclass AND attnum > 0 ORDER BY attnum",
    )
    .fetch_all(&log.pool)
    .await
    .unwrap();
    let columns: Vec<_> = columns
        .iter()
        .map(|column| match column.as_str() {
            "reason" => "CASE WHEN reason = 'a bomb' THEN repeat(reason, 1000000000) ELSE reason END AS reason",
            column => column,
        })
        .collect();
    let view = format!(
        "CREATE OR REPLACE VIEW ledger_audit.records AS SELECT {} FROM ledger_audit.record",
        columns.join(", ")
    );
    sqlx::raw_sql(AssertSqlSafe(view))
        .execute(&log.pool)
        .await
        .unwrap();
    let is_malformed = |record: &platform_audit::AuditRecord| record.id.as_u128() >= 100;
    for sort in [
        SortBy::RecordedAt,
        SortBy::OccurredAt,
        SortBy::Status,
        SortBy::Outcome,
        SortBy::Route,
    ] {
        for direction in [Direction::Ascending, Direction::Descending] {
            let query = AuditQuery::new()
                .actor("ada")
                .limit(2)
                .sort(sort, direction);
            let (mut cursor, mut seen) = (None, Vec::new());
            loop {
                let page = log.reading.page(&query, cursor.as_ref()).await.unwrap();
                seen.extend(page.records);
                cursor = page.next;
                if cursor.is_none() || seen.len() > all {
                    break;
                }
            }
            let mut ids: Vec<_> = seen.iter().map(|it| it.id).collect();
            ids.sort();
            ids.dedup();
            assert_eq!(
                (ids.len(), seen.len()),
                (all, all),
                "{sort:?} {direction:?}"
            );
            for record in seen {
                assert_eq!(record.cut.is_empty(), !is_malformed(&record), "{record:?}");
                let written = serde_json::to_string(&record).unwrap();
                assert!(written.len() < 100_000, "{}", written.len());
            }
        }
    }
    let mut exported = 0;
    let query = AuditQuery::new().actor("ada");
    let each = log.reading.for_each(&query, |_| {
        exported += 1;
        Ok::<_, platform_audit::Error>(())
    });
    assert_eq!(each.await.unwrap(), all as u64);
    assert_eq!(exported, all);
    let found = async |n: u128| {
        let found = log.reading.find(uuid::Uuid::from_u128(100 + n)).await;
        found.unwrap().unwrap()
    };
    assert!(found(1).await.details["[unreadable]"]["details"].is_string());
    let long = found(5).await;
    assert_eq!(long.cut, ["reason"]);
    assert_eq!(long.reason.unwrap(), "x".repeat(1024));
    assert_eq!(long.actor.id, "ada");
    let bomb = found(12).await;
    assert_eq!(bomb.details["[unreadable]"], "database error 54000");
    assert_eq!(bomb.recorded_at, "2025-01-01T00:01:12Z".parse().ok());
    for view in ["changes", "attempts", "activity", "readings"] {
        let statement = format!("SELECT count(*) FROM ledger_audit.{view}");
        let statement = sqlx::raw_sql(AssertSqlSafe(statement));
        statement.execute(&log.pool).await.expect(view);
    }
}

#[tokio::test]
async fn a_tail_delivers_a_malformed_record_and_continues() {
    let log = malformed_log().await;
    let query = AuditQuery::new().actor("ada");
    let mut tail = log.reading.tail(&query).await.unwrap();
    for (n, value) in [(50, "repeat('x', 268435456)"), (51, "'short'")] {
        write(&log.pool, n, "reason", value).await.unwrap();
    }
    let late = "INSERT INTO ledger_audit.record (id, occurred_at, service, actor_kind, actor_id, action, outcome, reason) SELECT gen_random_uuid(), now(), 'ledger', 'user', 'ada', 'entry.create', 'success', it FROM (VALUES (repeat('x', 268435456)), ('short')) AS given (it)";
    sqlx::raw_sql(late)
        .execute(&log.pool)
        .await
        .unwrap_or_else(|error| panic!("{error}"));
    let started = std::time::Instant::now();
    let mut delivered = Vec::new();
    while delivered.len() < 2 && started.elapsed() < std::time::Duration::from_secs(120) {
        delivered.extend(tail.next_batch().await.unwrap().records);
    }
    let mut cut: Vec<_> = delivered.into_iter().map(|it| it.cut).collect();
    cut.sort();
    assert_eq!(cut, [vec![], vec!["reason".to_owned()]]);
}

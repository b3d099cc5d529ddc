//! Records in the partition of another month, and partitions that are gone.

use super::cases::{Log, id};

/// Records 1 to 100 are of this month, and 101 to 200 of the next one. Returns the partitions.
async fn two_months() -> (Log, [String; 2]) {
    let log = Log::empty().await;
    log.write(1, 100).await;
    log.seal().await;
    log.write(101, 200).await;
    log.harm(&format!(
        "UPDATE @record SET recorded_at = recorded_at + interval '1 month' WHERE id > '{}'",
        id(100)
    ))
    .await;
    log.seal().await;
    log.assert_proven().await;
    let partition = async |n| {
        let statement = "SELECT tableoid::regclass::text FROM ledger_audit.record WHERE id = $1";
        sqlx::query_scalar(statement)
            .bind(id(n))
            .fetch_one(&log.pool)
            .await
            .unwrap()
    };
    let partitions = [partition(1).await, partition(200).await];
    assert_ne!(partitions[0], partitions[1]);
    (log, partitions)
}

#[tokio::test]
async fn a_record_moved_to_another_month_is_reported_as_a_time_mismatch() {
    let log = Log::sealed().await;
    for n in [150, 290] {
        log.harm(&format!(
            "UPDATE @record SET recorded_at = recorded_at + interval '1 month' WHERE id = '{}'",
            id(n)
        ))
        .await;
    }
    let expected = [150, 290].map(|n| format!("recorded_at_mismatch at {n} record {n}"));
    assert_eq!(log.found().await, expected);
    // Its seal may say the same: then the value was changed.
    log.harm(
        "UPDATE @seal SET recorded_at = record.recorded_at FROM @record WHERE record.id = seal.id",
    )
    .await;
    let expected =
        [150, 290].map(|n| format!("changed at {n} record {n}: a column without personal data"));
    assert_eq!(log.found().await, expected);
}

/// The files of the two tables are exchanged, so each contains the rows of the other month.
#[tokio::test]
async fn partitions_with_exchanged_contents_are_reported_as_wrong() {
    let (log, [this, next]) = two_months().await;
    log.harm(&format!(
        "SET allow_system_table_mods = on;
        UPDATE pg_class SET relfilenode = it.file FROM (
            SELECT one.oid, other.relfilenode AS file FROM pg_class AS one, pg_class AS other
            WHERE (one.oid, other.oid) IN (('{this}'::regclass, '{next}'::regclass), ('{next}'::regclass, '{this}'::regclass))
        ) AS it WHERE it.oid = pg_class.oid"
    ))
    .await;
    let log = log.backup().await;
    let found = log.found().await;
    assert_wrong(&found, &next, &this);
}

/// Postgres trusts a constraint that claims to have been validated.
#[tokio::test]
async fn partitions_with_exchanged_bounds_are_reported_as_wrong() {
    let (log, [this, next]) = two_months().await;
    log.harm(&format!(
        "SET allow_system_table_mods = on; SET TimeZone = 'Asia/Kolkata';
        CREATE TABLE moved AS SELECT oid::regclass::text AS name, pg_get_expr(relpartbound, oid) AS bounds
            FROM pg_class WHERE oid IN ('{this}'::regclass, '{next}'::regclass);
        ALTER TABLE @record DETACH PARTITION {this};
        ALTER TABLE @record DETACH PARTITION {next};
        DO $$ DECLARE one record; other record; bounds text; BEGIN
            FOR one IN SELECT * FROM moved LOOP
                SELECT * INTO other FROM moved WHERE name <> one.name;
                bounds := regexp_replace(other.bounds, 'FOR VALUES FROM \\((.*)\\) TO \\((.*)\\)', 'recorded_at >= \\1 AND recorded_at < \\2');
                EXECUTE format('ALTER TABLE %s ADD CONSTRAINT trusted CHECK (%s) NOT VALID', one.name, bounds);
                UPDATE pg_constraint SET convalidated = true WHERE conname = 'trusted';
                EXECUTE format('ALTER TABLE ledger_audit.record ATTACH PARTITION %s %s', one.name, other.bounds);
                EXECUTE format('ALTER TABLE %s DROP CONSTRAINT trusted', one.name);
            END LOOP;
        END $$"
    ))
    .await;
    let found = log.found().await;
    assert_wrong(&found, &this, &next);
}

/// `first` contains records 1 to 100, and `second` 101 to 200.
fn assert_wrong(found: &[String], first: &str, second: &str) {
    let name = |table: &str| table.replace("ledger_audit.", "");
    let (first, second) = (name(first), name(second));
    let expected: Vec<_> = (1..=200)
        .map(|n| {
            let partition = if n <= 100 { &first } else { &second };
            format!("wrong_partition at {n} record {n}: {partition}")
        })
        .collect();
    assert_eq!(found, expected);
}

#[tokio::test]
async fn a_dropped_partition_is_reported_as_retired_without_record() {
    let (log, [this, next]) = two_months().await;
    log.harm(&format!("DROP TABLE {next}")).await;
    let month = |table: &str| {
        let digits = table.rsplit("record_").next().unwrap();
        digits.replace('_', "-")
    };
    let retired = format!(
        "retired_without_record at 101..201: {}: 100 records",
        month(&next)
    );
    assert_eq!(log.found().await, std::slice::from_ref(&retired));
    log.harm(&format!("ALTER TABLE @record DETACH PARTITION {this}"))
        .await;
    let other = format!(
        "retired_without_record at 1..101: {}: 100 records",
        month(&this)
    );
    assert_eq!(log.found().await, [other, retired]);
}

/// Months before the log was set up have no partition of their own.
#[tokio::test]
async fn a_record_deleted_from_the_default_partition_is_reported_as_missing() {
    let log = Log::empty().await;
    log.write(1, 100).await;
    log.harm("UPDATE @record SET recorded_at = recorded_at - interval '3 years'")
        .await;
    log.seal().await;
    log.assert_proven().await;
    log.harm(&format!("DELETE FROM @record WHERE id = '{}'", id(50)))
        .await;
    assert_eq!(log.found().await, ["missing at 50 record 50"]);
}

/// Inserted as it would have been written then: with the transaction of another record.
#[tokio::test]
async fn a_record_inserted_into_the_past_is_reported_as_unsealed_late() {
    let log = Log::sealed().await;
    let like = |n: u32, of: u32| {
        format!(
        "INSERT INTO @record (id, xid, occurred_at, recorded_at, service, actor_kind, actor_id, action, outcome)
         SELECT '{}', xid, occurred_at, recorded_at, service, actor_kind, 'eve', action, outcome FROM @record WHERE id = '{}'",
        id(n), id(of)
    )
    };
    log.harm(&like(999, 150)).await;
    assert_eq!(log.found().await, ["unsealed_late record 999"]);
    log.write(301, 310).await;
    log.seal().await;
    assert_eq!(log.found().await, ["unsealed_late record 999"]);
}

#[tokio::test]
async fn an_id_twice_is_reported_as_a_duplicate_and_does_not_stop_the_sealer() {
    let log = Log::sealed().await;
    // In the next month, and in a month before that of the sealed record.
    for (n, months) in [(150, 1), (290, -30)] {
        log.harm(&format!(
            "INSERT INTO @record (id, occurred_at, recorded_at, service, actor_kind, actor_id, action, outcome)
             VALUES ('{}', now(), now() + interval '{months} months', 'ledger', 'user', 'eve', 'entry.create', 'success')",
            id(n)
        ))
        .await;
    }
    log.write(301, 310).await;
    log.seal().await;
    assert_eq!(log.number("SELECT size FROM @tree").await, 311);
    let expected = ["duplicate at 150 record 150", "duplicate at 290 record 290"];
    assert_eq!(log.found().await, expected);
}

/// The verifier reads this month first.
#[tokio::test]
async fn a_duplicate_in_an_earlier_month_is_not_taken_for_the_sealed_record() {
    let (log, _) = two_months().await;
    log.harm(&format!(
        "INSERT INTO @record (id, occurred_at, service, actor_kind, actor_id, action, outcome)
         VALUES ('{}', now(), 'ledger', 'user', 'eve', 'entry.create', 'success')",
        id(150)
    ))
    .await;
    log.seal().await;
    assert_eq!(log.found().await, ["duplicate at 150 record 150"]);
}

/// One of them was open while the other one was sealed, or both are sealed in one pass.
#[tokio::test]
async fn an_id_twice_among_new_records_does_not_stop_the_sealer() {
    let log = Log::sealed().await;
    let insert = |months: u32| {
        format!(
        "INSERT INTO ledger_audit.record (id, occurred_at, recorded_at, service, actor_kind, actor_id, action, outcome)
         VALUES ('{}', now(), now() + interval '{months} months', 'ledger', 'user', 'eve', 'entry.create', 'success')",
        id(400)
    )
    };
    let mut open = log.pool.begin().await.unwrap();
    sqlx::raw_sql(sqlx::AssertSqlSafe(insert(0)))
        .execute(&mut *open)
        .await
        .unwrap();
    // This pass sees that the transaction is running.
    log.write(301, 301).await;
    log.seal().await;
    open.commit().await.unwrap();
    log.run(&insert(1)).await;
    log.write(302, 310).await;
    log.seal().await;
    assert_eq!(log.number("SELECT size FROM @tree").await, 312);
    assert_eq!(log.found().await, ["duplicate at 302 record 400"]);
    // Both are sealed, if somebody removed the index that prevents it.
    log.harm("DROP INDEX @seal_id; INSERT INTO @record (id, occurred_at, recorded_at, service, actor_kind, actor_id, action, outcome)
        SELECT id, now(), now() + interval '2 months', 'ledger', 'user', 'eve', 'entry.create', 'success' FROM @record WHERE reason = 'a test' AND id IN
            (SELECT id FROM @seal WHERE position = 200)").await;
    log.write(501, 510).await;
    log.seal().await;
    let twice =
        "SELECT max(position) FROM @seal WHERE id = (SELECT id FROM @seal WHERE position = 200)";
    let twice = log.number(twice).await;
    let expected = [
        "duplicate at 302 record 400".to_owned(),
        format!("duplicate at {twice} record 200"),
    ];
    assert_eq!(log.found().await, expected);
    // The second one does not hide that the first one is gone.
    log.harm(&format!(
        "DELETE FROM @record WHERE id = '{}' AND reason = 'a test'",
        id(200)
    ))
    .await;
    let found = log.found().await;
    assert!(
        found.contains(&"missing at 200 record 200".to_owned())
            || found.contains(&format!("missing at {twice} record 200")),
        "{found:?}"
    );
}

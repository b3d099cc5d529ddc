//! Rows that were deleted, inserted, moved or exchanged.

use platform_audit::seal::Verdict;

use super::{EMPTY_TREE, Log, blob, id};

#[tokio::test]
async fn a_deleted_record_is_reported_as_missing() {
    let log = Log::sealed().await;
    for n in [150, 290] {
        log.harm(&format!("DELETE FROM @record WHERE id = '{}'", id(n)))
            .await;
    }
    let expected = ["missing at 150 record 150", "missing at 290 record 290"];
    assert_eq!(log.found().await, expected);
    assert_eq!(log.found_unanchored().await, expected);
}

#[tokio::test]
async fn a_record_deleted_with_its_seal_is_reported_as_a_position_gap() {
    let log = Log::sealed().await;
    let delete = async |n| {
        let id = id(n);
        log.harm(&format!(
            "DELETE FROM @record WHERE id = '{id}'; DELETE FROM @seal WHERE id = '{id}'"
        ))
        .await;
    };
    delete(290).await;
    assert_eq!(log.found().await, ["position_gap at 290..291"]);
    assert_eq!(log.found_unanchored().await, ["position_gap at 290..291"]);
    for n in [150, 151, 152] {
        delete(n).await;
    }
    let expected = ["position_gap at 150..153", "position_gap at 290..291"];
    assert_eq!(log.found().await, expected);
    assert_eq!(log.found_unanchored().await, expected);
}

/// The leaf of the record is kept as an entry, so that the tree stays intact.
#[tokio::test]
async fn a_record_whose_seal_became_another_entry_is_reported_as_missing() {
    let log = Log::sealed().await;
    for n in [150, 290_u32] {
        let entry = blob(&log.entries().await[n as usize]);
        let id = id(n);
        log.harm(&format!(
            "DELETE FROM @record WHERE id = '{id}'; DELETE FROM @seal WHERE id = '{id}';
            INSERT INTO @log_entry (position, entry) VALUES ({n}, {entry})"
        ))
        .await;
    }
    let expected = ["missing at 150 record 150", "missing at 290 record 290"];
    assert_eq!(log.found().await, expected);
}

/// An entry that acknowledges the loss, at a position that has an entry already.
#[tokio::test]
async fn a_second_entry_of_a_position_is_found() {
    let log = Log::sealed().await;
    let restore = [&[1, 3], &br#"{"from":100,"to":150,"because":"?"}"#[..]].concat();
    let (entry, id) = (blob(&log.entries().await[120]), id(120));
    log.harm(&format!(
        "DELETE FROM @record WHERE id = '{id}'; DELETE FROM @seal WHERE id = '{id}';
        INSERT INTO @log_entry (position, entry) VALUES (120, {entry}), (150, {})",
        blob(&restore)
    ))
    .await;
    assert_eq!(log.found().await, ["seal_differs_from_tile at 150"]);
}

#[tokio::test]
async fn a_deleted_end_is_reported_as_truncated() {
    for from in [290_u32, 150] {
        let log = Log::sealed().await;
        log.harm(&format!(
            "DELETE FROM @record WHERE id >= '{}'; DELETE FROM @seal WHERE position >= {from}",
            id(from)
        ))
        .await;
        let expected = [format!("truncated at {from}..301")];
        assert_eq!(log.found().await, expected);
        assert_eq!(log.found_unanchored().await, expected);
        // Also if the sealer's state was set back: the checkpoints are still there.
        if from < 256 {
            log.harm("DELETE FROM @tile").await;
        }
        let root = blob(log.root(from.into()).await.as_bytes());
        log.harm(&format!("UPDATE @tree SET size = {from}, root = {root}"))
            .await;
        assert_eq!(log.found_unanchored().await, expected);
        // Without them, only an anchor knows.
        log.harm(&format!("DELETE FROM @checkpoint WHERE size > {from}"))
            .await;
        assert_eq!(log.found_unanchored().await, [""; 0]);
        let expected = format!("rollback at {from}..301: checkpoint");
        let found = log.found().await;
        assert_eq!(found.last(), Some(&expected), "{found:?}");
        assert!(
            found
                .iter()
                .all(|it| it == &expected || it.starts_with("stale_anchor")),
            "{found:?}"
        );
    }
}

#[tokio::test]
async fn a_deleted_log_is_reported_as_missing_and_never_as_clean() {
    let log = Log::sealed().await;
    log.harm("DELETE FROM @record; DELETE FROM @seal; DELETE FROM @log_entry; DELETE FROM @tile")
        .await;
    assert_eq!(log.found().await, ["log_missing at 0..301"]);
    assert_eq!(log.found_unanchored().await, ["log_missing at 0..301"]);
    log.harm("DELETE FROM @checkpoint").await;
    assert_eq!(log.found().await, ["log_missing at 0..301"]);
    log.run(EMPTY_TREE).await;
    assert_eq!(log.found().await, ["log_missing at 0..301"]);
    let report = log.verified(&log.options()).await;
    assert_eq!(report.verdict(), Verdict::NothingChecked);
    log.harm("DELETE FROM @tree").await;
    assert_eq!(log.found().await, ["log_missing at 0..301"]);
    log.harm("DROP TABLE @tree").await;
    let unreadable = log.builder().verify(&log.options()).await;
    assert!(unreadable.is_err(), "{unreadable:?}");
}

/// Nothing can notice this: SECURITY.md says so, and the sealer keeps the window short.
#[tokio::test]
async fn a_deleted_record_that_was_not_sealed_is_not_noticed() {
    let log = Log::sealed().await;
    log.write(301, 310).await;
    assert_eq!(log.assert_proven().await.unsealed, 10);
    log.harm(&format!("DELETE FROM @record WHERE id = '{}'", id(305)))
        .await;
    assert_eq!(log.assert_proven().await.unsealed, 9);
    log.seal().await;
    assert_eq!(log.assert_proven().await.unsealed, 0);
}

/// The sealer takes a new record for what it claims to be, up to a day.
#[tokio::test]
async fn a_record_inserted_with_an_old_time_is_reported_as_unsealed_late() {
    let log = Log::sealed().await;
    log.write(301, 301).await;
    log.harm(&format!(
        "UPDATE @record SET recorded_at = '2026-01-02T03:04:05.000Z' WHERE id = '{}'",
        id(301)
    ))
    .await;
    log.seal().await;
    log.write(302, 400).await;
    log.seal().await;
    assert_eq!(log.found().await, ["unsealed_late at 301 record 301"]);
}

#[tokio::test]
async fn positions_that_were_exchanged_are_reported_as_reordered() {
    for (one, other) in [(150, 160), (290, 291), (150, 290)] {
        let log = Log::sealed().await;
        log.harm(&format!(
            "UPDATE @seal SET position = 1000 WHERE position = {one};
            UPDATE @seal SET position = {one} WHERE position = {other};
            UPDATE @seal SET position = {other} WHERE position = 1000"
        ))
        .await;
        let expected = [
            format!("reordered at {one} record {other}"),
            format!("reordered at {other} record {one}"),
        ];
        assert_eq!(log.found().await, expected);
        log.hash_again().await;
        let size = if one == 150 { 201 } else { 301 };
        let expected =
            format!("root_mismatch at {size}: the checkpoint of {size} entries in the database");
        assert_eq!(log.found().await, [expected]);
    }
}

#[tokio::test]
async fn a_seal_that_was_moved_to_the_position_of_another_one_is_reported() {
    let log = Log::sealed().await;
    log.harm("DELETE FROM @seal WHERE position = 150; UPDATE @seal SET position = 150 WHERE position = 160")
        .await;
    let expected = [
        "seal_differs_from_tile at 150 record 160",
        "position_gap at 160..161",
    ];
    let found = log.found().await;
    // Record 150 has no seal, and its transaction was seen long ago: SQLite has no such number.
    let rest: Vec<_> = found
        .iter()
        .filter(|it| *it != "unsealed_late record 150")
        .collect();
    assert_eq!(rest, expected, "{found:?}");
    assert_eq!(found.len(), 3, "{found:?}");
}

#[tokio::test]
async fn a_column_that_this_version_does_not_know_is_reported_as_a_newer_schema() {
    let log = Log::sealed().await;
    log.harm("ALTER TABLE @record ADD COLUMN approved_by text")
        .await;
    assert_eq!(log.found().await, ["newer_schema: approved_by"]);
}

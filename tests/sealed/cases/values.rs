//! Values of records and of seals.

use super::{Log, id};

/// A record in a full tile, and one at the right edge of the tree.
const PLACES: [u32; 2] = [150, 290];

#[tokio::test]
async fn an_intact_log_is_proven() {
    let log = Log::sealed().await;
    let report = log.assert_proven().await;
    assert_eq!(report.size, 301);
    let checked = report.checked;
    assert_eq!((checked.records, checked.entries), (300, 301));
    // Each checkpoint: in the database, archived, and the newest one once more.
    assert_eq!((checked.tiles, checked.checkpoints), (1, 7));
    assert_eq!((report.anchored, report.anchors.len()), (301, 4));
    assert_eq!(report.unsealed, 0);
}

#[tokio::test]
async fn a_changed_value_is_reported_as_changed() {
    let log = Log::sealed().await;
    for (n, set, expected) in [
        (150, "reason = 'forged'", "the reason"),
        (290, "reason = NULL", "the reason, removed"),
        (151, "actor_id = 'eve'", "the actor or the origin"),
        (
            291,
            "action = 'entry.erase'",
            "a column without personal data",
        ),
        (152, "resource_id = '7'", "the resource's id or the path"),
        (
            153,
            r#"changes = '{"amount": {"before": 1.0, "after": 2}}'"#,
            "changes.amount",
        ),
        (154, r#"details = '{"rate": 1.0, "x": 1}'"#, "details.x"),
        (155, "details = '{}'", "details, removed"),
        (
            156,
            "reason = 'a', client_address = '::1'",
            "the actor or the origin, the reason",
        ),
    ] {
        log.harm(&format!("UPDATE @record SET {set} WHERE id = '{}'", id(n)))
            .await;
        let expected = format!("changed at {n} record {n}: {expected}");
        assert_eq!(
            log.found()
                .await
                .iter()
                .filter(|it| **it == expected)
                .count(),
            1,
            "{n}: {:?}",
            log.found().await
        );
    }
    let found = log.found().await;
    assert_eq!(found.len(), 9, "{found:?}");
}

/// jsonb compares these as equal, and a parser reads them as the same numbers.
#[tokio::test]
async fn a_number_that_is_written_differently_is_reported_as_changed() {
    let log = Log::sealed().await;
    for (column, old, new) in [
        ("details", r#"{"rate": 1.0}"#, r#"{"rate": 1.00}"#),
        (
            "changes",
            r#"{"amount": {"before": 1.0, "after": 9007199254740993}}"#,
            r#"{"amount": {"before": 1.0, "after": 9007199254740992}}"#,
        ),
    ] {
        for n in PLACES {
            let set = |value| {
                format!(
                    "UPDATE @record SET {column} = '{value}' WHERE id = '{}'",
                    id(n)
                )
            };
            log.harm(&set(new)).await;
            let field = old.split('"').nth(1).unwrap();
            let expected = format!("changed at {n} record {n}: {column}.{field}");
            assert_eq!(log.found().await, [expected]);
            log.harm(&set(old)).await;
        }
    }
    log.assert_proven().await;
}

#[tokio::test]
async fn an_altered_salt_or_digest_is_reported_as_a_commitment_mismatch() {
    let log = Log::sealed().await;
    for n in PLACES {
        for column in ["salt", "digest"] {
            let copy = format!("(SELECT {column} FROM @seal WHERE position = 7)");
            log.harm(&format!(
                "CREATE TABLE kept AS SELECT {column} AS value FROM @seal WHERE position = {n};
                UPDATE @seal SET {column} = {copy} WHERE position = {n}"
            ))
            .await;
            let expected = [format!(
                "commitment_mismatch at {n} record {n}: the {column}"
            )];
            assert_eq!(log.found().await, expected, "{column}");
            assert_eq!(log.found_unanchored().await, expected, "{column}");
            log.harm(&format!("UPDATE @seal SET {column} = (SELECT value FROM kept) WHERE position = {n}; DROP TABLE kept")).await;
        }
    }
    log.assert_proven().await;
}

#[tokio::test]
async fn a_value_that_is_nulled_like_an_erasure_is_reported_as_erased_without_record() {
    let log = Log::sealed().await;
    for n in PLACES {
        let id = id(n);
        log.harm(&format!(
            r#"UPDATE @record SET reason = NULL WHERE id = '{id}';
            UPDATE @seal SET erased = '{{"3": "00"}}' WHERE id = '{id}'"#
        ))
        .await;
    }
    let expected = PLACES.map(|n| format!("erased_without_record at {n} record {n}"));
    assert_eq!(log.found().await, expected);
}

#[tokio::test]
async fn an_erased_value_that_is_written_again_is_reported_as_value_after_erasure() {
    let log = Log::sealed().await;
    for n in PLACES {
        log.harm(&format!(
            r#"UPDATE @seal SET erased = '{{"3": "00"}}' WHERE id = '{}'"#,
            id(n)
        ))
        .await;
    }
    let expected = PLACES.map(|n| format!("value_after_erasure at {n} record {n}"));
    assert_eq!(log.found().await, expected);
}

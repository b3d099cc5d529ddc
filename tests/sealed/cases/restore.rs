//! Databases that were restored from a backup.

use platform_audit::seal::{SealError, Verdict};

use super::{Log, blob, id};

/// A log of 300 records, and a backup of it, after which 20 more were written.
async fn restored() -> Log {
    let mut log = Log::sealed().await;
    let backup = log.backup().await;
    log.reconnect().await;
    log.write(301, 320).await;
    log.seal().await;
    log.assert_proven().await;
    backup
}

#[tokio::test]
async fn a_restored_database_is_reported_as_a_rollback_and_nothing_is_sealed() {
    let backup = restored().await;
    let expected = ["rollback at 301..321: checkpoint"];
    assert_eq!(backup.found().await, expected);
    backup.write(400, 410).await;
    let refused = backup.builder().seal_now(&backup.sealer()).await;
    assert!(
        matches!(
            refused,
            Err(SealError::Behind {
                published: 321,
                size: 301,
                ..
            })
        ),
        "{refused:?}"
    );
    assert_eq!(backup.number("SELECT size FROM @tree").await, 301);
    assert_eq!(backup.number("SELECT count(*) FROM @seal").await, 300);
    assert_eq!(backup.found().await, expected);
}

#[tokio::test]
async fn an_acknowledged_restore_is_proven_and_names_the_lost_records() {
    let backup = restored().await;
    let resumed = backup.builder().resume(&backup.sealer(), "INC-7").await;
    // 20 lost entries, and the acknowledgement.
    let resumed = resumed.unwrap();
    assert_eq!((resumed.sealed, resumed.size), (21, 322));
    backup.write(400, 410).await;
    backup.seal().await;
    let report = backup.assert_proven().await;
    assert_eq!(
        report.lost_in_restore,
        (301..=320).map(id).collect::<Vec<_>>()
    );
    assert!(
        report
            .to_string()
            .contains("acknowledged_restore: 20 records"),
        "{report}"
    );
    assert_eq!(report.checked.records, 311);
    // It acknowledges no other loss.
    backup
        .harm(&format!("DELETE FROM @record WHERE id = '{}'", id(405)))
        .await;
    assert_eq!(backup.found().await, ["missing at 327 record 405"]);
    let again = backup.builder().resume(&backup.sealer(), "INC-8").await;
    assert!(matches!(again, Err(SealError::NotFound(_))), "{again:?}");
}

/// A backup contains the records that were committed and not yet sealed.
#[tokio::test]
async fn a_record_that_the_backup_has_is_not_named_as_lost() {
    let mut log = Log::sealed().await;
    log.write(301, 305).await;
    let backup = log.backup().await;
    log.reconnect().await;
    log.write(306, 310).await;
    log.seal().await;
    let resumed = backup.builder().resume(&backup.sealer(), "INC-7").await;
    resumed.unwrap();
    let report = backup.assert_proven().await;
    assert_eq!(
        report.lost_in_restore,
        (306..=310).map(id).collect::<Vec<_>>()
    );
    assert_eq!(report.sealed_again, (301..=305).map(id).collect::<Vec<_>>());
    assert_eq!(report.checked.records, 305);
}

#[tokio::test]
async fn a_rewritten_history_is_never_resumed() {
    let mut backup = restored().await;
    backup.forge(150).await;
    backup.hash_again().await;
    let refused = backup.builder().resume(&backup.sealer(), "INC-7").await;
    assert!(
        matches!(refused, Err(SealError::Fork { .. } | SealError::Damaged)),
        "{refused:?}"
    );
    assert_eq!(backup.number("SELECT size FROM @tree").await, 301);
    assert_eq!(backup.report().await.verdict(), Verdict::Harmed);
    // Without the rollback, sealing is refused as well.
    let mut log = Log::sealed().await;
    log.forge(150).await;
    log.hash_again().await;
    log.write(301, 310).await;
    let refused = log.builder().seal_now(&log.sealer()).await;
    assert!(
        matches!(refused, Err(SealError::Fork { size: 301, .. })),
        "{refused:?}"
    );
    assert_eq!(log.number("SELECT size FROM @tree").await, 301);
}

/// The sealer of a service goes on after a restore that it did not notice, as behind a proxy.
#[tokio::test]
async fn a_running_sealer_seals_nothing_after_a_restore() {
    let log = Log::sealed().await;
    log.run("CREATE TABLE kept_seal AS SELECT * FROM @seal; CREATE TABLE kept_tree AS SELECT * FROM @tree").await;
    let audit = log.builder().seal(log.sealer()).start().await.unwrap();
    log.write(301, 320).await;
    // Its shutdown publishes; until then, it seals each half second.
    let sealed = async |size: i64| {
        for _ in 0..600 {
            if log.number("SELECT size FROM @tree").await == size {
                return true;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        false
    };
    assert!(sealed(321).await);
    log.seal().await;
    let published = std::fs::read(log.file("checkpoint")).unwrap();
    log.harm(&format!("DELETE FROM @record WHERE id > '{}'; DELETE FROM @seal WHERE position > 300;
        DELETE FROM @checkpoint WHERE size > 301; DELETE FROM @tree; INSERT INTO @tree SELECT * FROM kept_tree", id(300))).await;
    log.write(401, 430).await;
    for _ in 0..600 {
        if audit.status().seal_failures > 0 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert!(audit.status().seal_failures > 0);
    audit.shutdown().await;
    assert_eq!(log.number("SELECT size FROM @tree").await, 301);
    assert_eq!(std::fs::read(log.file("checkpoint")).unwrap(), published);
}

/// An acknowledgement of more than what was lost before it, which only the sealer can have written.
#[tokio::test]
async fn an_acknowledgement_of_another_range_acknowledges_nothing() {
    let log = Log::sealed().await;
    // A log that was sealed with such an entry.
    let restore = [&[1, 3], &br#"{"from":1,"to":400,"because":"?"}"#[..]].concat();
    log.unseal().await;
    log.harm(&format!(
        "INSERT INTO @log_entry (position, entry) VALUES (0, {})",
        blob(&restore)
    ))
    .await;
    let root = blob(log.root(1).await.as_bytes());
    log.harm(&format!("UPDATE @tree SET size = 1, root = {root}"))
        .await;
    let seal = platform_audit::seal::Seal::new(log.key()).unwrap();
    log.builder().seal_now(&seal).await.unwrap();
    assert_eq!(log.found_unanchored().await, [""; 0]);
    // Record 200 has position 201, after the acknowledgement and the key.
    let (entry, id) = (blob(&log.entries().await[201]), id(200));
    log.harm(&format!(
        "DELETE FROM @record WHERE id = '{id}'; DELETE FROM @seal WHERE id = '{id}';
        INSERT INTO @log_entry (position, entry) VALUES (201, {entry})"
    ))
    .await;
    assert_eq!(log.found_unanchored().await, ["missing at 201 record 200"]);
}

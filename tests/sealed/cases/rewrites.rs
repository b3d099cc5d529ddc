//! Changes that are hidden by hashing again, as far as somebody can.

use super::{Log, id};

#[tokio::test]
async fn a_seal_that_was_hashed_again_is_reported_as_differing_from_its_tile() {
    let mut log = Log::sealed().await;
    log.forge(150).await;
    let expected = ["seal_differs_from_tile at 150 record 150"];
    assert_eq!(log.found().await, expected);
    assert_eq!(log.found_unanchored().await, expected);
}

/// The tile at the right edge is published, and not in the database.
#[tokio::test]
async fn a_seal_at_the_right_edge_that_was_hashed_again_is_found_with_or_without_its_tile() {
    let mut log = Log::sealed().await;
    log.forge(290).await;
    let expected = ["seal_differs_from_tile at 290 record 290"];
    assert_eq!(log.found().await, expected);
    let expected = ["root_mismatch at 301: the checkpoint of 301 entries in the database"];
    assert_eq!(log.found_unanchored().await, expected);
}

#[tokio::test]
async fn a_log_that_was_hashed_again_without_the_key_is_reported_as_a_root_mismatch() {
    for n in [150, 290] {
        let mut log = Log::sealed().await;
        log.forge(n).await;
        log.hash_again().await;
        let size = if n == 150 { 201 } else { 301 };
        let expected = [format!(
            "root_mismatch at {size}: the checkpoint of {size} entries in the database"
        )];
        assert_eq!(log.found_unanchored().await, expected);
        assert_eq!(log.found().await, expected);
    }
}

#[tokio::test]
async fn a_log_that_was_signed_again_with_a_stolen_key_is_reported_with_the_first_anchor() {
    for (n, size) in [(150, 201), (290, 301)] {
        let mut log = Log::sealed().await;
        log.forge(n).await;
        log.hash_again().await;
        log.sign_again(&log.key()).await;
        assert_eq!(log.found_unanchored().await, [""; 0]);
        let expected = [format!("anchor_mismatch at {size}: checkpoints/{size:020}")];
        assert_eq!(log.found().await, expected);
        // A single checkpoint that somebody kept is enough.
        let kept = std::fs::read_to_string(log.file(format!("checkpoints/{:020}", 301))).unwrap();
        let options = log.options().checkpoint("october.txt", kept);
        let report = log.verified(&options).await;
        assert_eq!(log.lines(&report), ["anchor_mismatch at 301: october.txt"]);
    }
}

#[tokio::test]
async fn a_log_that_was_sealed_anew_with_the_stolen_key_is_reported_with_the_first_anchor() {
    let log = Log::sealed().await;
    let id = id(150);
    log.harm(&format!(
        "UPDATE @record SET reason = 'forged' WHERE id = '{id}'"
    ))
    .await;
    log.seal_anew(None).await;
    assert_eq!(log.found_unanchored().await, [""; 0]);
    let expected = [format!("anchor_mismatch at 101: checkpoints/{:020}", 101)];
    assert_eq!(log.found().await, expected);
}

//! Checkpoints, and the keys that sign them.

use platform_audit::seal::{Seal, Verdict, Verify, new_key};

use super::{Log, sign};

#[tokio::test]
async fn a_key_that_was_replaced_in_the_database_is_reported_as_unknown() {
    let log = Log::sealed().await;
    let other = new_key("example.com/ledger").unwrap();
    log.sign_again(&other).await;
    let unknown = |size: u64| {
        format!("unknown_key at {size}: the checkpoint of {size} entries in the database")
    };
    assert_eq!(log.found().await, [101, 201, 301].map(unknown));
    log.seal_anew(Some(other)).await;
    let expected = [
        format!("anchor_mismatch at 101: checkpoints/{:020}", 101),
        unknown(301),
    ];
    assert_eq!(log.found().await, expected);
    assert_eq!(log.found_unanchored().await, [unknown(301)]);
}

#[tokio::test]
async fn a_checkpoint_without_a_signature_is_reported_as_unknown_and_is_no_anchor() {
    let log = Log::sealed().await;
    let note = std::fs::read_to_string(log.file("checkpoint")).unwrap();
    let forged = note.replace("\n301\n", "\n300\n");
    for note in ["", "nonsense", &forged] {
        let report = log.verified(&log.options().checkpoint("mail", note)).await;
        assert_eq!(report.verdict(), Verdict::Harmed);
        assert!(report.anchors.is_empty());
        let lines = log.lines(&report);
        assert_eq!(lines.len(), 1, "{lines:?}");
        let expected = match note == forged {
            true => "unknown_key at 300: mail",
            false => "unknown_key: mail: the note is not a text",
        };
        assert!(lines[0].starts_with(expected), "{lines:?}");
    }
}

#[tokio::test]
async fn an_older_checkpoint_put_back_is_reported_as_stale() {
    let log = Log::sealed().await;
    let old = std::fs::read(log.file(format!("checkpoints/{:020}", 101))).unwrap();
    std::fs::write(log.file("checkpoint"), old).unwrap();
    assert_eq!(log.found().await, ["stale_anchor at 101: checkpoint"]);
}

#[tokio::test]
async fn two_histories_are_reported_as_a_split_view_with_both_notes() {
    let log = Log::sealed().await;
    let shown = log.root(301).await;
    let mut other = *shown.as_bytes();
    other[0] ^= 1;
    let root = platform_audit_tlog::tree::Hash::new(other);
    // Of the same size, and of a smaller one.
    for size in [301, 250] {
        let kept = sign(&log.key(), size, root);
        let options = log.options().tiles(log.published());
        let report = log
            .verified(&options.checkpoint("an auditor's", kept.clone()))
            .await;
        let lines = log.lines(&report);
        assert_eq!(lines.len(), 1, "{lines:?}");
        let anchored =
            std::fs::read_to_string(log.file(format!("checkpoints/{:020}", 301))).unwrap();
        assert!(
            lines[0].starts_with(&format!("split_view at {size}: ")),
            "{lines:?}"
        );
        assert!(
            lines[0].contains(&kept) && lines[0].contains(&anchored),
            "{lines:?}"
        );
    }
    // Neither of them is the log's.
    other[0] ^= 2;
    let third = platform_audit_tlog::tree::Hash::new(other);
    let (one, two) = (sign(&log.key(), 301, root), sign(&log.key(), 301, third));
    let options = log.options().checkpoint("one", one).checkpoint("two", two);
    let report = log.verified(&options).await;
    let lines = log.lines(&report);
    assert!(lines[0].starts_with("split_view at 301: one"), "{lines:?}");
    assert_eq!(lines[1..], ["anchor_mismatch at 301: one"]);
}

#[tokio::test]
async fn a_log_without_an_anchor_is_consistent_but_not_proven() {
    let log = Log::sealed().await;
    let report = log.verified(&log.options()).await;
    assert_eq!(report.verdict(), Verdict::Unanchored, "{report}");
    assert!(report.to_string().contains("consistent, unanchored"));
    let kept = std::fs::read_to_string(log.file("checkpoint")).unwrap();
    let report = log.verified(&log.options().checkpoint("mail", kept)).await;
    assert_eq!(report.verdict(), Verdict::Proven, "{report}");
}

#[tokio::test]
async fn nothing_checked_is_never_proven() {
    let log = Log::empty().await;
    let report = log.verified(&log.options()).await;
    assert_eq!(report.verdict(), Verdict::NothingChecked, "{report}");
    // A log that contains nothing but its key.
    log.seal().await;
    let report = log.report().await;
    assert_eq!(report.verdict(), Verdict::NothingChecked, "{report}");
    let without_key = log.builder().verify(&Verify::default()).await;
    assert!(without_key.is_err());
    let elsewhere = log.options().tiles(log.file("nothing"));
    assert!(log.builder().verify(&elsewhere).await.is_err());
}

#[tokio::test]
async fn a_key_is_rotated_in_the_log_and_auditors_need_both() {
    let log = Log::sealed().await;
    let new = new_key("example.com/ledger").unwrap();
    let new_verifier = new.verifier_key().to_string();
    log.write(301, 320).await;
    let seal = Seal::new(new).unwrap().publish_to(log.published());
    log.builder().seal_now(&seal).await.unwrap();
    let both = log
        .options()
        .key(&new_verifier)
        .unwrap()
        .tiles(log.published());
    let report = log.verified(&both).await;
    assert_eq!(report.verdict(), Verdict::Proven, "{report}");
    // 320 records and two keys.
    assert_eq!((report.size, report.anchored), (322, 322));
    let only_new = Verify::default().key(&new_verifier).unwrap();
    let found = log.lines(&log.verified(&only_new).await);
    let unknown = |size: u64| {
        format!("unknown_key at {size}: the checkpoint of {size} entries in the database")
    };
    assert_eq!(found, [101, 201, 301].map(unknown));
    let found = log.lines(&log.verified(&log.options()).await);
    assert_eq!(found, [unknown(322)]);
}

#[cfg(unix)]
#[tokio::test]
async fn a_key_that_others_may_read_is_refused() {
    use std::os::unix::fs::PermissionsExt;

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("audit.key");
    let key = new_key("example.com/ledger").unwrap();
    std::fs::write(&file, key.to_private_text().as_str()).unwrap();
    for (mode, is_accepted) in [
        (0o600, true),
        (0o400, true),
        (0o644, false),
        (0o640, false),
        (0o602, false),
    ] {
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
        let seal = Seal::from_file(&file);
        assert_eq!(seal.is_ok(), is_accepted, "{mode:o}: {seal:?}");
    }
}

//! Proofs of single records.

use platform_audit::seal::{RecordProof, SealError, VerifierKey, new_key};

use super::{Log, id};

#[tokio::test]
async fn a_record_is_proven_offline_from_the_published_log_and_from_the_database() {
    let log = Log::sealed().await;
    let keys: [VerifierKey; 1] = [log.verifier_key().parse().unwrap()];
    for n in [1, 150, 256, 300] {
        for tiles in [Some(log.published()), None] {
            let proof = log.builder().prove(id(n), tiles.as_deref()).await.unwrap();
            let proof = RecordProof::parse(&proof.to_string()).unwrap();
            let proven = proof.verify(&keys).unwrap();
            assert_eq!(
                (proven.id, proven.position, proven.size),
                (id(n), n.into(), 301)
            );
            assert!(proven.values.contains(&("reason", "a test".to_owned())));
            let other: VerifierKey = new_key("example.com/ledger")
                .unwrap()
                .verifier_key()
                .clone();
            assert!(matches!(
                proof.verify(&[other]),
                Err(SealError::NotProven(_))
            ));
        }
    }
    log.harm(&format!(
        "UPDATE @record SET reason = 'forged' WHERE id = '{}'",
        id(150)
    ))
    .await;
    let forged = log.builder().prove(id(150), Some(&log.published())).await;
    let not_proven = forged.unwrap().verify(&keys);
    assert!(
        matches!(not_proven, Err(SealError::NotProven(_))),
        "{not_proven:?}"
    );
}

#[tokio::test]
async fn a_changed_proof_is_refused() {
    let log = Log::sealed().await;
    let keys: [VerifierKey; 1] = [log.verifier_key().parse().unwrap()];
    let proof = log
        .builder()
        .prove(id(150), None)
        .await
        .unwrap()
        .to_string();
    let mut refused = 0;
    for at in (0..proof.len()).step_by(7) {
        let mut changed = proof.clone().into_bytes();
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(changed).unwrap();
        if changed == proof {
            continue;
        }
        let verified = RecordProof::parse(&changed).and_then(|it| it.verify(&keys));
        assert!(verified.is_err(), "byte {at} of:\n{changed}");
        refused += 1;
    }
    assert!(refused > 100);
}

#[tokio::test]
async fn an_unknown_or_unsealed_record_has_no_proof() {
    let log = Log::sealed().await;
    log.write(301, 301).await;
    for n in [301, 999] {
        let refused = log.builder().prove(id(n), Some(&log.published())).await;
        assert!(
            matches!(refused, Err(SealError::NotFound(_))),
            "{refused:?}"
        );
    }
}

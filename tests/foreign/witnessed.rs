//! A witness that others wrote cosigns the log, and refuses to cosign another history.

use platform_audit::seal::{Seal, SealError, SigningKey, VerifierKey, new_key};
use platform_audit_tlog::checkpoint::SignedCheckpoint;
use sqlx::Sqlite;

use crate::published::{ORIGIN, Published, builder};
use crate::witness::Witness;

/// The size of the published checkpoint, and how many witnesses cosigned it.
fn cosigned(published: &Published<Sqlite>, witness: &str) -> (u64, usize) {
    let keys: Vec<VerifierKey> = [published.verifier_key.as_str(), witness]
        .iter()
        .map(|key| key.parse().unwrap())
        .collect();
    let opened = SignedCheckpoint::open(published.note(), &keys).unwrap();
    (opened.checkpoint().size(), opened.cosignatures().len())
}

/// What the witness responded.
fn refusal(error: SealError) -> String {
    match error {
        SealError::Witness { reason, .. } => reason,
        other => panic!("{other}"),
    }
}

async fn witnessed(key: &SigningKey, witness: &Witness) -> (Published<Sqlite>, Seal) {
    let published = Published::empty(key.to_private_text().as_str().parse().unwrap()).await;
    let seal = published.seal.clone().witness(witness.of_the_seal());
    (published, seal)
}

#[tokio::test]
async fn a_witness_cosigns_each_checkpoint_and_other_programs_still_verify_them() {
    let key = new_key(ORIGIN).unwrap();
    let witness = Witness::start(&key.verifier_key().to_string());
    let (published, seal) = witnessed(&key, &witness).await;
    // The witness names the size from which it wants a proof.
    for size in [301, 601, 901] {
        published.write(300).await;
        published.try_seal(&seal).await.unwrap();
        assert_eq!(cosigned(&published, &witness.verifier_key), (size, 1));
    }
    published.check(&[]).assert_verified(901);
    assert!(witness.evidence().is_empty());

    // The database has the cosigned checkpoint, too.
    let stored: String =
        sqlx::query_scalar("SELECT note FROM ledger_audit_checkpoint ORDER BY size DESC LIMIT 1")
            .fetch_one(&published.pool)
            .await
            .unwrap();
    assert_eq!(stored, published.note());
}

#[tokio::test]
async fn a_service_asks_its_witness() {
    let key = new_key(ORIGIN).unwrap();
    let witness = Witness::start(&key.verifier_key().to_string());
    let (published, seal) = witnessed(&key, &witness).await;
    let service = builder(&published.pool).seal(seal).start().await.unwrap();
    published.write(10).await;
    let first = async {
        while !published.directory().join("checkpoint").exists() {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), first)
        .await
        .unwrap();
    assert_eq!(cosigned(&published, &witness.verifier_key).1, 1);
    published.write(300).await;
    service.shutdown().await;
    assert_eq!(cosigned(&published, &witness.verifier_key), (311, 1));
}

#[tokio::test]
async fn a_witness_refuses_a_fork_and_keeps_the_evidence() {
    let key = new_key(ORIGIN).unwrap();
    let witness = Witness::start(&key.verifier_key().to_string());
    let (genuine, seal) = witnessed(&key, &witness).await;
    genuine.write(300).await;
    genuine.try_seal(&seal).await.unwrap();

    // Another history, signed with the same key: as long, longer, and shorter.
    let (forged, forging) = witnessed(&key, &witness).await;
    for records in [300, 50] {
        forged.write(records).await;
        let refused = refusal(forged.try_seal(&forging).await.unwrap_err());
        assert!(refused.contains("the history was rewritten"), "{refused}");
        assert_eq!(cosigned(&forged, &witness.verifier_key).1, 0);
    }
    assert!(witness.evidence().len() >= 2);
    let (shorter, shortening) = witnessed(&key, &witness).await;
    shorter.write(50).await;
    let refused = refusal(shorter.try_seal(&shortening).await.unwrap_err());
    assert!(
        refused.contains("301 entries before, but the database has 51"),
        "{refused}"
    );

    // The genuine log goes on.
    genuine.write(50).await;
    genuine.try_seal(&seal).await.unwrap();
    assert_eq!(cosigned(&genuine, &witness.verifier_key), (351, 1));
}

#[tokio::test]
async fn a_log_whose_witness_is_down_or_does_not_know_it_is_published_without_a_cosignature() {
    let key = new_key(ORIGIN).unwrap();
    let other = new_key(ORIGIN).unwrap();
    let stranger = Witness::start(&other.verifier_key().to_string());
    let (published, seal) = witnessed(&key, &stranger).await;
    published.write(10).await;
    let refused = refusal(published.try_seal(&seal).await.unwrap_err());
    assert!(refused.contains("403"), "{refused}");
    assert_eq!(cosigned(&published, &stranger.verifier_key), (11, 0));

    let witness_key = stranger.verifier_key.clone();
    stranger.stop();
    published.write(10).await;
    let refused = refusal(published.try_seal(&seal).await.unwrap_err());
    assert!(refused.contains("refused"), "{refused}");
    assert_eq!(cosigned(&published, &witness_key), (21, 0));
    published.check(&[]).assert_verified(21);
}

#[tokio::test]
async fn a_cosignature_is_added_later_to_a_checkpoint_that_was_published_without() {
    let key = new_key(ORIGIN).unwrap();
    let witness = Witness::start(&key.verifier_key().to_string());
    let (published, seal) = witnessed(&key, &witness).await;
    published.write(10).await;
    published.seal().await;
    assert_eq!(cosigned(&published, &witness.verifier_key), (11, 0));
    published.try_seal(&seal).await.unwrap();
    assert_eq!(cosigned(&published, &witness.verifier_key), (11, 1));
    // Another instance, without the witness, leaves it there.
    published.seal().await;
    assert_eq!(cosigned(&published, &witness.verifier_key), (11, 1));
}

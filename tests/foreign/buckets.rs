//! The log that is published in an object store.

use std::sync::Arc;
use std::time::Duration;

use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use platform_audit::seal::{Seal, SealError, new_key};

use crate::checkers::check;
use crate::published::{ORIGIN, Published, builder};

fn key() -> platform_audit::seal::SigningKey {
    new_key(ORIGIN).unwrap()
}

fn again(key: &platform_audit::seal::SigningKey) -> platform_audit::seal::SigningKey {
    key.to_private_text().as_str().parse().unwrap()
}

async fn read(store: &InMemory, path: &str) -> Vec<u8> {
    let found = store.get(&Path::from(path)).await.unwrap();
    found.bytes().await.unwrap().to_vec()
}

#[tokio::test]
async fn other_programs_verify_the_log_that_is_in_an_object_store() {
    let folder = tempfile::tempdir().unwrap();
    let store = LocalFileSystem::new_with_prefix(folder.path()).unwrap();
    let key = key();
    let published = Published::empty(again(&key)).await;
    let seal = Seal::new(key).unwrap();
    let seal = seal.publish_to_store(Arc::new(store), "audit/ledger");
    for records in [300, 300, 1] {
        published.write(records).await;
        published.try_seal(&seal).await.unwrap();
    }
    let location = folder.path().join("audit/ledger");
    let report = check(location.to_str().unwrap(), &published.verifier_key, &[]);
    report.assert_verified(602);
    assert_eq!(
        std::fs::read_dir(location.join("checkpoints"))
            .unwrap()
            .count(),
        3
    );
}

#[tokio::test]
async fn a_service_publishes_to_its_object_store() {
    let store = Arc::new(InMemory::new());
    let key = key();
    let published = Published::empty(again(&key)).await;
    let seal = Seal::new(key).unwrap();
    let seal = seal.publish_to_store(Arc::clone(&store) as Arc<dyn ObjectStore>, "");
    published.write(300).await;
    let service = builder(&published.pool).seal(seal).start().await.unwrap();
    let there = async {
        while store.head(&Path::from("checkpoint")).await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), there)
        .await
        .unwrap();
    published.write(300).await;
    service.shutdown().await;
    let note = String::from_utf8(read(&store, "checkpoint").await).unwrap();
    assert!(note.starts_with(&format!("{ORIGIN}\n601\n")), "{note}");
    assert_eq!(read(&store, "tile/0/001").await.len(), 8192);
}

#[tokio::test]
async fn nothing_is_sealed_or_overwritten_if_the_bucket_has_another_history() {
    let store: Arc<InMemory> = Arc::default();
    let key = key();
    let seal = |key| {
        let seal = Seal::new(key).unwrap();
        seal.publish_to_store(Arc::clone(&store) as Arc<dyn ObjectStore>, "log")
    };
    let genuine = Published::empty(again(&key)).await;
    genuine.write(300).await;
    genuine.try_seal(&seal(again(&key))).await.unwrap();
    let note = read(&store, "log/checkpoint").await;

    // The end of the log was removed.
    let shorter = Published::empty(again(&key)).await;
    shorter.write(10).await;
    shorter.seal().await;
    let refused = shorter.try_seal(&seal(again(&key))).await.unwrap_err();
    assert!(
        matches!(
            &refused,
            SealError::Behind {
                published: 301,
                size: 11,
                ..
            }
        ),
        "{refused}"
    );
    // The history was rewritten.
    let forged = Published::empty(again(&key)).await;
    forged.write(400).await;
    forged.seal().await;
    let refused = forged.try_seal(&seal(again(&key))).await.unwrap_err();
    assert!(
        matches!(&refused, SealError::Fork { size: 301, .. }),
        "{refused}"
    );
    assert_eq!(read(&store, "log/checkpoint").await, note);

    // Without its newest checkpoint, the tiles still contradict.
    store.delete(&Path::from("log/checkpoint")).await.unwrap();
    let refused = forged.try_seal(&seal(again(&key))).await.unwrap_err();
    assert!(
        matches!(&refused, SealError::Fork { size: 401, .. }),
        "{refused}"
    );
    let archived = read(&store, "log/checkpoints/00000000000000000301").await;
    assert_eq!(archived, note);
}

#[tokio::test]
async fn an_object_store_that_fails_does_not_stop_the_sealing() {
    let key = key();
    let published = Published::empty(again(&key)).await;
    // A file is where the folder of the bucket should be.
    let folder = tempfile::tempdir().unwrap();
    let store = LocalFileSystem::new_with_prefix(folder.path()).unwrap();
    std::fs::write(folder.path().join("log"), "").unwrap();
    let seal = published.seal.clone();
    let seal = seal.publish_to_store(Arc::new(store), "log");
    published.write(10).await;
    let failed = published.try_seal(&seal).await.unwrap_err();
    assert!(matches!(failed, SealError::Sink(_)), "{failed}");
    published.check(&[]).assert_verified(11);

    std::fs::remove_file(folder.path().join("log")).unwrap();
    published.try_seal(&seal).await.unwrap();
    let location = folder.path().join("log");
    check(location.to_str().unwrap(), &published.verifier_key, &[]).assert_verified(11);
}

//! Tiles, in the database and published.

use platform_audit::seal::Verdict;

use super::{Log, blob};

#[tokio::test]
async fn an_altered_tile_of_the_database_is_reported_as_a_tile_mismatch() {
    let log = Log::sealed().await;
    let (_, tiles) = log.tree(u64::MAX).await;
    let tile = &tiles[0];
    let expected = ["tile_mismatch: tile/0/000 in the database"];
    let root = blob(tile.root().unwrap().as_bytes());
    let mut altered = tile.bytes().to_vec();
    altered[32 * 77] ^= 1;
    for set in [
        format!("hashes = {}", blob(&altered)),
        format!("root = {}", blob(&altered[..32])),
        format!(
            "hashes = {}, root = {}",
            blob(&altered),
            blob(&root_of(&altered))
        ),
    ] {
        log.harm(&format!("UPDATE @tile SET {set}")).await;
        assert_eq!(log.found().await, expected);
        assert_eq!(log.found_unanchored().await, expected);
        let right = blob(tile.bytes());
        log.harm(&format!("UPDATE @tile SET hashes = {right}, root = {root}"))
            .await;
    }
    log.assert_proven().await;
    log.harm("DELETE FROM @tile").await;
    assert_eq!(log.found().await, expected);
    assert_eq!(log.found_unanchored().await, expected);
}

fn root_of(hashes: &[u8]) -> [u8; 32] {
    use platform_audit_tlog::tile::{Tile, TileId};

    let tile = Tile::new(TileId::new(0, 0, 256).unwrap(), hashes.to_vec()).unwrap();
    *tile.root().unwrap().as_bytes()
}

#[tokio::test]
async fn an_altered_or_lost_published_file_is_reported_as_a_tile_mismatch() {
    let log = Log::sealed().await;
    for path in [
        "tile/0/000",
        "tile/0/001.p/45",
        "tile/1/000.p/1",
        "tile/entries/000",
        "tile/entries/001.p/45",
    ] {
        let file = log.file(path);
        let bytes = std::fs::read(&file).unwrap();
        let mut altered = bytes.clone();
        *altered.last_mut().unwrap() ^= 1;
        for harm in [
            Some(altered),
            Some(bytes[1..].to_vec()),
            Some(Vec::new()),
            None,
        ] {
            match harm {
                Some(harm) => std::fs::write(&file, harm).unwrap(),
                None => std::fs::remove_file(&file).unwrap(),
            }
            assert_eq!(log.found().await, [format!("tile_mismatch: {path}")]);
            std::fs::write(&file, &bytes).unwrap();
        }
    }
    log.assert_proven().await;
}

/// A full tile takes the place of the partial ones, which may be deleted then.
#[tokio::test]
async fn a_partial_tile_may_be_deleted_once_it_is_full() {
    let log = Log::sealed().await;
    for path in ["tile/0/000.p", "tile/entries/000.p"] {
        std::fs::remove_dir_all(log.file(path)).unwrap();
    }
    log.assert_proven().await;
}

/// A harm to the log itself is not reported as one to the files that contradict it.
#[tokio::test]
async fn published_tiles_that_contradict_a_rewritten_log_are_not_reported_as_altered() {
    let mut log = Log::sealed().await;
    log.forge(150).await;
    log.hash_again().await;
    log.sign_again(&log.key()).await;
    let found = log.found().await;
    assert_eq!(
        found,
        [format!("anchor_mismatch at 201: checkpoints/{:020}", 201)]
    );
}

/// A level-1 tile is full after 65,536 entries. All of them are records of a single transaction.
#[tokio::test]
async fn a_tile_of_a_higher_level_and_a_bulk_transaction_are_sealed_and_verified() {
    let log = Log::empty().await;
    log.write(1, 66_000).await;
    log.seal().await;
    let report = log.assert_proven().await;
    assert_eq!((report.size, report.checked.records), (66_001, 66_000));
    // 257 of level 0, and one of level 1.
    assert_eq!(report.checked.tiles, 258);
    let count = log
        .number("SELECT count(*) FROM @tile WHERE level = 1")
        .await;
    assert_eq!(count, 1);
    log.harm("DELETE FROM @tile WHERE level = 1").await;
    let expected = ["tile_mismatch: tile/1/000 in the database"];
    assert_eq!(log.found().await, expected);
    assert_eq!(log.found_unanchored().await, expected);
    let file = log.file("tile/1/000");
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[0] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let expected = [
        "tile_mismatch: tile/1/000",
        "tile_mismatch: tile/1/000 in the database",
    ];
    let report = log.report().await;
    assert_eq!(log.lines(&report), expected);
    assert_eq!(report.verdict(), Verdict::Harmed);
}

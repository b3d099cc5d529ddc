use std::collections::{BTreeMap, HashMap};
use std::fs;

use platform_audit_tlog::tile::{
    BundleId, DirectoryTiles, MissingTile, ReadError, Tile, TileBuilder, TileError, TileId,
    consistency_proof, consistency_tiles, decode_bundle, edge_tiles, encode_bundle, frontier_at,
    inclusion_proof, inclusion_tiles, root_at, root_tiles,
};
use platform_audit_tlog::tree::{
    EMPTY_ROOT, Frontier, FrontierError, Hash, leaf_hash, verify_consistency, verify_inclusion,
};
use proptest::prelude::*;

use crate::{leaves, naive, published};

type Tiles = BTreeMap<TileId, Vec<u8>>;

fn id(path: &str) -> TileId {
    path.parse().unwrap()
}

#[test]
fn tiles_contain_the_hashes_that_the_specification_defines() {
    let leaves = leaves(70_000);
    let tiles = published(&leaves);
    // 273 full and a partial one of level 0, one full and a partial one of level 1, one of level 2.
    assert_eq!(tiles.len(), 273 + 1 + 1 + 1 + 1);
    assert_eq!(
        tiles
            .keys()
            .copied()
            .filter(|it| it.is_partial())
            .collect::<Vec<_>>(),
        edge_tiles(70_000)
    );
    for (id, bytes) in &tiles {
        // MTH(D[(n * 256 + i) * 256**l : (n * 256 + i + 1) * 256**l])
        let span = 256_usize.pow(id.level().into());
        let hashes = (0..usize::from(id.width())).flat_map(|i| {
            let start = (id.index() as usize * 256 + i) * span;
            naive::root(&leaves[start..start + span]).to_bytes()
        });
        assert!(hashes.eq(bytes.iter().copied()), "{id}");
    }
}

#[test]
fn proofs_from_tiles_are_those_of_rfc_6962() {
    let leaves = leaves(300);
    // Every pair of small sizes, and those around the first full tile.
    for size in (1..=130).chain(254..=260).chain([300]) {
        let tree = &leaves[..size];
        let tiles = published(tree);
        let root = naive::root(tree);
        assert_eq!(root_at(size as u64, &tiles), Ok(root));
        for index in 0..size {
            let proof = inclusion_proof(index as u64, size as u64, &tiles).unwrap();
            assert_eq!(proof, naive::path(index, tree), "{index} of {size}");
        }
        for old in 1..=size {
            let proof = consistency_proof(old as u64, size as u64, &tiles).unwrap();
            assert_eq!(proof, naive::proof(old, tree), "{old} to {size}");
        }
    }
}

#[test]
fn there_are_no_proofs_of_what_does_not_exist() {
    let tiles = published(&leaves(3));
    assert!(matches!(
        inclusion_proof(3, 3, &tiles),
        Err(ReadError::Range(_))
    ));
    assert!(matches!(
        inclusion_proof(0, 0, &tiles),
        Err(ReadError::Range(_))
    ));
    assert!(matches!(
        consistency_proof(4, 3, &tiles),
        Err(ReadError::Range(_))
    ));
    assert_eq!(consistency_proof(0, 3, &tiles), Ok(vec![]));
    assert_eq!(consistency_proof(3, 3, &tiles), Ok(vec![]));
    assert_eq!(root_at(0, &Tiles::new()), Ok(EMPTY_ROOT));
    assert_eq!(frontier_at(0, &Tiles::new()), Ok(Frontier::new()));
    let tile = id("tile/0/000.p/4");
    let missing = ReadError::Read {
        tile,
        source: MissingTile(tile),
    };
    assert_eq!(root_at(4, &tiles), Err(missing));
}

#[test]
fn a_builder_continues_from_partial_tiles() {
    let leaves = leaves(1000);
    let mut whole = TileBuilder::new();
    for (size, leaf) in leaves.iter().enumerate() {
        let partial = whole.partial_tiles();
        let mut restored = TileBuilder::from_tiles(size as u64, partial.clone()).unwrap();
        let tiles: HashMap<_, _> = partial
            .into_iter()
            .map(|it| (it.id(), it.into_bytes()))
            .collect();
        assert_eq!(
            TileBuilder::load(size as u64, &tiles).as_ref(),
            Ok(&restored)
        );
        assert_eq!(
            frontier_at(size as u64, &tiles).as_ref(),
            Ok(whole.frontier())
        );
        assert_eq!(restored.root(), whole.root());
        assert_eq!(restored.push(*leaf), whole.push(*leaf));
        assert_eq!(restored.partial_tiles(), whole.partial_tiles());
        assert_eq!(restored.size(), size as u64 + 1);
    }
    assert_eq!(whole.root(), naive::root(&leaves));
}

#[test]
fn a_builder_refuses_other_tiles() {
    let mut builder = TileBuilder::new();
    let full = builder.extend(leaves(300));
    let partial = builder.partial_tiles();
    let not_at_edge = |tile: &Tile| {
        Err(TileError::NotAtEdge {
            tile: tile.id(),
            size: 300,
        })
    };
    let missing = |path| {
        Err(TileError::Missing {
            tile: id(path),
            size: 300,
        })
    };
    let from = |tiles: &[Tile]| TileBuilder::from_tiles(300, tiles.to_vec());
    assert_eq!(from(&full), not_at_edge(&full[0]));
    assert_eq!(from(&partial[..1]), missing("tile/1/000.p/1"));
    assert_eq!(from(&[]), missing("tile/0/001.p/44"));
    assert_eq!(
        from(&[&partial[..], &partial[..1]].concat()),
        not_at_edge(&partial[0])
    );
    assert_eq!(
        TileBuilder::from_tiles(u64::MAX, []),
        Err(TileError::Frontier(FrontierError::TooLarge(u64::MAX)))
    );
    assert!(Tile::new(id("tile/0/000.p/2"), vec![0; 63]).is_err());
    assert!(Tile::new(id("tile/0/000.p/2"), vec![0; 64]).is_ok());
}

#[test]
fn a_full_tile_has_the_hash_that_the_level_above_contains() {
    let mut builder = TileBuilder::new();
    let full = builder.extend(leaves(600));
    let above: Vec<Hash> = builder.partial_tiles()[1].hashes().collect();
    assert_eq!(
        full.iter().map(|it| it.root().unwrap()).collect::<Vec<_>>(),
        above
    );
    assert_eq!(builder.partial_tiles()[0].root(), None);
}

#[test]
fn a_builder_of_the_largest_size_does_not_panic() {
    let size = i64::MAX as u64;
    let tiles: Vec<Tile> = edge_tiles(size)
        .into_iter()
        .map(|it| Tile::new(it, vec![7; it.bytes()]).unwrap())
        .collect();
    let mut builder = TileBuilder::from_tiles(size, tiles).unwrap();
    assert_eq!(builder.push(EMPTY_ROOT).len(), 7);
    let _ = (builder.root(), builder.partial_tiles());
}

#[test]
fn tiles_of_a_wrong_length_are_refused() {
    let mut tiles = published(&leaves(300));
    let tile = id("tile/0/001.p/44");
    for length in [0, 1, 43 * 32, 44 * 32 - 1, 44 * 32 + 1, 45 * 32, 8191, 8193] {
        tiles.insert(tile, vec![0; length]);
        let expected = Err(ReadError::Tile(TileError::Length {
            tile,
            actual: length,
        }));
        assert_eq!(root_at(300, &tiles), expected);
        assert_eq!(
            TileBuilder::load(300, &tiles),
            expected.map(|_| TileBuilder::new())
        );
    }
}

#[test]
fn a_damaged_tile_results_in_a_proof_that_does_not_hold() {
    let leaves = leaves(300);
    let tiles = published(&leaves);
    let root = naive::root(&leaves);
    for needed in inclusion_tiles(270, 300).unwrap() {
        let mut damaged = tiles.clone();
        damaged
            .get_mut(&needed)
            .unwrap()
            .iter_mut()
            .for_each(|byte| *byte ^= 1);
        let proof = inclusion_proof(270, 300, &damaged).unwrap();
        assert!(verify_inclusion(&leaves[270], 270, 300, &proof, &root).is_err());
        assert_eq!(
            root_at(300, &damaged).unwrap() == root,
            !root_tiles(300).contains(&needed)
        );
    }
}

#[test]
fn a_directory_serves_the_full_tile_for_a_deleted_partial_one() {
    let entries: Vec<String> = (0..300).map(|it| it.to_string()).collect();
    let leaves = leaves(300);
    let directory = tempfile::tempdir().unwrap();
    let write = |path: String, bytes: &[u8]| {
        let path = directory.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    };
    for (id, bytes) in published(&leaves) {
        write(id.path(), &bytes);
    }
    let full = BundleId::new(0, 256).unwrap();
    write(full.path(), &encode_bundle(&entries[..256]).unwrap());

    let tiles = DirectoryTiles::new(directory.path());
    // The partial tiles of a tree of 200 entries were never written.
    assert_eq!(root_at(200, &tiles).unwrap(), naive::root(&leaves[..200]));
    assert_eq!(
        frontier_at(200, &tiles).unwrap(),
        leaves[..200].iter().copied().collect()
    );
    assert_eq!(
        TileBuilder::load(200, &tiles).unwrap().root(),
        naive::root(&leaves[..200])
    );
    assert_eq!(
        inclusion_proof(7, 200, &tiles).unwrap(),
        naive::path(7, &leaves[..200])
    );
    assert_eq!(
        consistency_proof(7, 200, &tiles).unwrap(),
        naive::proof(7, &leaves[..200])
    );
    let (bundle, width) = tiles.bundle(BundleId::new(0, 200).unwrap()).unwrap();
    let decoded = decode_bundle(&bundle, width).unwrap();
    assert!(
        decoded
            .iter()
            .zip(&leaves)
            .all(|(entry, leaf)| leaf_hash(entry) == *leaf)
    );

    let missing = tiles.bundle(BundleId::new(1, 200).unwrap()).unwrap_err();
    assert!(missing.is_not_found());
    assert!(matches!(root_at(500, &tiles), Err(ReadError::Read { .. })));
    write("tile/0/001.p/44".to_owned(), &[0; 8193]);
    let too_long = root_at(300, &tiles).unwrap_err();
    assert!(matches!(too_long, ReadError::Read { source, .. } if !source.is_not_found()));
}

#[test]
fn the_listed_tiles_suffice_for_proofs_of_large_trees() {
    let all = leaves(70_000);
    let config = ProptestConfig {
        cases: 12,
        ..ProptestConfig::default()
    };
    proptest!(config, |(size in 1..=70_000_u64, one: prop::sample::Index, other: prop::sample::Index)| {
        let leaves = &all[..size as usize];
        let published = published(leaves);
        let only = |needed: Vec<TileId>| -> Tiles {
            needed.into_iter().map(|id| (id, published[&id].clone())).collect()
        };
        let root = root_at(size, &only(root_tiles(size))).unwrap();
        prop_assert_eq!(root, naive::root(leaves));

        let index = one.index(leaves.len());
        let tiles = only(inclusion_tiles(index as u64, size).unwrap());
        let proof = inclusion_proof(index as u64, size, &tiles).unwrap();
        prop_assert_eq!(&proof, &naive::path(index, leaves));
        prop_assert_eq!(verify_inclusion(&leaves[index], index as u64, size, &proof, &root), Ok(()));

        let old = 1 + other.index(leaves.len());
        let tiles = only(consistency_tiles(old as u64, size).unwrap());
        let proof = consistency_proof(old as u64, size, &tiles).unwrap();
        prop_assert_eq!(&proof, &naive::proof(old, leaves));
        let old_root = naive::root(&leaves[..old]);
        prop_assert_eq!(verify_consistency(old as u64, size, &proof, &old_root, &root), Ok(()));
    });
}

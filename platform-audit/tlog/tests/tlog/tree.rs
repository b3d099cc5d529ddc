use platform_audit_tlog::tree::{
    EMPTY_ROOT, Frontier, Hash, RangeError, VerifyError, verify_consistency, verify_inclusion,
};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::{leaves, naive};

#[test]
fn a_frontier_has_the_root_of_rfc_6962() {
    let leaves = leaves(600);
    let mut frontier = Frontier::new();
    for size in 0..=600 {
        assert_eq!(frontier.root(), naive::root(&leaves[..size]), "{size}");
        assert_eq!(frontier.size(), size as u64);
        let restored = Frontier::from_parts(size as u64, frontier.hashes().to_vec());
        assert_eq!(restored.as_ref(), Ok(&frontier));
        if let Some(leaf) = leaves.get(size) {
            frontier.push(*leaf);
        }
    }
}

#[test]
fn every_proof_of_rfc_6962_holds() {
    let leaves = leaves(130);
    let roots: Vec<Hash> = (0..=130).map(|size| naive::root(&leaves[..size])).collect();
    for size in 1..=130 {
        let tree = &leaves[..size];
        for (index, leaf) in tree.iter().enumerate() {
            let proof = naive::path(index, tree);
            verify_inclusion(leaf, index as u64, size as u64, &proof, &roots[size])
                .unwrap_or_else(|error| panic!("{index} of {size}: {error}"));
        }
        for old in 1..=size {
            let proof = naive::proof(old, tree);
            verify_consistency(old as u64, size as u64, &proof, &roots[old], &roots[size])
                .unwrap_or_else(|error| panic!("{old} to {size}: {error}"));
        }
    }
}

#[test]
fn a_proof_holds_for_its_index_and_sizes_only() {
    let leaves = leaves(40);
    let roots: Vec<Hash> = (0..=40).map(|size| naive::root(&leaves[..size])).collect();
    for (index, size) in [(0, 1), (5, 8), (6, 7), (12, 13), (12, 40), (39, 40)] {
        let proof = naive::path(index, &leaves[..size]);
        for other in (0..40).filter(|it| *it != index as u64) {
            for root in &roots {
                let other = verify_inclusion(&leaves[index], other, size as u64, &proof, root);
                assert!(other.is_err());
            }
        }
    }
    for (old, new) in [(1, 2), (3, 7), (4, 8), (6, 8), (13, 40)] {
        let proof = naive::proof(old, &leaves[..new]);
        for other in (1..=40).filter(|it| *it != old) {
            let other =
                verify_consistency(other as u64, new as u64, &proof, &roots[old], &roots[new]);
            assert!(other.is_err(), "{old} {new}");
        }
    }
}

/// A hash with one bit flipped.
fn flipped(hash: &Hash, bit: usize) -> Hash {
    let mut bytes = hash.to_bytes();
    bytes[bit / 8 % 32] ^= 1 << (bit % 8);
    Hash::new(bytes)
}

#[test]
fn any_flipped_bit_breaks_an_inclusion_proof() {
    let leaves = leaves(77);
    let root = naive::root(&leaves);
    for index in [0, 37, 63, 64, 76] {
        let proof = naive::path(index, &leaves);
        let check = |leaf: &Hash, proof: &[Hash], root: &Hash| {
            verify_inclusion(leaf, index as u64, 77, proof, root)
        };
        assert_eq!(check(&leaves[index], &proof, &root), Ok(()));
        for bit in 0..256 {
            assert!(check(&flipped(&leaves[index], bit), &proof, &root).is_err());
            assert!(check(&leaves[index], &proof, &flipped(&root, bit)).is_err());
            for at in 0..proof.len() {
                let mut altered = proof.clone();
                altered[at] = flipped(&altered[at], bit);
                assert_eq!(
                    check(&leaves[index], &altered, &root),
                    Err(VerifyError::Root)
                );
            }
        }
    }
}

#[test]
fn any_flipped_bit_breaks_a_consistency_proof() {
    let leaves = leaves(77);
    let new_root = naive::root(&leaves);
    for old in [1, 2, 13, 32, 64, 65, 76] {
        let proof = naive::proof(old, &leaves);
        let old_root = naive::root(&leaves[..old]);
        let check = |proof: &[Hash], old_root: &Hash, new_root: &Hash| {
            verify_consistency(old as u64, 77, proof, old_root, new_root)
        };
        assert_eq!(check(&proof, &old_root, &new_root), Ok(()));
        for bit in 0..256 {
            assert!(check(&proof, &flipped(&old_root, bit), &new_root).is_err());
            assert!(check(&proof, &old_root, &flipped(&new_root, bit)).is_err());
            for at in 0..proof.len() {
                let mut altered = proof.clone();
                altered[at] = flipped(&altered[at], bit);
                assert!(check(&altered, &old_root, &new_root).is_err());
            }
        }
    }
}

#[test]
fn a_proof_with_another_number_of_hashes_is_refused() {
    let leaves = leaves(77);
    let root = naive::root(&leaves);
    let mut proof = naive::path(70, &leaves);
    let last = proof.pop().unwrap();
    let length = |actual| {
        Err(VerifyError::Length {
            expected: proof.len() + 1,
            actual,
        })
    };
    assert_eq!(
        verify_inclusion(&leaves[70], 70, 77, &proof, &root),
        length(proof.len())
    );
    let longer = [&proof[..], &[last, last]].concat();
    assert_eq!(
        verify_inclusion(&leaves[70], 70, 77, &longer, &root),
        length(longer.len())
    );
    assert!(verify_inclusion(&leaves[70], 70, 77, &[], &root).is_err());
    assert_eq!(
        verify_inclusion(&leaves[70], 77, 77, &longer, &root),
        Err(VerifyError::Range(RangeError::Index {
            index: 77,
            size: 77
        }))
    );
}

#[test]
fn the_empty_tree_is_consistent_with_every_tree() {
    let root = leaves(1)[0];
    assert_eq!(verify_consistency(0, 1, &[], &EMPTY_ROOT, &root), Ok(()));
    assert_eq!(
        verify_consistency(0, 0, &[], &EMPTY_ROOT, &EMPTY_ROOT),
        Ok(())
    );
    assert_eq!(
        verify_consistency(0, 0, &[], &EMPTY_ROOT, &root),
        Err(VerifyError::Root)
    );
    assert_eq!(
        verify_consistency(0, 1, &[], &root, &root),
        Err(VerifyError::OldRoot)
    );
    assert!(verify_consistency(0, 1, &[root], &EMPTY_ROOT, &root).is_err());
    assert!(verify_consistency(1, 0, &[], &root, &EMPTY_ROOT).is_err());
    assert_eq!(verify_consistency(1, 1, &[], &root, &root), Ok(()));
    assert!(verify_consistency(1, 1, &[root], &root, &root).is_err());
    assert_eq!(
        verify_consistency(1, 1, &[], &root, &EMPTY_ROOT),
        Err(VerifyError::Root)
    );
}

fn any_hash() -> impl Strategy<Value = Hash> {
    any::<[u8; 32]>().prop_map(Hash::new)
}

/// Sizes of every magnitude, and those at the ends.
fn any_size() -> impl Strategy<Value = u64> {
    prop_oneof![
        (any::<u64>(), 0..64_u32).prop_map(|(size, shift)| size >> shift),
        (0..64_u32, 0..3_u64)
            .prop_map(|(bit, more)| (1_u64 << bit).wrapping_add(more).wrapping_sub(1)),
        Just(u64::MAX),
    ]
}

proptest! {
    #[test]
    fn arbitrary_proofs_are_refused(
        one in any_size(),
        other in any_size(),
        hash in any_hash(),
        root in any_hash(),
        proof in vec(any_hash(), 0..70),
        exact: bool,
    ) {
        // With the length that the sizes require, the hashes are reached.
        let length = |error: Result<(), VerifyError>| match error {
            Err(VerifyError::Length { expected, .. }) if exact => expected,
            _ => proof.len(),
        };
        let resized = |length: usize| -> Vec<Hash> {
            proof.iter().copied().chain(std::iter::repeat(hash)).take(length).collect()
        };
        let inclusion = length(verify_inclusion(&hash, one, other, &proof, &root));
        prop_assert!(inclusion <= 70);
        prop_assert!(verify_inclusion(&hash, one, other, &resized(inclusion), &root).is_err() || hash == root);
        let consistency = length(verify_consistency(one, other, &proof, &hash, &root));
        prop_assert!(consistency <= 70);
        prop_assert!(verify_consistency(one, other, &resized(consistency), &hash, &root).is_err());
    }
}

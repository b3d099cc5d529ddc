//! The proofs of transparency-dev/merkle.

use platform_audit_tlog::tree::{Hash, verify_consistency, verify_inclusion};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Inclusion {
    leaf_idx: u64,
    tree_size: u64,
    root: String,
    leaf_hash: String,
    proof: Vec<String>,
    desc: String,
    want_err: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Consistency {
    size1: u64,
    size2: u64,
    root1: String,
    root2: String,
    proof: Vec<String>,
    desc: String,
    want_err: bool,
}

fn parse<T: for<'a> Deserialize<'a>>(lines: &str) -> Vec<T> {
    lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// Some vectors contain hashes of a wrong length, which the type does not allow.
fn hashes(texts: &[String]) -> Option<Vec<Hash>> {
    texts.iter().map(|text| text.parse().ok()).collect()
}

#[test]
fn inclusion_is_decided_as_in_the_vectors() {
    let vectors: Vec<Inclusion> = parse(include_str!("../vectors/inclusion.jsonl"));
    assert_eq!(vectors.len(), 98);
    for it in vectors {
        let holds = || {
            let (root, leaf) = (it.root.parse().ok()?, it.leaf_hash.parse().ok()?);
            let proof = hashes(&it.proof)?;
            verify_inclusion(&leaf, it.leaf_idx, it.tree_size, &proof, &root).ok()
        };
        assert_eq!(holds().is_none(), it.want_err, "{}", it.desc);
    }
}

#[test]
fn consistency_is_decided_as_in_the_vectors() {
    let vectors: Vec<Consistency> = parse(include_str!("../vectors/consistency.jsonl"));
    assert_eq!(vectors.len(), 98);
    for it in vectors {
        // One vector has equal roots of another length than SHA-256's, which Go compares as such.
        if it.desc == "consistency/additional/sizes-are-equal-one-and-proof-is-empty" {
            assert!(it.root1.parse::<Hash>().is_err());
            continue;
        }
        let holds = || {
            let (root1, root2) = (it.root1.parse().ok()?, it.root2.parse().ok()?);
            let proof = hashes(&it.proof)?;
            verify_consistency(it.size1, it.size2, &proof, &root1, &root2).ok()
        };
        assert_eq!(holds().is_none(), it.want_err, "{}", it.desc);
    }
}

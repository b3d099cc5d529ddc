//! RFC 6962, section 2.1, as its text defines it.

use platform_audit_tlog::tree::{EMPTY_ROOT, Hash, node_hash};

/// The largest power of two below `n`, which is at least 2.
fn split(n: usize) -> usize {
    let mut k = 1;
    while k * 2 < n {
        k *= 2;
    }
    k
}

pub(crate) fn root(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => EMPTY_ROOT,
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(split(leaves.len()));
            node_hash(&root(left), &root(right))
        }
    }
}

/// PATH(m, D[n])
pub(crate) fn path(m: usize, leaves: &[Hash]) -> Vec<Hash> {
    if leaves.len() == 1 {
        return vec![];
    }
    let k = split(leaves.len());
    let (left, right) = leaves.split_at(k);
    let (mut path, sibling) = match m < k {
        true => (path(m, left), root(right)),
        false => (path(m - k, right), root(left)),
    };
    path.push(sibling);
    path
}

/// PROOF(m, D[n])
pub(crate) fn proof(m: usize, leaves: &[Hash]) -> Vec<Hash> {
    subproof(m, leaves, true)
}

fn subproof(m: usize, leaves: &[Hash], complete: bool) -> Vec<Hash> {
    match (m == leaves.len(), complete) {
        (true, true) => return vec![],
        (true, false) => return vec![root(leaves)],
        _ => {}
    }
    let k = split(leaves.len());
    let (left, right) = leaves.split_at(k);
    let (mut proof, sibling) = match m <= k {
        true => (subproof(m, left, complete), root(right)),
        false => (subproof(m - k, right, false), root(left)),
    };
    proof.push(sibling);
    proof
}

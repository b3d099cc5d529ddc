//! What a witness accepts.

use platform_audit_tlog::checkpoint::{Checkpoint, SignedCheckpoint};
use platform_audit_tlog::note::{Algorithm, SignedNote};
use platform_audit_tlog::tree::Hash;
use platform_audit_tlog::witness::{AddCheckpoint, MAX_HASHES, ParseRequestError, conflict_size};
use proptest::prelude::*;

use crate::notes::{ORIGIN, key, log, public};
use crate::{leaves, naive};

fn checkpoint(leaves: &[Hash]) -> Checkpoint {
    Checkpoint::new(ORIGIN, leaves.len() as u64, naive::root(leaves)).unwrap()
}

fn note(leaves: &[Hash]) -> SignedNote {
    SignedCheckpoint::sign(checkpoint(leaves), &log())
        .unwrap()
        .note()
        .clone()
}

#[test]
fn a_request_has_the_format_of_the_specification() {
    let leaves = leaves(7);
    let request = AddCheckpoint::new(3, naive::proof(3, &leaves), note(&leaves)).unwrap();
    let hashes: String = request.proof().iter().map(|it| format!("{it}\n")).collect();
    let text = format!("old 3\n{hashes}\n{}", note(&leaves));
    assert_eq!(request.to_string(), text);
    assert_eq!(AddCheckpoint::parse(&text).as_ref(), Ok(&request));

    for (from, to, line) in [
        ("old 3", "old 03", 1),
        ("old 3", "old", 1),
        ("old 3\n", "", 1),
        ("old 3\n", "old 3\nAA==\n", 2),
    ] {
        let parsed = AddCheckpoint::parse(text.replacen(from, to, 1));
        assert_eq!(parsed, Err(ParseRequestError::Line(line)), "{to}");
    }
    let many = text.replacen("old 3\n", &format!("old 3\n{}", hashes.repeat(20)), 1);
    assert_eq!(
        AddCheckpoint::parse(many),
        Err(ParseRequestError::TooManyHashes)
    );
    let many = AddCheckpoint::new(3, vec![leaves[0]; MAX_HASHES + 1], note(&leaves));
    assert_eq!(many, Err(ParseRequestError::TooManyHashes));
    assert_eq!(
        AddCheckpoint::parse("old 3\n"),
        Err(ParseRequestError::Line(2))
    );
    assert_eq!(conflict_size("7"), None);
}

#[test]
fn a_witness_accepts_only_what_continues_the_latest_checkpoint() {
    let leaves = leaves(9);
    let (old, new) = (checkpoint(&leaves[..5]), note(&leaves));
    let proof = naive::proof(5, &leaves);
    let keys = public(&[&log()]);
    let status = |old: u64, proof: &[Hash], new: &SignedNote, latest: Option<&Checkpoint>| {
        let request = AddCheckpoint::new(old, proof.to_vec(), new.clone()).unwrap();
        request
            .verify(&keys, latest)
            .map_or_else(|error| error.status(), |_| 200)
    };
    assert_eq!(status(5, &proof, &new, Some(&old)), 200);
    assert_eq!(status(0, &[], &new, None), 200);
    assert_eq!(status(9, &[], &new, Some(&checkpoint(&leaves))), 200);

    assert_eq!(status(10, &proof, &new, Some(&old)), 400);
    assert_eq!(status(4, &proof, &new, Some(&old)), 409);
    assert_eq!(status(5, &proof, &new, None), 409);
    assert_eq!(status(0, &[], &new, Some(&old)), 409);
    assert_eq!(status(5, &proof[1..], &new, Some(&old)), 422);
    assert_eq!(status(0, &proof, &new, None), 422);
    // The log rewrote its history.
    let mut others = leaves.clone();
    others[2] = leaves[3];
    assert_eq!(
        status(5, &naive::proof(5, &others), &note(&others), Some(&old)),
        422
    );
    assert_eq!(
        status(9, &[], &note(&others), Some(&checkpoint(&leaves))),
        422
    );

    // A checkpoint of another log is not the latest one of this log.
    let other = Checkpoint::new("example.com/other", 5, naive::root(&leaves[..5])).unwrap();
    assert_eq!(status(5, &proof, &new, Some(&other)), 409);
}

#[test]
fn a_witness_accepts_only_what_a_known_log_signed() {
    let leaves = leaves(3);
    let text = checkpoint(&leaves).to_string();
    let other = key("example.com/other", Algorithm::Ed25519);
    let status = |note: SignedNote, keys: &[&_]| {
        let request = AddCheckpoint::new(0, vec![], note).unwrap();
        let opened = request.verify(&public(keys), None);
        opened.map_or_else(|error| error.status(), |_| 200)
    };
    let by_other = || SignedNote::sign(text.clone(), &[&other]).unwrap();
    assert_eq!(status(note(&leaves), &[&log(), &other]), 200);
    assert_eq!(status(note(&leaves), &[&other]), 404);
    assert_eq!(
        status(note(&leaves), &[&key(ORIGIN, Algorithm::CosignatureV1)]),
        404
    );
    assert_eq!(status(by_other(), &[&log(), &other]), 403);
    let signatures = note(&leaves[..2]).signatures().to_vec();
    assert_eq!(
        status(SignedNote::new(text, signatures).unwrap(), &[&log()]),
        403
    );
    let no_checkpoint = SignedNote::sign("text\n", &[log()]).unwrap();
    assert_eq!(status(no_checkpoint, &[&log()]), 400);
    let empty = format!("{ORIGIN}\n0\n{}\n", leaves[0]);
    assert_eq!(
        status(SignedNote::sign(empty, &[log()]).unwrap(), &[&log()]),
        422
    );
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_no_reason_to_panic(bytes: Vec<u8>, text: String) {
        let _ = AddCheckpoint::parse(&bytes);
        let _ = AddCheckpoint::parse(format!("old 1\n{text}"));
        let _ = conflict_size(&text);
    }
}

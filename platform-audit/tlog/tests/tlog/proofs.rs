//! Proofs as files.

use platform_audit_tlog::checkpoint::{Checkpoint, CheckpointError, SignedCheckpoint};
use platform_audit_tlog::note::{Algorithm, NoteError};
use platform_audit_tlog::proof::{MAX_EXTRA_BYTES, MAX_HASHES, ProofError, TlogProof};
use platform_audit_tlog::tile::inclusion_proof;
use platform_audit_tlog::tree::{Hash, VerifyError};
use proptest::prelude::*;

use crate::notes::{ORIGIN, key, log};
use crate::{leaves, naive, published};

const SIZE: u64 = 300;

fn checkpoint(leaves: &[Hash]) -> SignedCheckpoint {
    let checkpoint = Checkpoint::new(ORIGIN, leaves.len() as u64, naive::root(leaves)).unwrap();
    SignedCheckpoint::sign(checkpoint, &log()).unwrap()
}

fn proof(index: u64) -> TlogProof {
    let leaves = leaves(SIZE);
    let hashes = inclusion_proof(index, SIZE, &published(&leaves)).unwrap();
    TlogProof::new(index, hashes, checkpoint(&leaves).note().clone()).unwrap()
}

#[test]
fn a_proof_has_the_text_of_the_specification() {
    let leaves = leaves(3);
    let tiles = published(&leaves);
    let checkpoint = checkpoint(&leaves);
    let hashes = inclusion_proof(0, 3, &tiles).unwrap();
    let proof = TlogProof::new(0, hashes, checkpoint.note().clone()).unwrap();
    let text = format!(
        "c2sp.org/tlog-proof@v1\nindex 0\n{}\n{}\n\n{ORIGIN}\n3\n{}\n\n{}\n",
        leaves[1],
        leaves[2],
        naive::root(&leaves),
        checkpoint.note().signatures()[0],
    );
    assert_eq!(proof.to_string(), text);
    assert_eq!(TlogProof::parse(&text), Ok(proof.clone()));

    let proof = proof.with_extra("extra data").unwrap();
    let text = text.replace("index", "extra ZXh0cmEgZGF0YQ==\nindex");
    assert_eq!(proof.to_string(), text);
    assert_eq!(TlogProof::parse(&text), Ok(proof.clone()));
    assert_eq!(proof.extra(), b"extra data");
}

#[test]
fn every_entry_is_proved_with_the_public_key_alone() {
    let keys = [log().verifier_key().clone()];
    for (index, leaf) in (0..).zip(leaves(SIZE)).step_by(7) {
        let parsed = TlogProof::parse(proof(index).to_string()).unwrap();
        let opened = parsed.verify(&leaf, &keys).unwrap();
        assert_eq!(opened.checkpoint().size(), SIZE);
    }
}

#[test]
fn a_proof_is_of_one_entry_and_one_log() {
    let leaves = leaves(SIZE);
    let keys = [log().verifier_key().clone()];
    assert_eq!(
        proof(5).verify(&leaves[6], &keys),
        Err(ProofError::Inclusion(VerifyError::Root))
    );
    let other = [key("example.com/other", Algorithm::Ed25519)
        .verifier_key()
        .clone()];
    assert_eq!(
        proof(5).verify(&leaves[5], &other),
        Err(ProofError::Checkpoint(CheckpointError::Note(
            NoteError::NoTrustedSignature
        )))
    );
}

#[test]
fn malformed_proofs_are_refused() {
    let text = proof(5).to_string();
    for (from, to, expected) in [
        ("@v1", "@v2", ProofError::Line(1)),
        ("c2sp", " c2sp", ProofError::Line(1)),
        ("index 5", "index 05", ProofError::Line(2)),
        ("index 5", "index", ProofError::Line(2)),
        ("index 5", "index -5", ProofError::Line(2)),
        ("index 5", "Index 5", ProofError::Line(2)),
        ("index 5", "extra \nindex 5", ProofError::Line(2)),
        ("index 5", "extra A\nindex 5", ProofError::Line(2)),
        (
            "index 5",
            "extra AA==\nextra AA==\nindex 5",
            ProofError::Line(3),
        ),
        ("index 5", "index 5\nextra AA==", ProofError::Line(3)),
        ("index 5\n", "index 5\nAA==\n", ProofError::Line(3)),
        ("\n", "\r\n", ProofError::Line(1)),
    ] {
        assert_eq!(
            TlogProof::parse(text.replace(from, to)),
            Err(expected),
            "{to:?}"
        );
    }
    assert!(TlogProof::parse(b"\xff").is_err());
    // An early empty line ends the hashes; what follows is a note, but not a checkpoint.
    let early = TlogProof::parse(text.replace("index 5\n", "index 5\n\n")).unwrap();
    let opened = early.verify(&leaves(6)[5], &[log().verifier_key().clone()]);
    assert!(matches!(opened, Err(ProofError::Checkpoint(_))));
}

#[test]
fn proofs_have_limits() {
    let note = proof(5).checkpoint().clone();
    let hash = leaves(1)[0];
    assert!(TlogProof::new(0, vec![hash; MAX_HASHES], note.clone()).is_ok());
    let many = TlogProof::new(0, vec![hash; MAX_HASHES + 1], note);
    assert_eq!(many, Err(ProofError::TooManyHashes));
    let more = format!("index 5\n{}", format!("{hash}\n").repeat(60));
    let many = proof(5).to_string().replacen("index 5\n", &more, 1);
    assert_eq!(TlogProof::parse(&many), Err(ProofError::TooManyHashes));

    let largest = proof(5).with_extra(vec![1; MAX_EXTRA_BYTES]).unwrap();
    assert_eq!(TlogProof::parse(largest.to_string()), Ok(largest));
    assert_eq!(
        proof(5).with_extra(vec![1; MAX_EXTRA_BYTES + 1]),
        Err(ProofError::TooLong)
    );
    assert_eq!(
        TlogProof::parse(vec![b' '; 3_000_000]),
        Err(ProofError::TooLong)
    );
}

#[test]
fn any_flipped_bit_and_any_truncation_breaks_a_proof() {
    let leaf = leaves(6)[5];
    let keys = [log().verifier_key().clone()];
    let bytes = proof(5).to_string().into_bytes();
    let holds = |bytes: &[u8]| {
        TlogProof::parse(bytes)
            .and_then(|proof| proof.verify(&leaf, &keys))
            .is_ok()
    };
    assert!(holds(&bytes));
    for length in 0..bytes.len() {
        assert!(!holds(&bytes[..length]), "{length}");
    }
    for bit in 0..bytes.len() * 8 {
        let mut altered = bytes.clone();
        altered[bit / 8] ^= 1 << (bit % 8);
        assert!(!holds(&altered), "bit {bit}");
    }
}

proptest! {
    #[test]
    fn a_proof_that_parses_has_the_bytes_that_were_parsed(
        extra in "(extra [A-D]{0,4}\n)?",
        index in "(index |inverse )[0-9]{0,3}\n",
        hashes in "([A-D]{42}[AEI]=\n){0,3}\n?",
        note in "[ab\n]{0,6}\n\n?(— a AAAAAAA=\n){0,2}",
    ) {
        let text = format!("c2sp.org/tlog-proof@v1\n{extra}{index}{hashes}{note}");
        if let Ok(parsed) = TlogProof::parse(&text) {
            prop_assert_eq!(parsed.to_string(), text);
        }
    }

    #[test]
    fn arbitrary_bytes_are_no_reason_to_panic(bytes: Vec<u8>, text: String) {
        let _ = TlogProof::parse(&bytes);
        let _ = TlogProof::parse(format!("c2sp.org/tlog-proof@v1\n{text}"));
    }
}

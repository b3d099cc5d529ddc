//! Checkpoints and cosignatures.

use platform_audit_tlog::checkpoint::{
    Checkpoint, CheckpointError, ParseCheckpointError, SignedCheckpoint,
};
use platform_audit_tlog::cosignature;
use platform_audit_tlog::note::{
    Algorithm, NoteError, SignError, Signature, SignedNote, Signer as _, SigningKey,
};
use platform_audit_tlog::tree::{EMPTY_ROOT, leaf_hash};
use proptest::prelude::*;

use crate::notes::{ORIGIN, key, log, public};

fn witness(number: u8) -> SigningKey {
    key(
        &format!("witness.example.com/w{number}"),
        Algorithm::CosignatureV1,
    )
}

fn checkpoint() -> SignedCheckpoint {
    let checkpoint = Checkpoint::new(ORIGIN, 20_852_163, leaf_hash(b"root")).unwrap();
    SignedCheckpoint::sign(checkpoint, &log()).unwrap()
}

#[test]
fn checkpoints_parse_from_their_text_only() {
    let text = "example.com/log with spaces\n3\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\nan extension\nanother\n";
    let parsed: Checkpoint = text.parse().unwrap();
    assert_eq!(parsed.extensions(), ["an extension", "another"]);
    assert_eq!(parsed.to_string(), text);

    for (from, to, expected) in [
        ("another\n", "another", ParseCheckpointError::Truncated),
        ("another\n", "another\n\n", ParseCheckpointError::Line(6)),
        ("an extension", "", ParseCheckpointError::Line(4)),
        ("an extension", "a\0", ParseCheckpointError::Line(4)),
        (
            "example.com/log with spaces",
            "",
            ParseCheckpointError::Line(1),
        ),
        ("example", "exam\tple", ParseCheckpointError::Line(1)),
        ("\n3\n", "\n03\n", ParseCheckpointError::Line(2)),
        ("\n3\n", "\n+3\n", ParseCheckpointError::Line(2)),
        ("\n3\n", "\n\n", ParseCheckpointError::Line(2)),
        (
            "\n3\n",
            "\n18446744073709551616\n",
            ParseCheckpointError::Line(2),
        ),
        ("\n3\n", "\n0\n", ParseCheckpointError::EmptyRoot),
        ("q2I=", "q2J=", ParseCheckpointError::Line(3)),
        ("q2I=", "q2I", ParseCheckpointError::Line(3)),
        ("CsUYapGG", "", ParseCheckpointError::Line(3)),
    ] {
        assert_eq!(
            text.replace(from, to).parse::<Checkpoint>(),
            Err(expected),
            "{to:?}"
        );
    }
    for text in ["", "\n", "a\n", "a\n1\n", "a\n1\n\n"] {
        assert!(text.parse::<Checkpoint>().is_err(), "{text:?}");
    }
    let empty = Checkpoint::new("example.com/log", 0, EMPTY_ROOT).unwrap();
    assert_eq!(empty.to_string().parse(), Ok(empty));
    assert!(Checkpoint::new("a\nb", 0, EMPTY_ROOT).is_err());
    assert!(Checkpoint::new("example.com/log", 0, leaf_hash(b"")).is_err());
}

#[test]
fn only_the_log_signs_its_checkpoints() {
    let (log, other) = (log(), key("example.com/other", Algorithm::Ed25519));
    let witness = witness(1);
    let unsigned = Checkpoint::new(ORIGIN, 1, leaf_hash(b"")).unwrap();
    let keys = public(&[&log, &other, &witness]);

    for signer in [&other, &witness] {
        let signed = SignedCheckpoint::sign(unsigned.clone(), signer);
        assert!(matches!(signed, Err(SignError::Origin { .. })));
    }
    // Another log that is trusted too signs nothing but its own.
    let note = SignedNote::sign(unsigned.to_string(), &[&other]).unwrap();
    let not_by_log = Err(CheckpointError::NotByLog {
        origin: ORIGIN.to_owned(),
    });
    assert_eq!(SignedCheckpoint::open(note.to_string(), &keys), not_by_log);
    // Nor does a witness, not even with the log's name.
    let as_log = key(ORIGIN, Algorithm::CosignatureV1);
    let signed = SignedCheckpoint::sign(unsigned.clone(), &log).unwrap();
    for witness in [&witness, &as_log] {
        let signature = cosignature::cosign(&signed, witness, 1).unwrap();
        let note = SignedNote::new(unsigned.to_string(), vec![signature]).unwrap();
        let keys = public(&[&log, &other, witness]);
        assert_eq!(SignedCheckpoint::from_note(note, &keys), not_by_log);
    }
    assert!(matches!(
        SignedCheckpoint::sign(unsigned, &as_log),
        Err(SignError::Note(NoteError::KeyType { .. }))
    ));

    // What the log signs has to be a checkpoint.
    let note = SignedNote::sign(format!("{ORIGIN}\n"), &[&log]).unwrap();
    let opened = SignedCheckpoint::open(note.to_string(), &keys);
    assert!(matches!(opened, Err(CheckpointError::Checkpoint(_))));
}

#[test]
fn a_witness_signs_the_message_of_the_specification() {
    let root = "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I="
        .parse()
        .unwrap();
    let unsigned = Checkpoint::new(ORIGIN, 20_852_163, root).unwrap();
    let signed = SignedCheckpoint::sign(unsigned, &log()).unwrap();
    assert_eq!(
        cosignature::message(&signed, 1_679_315_147),
        "cosignature/v1\ntime 1679315147\nexample.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
    );
    let line = cosignature::cosign(&signed, &witness(1), 1_679_315_147).unwrap();
    assert_eq!(line.bytes().len(), 8 + 64);
    assert_eq!(line.bytes()[..8], 1_679_315_147_u64.to_be_bytes());
}

#[test]
fn cosignatures_have_a_time_in_range() {
    let (signed, witness) = (checkpoint(), witness(1));
    for timestamp in [0, 1 << 63, u64::MAX] {
        let cosigned = cosignature::cosign(&signed, &witness, timestamp);
        assert!(matches!(cosigned, Err(SignError::Timestamp(_))));
    }
    let cosigned = cosignature::cosign(&signed, &log(), 1);
    assert!(matches!(
        cosigned,
        Err(SignError::Note(NoteError::KeyType { .. }))
    ));
    assert!(cosignature::cosign(&signed, &witness, (1 << 63) - 1).is_ok());

    // A signature that would be right if its time was.
    let raw = witness
        .sign(cosignature::message(&signed, 1 << 63).as_bytes())
        .unwrap();
    let line = Signature::from_cosignature(witness.verifier_key(), 1 << 63, &raw).unwrap();
    let wrong = checkpoint().add_cosignatures(&format!("{line}\n"), &public(&[&witness]));
    assert!(matches!(wrong, Err(NoteError::WrongSignature { .. })));
}

#[test]
fn cosignatures_of_unknown_witnesses_are_ignored_and_wrong_ones_refused() {
    let mut signed = checkpoint();
    let (known, unknown) = (witness(1), witness(2));
    let line = |checkpoint: &SignedCheckpoint, witness: &SigningKey| {
        format!("{}\n", cosignature::cosign(checkpoint, witness, 5).unwrap())
    };
    let both = line(&signed, &unknown) + &line(&signed, &known);
    // A line by a log's key is not a cosignature, even if the caller passes the key.
    let new_key = SigningKey::from_seed(ORIGIN, Algorithm::Ed25519, &[3; 32]).unwrap();
    let other = SignedNote::sign(signed.note().unverified_text(), &[&new_key]).unwrap();
    let all = format!("{both}{}\n", other.signatures()[0]);
    let added = signed
        .add_cosignatures(&all, &public(&[&known, &log(), &new_key]))
        .unwrap();
    assert_eq!(added.len(), 1);
    assert_eq!(added[0].key, *known.verifier_key());
    assert_eq!(signed.note().signatures().len(), 2);
    assert_eq!(signed.cosignatures(), added);
    assert_eq!(
        signed.add_cosignatures(&all, &public(&[&known])).unwrap(),
        added
    );
    assert_eq!(signed.cosignatures(), added);
    assert_eq!(signed.note().signatures().len(), 2);
    assert_eq!(signed.add_cosignatures(&all, &public(&[])).unwrap(), []);

    let other = Checkpoint::new(ORIGIN, 7, leaf_hash(b"7")).unwrap();
    let other = SignedCheckpoint::sign(other, &log()).unwrap();
    let before = signed.clone();
    let wrong = line(&other, &known);
    for lines in [
        wrong.as_str(),
        "",
        "\n",
        "text\n",
        line(&signed, &known).trim_end(),
    ] {
        assert!(
            signed.add_cosignatures(lines, &public(&[&known])).is_err(),
            "{lines:?}"
        );
        assert_eq!(signed, before);
    }
}

#[test]
fn any_flipped_bit_of_a_checkpoint_is_noticed() {
    let mut signed = checkpoint();
    let line = format!(
        "{}\n",
        cosignature::cosign(&signed, &witness(1), 5).unwrap()
    );
    signed
        .add_cosignatures(&line, &public(&[&witness(1)]))
        .unwrap();
    let keys = public(&[&log(), &witness(1)]);
    let bytes = signed.to_string().into_bytes();
    assert_eq!(SignedCheckpoint::open(&bytes, &keys).as_ref(), Ok(&signed));
    for bit in 0..bytes.len() * 8 {
        let mut altered = bytes.clone();
        altered[bit / 8] ^= 1 << (bit % 8);
        // A signature line whose name or identifier changed is one by an unknown key.
        if let Ok(opened) = SignedCheckpoint::open(&altered, &keys) {
            assert_eq!(opened.checkpoint(), signed.checkpoint());
            assert_eq!(opened.cosignatures(), []);
        }
    }
}

#[test]
fn a_repeated_cosignature_counts_once() {
    let (mut signed, witness) = (checkpoint(), witness(1));
    let lines: String = [30, 10, 20]
        .map(|time| {
            format!(
                "{}\n",
                cosignature::cosign(&signed, &witness, time).unwrap()
            )
        })
        .concat();
    let added = signed
        .add_cosignatures(&lines, &public(&[&witness]))
        .unwrap();
    assert_eq!((added.len(), added[0].timestamp), (1, 30));
    let opened = SignedCheckpoint::open(signed.to_string(), &public(&[&log(), &witness])).unwrap();
    assert_eq!(opened, signed);
    assert_eq!(opened.cosignatures().len(), 1);
}

proptest! {
    #[test]
    fn a_checkpoint_that_parses_has_the_text_that_was_parsed(
        text in "[a-c ]{0,2}\n?[0-9]{0,2}\n[A-Za-z0-9+/]{42,43}[AEI048]?=?\n?(x\n)?\n?",
    ) {
        if let Ok(parsed) = text.parse::<Checkpoint>() {
            prop_assert_eq!(parsed.to_string(), text);
        }
    }

    #[test]
    fn arbitrary_text_is_no_reason_to_panic(text: String) {
        let _ = text.parse::<Checkpoint>();
        let _ = checkpoint().add_cosignatures(&text, &[]);
    }
}

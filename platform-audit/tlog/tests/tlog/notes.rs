//! Notes.

use platform_audit_tlog::checkpoint::Checkpoint;
use platform_audit_tlog::note::{
    Algorithm, MAX_NOTE_BYTES, MAX_SIGNATURES, NoteError, SignError, Signature, SignedNote,
    SigningKey, VerifierKey,
};
use platform_audit_tlog::tree::leaf_hash;
use proptest::prelude::*;

pub(crate) const ORIGIN: &str = "example.com/behind-the-sofa";

/// The example of C2SP tlog-cosignature, of whose keys nothing is known.
const COSIGNED: &str = "example.com/behind-the-sofa
20852163
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=
— witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==
";

pub(crate) fn key(name: &str, algorithm: Algorithm) -> SigningKey {
    SigningKey::from_seed(name, algorithm, leaf_hash(name.as_bytes()).as_bytes()).unwrap()
}

pub(crate) fn log() -> SigningKey {
    key(ORIGIN, Algorithm::Ed25519)
}

pub(crate) fn public(keys: &[&SigningKey]) -> Vec<VerifierKey> {
    keys.iter().map(|it| it.verifier_key().clone()).collect()
}

#[test]
fn the_specifications_examples_parse() {
    let note = "Ognuno sta solo sul cuor della terra\ntrafitto da un raggio di sole:\n\ned è subito sera.\n\n— quasimodo.example/salvatore NnugSzTjtVAewIS+Z/iJhUPeFDkO/5QQ2i5ddnGITLlC+EhfLW9oJKONrMouFSQU0xMcXxj99ihAQwaqP3ZekRwNtIc=\n";
    let parsed = SignedNote::parse(note).unwrap();
    assert!(
        parsed
            .unverified_text()
            .ends_with("sole:\n\ned è subito sera.\n")
    );
    assert_eq!(parsed.signatures()[0].name(), "quasimodo.example/salvatore");
    assert_eq!(parsed.to_string(), note);
    assert_eq!(
        parsed.verify(&public(&[&log()])),
        Err(NoteError::NoTrustedSignature)
    );

    let parsed = SignedNote::parse(COSIGNED).unwrap();
    assert_eq!(parsed.to_string(), COSIGNED);
    assert_eq!(
        parsed.signatures()[1].bytes()[..8],
        1_679_315_147_u64.to_be_bytes()
    );
    let checkpoint: Checkpoint = parsed.unverified_text().parse().unwrap();
    assert_eq!(
        (checkpoint.origin(), checkpoint.size()),
        (ORIGIN, 20_852_163)
    );
}

#[test]
fn malformed_notes_are_refused() {
    let note = SignedNote::sign("text\n", &[log()]).unwrap().to_string();
    let line = note.lines().last().unwrap();
    for (malformed, expected) in [
        (String::new(), NoteError::Format),
        ("text\n".to_owned(), NoteError::Format),
        (format!("text\n{line}\n"), NoteError::Format),
        (format!("\n{line}\n"), NoteError::Format),
        ("text\n\n".to_owned(), NoteError::NoSignatures),
        (note.trim_end().to_owned(), NoteError::NoSignatures),
        (format!("{note}\n"), NoteError::NoSignatures),
        (
            format!("{note}text\n"),
            NoteError::SignatureLine { line: 2 },
        ),
        (
            note.replace("— ", "- "),
            NoteError::SignatureLine { line: 1 },
        ),
        (
            note.replace("— ", "—"),
            NoteError::SignatureLine { line: 1 },
        ),
        (
            note.replace("— ", "—  "),
            NoteError::SignatureLine { line: 1 },
        ),
        (
            note.replace(ORIGIN, ""),
            NoteError::SignatureLine { line: 1 },
        ),
        (
            note.replace(ORIGIN, "a+b"),
            NoteError::SignatureLine { line: 1 },
        ),
        (
            note.replace(ORIGIN, "a\u{2003}b"),
            NoteError::SignatureLine { line: 1 },
        ),
        (
            format!("{}=\n", note.trim_end()),
            NoteError::SignatureLine { line: 1 },
        ),
        (
            format!("{} \n", note.trim_end()),
            NoteError::SignatureLine { line: 1 },
        ),
        // No more than the identifier of the key, and less.
        (
            "text\n\n— a AAAAAA==\n".to_owned(),
            NoteError::SignatureLine { line: 1 },
        ),
        (
            "text\n\n— a AAAA\n".to_owned(),
            NoteError::SignatureLine { line: 1 },
        ),
        (
            "text\n\n— a\n".to_owned(),
            NoteError::SignatureLine { line: 1 },
        ),
        (
            note.replace('\n', "\r\n"),
            NoteError::ControlCharacter('\r'),
        ),
        (
            note.replace("text", "te\0xt"),
            NoteError::ControlCharacter('\0'),
        ),
        (
            note.replace("text", "te\txt"),
            NoteError::ControlCharacter('\t'),
        ),
    ] {
        assert_eq!(
            SignedNote::parse(&malformed),
            Err(expected),
            "{malformed:?}"
        );
    }
    assert_eq!(SignedNote::parse(b"\xff\n\n"), Err(NoteError::Encoding));
    assert!(SignedNote::parse("text\n\n— a AAAAAAA=\n").is_ok());
}

#[test]
fn notes_have_limits() {
    let signature: Signature = "— example.com/a AAAAAAA=".parse().unwrap();
    let many = |count| SignedNote::new("text\n", vec![signature.clone(); count]);
    let text = many(MAX_SIGNATURES).unwrap().to_string();
    assert!(SignedNote::parse(&text).is_ok());
    let more = format!("{text}{signature}\n");
    assert_eq!(SignedNote::parse(&more), Err(NoteError::TooManySignatures));
    assert_eq!(many(MAX_SIGNATURES + 1), Err(NoteError::TooManySignatures));
    assert_eq!(many(0), Err(NoteError::NoSignatures));

    let overhead = many(1).unwrap().to_string().len() - 5;
    let of_length = |length: usize| {
        let text = "x".repeat(length - overhead - 1) + "\n";
        let note = SignedNote::new(text.clone(), vec![signature.clone()]);
        (format!("{text}\n{signature}\n"), note)
    };
    let (bytes, note) = of_length(MAX_NOTE_BYTES);
    assert_eq!(SignedNote::parse(&bytes), note);
    assert!(note.is_ok());
    let (bytes, note) = of_length(MAX_NOTE_BYTES + 1);
    assert_eq!(SignedNote::parse(&bytes), note);
    assert_eq!(note, Err(NoteError::TooLong(MAX_NOTE_BYTES + 1)));
}

#[test]
fn texts_that_are_no_note_are_not_signed() {
    for text in ["", "text", "te\0xt\n", "te\rxt\n", "text\n\u{1b}"] {
        let signed = SignedNote::sign(text, &[log()]);
        assert!(matches!(signed, Err(SignError::Note(_))), "{text:?}");
    }
    let nobody: [SigningKey; 0] = [];
    assert!(SignedNote::sign("text\n", &nobody).is_err());
    // A text may look like a signed note itself.
    for text in ["\n", "\n\n", "a\n\n", "a\n\n\n", COSIGNED] {
        let note = SignedNote::sign(text, &[log()]).unwrap();
        let parsed = SignedNote::parse(note.to_string()).unwrap();
        assert_eq!(parsed.verify(&public(&[&log()])).unwrap().text(), text);
    }
}

#[test]
fn one_wrong_signature_by_a_trusted_key_is_enough() {
    let (one, other) = (log(), key("example.com/other", Algorithm::Ed25519));
    let note = SignedNote::sign("text\n", &[&one, &other]).unwrap();
    let wrong = SignedNote::sign("another text\n", &[&other]).unwrap();
    let mixed = SignedNote::new(
        "text\n",
        vec![note.signatures()[0].clone(), wrong.signatures()[0].clone()],
    )
    .unwrap();

    let names = |note: &SignedNote, keys: &[&SigningKey]| -> Result<Vec<String>, NoteError> {
        let keys = public(keys);
        let verified = note.verify(&keys)?;
        Ok(verified
            .signatures()
            .iter()
            .map(|it| it.key.name().to_owned())
            .collect())
    };
    assert_eq!(
        names(&note, &[&one, &other]).unwrap(),
        [ORIGIN, "example.com/other"]
    );
    assert_eq!(names(&note, &[&other]).unwrap(), ["example.com/other"]);
    // Unknown keys are ignored, even with the name of a known one.
    assert_eq!(names(&mixed, &[&one]).unwrap(), [ORIGIN]);
    let same_name = SigningKey::from_seed(ORIGIN, Algorithm::Ed25519, &[9; 32]).unwrap();
    assert_eq!(
        names(&note, &[&same_name]),
        Err(NoteError::NoTrustedSignature)
    );
    assert!(matches!(
        names(&mixed, &[&one, &other]),
        Err(NoteError::WrongSignature { name, .. }) if name == "example.com/other"
    ));
    assert_eq!(names(&note, &[]), Err(NoteError::NoTrustedSignature));
}

#[test]
fn a_repeated_signature_counts_once() {
    let note = SignedNote::sign("text\n", &[&log(), &log()]).unwrap();
    assert_eq!(note.signatures().len(), 2);
    assert_eq!(
        note.verify(&public(&[&log(), &log()]))
            .unwrap()
            .signatures()
            .len(),
        1
    );
}

/// Text in the alphabet of notes, which gets further into the parser than arbitrary text.
fn any_note() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        Just("\n".to_owned()),
        Just("\n\n".to_owned()),
        Just("— ".to_owned()),
        Just(" ".to_owned()),
        Just("a.example".to_owned()),
        Just("AAAAAAA=".to_owned()),
        Just("— a AAAAAAA=\n".to_owned()),
        "\\PC{0,3}",
        ".{0,2}",
    ];
    proptest::collection::vec(part, 0..12).prop_map(|parts| parts.concat())
}

proptest! {
    #[test]
    fn a_note_that_parses_has_the_bytes_that_were_parsed(note in any_note()) {
        if let Ok(parsed) = SignedNote::parse(&note) {
            prop_assert_eq!(parsed.to_string(), note);
            let again = SignedNote::new(parsed.unverified_text(), parsed.signatures().to_vec());
            prop_assert_eq!(again, Ok(parsed));
        }
    }

    #[test]
    fn what_is_signed_is_verified(text in "[^\\x00-\\x1f]{0,40}(\n[^\\x00-\\x1f]{0,9}){0,4}\n") {
        let note = SignedNote::sign(text.clone(), &[log()]).unwrap();
        let parsed = SignedNote::parse(note.to_string()).unwrap();
        prop_assert_eq!(parsed.verify(&public(&[&log()])).unwrap().text(), text);
    }

    #[test]
    fn arbitrary_bytes_are_no_reason_to_panic(bytes: Vec<u8>, text: String) {
        let _ = SignedNote::parse(&bytes);
        let _ = text.parse::<VerifierKey>();
        let _ = text.parse::<SigningKey>();
        let _ = text.parse::<Signature>();
        let _ = format!("a+00000000+{text}").parse::<VerifierKey>();
    }
}

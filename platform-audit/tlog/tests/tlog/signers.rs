//! Keys, and signers outside the process.

use platform_audit_tlog::note::{
    Algorithm, KeyError, NoteError, SignError, Signature, SignedNote, Signer, SignerError,
    SigningKey, VerifierKey,
};
use platform_audit_tlog::tree::leaf_hash;

/// A signer of a key management service: it has a public key, and returns what the service does.
struct Remote {
    key: VerifierKey,
    answer: fn(&[u8]) -> Result<[u8; 64], SignerError>,
}

impl Signer for Remote {
    fn key(&self) -> &VerifierKey {
        &self.key
    }

    fn sign(&self, message: &[u8]) -> Result<[u8; 64], SignerError> {
        (self.answer)(message)
    }
}

fn key(algorithm: Algorithm) -> SigningKey {
    SigningKey::from_seed("example.com/log", algorithm, &[7; 32]).unwrap()
}

#[test]
fn keys_and_signatures_are_those_of_go() {
    // The example of golang.org/x/mod/sumdb/note.
    let text = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n";
    let private = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";
    let public = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    let line = "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=";

    let key: SigningKey = private.parse().unwrap();
    assert_eq!(key.verifier_key().to_string(), public);
    assert_eq!(key.to_private_text().as_str(), private);
    let note = SignedNote::sign(text, &[&key]).unwrap();
    assert_eq!(note.to_string(), format!("{text}\n{line}\n"));
}

#[test]
fn private_keys_parse_from_their_text_only() {
    let text = key(Algorithm::Ed25519).to_private_text();
    let text = text.as_str();
    let replaced = [
        ("PRIVATE+KEY+", ""),
        ("PRIVATE", "private"),
        ("example.com/log", "example.com/other"),
        ("+AQ", "+BA"),
        ("+AQ", "+Bg"),
        ("HBwcH", "HBw"),
    ]
    .map(|(from, to)| {
        assert!(text.contains(from), "{from}");
        text.replace(from, to)
    });
    let (head, _) = text.rsplit_once('+').unwrap();
    let others = [
        String::new(),
        format!("{text}\n"),
        format!("{text}="),
        format!("{head}+"),
        head.to_owned(),
    ];
    for altered in replaced.iter().chain(&others) {
        assert!(altered.parse::<SigningKey>().is_err(), "{altered:?}");
    }
    let cosigner = key(Algorithm::CosignatureV1);
    let restored: SigningKey = cosigner.to_private_text().as_str().parse().unwrap();
    assert_eq!(restored.verifier_key(), cosigner.verifier_key());
    assert_ne!(cosigner.id(), key(Algorithm::Ed25519).id());
}

#[test]
fn nothing_prints_a_private_key() {
    let key = key(Algorithm::Ed25519);
    let text = key.to_private_text();
    let secret = text.as_str().rsplit('+').next().unwrap();
    let altered = text.as_str().replace("example.com", "example.org");
    let error = altered.parse::<SigningKey>().unwrap_err();
    for printed in [
        format!("{key:?}"),
        format!("{key:#?}"),
        format!("{text:?}"),
        format!("{error} {error:?}"),
    ] {
        assert!(
            !printed.contains(secret) && !printed.contains("[7, 7"),
            "{printed}"
        );
    }
}

#[test]
fn generated_keys_differ() {
    let generate = || SigningKey::generate("example.com/log", Algorithm::Ed25519).unwrap();
    assert_ne!(generate().verifier_key(), generate().verifier_key());
    for name in ["", "a b", "a+b", "a\n", "a\u{2003}b", "\u{7}"] {
        let key = SigningKey::generate(name, Algorithm::Ed25519);
        assert!(matches!(key, Err(KeyError::Name(_))), "{name:?}");
    }
}

#[test]
fn a_signer_outside_the_process_signs() {
    let (local, key) = (
        key(Algorithm::Ed25519),
        key(Algorithm::Ed25519).verifier_key().clone(),
    );
    let answer = |message: &[u8]| {
        SigningKey::from_seed("any", Algorithm::Ed25519, &[7; 32])
            .unwrap()
            .sign(message)
    };
    let remote: Box<dyn Signer> = Box::new(Remote {
        key: key.clone(),
        answer,
    });
    let note = SignedNote::sign("text\n", &[remote]).unwrap();
    assert_eq!(note, SignedNote::sign("text\n", &[&local]).unwrap());

    // What an asynchronous caller does.
    let signature = local.sign(b"text\n").unwrap();
    let signature = Signature::from_ed25519(&key, &signature).unwrap();
    assert_eq!(SignedNote::new("text\n", vec![signature]).unwrap(), note);
    assert!(matches!(
        Signature::from_cosignature(&key, 1, &[0; 64]),
        Err(NoteError::KeyType { .. })
    ));
}

#[test]
fn a_failing_or_misconfigured_signer_makes_no_note() {
    let key = key(Algorithm::Ed25519).verifier_key().clone();
    let failing = Remote {
        key: key.clone(),
        answer: |_| Err("not reachable".into()),
    };
    let error = SignedNote::sign("text\n", &[failing]).unwrap_err();
    assert!(matches!(&error, SignError::Signer { .. }), "{error}");
    assert_eq!(
        std::error::Error::source(&error).unwrap().to_string(),
        "not reachable"
    );

    let answer = |message: &[u8]| {
        SigningKey::from_seed("any", Algorithm::Ed25519, &[8; 32])
            .unwrap()
            .sign(message)
    };
    let error = SignedNote::sign("text\n", &[Remote { key, answer }]).unwrap_err();
    assert!(matches!(error, SignError::WrongKey { .. }), "{error}");
}

#[test]
fn two_trusted_keys_with_one_identifier_are_an_error() {
    // Found by trying: the identifiers have 32 bits.
    let key = |number: u32| {
        let public = leaf_hash(&number.to_be_bytes());
        VerifierKey::new("example.com/log", Algorithm::Ed25519, public.as_bytes()).unwrap()
    };
    let (one, other) = (key(111_920), key(195_826));
    assert_eq!(one.id(), other.id());
    let signature = Signature::from_ed25519(&one, &[0; 64]).unwrap();
    let note = SignedNote::new("text\n", vec![signature]).unwrap();
    let wrong = note.verify(&[one.clone(), one.clone()]);
    assert!(matches!(wrong, Err(NoteError::WrongSignature { .. })));
    assert!(matches!(
        note.verify(&[one, other]),
        Err(NoteError::AmbiguousKeys { .. })
    ));
}

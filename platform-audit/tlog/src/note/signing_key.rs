use std::fmt;
use std::str::FromStr;

use ed25519_dalek::Signer as _;
use zeroize::Zeroizing;

use super::{Algorithm, KeyError, KeyId, NoteError, SignError, VerifierKey, verifier_key};
use crate::base64;

const PREFIX: &str = "PRIVATE+KEY+";

/// Signs with an Ed25519 key, which may be outside the process: a key management service, or a
/// hardware module.
///
/// Calls may block; [`Signature::from_ed25519`](super::Signature::from_ed25519) serves a caller
/// that signs asynchronously.
pub trait Signer {
    /// Returns the public key, with its name and signature type.
    fn key(&self) -> &VerifierKey;

    /// Returns the Ed25519 signature of the message (RFC 8032, section 5.1.6: pure Ed25519, without
    /// a context). The caller checks the signature.
    ///
    /// # Errors
    ///
    /// The key cannot be used now.
    fn sign(&self, message: &[u8]) -> Result<[u8; 64], SignerError>;
}

/// Why a [`Signer`] cannot sign.
pub type SignerError = Box<dyn std::error::Error + Send + Sync>;

impl<S: Signer + ?Sized> Signer for &S {
    fn key(&self) -> &VerifierKey {
        (**self).key()
    }

    fn sign(&self, message: &[u8]) -> Result<[u8; 64], SignerError> {
        (**self).sign(message)
    }
}

impl<S: Signer + ?Sized> Signer for Box<S> {
    fn key(&self) -> &VerifierKey {
        (**self).key()
    }

    fn sign(&self, message: &[u8]) -> Result<[u8; 64], SignerError> {
        (**self).sign(message)
    }
}

/// Signs a message, and checks the signature, so that a signer with a key other than it says never
/// produces a note that nobody can verify.
pub(crate) fn sign_with<S: Signer + ?Sized>(
    signer: &S,
    algorithm: Algorithm,
    message: &[u8],
) -> Result<[u8; 64], SignError> {
    let key = signer.key();
    if key.algorithm() != algorithm {
        return Err(NoteError::KeyType {
            name: key.name().to_owned(),
            expected: algorithm,
        }
        .into());
    }
    let signature = signer.sign(message).map_err(|source| SignError::Signer {
        name: key.name().to_owned(),
        source,
    })?;
    match key.has_signed(message, &signature) {
        true => Ok(signature),
        false => Err(SignError::WrongKey {
            name: key.name().to_owned(),
            id: key.id(),
        }),
    }
}

/// A private key in memory, with its name and signature type. It is overwritten when it is dropped,
/// and [`Debug`](fmt::Debug) prints the public key only.
///
/// ```
/// use platform_audit_tlog::note::{Algorithm, SigningKey};
///
/// let key = SigningKey::generate("example.com/log", Algorithm::Ed25519)?;
/// let text = key.to_private_text();
/// assert!(text.as_str().starts_with("PRIVATE+KEY+example.com/log+"));
///
/// let restored: SigningKey = text.as_str().parse()?;
/// assert_eq!(restored.verifier_key(), key.verifier_key());
/// # Ok::<(), platform_audit_tlog::note::KeyError>(())
/// ```
pub struct SigningKey {
    verifier: VerifierKey,
    private: ed25519_dalek::SigningKey,
}

impl SigningKey {
    /// Returns a new key from the operating system's random bytes.
    ///
    /// # Errors
    ///
    /// The name is empty, or contains a space, a plus sign or a control character; or there are no
    /// random bytes.
    pub fn generate(name: impl Into<String>, algorithm: Algorithm) -> Result<Self, KeyError> {
        let mut seed = Zeroizing::new([0; 32]);
        getrandom::fill(&mut *seed).map_err(|error| KeyError::Random(error.into()))?;
        Self::from_seed(name, algorithm, &seed)
    }

    /// Returns the key of a 32-byte seed (the private key of RFC 8032, section 5.1.5), which has to
    /// be random and secret.
    ///
    /// # Errors
    ///
    /// The name is empty, or contains a space, a plus sign or a control character.
    pub fn from_seed(
        name: impl Into<String>,
        algorithm: Algorithm,
        seed: &[u8; 32],
    ) -> Result<Self, KeyError> {
        let private = ed25519_dalek::SigningKey::from_bytes(seed);
        let public = private.verifying_key().to_bytes();
        Ok(Self {
            verifier: VerifierKey::new(name, algorithm, &public)?,
            private,
        })
    }

    /// Returns the public key.
    #[must_use]
    pub const fn verifier_key(&self) -> &VerifierKey {
        &self.verifier
    }

    /// Returns the name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.verifier.name()
    }

    /// Returns the identifier, which is in the key's signatures.
    #[must_use]
    pub const fn id(&self) -> KeyId {
        self.verifier.id()
    }

    /// Returns the private key as text, `PRIVATE+KEY+<name>+<id>+<key>`, which [`FromStr`] parses:
    /// the form of Go's `golang.org/x/mod/sumdb/note`. Store it where only the log can read it.
    #[must_use]
    pub fn to_private_text(&self) -> PrivateKeyText {
        let mut bytes = Zeroizing::new([0; 33]);
        bytes[0] = self.verifier.algorithm().byte();
        bytes[1..].copy_from_slice(self.private.as_bytes());
        let encoded = Zeroizing::new(base64::encode(&*bytes));
        let head = format!("{PREFIX}{}+{}+", self.name(), self.id());
        // With the capacity for all of it, no copy of the key is left behind by a reallocation.
        let mut text = Zeroizing::new(String::with_capacity(head.len() + encoded.len()));
        text.push_str(&head);
        text.push_str(&encoded);
        PrivateKeyText(text)
    }
}

impl Signer for SigningKey {
    fn key(&self) -> &VerifierKey {
        &self.verifier
    }

    fn sign(&self, message: &[u8]) -> Result<[u8; 64], SignerError> {
        Ok(self.private.sign(message).to_bytes())
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey")
            .field("verifier", &self.verifier)
            .finish_non_exhaustive()
    }
}

impl FromStr for SigningKey {
    type Err = KeyError;

    /// Parses what [`SigningKey::to_private_text`] returns. A newline at the end of a file has to
    /// be removed before.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.strip_prefix(PREFIX).ok_or(KeyError::Format)?;
        let mut bytes = Zeroizing::new([0; 33]);
        let (name, id, algorithm) = verifier_key::parse(text, &mut bytes)?;
        let mut seed = Zeroizing::new([0; 32]);
        seed.copy_from_slice(&bytes[1..]);
        let Self { verifier, private } = Self::from_seed(name, algorithm, &seed)?;
        Ok(Self {
            verifier: verifier.with_id(id)?,
            private,
        })
    }
}

/// A private key as text. It is overwritten when it is dropped, and [`Debug`](fmt::Debug) does not
/// print it.
pub struct PrivateKeyText(Zeroizing<String>);

impl PrivateKeyText {
    /// Returns the text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PrivateKeyText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKeyText(…)")
    }
}

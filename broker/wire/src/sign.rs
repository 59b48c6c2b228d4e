//! Ed25519 keys and signatures: why a message can be believed.
//!
//! A node id is derived from its public key ([`crate::NodeId::new`]), so a signature that verifies under a key
//! the id was made from needs no directory of keys.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signer as _, SigningKey, VerifyingKey};

use crate::text::{debug_as_text, serde_as_text};

/// A text that is no key or signature.
#[derive(Debug, thiserror::Error)]
#[error("wanted {wanted} as unpadded URL-safe base64 of {bytes} bytes")]
pub struct InvalidEncoding {
    wanted: &'static str,
    bytes: usize,
}

/// The secret half of a node's identity. Never printed, never serialised except by [`NodeKey::to_seed`].
#[derive(Clone)]
pub struct NodeKey(SigningKey);

impl NodeKey {
    /// A new key from the operating system's randomness.
    ///
    /// # Errors
    /// When the operating system has none to give.
    pub fn generate() -> Result<Self, getrandom::Error> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed)?;
        Ok(Self::from_seed(seed))
    }

    /// The key with this 32-byte seed, as RFC 8032 expands it.
    #[must_use]
    pub fn from_seed(seed: [u8; 32]) -> Self {
        Self(SigningKey::from_bytes(&seed))
    }

    /// The 32 bytes to keep in a file only the owner can read.
    #[must_use]
    pub fn to_seed(&self) -> [u8; 32] {
        self.0.to_bytes()
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key())
    }

    /// Signs bytes. The same bytes give the same signature.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> Signature {
        Signature(self.0.sign(message).to_bytes())
    }
}

impl fmt::Debug for NodeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeKey(of {})", self.public())
    }
}

/// The public half of a node's identity. Text form: 43 characters of unpadded URL-safe base64.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PublicKey(VerifyingKey);

impl PublicKey {
    /// The 32 bytes of the key.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    /// The key with these 32 bytes, as another protocol shows it.
    ///
    /// # Errors
    /// When they are no point of the curve.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, InvalidEncoding> {
        VerifyingKey::from_bytes(bytes)
            .map(Self)
            .map_err(|_| InvalidEncoding { wanted: "an Ed25519 public key", bytes: 32 })
    }

    /// Whether `signature` is this key's over `message`. Strict: weak keys and malleable signatures fail.
    #[must_use]
    pub fn verifies(&self, message: &[u8], signature: &Signature) -> bool {
        let signature = ed25519_dalek::Signature::from_bytes(&signature.0);
        self.0.verify_strict(message, &signature).is_ok()
    }
}

/// An Ed25519 signature. Text form: 86 characters of unpadded URL-safe base64.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Signature([u8; 64]);

impl Signature {
    /// The 64 bytes of the signature.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 64] {
        &self.0
    }

    /// From the 64 bytes of a signature.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 64]) -> Self {
        Self(bytes)
    }
}

fn decode<const N: usize>(wanted: &'static str, text: &str) -> Result<[u8; N], InvalidEncoding> {
    let invalid = InvalidEncoding { wanted, bytes: N };
    let bytes = URL_SAFE_NO_PAD.decode(text).ok();
    bytes.and_then(|b| b.try_into().ok()).ok_or(invalid)
}

impl FromStr for PublicKey {
    type Err = InvalidEncoding;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wanted = "an Ed25519 public key";
        let bytes = decode::<32>(wanted, text)?;
        VerifyingKey::from_bytes(&bytes).map(Self).map_err(|_| InvalidEncoding { wanted, bytes: 32 })
    }
}

impl FromStr for Signature {
    type Err = InvalidEncoding;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        decode("an Ed25519 signature", text).map(Self)
    }
}

macro_rules! base64_text {
    ($name:ident, $bytes:expr) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let bytes: fn(&Self) -> &[u8] = $bytes;
                f.write_str(&URL_SAFE_NO_PAD.encode(bytes(self)))
            }
        }

        debug_as_text!($name);
        serde_as_text!($name);
    };
}

base64_text!(PublicKey, |k| k.as_bytes());
base64_text!(Signature, |s| &s.0);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::NodeId;

    #[test]
    fn a_signature_verifies_only_for_its_key_and_message() {
        let key = NodeKey::from_seed([7; 32]);
        let signature = key.sign(b"hello");
        assert!(key.public().verifies(b"hello", &signature));
        assert!(!key.public().verifies(b"hullo", &signature));
        assert!(!NodeKey::from_seed([8; 32]).public().verifies(b"hello", &signature));
    }

    #[test]
    fn a_node_id_proves_its_key() {
        let key = NodeKey::from_seed([7; 32]).public();
        let id = NodeId::new("atlas".parse().unwrap(), &key);
        assert!(id.is_of(&key));
        assert!(!id.is_of(&NodeKey::from_seed([8; 32]).public()));
        assert_eq!(id.to_string().parse::<NodeId>().unwrap(), id);
    }

    #[test]
    fn the_secret_is_not_printed() {
        let key = NodeKey::from_seed([7; 32]);
        assert_eq!(format!("{key:?}"), format!("NodeKey(of {})", key.public()));
    }
}

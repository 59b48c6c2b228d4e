//! A2A's card signature: a detached JWS (RFC 7515) with EdDSA over the RFC 8785 form of the card without `signatures`.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use foa_wire::{NodeKey, PublicKey, Signature};
use serde_json::{Map, Value, json};

/// Why a card's signature was not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSignature {
    /// There is none we can read.
    #[error("wanted an EdDSA signature with its key in the protected header, found none")]
    Missing,
    /// There is one, and it does not verify.
    #[error("wanted a signature over this card, found one that does not verify")]
    Mismatch,
}

/// The entry for a card's `signatures`.
pub(crate) fn sign(card: &Map<String, Value>, key: &NodeKey) -> Value {
    let header = json!({"alg": "EdDSA", "jwk": {"crv": "Ed25519", "kty": "OKP", "x": key.public().to_string()}, "typ": "JOSE"});
    let protected = URL_SAFE_NO_PAD.encode(header.to_string());
    let signature = key.sign(&signing_input(&protected, card));
    json!({"protected": protected, "signature": signature.to_string()})
}

/// The key that signed a card; whose key that is, is the caller's question.
pub(crate) fn verify(card: &Map<String, Value>) -> Result<PublicKey, InvalidSignature> {
    let entries = card.get("signatures").and_then(Value::as_array).ok_or(InvalidSignature::Missing)?;
    let mut outcome = InvalidSignature::Missing;
    for entry in entries.iter().take(4) {
        let Some((protected, key, signature)) = parts(entry) else { continue };
        if key.verifies(&signing_input(protected, card), &signature) {
            return Ok(key);
        }
        outcome = InvalidSignature::Mismatch;
    }
    Err(outcome)
}

fn parts(entry: &Value) -> Option<(&str, PublicKey, Signature)> {
    let protected = entry.get("protected")?.as_str()?;
    let header: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(protected).ok()?).ok()?;
    if header.get("alg")?.as_str()? != "EdDSA" {
        return None;
    }
    let key = header.get("jwk")?.get("x")?.as_str()?.parse().ok()?;
    Some((protected, key, entry.get("signature")?.as_str()?.parse().ok()?))
}

fn signing_input(protected: &str, card: &Map<String, Value>) -> Vec<u8> {
    format!("{protected}.{}", URL_SAFE_NO_PAD.encode(canonical_unsigned(card))).into_bytes()
}

/// The RFC 8785 bytes of a card without its signatures.
pub(crate) fn canonical_unsigned(card: &Map<String, Value>) -> Vec<u8> {
    let mut unsigned = card.clone();
    unsigned.remove("signatures");
    serde_json_canonicalizer::to_vec(&unsigned).expect("JSON values have a canonical form")
}

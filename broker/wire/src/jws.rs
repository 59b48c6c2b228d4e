//! Signatures on A2A agent cards: a JWS (RFC 7515) with EdDSA (RFC 8037) over the canonical form (RFC 8785) of the
//! card without its `signatures`, as A2A 1.0 defines it.
//!
//! The envelope around a card proves it to federation members; this proves it to any A2A client. The protected
//! header carries the public key as a `jwk` and the node id as `kid`, and the id proves the key, so the signature
//! needs no key server.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::codec;
use crate::{NodeId, NodeKey, PublicKey, Signature};

/// One element of a card's `signatures`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentCardSignature {
    /// The protected JOSE header, as unpadded URL-safe base64 of its JSON.
    pub protected: String,
    /// The 64 signature bytes, as unpadded URL-safe base64.
    pub signature: String,
}

/// A card signature that proves nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The protected header is not the JSON object we can read.
    #[error("wanted a protected header with alg EdDSA, an Ed25519 jwk and a node id as kid: {reason}")]
    Header {
        /// What is wrong with it.
        reason: String,
    },
    /// `kid` was not made from the key in `jwk`.
    #[error("wanted the key of {kid}, found {key}")]
    WrongKey {
        /// The signer it names.
        kid: NodeId,
        /// The key it carries.
        key: PublicKey,
    },
    /// The signature is not that key's over this card.
    #[error("wanted a signature by {kid} over this very card")]
    BadSignature {
        /// The signer it names.
        kid: NodeId,
    },
}

#[derive(Deserialize)]
struct Protected {
    alg: String,
    jwk: Jwk,
    kid: NodeId,
    #[serde(default)]
    crit: Option<Value>,
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    crv: String,
    x: PublicKey,
}

/// Signs a card. A `signatures` member of the card is left out of what is signed.
#[must_use]
pub fn sign_detached(card: &Value, signer: &NodeId, key: &NodeKey) -> AgentCardSignature {
    sign_payload(&payload(card), signer, key)
}

/// Signs what [`payload`] gave.
#[must_use]
pub fn sign_payload(payload: &[u8], signer: &NodeId, key: &NodeKey) -> AgentCardSignature {
    let header = json!({
        "alg": "EdDSA",
        "jwk": { "crv": "Ed25519", "kty": "OKP", "x": key.public().to_string() },
        "kid": signer.to_string(),
        "typ": "JOSE",
    });
    let protected = URL_SAFE_NO_PAD.encode(codec::canonical(&header));
    let signature = key.sign(&signing_input(&protected, payload)).to_string();
    AgentCardSignature { protected, signature }
}

/// Checks a signature of a card and says whose it is.
///
/// # Errors
/// When the header cannot be read, the signer's id does not prove the key, or the signature is not over this card.
pub fn verify_detached(card: &Value, signature: &AgentCardSignature) -> Result<NodeId, Error> {
    verify_payload(&payload(card), signature)
}

/// The same of what [`payload`] gave.
///
/// # Errors
/// Like [`verify_detached`].
pub fn verify_payload(payload: &[u8], signature: &AgentCardSignature) -> Result<NodeId, Error> {
    let unreadable = |reason: String| Error::Header { reason };
    let bytes = URL_SAFE_NO_PAD.decode(&signature.protected).map_err(|e| unreadable(e.to_string()))?;
    let header = codec::parse(&bytes).map_err(|e| unreadable(e.to_string()))?;
    let header = Protected::deserialize(header).map_err(|e| unreadable(e.to_string()))?;
    for (name, wanted, found) in
        [("alg", "EdDSA", &header.alg), ("kty", "OKP", &header.jwk.kty), ("crv", "Ed25519", &header.jwk.crv)]
    {
        if found != wanted {
            return Err(unreadable(format!("{name} is {found:?}")));
        }
    }
    if header.crit.is_some() {
        return Err(unreadable("crit names extensions we do not have".to_owned()));
    }
    let (kid, key) = (header.kid, header.jwk.x);
    if !kid.is_of(&key) {
        return Err(Error::WrongKey { kid, key });
    }
    let verifies = signature
        .signature
        .parse::<Signature>()
        .is_ok_and(|s| key.verifies(&signing_input(&signature.protected, payload), &s));
    if verifies { Ok(kid) } else { Err(Error::BadSignature { kid }) }
}

/// What a signature covers: the canonical form of the card without its `signatures`.
#[must_use]
pub fn payload(card: &Value) -> Vec<u8> {
    let mut signed = card.clone();
    if let Value::Object(members) = &mut signed {
        members.remove("signatures");
    }
    codec::canonical(&signed)
}

/// `BASE64URL(header) . BASE64URL(payload)`, RFC 7515 section 5.1.
fn signing_input(protected: &str, payload: &[u8]) -> Vec<u8> {
    format!("{protected}.{}", URL_SAFE_NO_PAD.encode(payload)).into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signer() -> (NodeId, NodeKey) {
        let key = NodeKey::from_seed([7; 32]);
        (NodeId::new("atlas".parse().unwrap(), &key.public()), key)
    }

    #[test]
    fn a_card_signature_names_its_signer_and_covers_all_but_the_signatures() {
        let (id, key) = signer();
        let mut card = json!({ "name": "calc", "skills": [{ "id": "add" }] });
        let signature = sign_detached(&card, &id, &key);
        card["signatures"] = json!([signature]);
        assert_eq!(verify_detached(&card, &signature), Ok(id.clone()));
        card["name"] = "calculator".into();
        assert_eq!(verify_detached(&card, &signature), Err(Error::BadSignature { kid: id }));
    }

    #[test]
    fn a_header_that_proves_nothing_is_refused() {
        let (id, key) = signer();
        let (card, x) = (json!({ "name": "calc" }), key.public().to_string());
        let other = NodeKey::from_seed([8; 32]).public();
        let jwk = |kty: &str, crv: &str, x: &str| json!({ "kty": kty, "crv": crv, "x": x });
        let headers = [
            json!({ "alg": "none", "jwk": jwk("OKP", "Ed25519", &x), "kid": id }),
            json!({ "alg": "EdDSA", "jwk": jwk("OKP", "X25519", &x), "kid": id }),
            json!({ "alg": "EdDSA", "jwk": jwk("EC", "Ed25519", &x), "kid": id }),
            json!({ "alg": "EdDSA", "jwk": jwk("OKP", "Ed25519", &other.to_string()), "kid": id }),
            json!({ "alg": "EdDSA", "jwk": jwk("OKP", "Ed25519", &x), "kid": "somebody" }),
            json!({ "alg": "EdDSA", "jwk": jwk("OKP", "Ed25519", &x), "kid": id, "crit": ["b64"] }),
            json!({ "alg": "EdDSA", "kid": id }),
        ];
        for header in headers {
            // Rightly signed by the key, so that only the header can be the reason.
            let protected = URL_SAFE_NO_PAD.encode(codec::canonical(&header));
            let signature = key.sign(&signing_input(&protected, &payload(&card))).to_string();
            let outcome = verify_detached(&card, &AgentCardSignature { protected, signature });
            assert!(
                matches!(outcome, Err(Error::Header { .. } | Error::WrongKey { .. })),
                "{header}: {outcome:?}"
            );
        }
    }
}

//! Content that is too large for an envelope: named by what it is, moved from node to node, never through the broker.

use std::fmt;
use std::str::FromStr;

use data_encoding::HEXLOWER;

use crate::text::{debug_as_text, serde_as_text};

/// The name of a content: `blake3:` and the 64 hexadecimal digits of its BLAKE3 hash.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ArtifactId([u8; 32]);

/// Where a node can be reached by other nodes: a libp2p multiaddress that ends with the node's peer id,
/// `/ip4/192.0.2.7/udp/4001/quic-v1/p2p/12D3Koo…`. Only its outer form is checked here.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerAddress(String);

/// A text that names no content, or no address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("wanted {wanted}, found {found:?}")]
pub struct InvalidArtifact {
    wanted: &'static str,
    found: String,
}

impl ArtifactId {
    /// The content with this hash.
    #[must_use]
    pub const fn from_bytes(hash: [u8; 32]) -> Self {
        Self(hash)
    }

    /// The 32 bytes of the hash.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The hash alone, as it stands in file names: 64 hexadecimal digits.
    #[must_use]
    pub fn hex(&self) -> String {
        HEXLOWER.encode(&self.0)
    }
}

impl PeerAddress {
    /// The longest address, in bytes.
    pub const MOST_BYTES: usize = 200;
    /// Addresses that one node may tell of itself.
    pub const MOST: usize = 8;

    /// The address as a text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn invalid(wanted: &'static str, found: &str) -> InvalidArtifact {
    InvalidArtifact { wanted, found: found.chars().take(100).collect() }
}

impl FromStr for ArtifactId {
    type Err = InvalidArtifact;

    fn from_str(text: &str) -> Result<Self, InvalidArtifact> {
        let wanted = "blake3: and 64 hexadecimal digits";
        let hex = text.strip_prefix("blake3:").ok_or_else(|| invalid(wanted, text))?;
        let bytes = HEXLOWER.decode(hex.as_bytes()).map_err(|_| invalid(wanted, text))?;
        bytes.try_into().map(Self).map_err(|_| invalid(wanted, text))
    }
}

impl FromStr for PeerAddress {
    type Err = InvalidArtifact;

    fn from_str(text: &str) -> Result<Self, InvalidArtifact> {
        let legal = text.starts_with('/')
            && text.len() <= Self::MOST_BYTES
            && text.bytes().all(|b| b.is_ascii_graphic());
        if legal {
            Ok(Self(text.to_owned()))
        } else {
            Err(invalid("an address like /ip4/192.0.2.7/tcp/4001/p2p/12D3Koo…, at most 200 bytes", text))
        }
    }
}

impl fmt::Display for ArtifactId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "blake3:{}", self.hex())
    }
}

impl fmt::Display for PeerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

serde_as_text!(ArtifactId);
debug_as_text!(ArtifactId);
serde_as_text!(PeerAddress);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_artifact_is_named_by_its_hash_and_by_nothing_else() {
        let id = ArtifactId::from_bytes([0xab; 32]);
        assert_eq!(id.to_string(), format!("blake3:{}", "ab".repeat(32)));
        assert_eq!(id.to_string().parse::<ArtifactId>().unwrap(), id);
        let upper = format!("blake3:{}", "AB".repeat(32));
        for wrong in ["", "blake3:", "ab", "sha256:abab", &upper, &format!("{id}00"), "blake3:../../etc"] {
            assert!(wrong.parse::<ArtifactId>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_address_is_short_and_printable() {
        assert!("/ip4/127.0.0.1/tcp/4001/p2p/12D3KooW".parse::<PeerAddress>().is_ok());
        for wrong in ["", "127.0.0.1:4001", "/ip4/1 2", "/ip4/\u{7}", &format!("/{}", "a".repeat(200))] {
            assert!(wrong.parse::<PeerAddress>().is_err(), "{wrong}");
        }
    }
}

//! Why an envelope was not believed. A named, counted outcome, never a panic and never a silent drop.

use crate::codec::Malformed;
use crate::{Namespace, NodeId, PublicKey, Time, Topic};

/// An envelope that was not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Refusal {
    /// Why.
    pub reason: Reason,
    /// Who the envelope said it was from, where that could be read. A claim: anyone can write anyone's id.
    pub claimed: Option<NodeId>,
}

/// Why an envelope was not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// Not the JSON we exchange.
    #[error("malformed: {source}")]
    Malformed {
        /// What is wrong with it.
        source: Malformed,
    },
    /// Too large to be read.
    #[error("too large: wanted at most {} bytes, found {bytes}", crate::codec::MAX_ENVELOPE)]
    TooLarge {
        /// The length found.
        bytes: usize,
    },
    /// An object without `v` and `sig`: perhaps an unsigned submission (see [`crate::envelope::open_bare`]).
    #[error("unsigned: wanted an envelope, found an object with neither \"v\" nor \"sig\"")]
    Unsigned,
    /// Another version of the envelope.
    #[error("unknown version: wanted {}, found {found}", crate::envelope::VERSION)]
    UnknownVersion {
        /// `v` as it was written.
        found: String,
    },
    /// Meant for another federation.
    #[error("wrong federation: wanted {wanted}, found {found:?}")]
    WrongFederation {
        /// Ours.
        wanted: Namespace,
        /// The one it names.
        found: String,
    },
    /// `from` was not made from `key`.
    #[error("wrong key: wanted the key of {from}, found {key}")]
    WrongKey {
        /// The sender it names.
        from: NodeId,
        /// The key it carries.
        key: PublicKey,
    },
    /// The signature is missing, unreadable or not over this text.
    #[error("bad signature: wanted one by {from} over this very text")]
    BadSignature {
        /// The sender it names.
        from: NodeId,
    },
    /// Meant for another topic than it arrived on.
    #[error("wrong topic: arrived on {arrived}, meant for {found:?}")]
    WrongTopic {
        /// Where it arrived.
        arrived: Topic,
        /// `to` as it was written.
        found: String,
    },
    /// The topic belongs to one node, and another sealed this.
    #[error("wrong sender: {arrived} belongs to the node it names")]
    WrongSender {
        /// Where it arrived.
        arrived: Topic,
    },
    /// A command without an end.
    #[error("no expiry: a command must have \"expires\"")]
    NoExpiry,
    /// A command that ends before it begins or lives too long.
    #[error("bad lifetime: wanted at most 10 minutes between {sent} and {expires}")]
    BadLifetime {
        /// When it was sealed.
        sent: Time,
        /// When it ends.
        expires: Time,
    },
    /// A command whose time has passed.
    #[error("expired: ended at {expires}, it is {now}")]
    Expired {
        /// When it ended.
        expires: Time,
        /// The receiver's time.
        now: Time,
    },
    /// A command from a clock that is ahead of ours.
    #[error("from the future: sent at {sent}, it is {now}")]
    FromTheFuture {
        /// When it was sealed.
        sent: Time,
        /// The receiver's time.
        now: Time,
    },
}

impl Refusal {
    /// The name it is counted under.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.reason.name()
    }

    /// Whether this was a JSON object that does not claim to be an envelope, as opposed to a broken envelope.
    #[must_use]
    pub fn is_unsigned(&self) -> bool {
        self.reason == Reason::Unsigned
    }
}

impl Reason {
    /// Every name [`Reason::name`] can give, so that a counter exists before the first refusal.
    pub const NAMES: [&'static str; 13] = [
        "malformed",
        "too-large",
        "unsigned",
        "unknown-version",
        "wrong-federation",
        "wrong-key",
        "bad-signature",
        "wrong-topic",
        "wrong-sender",
        "no-expiry",
        "bad-lifetime",
        "expired",
        "from-the-future",
    ];

    /// The name it is counted under: stable, kebab-case.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Malformed { .. } => "malformed",
            Self::TooLarge { .. } => "too-large",
            Self::Unsigned => "unsigned",
            Self::UnknownVersion { .. } => "unknown-version",
            Self::WrongFederation { .. } => "wrong-federation",
            Self::WrongKey { .. } => "wrong-key",
            Self::BadSignature { .. } => "bad-signature",
            Self::WrongTopic { .. } => "wrong-topic",
            Self::WrongSender { .. } => "wrong-sender",
            Self::NoExpiry => "no-expiry",
            Self::BadLifetime { .. } => "bad-lifetime",
            Self::Expired { .. } => "expired",
            Self::FromTheFuture { .. } => "from-the-future",
        }
    }
}

impl From<Malformed> for Reason {
    fn from(source: Malformed) -> Self {
        match source {
            Malformed::TooLarge { bytes } => Self::TooLarge { bytes },
            source @ (Malformed::NotUtf8 { .. }
            | Malformed::NotJson { .. }
            | Malformed::DuplicateKey { .. }
            | Malformed::NumberOutOfRange { .. }
            | Malformed::TooDeep
            | Malformed::Unexpected { .. }) => Self::Malformed { source },
        }
    }
}

impl From<Reason> for Refusal {
    fn from(reason: Reason) -> Self {
        Self { reason, claimed: None }
    }
}

impl From<Malformed> for Refusal {
    fn from(source: Malformed) -> Self {
        Reason::from(source).into()
    }
}

//! Where the broker is and how to be its client.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use bytes::Bytes;
use foa_wire::{Connection, Namespace, Topic};

/// The address of a broker: `mqtt://host[:1883]`, or `mqtts://host[:8883]` for TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerUrl {
    tls: bool,
    host: String,
    port: u16,
}

/// A text that is no address of a broker.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("wanted a broker like mqtt://host:1883 or mqtts://host:8883, found {found:?}: {reason}")]
pub struct InvalidUrl {
    found: String,
    reason: &'static str,
}

impl BrokerUrl {
    /// A broker without TLS.
    #[must_use]
    pub fn tcp(host: impl Into<String>, port: u16) -> Self {
        Self { tls: false, host: host.into(), port }
    }

    /// Whether the connection is encrypted.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.tls
    }

    /// The name or address of the broker's machine; an IPv6 address keeps its brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether only programs on this machine can reach the broker at this address.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        let host = self.host.trim_start_matches('[').trim_end_matches(']');
        host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
    }
}

impl FromStr for BrokerUrl {
    type Err = InvalidUrl;

    fn from_str(text: &str) -> Result<Self, InvalidUrl> {
        let invalid = |reason| InvalidUrl { found: text.chars().take(100).collect(), reason };
        let (scheme, rest) = text.split_once("://").ok_or_else(|| invalid("the scheme is missing"))?;
        let (tls, default_port) = match scheme {
            "mqtt" | "tcp" => (false, 1883),
            "mqtts" | "ssl" => (true, 8883),
            _ => return Err(invalid("the scheme is neither mqtt nor mqtts")),
        };
        if rest.contains('@') {
            // Do not repeat the password.
            let reason = "user and password belong in the configuration, not in the address";
            return Err(InvalidUrl { found: format!("{scheme}://…"), reason });
        }
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let colon = rest.rfind(':').filter(|colon| !rest[*colon..].contains(']'));
        let (host, port) = match colon {
            Some(colon) => {
                let port = rest[colon + 1..].parse().ok().filter(|port| *port != 0);
                (&rest[..colon], port.ok_or_else(|| invalid("the port is not a number from 1 to 65535"))?)
            }
            None => (rest, default_port),
        };
        let bracketed = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
        let legal = match bracketed {
            Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
            None => {
                !host.is_empty()
                    && host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
            }
        };
        if legal {
            Ok(Self { tls, host: host.to_owned(), port })
        } else {
            Err(invalid("the host is neither a name nor an address"))
        }
    }
}

impl fmt::Display for BrokerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "mqtts" } else { "mqtt" };
        write!(f, "{scheme}://{}:{}", self.host, self.port)
    }
}

/// The version of MQTT spoken on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// MQTT 5.
    V5,
    /// MQTT 3.1.1: no message expiry, no reasons for refusals.
    V311,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V5 => "MQTT 5",
            Self::V311 => "MQTT 3.1.1",
        })
    }
}

/// What the broker publishes, retained, when a connection ends without a goodbye.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Will {
    /// Where.
    pub topic: Topic,
    /// What.
    pub payload: Bytes,
}

/// Makes the will of a connection before it is tried. Connections are counted from 1, failed ones too.
pub type WillMaker = Box<dyn Fn(Connection) -> Will + Send + Sync>;

/// A user of a broker. The password is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The user.
    pub user: String,
    /// The password.
    pub password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("user", &self.user).finish_non_exhaustive()
    }
}

/// How to be a client of a broker.
pub struct Config {
    /// Where the broker is.
    pub url: BrokerUrl,
    /// The prefix of every topic of the federation.
    pub namespace: Namespace,
    /// The session's name at the broker; one connection at a time may use it. The node id.
    pub client_id: String,
    /// Who we are to the broker, if it asks.
    pub credentials: Option<Credentials>,
    /// A PEM file of the certificate authorities to trust instead of the system's, for `mqtts`.
    pub ca: Option<PathBuf>,
    /// What the broker says when we vanish.
    pub will: Option<WillMaker>,
    /// The version to speak; none: MQTT 5, then 3.1.1 when the broker refuses it.
    pub protocol: Option<Protocol>,
    /// How soon the broker notices that we are gone (after one and a half times this). At least 5 s; default 15 s.
    pub keep_alive: Duration,
    /// How long the broker keeps our subscriptions and unread messages while we are away. Default 1 h.
    pub session_expiry: Duration,
    /// How long connecting may take. Default 5 s.
    pub connect_timeout: Duration,
    /// Pause after the first failed connection; doubles with each further one, ± 50 %. Default 100 ms.
    pub backoff_first: Duration,
    /// The longest such pause. Default 10 s.
    pub backoff_most: Duration,
    /// How many bytes may wait for the broker's acknowledgement before `publish` waits. Default 16 MiB.
    pub queue_bytes: u32,
}

impl Config {
    /// A client with the defaults, without credentials or will. A dot in its session's name becomes an underscore, since
    /// NATS takes none there.
    #[must_use]
    pub fn new(url: BrokerUrl, namespace: Namespace, client_id: impl Into<String>) -> Self {
        Self {
            url,
            namespace,
            client_id: client_id.into().replace('.', "_"),
            credentials: None,
            ca: None,
            will: None,
            protocol: None,
            keep_alive: Duration::from_secs(15),
            session_expiry: Duration::from_secs(3600),
            connect_timeout: Duration::from_secs(5),
            backoff_first: Duration::from_millis(100),
            backoff_most: Duration::from_secs(10),
            queue_bytes: 16 * 1024 * 1024,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sessions_name_has_no_dot() {
        let config =
            Config::new(BrokerUrl::tcp("localhost", 1883), Namespace::default(), "atlas.72asyextvngonlc5");
        assert_eq!(config.client_id, "atlas_72asyextvngonlc5");
    }

    #[test]
    fn reads_addresses() {
        let cases = [
            ("mqtt://localhost", "mqtt://localhost:1883", true),
            ("mqtt://127.0.0.1:2883/", "mqtt://127.0.0.1:2883", true),
            ("tcp://[::1]:2883", "mqtt://[::1]:2883", true),
            ("mqtts://broker.example.org", "mqtts://broker.example.org:8883", false),
            ("ssl://[2001:db8::1]", "mqtts://[2001:db8::1]:8883", false),
        ];
        for (text, wanted, loopback) in cases {
            let url: BrokerUrl = text.parse().unwrap();
            assert_eq!((url.to_string().as_str(), url.is_loopback()), (wanted, loopback), "{text}");
        }
    }

    #[test]
    fn refuses_what_is_no_address_without_repeating_a_password() {
        for text in [
            "",
            "localhost:1883",
            "http://a",
            "mqtt://",
            "mqtt://a:0",
            "mqtt://a:x",
            "mqtt://a/b",
            "mqtt://[::1",
        ] {
            assert!(text.parse::<BrokerUrl>().is_err(), "{text:?} was accepted");
        }
        let error = "mqtt://user:secret@host".parse::<BrokerUrl>().unwrap_err().to_string();
        assert!(!error.contains("secret"), "{error}");
        let credentials = Credentials { user: "u".to_owned(), password: "secret".to_owned() };
        assert!(!format!("{credentials:?}").contains("secret"));
    }
}

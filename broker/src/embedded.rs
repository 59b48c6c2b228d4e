//! A broker inside the process: one machine, a laptop, a demo, a test.
//!
//! It is rumqttd, with both MQTT 5 and 3.1.1 on one port. Nothing survives a restart (retained messages, sessions,
//! queues), so every node publishes again what it wants kept. There is no access control per topic: identity
//! rests on signed envelopes. A wildcard subscription is given about a hundred retained messages and no more.

mod nodelay;

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::BytesMut;
use foa_wire::codec::MAX_PACKET;
use rumqttd::protocol::v4::V4;
use rumqttd::protocol::v5::V5;
use rumqttd::protocol::{Error as ProtocolError, Packet, Protocol};
use rumqttd::{ConnectionSettings, LinkType, Router, RouterConfig, Server, ServerSettings};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

use crate::config::Credentials;

/// How an embedded broker is run.
#[derive(Clone, Debug)]
pub struct EmbeddedConfig {
    /// Where it listens. Port 0: any free port, see [`Embedded::addr`].
    pub listen: SocketAddr,
    /// The users it lets in. None: anyone who can reach it.
    pub users: Vec<Credentials>,
    /// The largest packet it takes. Default 320 KiB.
    pub max_packet: usize,
    /// How many clients may be connected. Default 4096.
    pub max_connections: usize,
    /// Bytes of one segment of the log kept for one filter. Default 2 MiB.
    pub segment_bytes: usize,
    /// Segments kept for one filter; a subscriber that lags further behind silently loses messages, and memory for
    /// one filter is bounded by the product. Default 16, so 32 MiB.
    pub segments: usize,
}

impl EmbeddedConfig {
    /// A broker with the defaults at this address.
    #[must_use]
    pub fn new(listen: SocketAddr) -> Self {
        Self {
            listen,
            users: Vec::new(),
            max_packet: MAX_PACKET,
            max_connections: 4096,
            segment_bytes: 2 * 1024 * 1024,
            segments: 16,
        }
    }
}

/// Why an embedded broker did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address cannot be listened on.
    #[error("wanted to listen on {listen}")]
    Listen {
        /// The address.
        listen: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The broker's thread could not be started.
    #[error("wanted a thread for the broker")]
    Thread {
        /// What the system said.
        source: io::Error,
    },
    /// It ended before it answered.
    #[error("wanted a broker on {listen}, but it stopped: {reason}")]
    Stopped {
        /// The address.
        listen: SocketAddr,
        /// What it said.
        reason: String,
    },
    /// It does not answer.
    #[error("wanted an answer from the broker on {listen} within {} s", ANSWER_WITHIN.as_secs())]
    Silent {
        /// The address.
        listen: SocketAddr,
    },
}

/// How long a new broker may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// A running broker. Dropping it stops it: connections break, and what it kept is gone.
#[derive(Debug)]
pub struct Embedded {
    addr: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Embedded {
    /// Starts a broker, and returns when it has accepted an MQTT connection.
    ///
    /// # Errors
    /// When the address is taken, or the broker does not answer.
    pub async fn start(config: EmbeddedConfig) -> Result<Self, StartError> {
        // rumqttd binds by itself and does not say where, so a free port is found first.
        let refused = |source| StartError::Listen { listen: config.listen, source };
        let reserved = TcpListener::bind(config.listen).map_err(refused)?;
        let listen = reserved.local_addr().map_err(refused)?;
        drop(reserved);

        let (stop, stopped) = oneshot::channel();
        let (ended, mut end) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name(format!("broker-{}", listen.port()))
            .spawn(move || {
                // Whoever started the broker may be gone.
                let _ = ended.send(serve(config, listen, stopped));
            })
            .map_err(|source| StartError::Thread { source })?;
        let broker = Self { addr: listen, stop: Some(stop), thread: Some(thread) };

        let deadline = Instant::now() + ANSWER_WITHIN;
        loop {
            tokio::select! {
                biased;
                reason = &mut end => {
                    let reason = reason.unwrap_or_else(|_| "its thread panicked".to_owned());
                    return Err(StartError::Stopped { listen, reason });
                }
                answered = answers(listen) => match answered {
                    Ok(()) => {
                        if let Err(error) = nodelay::set(listen) {
                            tracing::info!(%error, "the broker's answers may take some 40 ms more than they need to");
                        }
                        return Ok(broker);
                    }
                    Err(_) if Instant::now() >= deadline => return Err(StartError::Silent { listen }),
                    Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
                }
            }
        }
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Stops it and waits until its port is free.
    pub async fn stop(mut self) {
        if let Some(thread) = self.halt() {
            let joined = tokio::task::spawn_blocking(move || thread.join());
            // A broker that panicked has stopped, too.
            let _ = joined.await;
        }
    }

    fn halt(&mut self) -> Option<JoinHandle<()>> {
        if let Some(stop) = self.stop.take() {
            // It may have ended by itself.
            let _ = stop.send(());
        }
        self.thread.take()
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        drop(self.halt());
    }
}

/// Runs the broker in this thread until it is told to stop, and says why it ended.
fn serve(config: EmbeddedConfig, listen: SocketAddr, stopped: oneshot::Receiver<()>) -> String {
    let router = RouterConfig {
        max_connections: config.max_connections,
        max_outgoing_packet_count: 200,
        max_segment_size: config.segment_bytes,
        max_segment_count: config.segments,
        ..RouterConfig::default()
    };
    let users: HashMap<String, String> = config.users.into_iter().map(|u| (u.user, u.password)).collect();
    let settings = ServerSettings {
        name: "embedded".to_owned(),
        listen,
        tls: None,
        next_connection_delay_ms: 0,
        connections: ConnectionSettings {
            connection_timeout_ms: 5000,
            max_payload_size: config.max_packet,
            max_inflight_count: 100,
            auth: (!users.is_empty()).then_some(users),
            external_auth: None,
            dynamic_filters: true,
        },
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return error.to_string(),
    };
    // Dropping the runtime drops every connection with it; only rumqttd's parked router thread stays behind.
    runtime.block_on(async {
        let mut server = Server::new(settings, Router::new(0, router).spawn(), EitherVersion::Unknown);
        tokio::select! {
            end = server.start(LinkType::Remote) => match end {
                Ok(()) => "it ended".to_owned(),
                Err(error) => error.to_string(),
            },
            _ = stopped => "it was told to".to_owned(),
        }
    })
}

/// Whether a broker at this address accepts an MQTT 3.1.1 ping client.
async fn answers(addr: SocketAddr) -> io::Result<()> {
    /// CONNECT, 3.1.1, clean session, keep alive 5 s, client id "probe".
    const CONNECT: [u8; 19] = *b"\x10\x11\x00\x04MQTT\x04\x02\x00\x05\x00\x05probe";
    let exchange = async {
        let mut stream = TcpStream::connect(addr).await?;
        stream.write_all(&CONNECT).await?;
        let mut answer = [0; 4];
        match stream.read_exact(&mut answer).await {
            // With users configured it hangs up on us, which is an answer.
            Ok(_) => stream.write_all(b"\xe0\x00").await,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(()),
            Err(error) => Err(error),
        }
    };
    timeout(Duration::from_secs(1), exchange).await?
}

/// The version a client speaks, known from its first packet. rumqttd has one listener per version; this lets one
/// listener serve both.
#[derive(Clone, Debug)]
enum EitherVersion {
    Unknown,
    V311(V4),
    V5(V5),
}

impl Protocol for EitherVersion {
    fn read_mut(&mut self, stream: &mut BytesMut, max_size: usize) -> Result<Packet, ProtocolError> {
        match self {
            Self::V311(version) => return version.read_mut(stream, max_size),
            Self::V5(version) => return version.read_mut(stream, max_size),
            Self::Unknown => {}
        }
        *self = match level(stream)? {
            5 => Self::V5(V5),
            // It refuses all others by name.
            _ => Self::V311(V4),
        };
        self.read_mut(stream, max_size)
    }

    fn write(&self, packet: Packet, write: &mut BytesMut) -> Result<usize, ProtocolError> {
        match self {
            Self::V5(version) => version.write(packet, write),
            Self::V311(version) => version.write(without_properties(packet), write),
            // Nothing is written before the client's first packet was read.
            Self::Unknown => Err(ProtocolError::InvalidProtocol),
        }
    }
}

/// What an MQTT 5 client said, for a 3.1.1 client: rumqttd's 3.1.1 writer panics when it meets properties.
fn without_properties(packet: Packet) -> Packet {
    match packet {
        Packet::Publish(publish, _) => Packet::Publish(publish, None),
        Packet::PubAck(ack, _) => Packet::PubAck(ack, None),
        Packet::PubRec(rec, _) => Packet::PubRec(rec, None),
        Packet::PubRel(rel, _) => Packet::PubRel(rel, None),
        Packet::PubComp(comp, _) => Packet::PubComp(comp, None),
        Packet::SubAck(ack, _) => Packet::SubAck(ack, None),
        Packet::UnsubAck(ack, _) => Packet::UnsubAck(ack, None),
        Packet::Disconnect(disconnect, _) => Packet::Disconnect(disconnect, None),
        other => other,
    }
}

/// The protocol level of a CONNECT packet: the byte after `[1 byte][1-4 bytes length][2 bytes 4]MQTT`.
fn level(stream: &[u8]) -> Result<u8, ProtocolError> {
    let more = || ProtocolError::InsufficientBytes(1);
    let length = stream.iter().skip(1).take(4).position(|byte| byte & 0x80 == 0);
    let Some(length) = length else {
        return Err(if stream.len() < 5 { more() } else { ProtocolError::MalformedRemainingLength });
    };
    stream.get(1 + length + 1 + 2 + 4).copied().ok_or_else(more)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_read_from_the_first_packet() {
        let short = b"\x10\x11\x00\x04MQTT\x04\x02";
        let long = b"\x10\x91\x01\x00\x04MQTT\x05\x02";
        for (packet, wanted) in [(short.as_slice(), 4), (long.as_slice(), 5)] {
            let at = packet.iter().position(|b| *b == b'M').unwrap() + 4;
            for cut in 0..=at {
                assert!(matches!(level(&packet[..cut]), Err(ProtocolError::InsufficientBytes(_))), "{cut}");
            }
            assert_eq!(level(packet).unwrap(), wanted);
        }
        assert!(matches!(level(&[0xff; 16]), Err(ProtocolError::MalformedRemainingLength)));
    }
}

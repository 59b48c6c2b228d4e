//! The host: one libp2p swarm on a task of its own, behind a handle.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use foa_wire::{ArtifactId, NodeKey, PeerAddress};
use libp2p::connection_limits::{self, ConnectionLimits};
use libp2p::futures::StreamExt as _;
use libp2p::request_response::{
    self, Event as Exchange, InboundRequestId, Message, OutboundFailure, OutboundRequestId, ProtocolSupport,
    ResponseChannel,
};
use libp2p::swarm::{NetworkBehaviour, SwarmEvent};
use libp2p::{Multiaddr, PeerId, Swarm, SwarmBuilder, noise, tcp, yamux};
use tokio::sync::{mpsc, oneshot, watch};

use super::gate::{Admit, Gate};
use super::outline::Outline;
use super::peer::{Peer, keypair};
use super::protocol::{Answer, Bytes, NAME, Question};

/// Answers prepared or being sent at once; with pieces of 256 KiB that is 16 MiB. Beyond, a host says it is busy.
const SERVING: usize = 64;
/// The same for one peer, so that one cannot take it all. A fetch asks for [`super::fetch::WINDOW`] at once.
const SERVING_ONE: usize = 16;
/// Connections from outside, in all and from one peer. A host of a large federation serves few at a time.
const CONNECTIONS: u32 = 128;
const CONNECTIONS_ONE: u32 = 4;
/// Connections whose other side has not shown its key yet.
const PENDING: u32 = 32;
/// Streams one peer may open at once.
const STREAMS: usize = 64;
/// How long one question may take: a piece in 30 seconds is 70 kbit/s, and less is as good as nothing.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a connection is kept that nobody uses.
const IDLE: Duration = Duration::from_secs(30);
/// How long the operating system may take to give us our addresses.
const LISTEN_WITHIN: Duration = Duration::from_secs(5);

/// What a host serves. Called on threads that may wait for the disk.
pub trait Shelf: Send + Sync + 'static {
    /// The outline of an artifact that is wholly here.
    ///
    /// # Errors
    /// When the disk cannot be read.
    fn outline(&self, id: &ArtifactId) -> io::Result<Option<Arc<Outline>>>;

    /// One piece of it.
    ///
    /// # Errors
    /// When the disk cannot be read.
    fn piece(&self, id: &ArtifactId, piece: u32) -> io::Result<Option<Vec<u8>>>;
}

/// How a host is set up.
#[derive(Clone, Debug)]
pub struct HostConfig {
    /// The node's own key.
    pub key: NodeKey,
    /// Multiaddresses to listen on: `/ip4/127.0.0.1/udp/0/quic-v1`, `/ip4/127.0.0.1/tcp/0`. None: it only fetches.
    pub listen: Vec<String>,
    /// Addresses that lead here from outside, told before those it listens on.
    pub announce: Vec<String>,
}

/// Why a host cannot start.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// It is no address of a kind we speak.
    #[error(
        "wanted an address like /ip4/127.0.0.1/udp/0/quic-v1 or /ip4/127.0.0.1/tcp/0, found {found:?}: {reason}"
    )]
    Address {
        /// The address.
        found: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The operating system does not let us listen.
    #[error("wanted to listen on {address}, but {reason}")]
    Listen {
        /// Where.
        address: String,
        /// Why not.
        reason: String,
    },
    /// The transports could not be set up.
    #[error("the transports could not be set up: {reason}")]
    Transport {
        /// Why.
        reason: String,
    },
}

/// Why a question has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum AskError {
    #[error("none of its addresses is one of its own")]
    NoAddress,
    #[error("it cannot be reached: {0}")]
    Unreachable(String),
    #[error("it did not answer in time")]
    TimedOut,
    #[error("this host has ended")]
    Ended,
}

/// Serves artifacts and fetches them. Cheap to clone; the host ends with its last handle.
#[derive(Clone, Debug)]
pub struct Host {
    questions: mpsc::Sender<Asked>,
    addresses: watch::Receiver<Vec<PeerAddress>>,
}

struct Asked {
    peer: PeerId,
    addresses: Vec<Multiaddr>,
    question: Question,
    reply: oneshot::Sender<Result<Answer, AskError>>,
}

impl Host {
    /// Starts a host on the current tokio runtime. It listens when this returns.
    ///
    /// # Errors
    /// When an address is none, or cannot be listened on.
    pub async fn start(config: HostConfig, shelf: Arc<dyn Shelf>, admit: Admit) -> Result<Self, HostError> {
        let keypair = keypair(&config.key);
        let me = keypair.public().to_peer_id();
        let announced: Vec<Multiaddr> =
            config.announce.iter().map(|text| address(text)).collect::<Result<_, _>>()?;
        let mut swarm = swarm(keypair, admit)?;
        let mut waiting = 0;
        for text in &config.listen {
            let listen = |reason: String| HostError::Listen { address: text.clone(), reason };
            swarm.listen_on(address(text)?).map_err(|e| listen(e.to_string()))?;
            waiting += 1;
        }
        let mut listening = Vec::new();
        let listened = tokio::time::timeout(LISTEN_WITHIN, async {
            let mut ready = std::collections::BTreeSet::new();
            while ready.len() < waiting {
                match swarm.select_next_some().await {
                    SwarmEvent::NewListenAddr { address, listener_id } => {
                        listening.push(address);
                        ready.insert(format!("{listener_id:?}"));
                    }
                    SwarmEvent::ListenerClosed { reason: Err(e), addresses, .. } => {
                        let address = addresses.first().map_or_else(String::new, ToString::to_string);
                        return Err(HostError::Listen { address, reason: e.to_string() });
                    }
                    _ => {}
                }
            }
            Ok(())
        });
        let none_came = || HostError::Listen {
            address: config.listen.join(", "),
            reason: format!("no address came up within {} s", LISTEN_WITHIN.as_secs()),
        };
        listened.await.map_err(|_| none_came())??;
        let (told, addresses) = watch::channel(Vec::new());
        let (questions, asked) = mpsc::channel(64);
        let (prepared, answers) = mpsc::channel(SERVING);
        let driver = Driver {
            me,
            swarm,
            shelf,
            asked,
            prepared,
            answers,
            open: HashMap::new(),
            serving: HashMap::new(),
            announced,
            listening,
            told,
        };
        driver.tell();
        tokio::spawn(driver.run());
        Ok(Self { questions, addresses })
    }

    /// Where it can be reached, the announced addresses first; each ends in its peer id.
    #[must_use]
    pub fn addresses(&self) -> Vec<PeerAddress> {
        self.addresses.borrow().clone()
    }

    /// Waits until its addresses are others than last seen through this handle; ends with the host. Cancel-safe.
    pub async fn addresses_changed(&mut self) -> Option<Vec<PeerAddress>> {
        self.addresses.changed().await.ok()?;
        Some(self.addresses.borrow_and_update().clone())
    }

    /// Asks a peer, calling it first if need be.
    pub(super) async fn ask(&self, peer: &Peer, question: Question) -> Result<Answer, AskError> {
        let (peer, addresses) = peer.reachable().ok_or(AskError::NoAddress)?;
        let (reply, answer) = oneshot::channel();
        let asked = Asked { peer, addresses, question, reply };
        self.questions.send(asked).await.map_err(|_| AskError::Ended)?;
        answer.await.unwrap_or(Err(AskError::Ended))
    }
}

fn address(text: &str) -> Result<Multiaddr, HostError> {
    text.parse().map_err(|e: libp2p::multiaddr::Error| HostError::Address {
        found: text.chars().take(200).collect(),
        reason: e.to_string(),
    })
}

#[derive(NetworkBehaviour)]
struct Behaviour {
    // The first two may refuse a connection before anything is set up for it.
    limits: connection_limits::Behaviour,
    gate: Gate,
    exchange: request_response::Behaviour<Bytes>,
}

fn swarm(keypair: libp2p::identity::Keypair, admit: Admit) -> Result<Swarm<Behaviour>, HostError> {
    let failed = |e: &dyn std::fmt::Display| HostError::Transport { reason: e.to_string() };
    let muxer = || {
        let mut muxer = yamux::Config::default();
        muxer.set_max_num_streams(STREAMS);
        muxer
    };
    let limits = ConnectionLimits::default()
        .with_max_pending_incoming(Some(PENDING))
        .with_max_established_incoming(Some(CONNECTIONS))
        .with_max_established_per_peer(Some(CONNECTIONS_ONE));
    let exchange = request_response::Config::default()
        .with_request_timeout(PATIENCE)
        .with_max_concurrent_streams(STREAMS);
    let behaviour = Behaviour {
        limits: connection_limits::Behaviour::new(limits),
        gate: Gate::new(admit),
        exchange: request_response::Behaviour::with_codec(Bytes, [(NAME, ProtocolSupport::Full)], exchange),
    };
    Ok(SwarmBuilder::with_existing_identity(keypair)
        .with_tokio()
        .with_tcp(tcp::Config::default(), noise::Config::new, muxer)
        .map_err(|e| failed(&e))?
        .with_quic_config(|mut quic| {
            quic.max_concurrent_stream_limit = u32::try_from(STREAMS).unwrap_or(u32::MAX);
            quic
        })
        .with_behaviour(|_| behaviour)
        .map_err(|e| failed(&e))?
        .with_swarm_config(|config| config.with_idle_connection_timeout(IDLE))
        .build())
}

struct Driver {
    me: PeerId,
    swarm: Swarm<Behaviour>,
    shelf: Arc<dyn Shelf>,
    asked: mpsc::Receiver<Asked>,
    prepared: mpsc::Sender<(ResponseChannel<Answer>, Answer)>,
    answers: mpsc::Receiver<(ResponseChannel<Answer>, Answer)>,
    open: HashMap<OutboundRequestId, oneshot::Sender<Result<Answer, AskError>>>,
    serving: HashMap<InboundRequestId, PeerId>,
    announced: Vec<Multiaddr>,
    listening: Vec<Multiaddr>,
    told: watch::Sender<Vec<PeerAddress>>,
}

impl Driver {
    async fn run(mut self) {
        loop {
            tokio::select! {
                asked = self.asked.recv() => match asked {
                    Some(asked) => self.call(asked),
                    None => return,
                },
                Some((channel, answer)) = self.answers.recv() => self.answer(channel, answer),
                event = self.swarm.select_next_some() => self.event(event),
            }
        }
    }

    fn call(&mut self, asked: Asked) {
        let Asked { peer, addresses, question, reply } = asked;
        let exchange = &mut self.swarm.behaviour_mut().exchange;
        let id = exchange.send_request_with_addresses(&peer, question, addresses);
        self.open.insert(id, reply);
    }

    fn answer(&mut self, channel: ResponseChannel<Answer>, answer: Answer) {
        // Whoever asked may be gone; its end is reported as an event of its own.
        let _ = self.swarm.behaviour_mut().exchange.send_response(channel, answer);
    }

    fn event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::Behaviour(BehaviourEvent::Exchange(exchange)) => self.exchange(exchange),
            SwarmEvent::NewListenAddr { address, .. } => {
                self.listening.push(address);
                self.tell();
            }
            SwarmEvent::ExpiredListenAddr { address, .. } => {
                self.listening.retain(|known| *known != address);
                self.tell();
            }
            SwarmEvent::ListenerClosed { addresses, reason, .. } => {
                if let Err(e) = reason {
                    tracing::warn!(?addresses, error = %e, "an address for artifacts is gone");
                }
                self.listening.retain(|known| !addresses.contains(known));
                self.tell();
            }
            SwarmEvent::ListenerError { error, .. } => {
                tracing::warn!(%error, "trouble while listening for artifacts");
            }
            other => tracing::trace!(event = ?other, "swarm"),
        }
    }

    fn exchange(&mut self, exchange: Exchange<Question, Answer>) {
        match exchange {
            Exchange::Message {
                peer, message: Message::Request { request_id, request, channel }, ..
            } => {
                self.serve(peer, request_id, request, channel);
            }
            Exchange::Message { message: Message::Response { request_id, response }, .. } => {
                self.done(request_id, Ok(response));
            }
            Exchange::OutboundFailure { request_id, error, .. } => {
                let error = match error {
                    OutboundFailure::Timeout => AskError::TimedOut,
                    other => AskError::Unreachable(other.to_string()),
                };
                self.done(request_id, Err(error));
            }
            Exchange::InboundFailure { request_id, .. } | Exchange::ResponseSent { request_id, .. } => {
                self.serving.remove(&request_id);
            }
        }
    }

    fn done(&mut self, id: OutboundRequestId, answer: Result<Answer, AskError>) {
        if let Some(reply) = self.open.remove(&id) {
            // Whoever asked may have given up.
            let _ = reply.send(answer);
        }
    }

    fn serve(
        &mut self,
        peer: PeerId,
        id: InboundRequestId,
        question: Question,
        channel: ResponseChannel<Answer>,
    ) {
        // A connection may be older than the permission, or one that we opened.
        if !self.swarm.behaviour().gate.admits(&peer) {
            tracing::info!(%peer, "a stranger's question for an artifact was refused");
            return self.answer(channel, Answer::Refused);
        }
        let of_this = self.serving.values().filter(|served| **served == peer).count();
        if self.serving.len() >= SERVING || of_this >= SERVING_ONE {
            return self.answer(channel, Answer::Busy);
        }
        self.serving.insert(id, peer);
        let (shelf, prepared) = (Arc::clone(&self.shelf), self.prepared.clone());
        tokio::task::spawn_blocking(move || {
            let answer = match question {
                Question::Outline(id) => {
                    shelf.outline(&id).map(|found| found.map(|outline| Answer::Outline(outline.encode())))
                }
                Question::Piece(id, piece) => shelf.piece(&id, piece).map(|found| found.map(Answer::Piece)),
            };
            let answer = answer.unwrap_or_else(|error| {
                tracing::warn!(%error, ?question, "an artifact cannot be read");
                None
            });
            // The host may have ended meanwhile.
            let _ = prepared.blocking_send((channel, answer.unwrap_or(Answer::Missing)));
        });
    }

    /// Says where we can be reached.
    fn tell(&self) {
        let mut addresses: Vec<PeerAddress> = Vec::new();
        for address in self.announced.iter().chain(&self.listening) {
            let Ok(whole) = address.clone().with_p2p(self.me) else { continue };
            if let Ok(told) = whole.to_string().parse()
                && !addresses.contains(&told)
                && addresses.len() < PeerAddress::MOST
            {
                addresses.push(told);
            }
        }
        self.told.send_if_modified(|known| {
            let changed = *known != addresses;
            *known = addresses;
            changed
        });
    }
}

//! One connection, MQTT 5 or 3.1.1, behind one face. Each connection gets a fresh client: nothing of rumqttc's own
//! queue survives it, because that queue is emptied whenever the broker has forgotten the session. What must be
//! sent again is the driver's to know.

use std::io::ErrorKind;
use std::time::Duration;

use bytes::Bytes;
use foa_wire::codec::MAX_PACKET;
use foa_wire::topic::Qos;
use rumqttc::{TlsConfiguration, Transport, v5};

use crate::config::{Config, Protocol, Will};

/// Publishes under way at once. rumqttc reserves memory for as many as are allowed, 65 535 by default.
pub(crate) const WINDOW: u16 = 64;
/// What rumqttc is told of it. While as many are under way as it knows of, it sends nothing else, our acknowledgements
/// neither; and there are brokers that acknowledge nothing to who owes them too many acknowledgements. So it must never
/// come to that.
const NEVER_FULL: u16 = WINDOW + 1;
/// Requests that may wait inside rumqttc: the window, the acknowledgements (brokers have some hundred messages
/// under way at most) and subscriptions.
const REQUESTS: usize = 4096;
/// What a 3.1.1 broker may send us: it cannot be told our limit, and reading an oversized message is better than
/// being sent it again on each connection.
const MAX_PACKET_V311: usize = 8 * 1024 * 1024;

/// What happens on a connection.
pub(crate) enum Notice {
    /// The broker accepted us.
    Connected { session_present: bool, max_packet: Option<u32>, window: u16 },
    /// A publish went out; QoS 0 has no packet id.
    Published { packet: Option<u16> },
    /// A subscribe went out.
    Subscribing { packet: u16 },
    /// The broker has a publish, or refuses it.
    Acknowledged { packet: u16, refused: Option<String> },
    /// The broker's answers to a subscribe, in order.
    Subscribed { packet: u16, refused: Vec<Option<String>> },
    /// A message arrived; QoS 0 has no packet id.
    Message { topic: String, payload: Bytes, retained: bool, packet: Option<u16> },
    /// Nothing the driver needs to know.
    Other,
}

/// Why a connection ended or did not begin.
#[derive(Debug)]
pub(crate) struct Lost {
    pub(crate) reason: String,
    pub(crate) kind: LostKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LostKind {
    /// The broker's answer is what one gives that does not speak this version, or closes the door on it.
    /// Means something only before [`Notice::Connected`].
    PerhapsVersion,
    /// The broker sent more than we asked it to. Its session has to go, or it will send the same again.
    Oversized,
    Other,
}

/// What is wanted of the broker on one connection.
pub(crate) enum Link {
    V5(v5::AsyncClient),
    V311(rumqttc::AsyncClient),
}

/// What the broker does on one connection.
pub(crate) enum Pump {
    V5(Box<v5::EventLoop>),
    V311(Box<rumqttc::EventLoop>),
}

/// The window of requests is full, which no well-behaved broker makes happen.
#[derive(Debug)]
pub(crate) struct Jammed;

fn qos5(qos: Qos) -> v5::mqttbytes::QoS {
    match qos {
        Qos::AtMostOnce => v5::mqttbytes::QoS::AtMostOnce,
        Qos::AtLeastOnce => v5::mqttbytes::QoS::AtLeastOnce,
    }
}

fn qos311(qos: Qos) -> rumqttc::QoS {
    match qos {
        Qos::AtMostOnce => rumqttc::QoS::AtMostOnce,
        Qos::AtLeastOnce => rumqttc::QoS::AtLeastOnce,
    }
}

fn whole_seconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_secs()).unwrap_or(u32::MAX).max(1)
}

fn network_options(config: &Config) -> rumqttc::NetworkOptions {
    let mut network = rumqttc::NetworkOptions::new();
    // Without this a QoS 1 round trip waits for the other side's delayed TCP acknowledgement: 90 ms, not 0.3.
    network.set_tcp_nodelay(true);
    network.set_connection_timeout(u64::from(whole_seconds(config.connect_timeout)));
    network
}

impl Link {
    /// Prepares a connection; polling the pump makes it.
    pub(crate) fn open(
        protocol: Protocol,
        config: &Config,
        will: Option<Will>,
        forget_session: bool,
        ca: Option<&[u8]>,
    ) -> (Self, Pump) {
        let transport = match (config.url.is_tls(), ca) {
            (false, _) => Transport::Tcp,
            (true, None) => Transport::tls_with_default_config(),
            (true, Some(ca)) => Transport::tls_with_config(TlsConfiguration::Simple {
                ca: ca.to_vec(),
                alpn: None,
                client_auth: None,
            }),
        };
        let (id, host, port) = (config.client_id.as_str(), config.url.host(), config.url.port());
        let keep_alive = config.keep_alive.max(Duration::from_secs(5));
        let will = will.map(|will| (will.topic.under(&config.namespace), will.payload));
        match protocol {
            Protocol::V5 => {
                let mut options = v5::MqttOptions::new(id, host, port);
                options
                    .set_transport(transport)
                    .set_keep_alive(keep_alive)
                    .set_clean_start(forget_session)
                    .set_session_expiry_interval(Some(whole_seconds(config.session_expiry)))
                    .set_receive_maximum(Some(WINDOW))
                    .set_max_packet_size(Some(MAX_PACKET as u32))
                    .set_manual_acks(true)
                    .set_outgoing_inflight_upper_limit(NEVER_FULL)
                    .set_network_options(network_options(config))
                    .set_connection_timeout(u64::from(whole_seconds(config.connect_timeout)));
                if let Some(user) = &config.credentials {
                    options.set_credentials(&user.user, &user.password);
                }
                if let Some((topic, payload)) = will {
                    let qos = v5::mqttbytes::QoS::AtLeastOnce;
                    options.set_last_will(v5::mqttbytes::v5::LastWill::new(topic, payload, qos, true, None));
                }
                let (client, pump) = v5::AsyncClient::new(options, REQUESTS);
                (Self::V5(client), Pump::V5(Box::new(pump)))
            }
            Protocol::V311 => {
                let mut options = rumqttc::MqttOptions::new(id, host, port);
                options
                    .set_transport(transport)
                    .set_keep_alive(keep_alive)
                    .set_clean_session(forget_session)
                    .set_max_packet_size(MAX_PACKET_V311, MAX_PACKET)
                    .set_manual_acks(true)
                    .set_inflight(NEVER_FULL);
                if let Some(user) = &config.credentials {
                    options.set_credentials(&user.user, &user.password);
                }
                if let Some((topic, payload)) = will {
                    options.set_last_will(rumqttc::LastWill::new(
                        topic,
                        payload,
                        rumqttc::QoS::AtLeastOnce,
                        true,
                    ));
                }
                let (client, mut pump) = rumqttc::AsyncClient::new(options, REQUESTS);
                pump.set_network_options(network_options(config));
                (Self::V311(client), Pump::V311(Box::new(pump)))
            }
        }
    }

    pub(crate) fn publish(
        &self,
        topic: String,
        qos: Qos,
        retain: bool,
        payload: Bytes,
        expiry: Option<Duration>,
    ) -> Result<(), Jammed> {
        match self {
            Self::V5(client) => {
                let properties = v5::mqttbytes::v5::PublishProperties {
                    message_expiry_interval: expiry.map(whole_seconds),
                    ..Default::default()
                };
                let sent = client.try_publish_with_properties(topic, qos5(qos), retain, payload, properties);
                sent.map_err(|_| Jammed)
            }
            Self::V311(client) => client.try_publish(topic, qos311(qos), retain, payload).map_err(|_| Jammed),
        }
    }

    pub(crate) fn subscribe(&self, filters: Vec<(String, Qos)>) -> Result<(), Jammed> {
        match self {
            Self::V5(client) => {
                let filters = filters.into_iter().map(|(f, q)| v5::mqttbytes::v5::Filter::new(f, qos5(q)));
                client.try_subscribe_many(filters).map_err(|_| Jammed)
            }
            Self::V311(client) => {
                let filters = filters.into_iter().map(|(f, q)| rumqttc::SubscribeFilter::new(f, qos311(q)));
                client.try_subscribe_many(filters).map_err(|_| Jammed)
            }
        }
    }

    pub(crate) fn unsubscribe(&self, filter: String) -> Result<(), Jammed> {
        match self {
            Self::V5(client) => client.try_unsubscribe(filter).map_err(|_| Jammed),
            Self::V311(client) => client.try_unsubscribe(filter).map_err(|_| Jammed),
        }
    }

    pub(crate) fn acknowledge(&self, packet: u16) -> Result<(), Jammed> {
        match self {
            Self::V5(client) => {
                let qos = v5::mqttbytes::QoS::AtLeastOnce;
                let mut publish = v5::mqttbytes::v5::Publish::new("", qos, Bytes::new(), None);
                publish.pkid = packet;
                client.try_ack(&publish).map_err(|_| Jammed)
            }
            Self::V311(client) => {
                let mut publish = rumqttc::Publish::new("", rumqttc::QoS::AtLeastOnce, Bytes::new());
                publish.pkid = packet;
                client.try_ack(&publish).map_err(|_| Jammed)
            }
        }
    }

    pub(crate) fn disconnect(&self) -> Result<(), Jammed> {
        match self {
            Self::V5(client) => client.try_disconnect().map_err(|_| Jammed),
            Self::V311(client) => client.try_disconnect().map_err(|_| Jammed),
        }
    }
}

impl Pump {
    /// The next thing that happens. Not cancel-safe: a future dropped half way may have written half a packet.
    pub(crate) async fn next(&mut self) -> Result<Notice, Lost> {
        match self {
            Self::V5(pump) => match pump.poll().await {
                Ok(v5::Event::Incoming(packet)) => Ok(notice5(packet)),
                Ok(v5::Event::Outgoing(outgoing)) => Ok(outgoing_notice(&outgoing)),
                Err(error) => Err(lost5(&error)),
            },
            Self::V311(pump) => match pump.poll().await {
                Ok(rumqttc::Event::Incoming(packet)) => Ok(notice311(packet)),
                Ok(rumqttc::Event::Outgoing(outgoing)) => Ok(outgoing_notice(&outgoing)),
                Err(error) => Err(lost311(&error)),
            },
        }
    }
}

fn outgoing_notice(outgoing: &rumqttc::Outgoing) -> Notice {
    use rumqttc::Outgoing;
    match outgoing {
        Outgoing::Publish(packet) => Notice::Published { packet: (*packet != 0).then_some(*packet) },
        Outgoing::Subscribe(packet) => Notice::Subscribing { packet: *packet },
        // A publish that has to wait for its packet id is reported again as published when it goes out.
        Outgoing::AwaitAck(_)
        | Outgoing::Unsubscribe(_)
        | Outgoing::PubAck(_)
        | Outgoing::PubRec(_)
        | Outgoing::PubRel(_)
        | Outgoing::PubComp(_)
        | Outgoing::PingReq
        | Outgoing::PingResp
        | Outgoing::Disconnect => Notice::Other,
    }
}

fn notice5(packet: v5::mqttbytes::v5::Packet) -> Notice {
    use v5::mqttbytes::v5::{Packet, PubAckReason, SubscribeReasonCode};
    match packet {
        Packet::ConnAck(ack) => {
            let (max_packet, most) =
                ack.properties.map_or((None, None), |p| (p.max_packet_size, p.receive_max));
            // Where the broker allows fewer, rumqttc counts to its number, and we to one less.
            let window = most.map_or(WINDOW, |most| WINDOW.min(most.saturating_sub(1)).max(1));
            Notice::Connected { session_present: ack.session_present, max_packet, window }
        }
        Packet::Publish(publish) => Notice::Message {
            topic: String::from_utf8_lossy(&publish.topic).into_owned(),
            payload: publish.payload,
            retained: publish.retain,
            packet: (publish.pkid != 0).then_some(publish.pkid),
        },
        Packet::PubAck(ack) => {
            let fine = matches!(ack.reason, PubAckReason::Success | PubAckReason::NoMatchingSubscribers);
            Notice::Acknowledged { packet: ack.pkid, refused: (!fine).then(|| format!("{:?}", ack.reason)) }
        }
        Packet::SubAck(ack) => {
            let refused = ack.return_codes.iter().map(|code| match code {
                SubscribeReasonCode::Success(_) => None,
                refusal => Some(format!("{refusal:?}")),
            });
            Notice::Subscribed { packet: ack.pkid, refused: refused.collect() }
        }
        _ => Notice::Other,
    }
}

fn notice311(packet: rumqttc::Packet) -> Notice {
    use rumqttc::{Packet, SubscribeReasonCode};
    match packet {
        Packet::ConnAck(ack) => {
            Notice::Connected { session_present: ack.session_present, max_packet: None, window: WINDOW }
        }
        Packet::Publish(publish) => Notice::Message {
            topic: publish.topic,
            payload: publish.payload,
            retained: publish.retain,
            packet: (publish.pkid != 0).then_some(publish.pkid),
        },
        Packet::PubAck(ack) => Notice::Acknowledged { packet: ack.pkid, refused: None },
        Packet::SubAck(ack) => {
            let refused = ack.return_codes.iter().map(|code| match code {
                SubscribeReasonCode::Success(_) => None,
                SubscribeReasonCode::Failure => Some("refused".to_owned()),
            });
            Notice::Subscribed { packet: ack.pkid, refused: refused.collect() }
        }
        _ => Notice::Other,
    }
}

/// A peer that hangs up on our first packet.
fn hung_up(kind: ErrorKind) -> LostKind {
    match kind {
        ErrorKind::ConnectionAborted
        | ErrorKind::ConnectionReset
        | ErrorKind::UnexpectedEof
        | ErrorKind::BrokenPipe
        | ErrorKind::InvalidData => LostKind::PerhapsVersion,
        _ => LostKind::Other,
    }
}

fn lost5(error: &v5::ConnectionError) -> Lost {
    use v5::mqttbytes::Error as Codec;
    use v5::mqttbytes::v5::ConnectReturnCode;
    use v5::{ConnectionError, StateError};
    let kind = match error {
        ConnectionError::ConnectionRefused(
            ConnectReturnCode::UnsupportedProtocolVersion | ConnectReturnCode::RefusedProtocolVersion,
        )
        | ConnectionError::NotConnAck(_)
        | ConnectionError::MqttState(StateError::ConnectionAborted) => LostKind::PerhapsVersion,
        ConnectionError::MqttState(
            StateError::IncomingPacketTooLarge { .. }
            | StateError::Deserialization(Codec::PayloadSizeLimitExceeded { .. }),
        ) => LostKind::Oversized,
        ConnectionError::MqttState(StateError::Deserialization(Codec::Io(io)) | StateError::Io(io))
        | ConnectionError::Io(io) => hung_up(io.kind()),
        ConnectionError::MqttState(StateError::Deserialization(_)) => LostKind::PerhapsVersion,
        _ => LostKind::Other,
    };
    Lost { reason: error.to_string(), kind }
}

fn lost311(error: &rumqttc::ConnectionError) -> Lost {
    use rumqttc::mqttbytes::Error as Codec;
    use rumqttc::{ConnectReturnCode, ConnectionError, StateError};
    let kind = match error {
        ConnectionError::ConnectionRefused(ConnectReturnCode::RefusedProtocolVersion)
        | ConnectionError::NotConnAck(_)
        | ConnectionError::MqttState(StateError::ConnectionAborted) => LostKind::PerhapsVersion,
        ConnectionError::MqttState(StateError::Deserialization(Codec::PayloadSizeLimitExceeded(_))) => {
            LostKind::Oversized
        }
        ConnectionError::MqttState(StateError::Deserialization(Codec::Io(io)) | StateError::Io(io))
        | ConnectionError::Io(io) => hung_up(io.kind()),
        ConnectionError::MqttState(StateError::Deserialization(_)) => LostKind::PerhapsVersion,
        _ => LostKind::Other,
    };
    Lost { reason: error.to_string(), kind }
}

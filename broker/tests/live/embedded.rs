//! What only one of the brokers can show.

use std::net::{Ipv4Addr, SocketAddr};

use bytes::Bytes;
use foa_broker::embedded::StartError;
use foa_broker::{BrokerUrl, Credentials, Embedded, EmbeddedConfig, Event, Protocol};
use rumqttd::protocol::v4::V4;
use rumqttd::{ConnectionSettings, LinkType, Router, RouterConfig, Server, ServerSettings};

use crate::broker::{Kind, TestBroker, free_port};
use crate::peer::{Peer, config};

fn anywhere() -> EmbeddedConfig {
    EmbeddedConfig::new(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
}

#[tokio::test]
async fn an_embedded_broker_says_where_it_listens_and_when_it_cannot() {
    let first = Embedded::start(anywhere()).await.unwrap();
    assert_ne!(first.addr().port(), 0);
    let second = Embedded::start(EmbeddedConfig::new(first.addr())).await;
    assert!(matches!(second, Err(StartError::Listen { listen, .. }) if listen == first.addr()));
    let addr = first.addr();
    first.stop().await;
    assert_eq!(Embedded::start(EmbeddedConfig::new(addr)).await.unwrap().addr(), addr);
}

#[tokio::test]
async fn an_embedded_broker_lets_in_only_its_users() {
    let user = |password: &str| Credentials { user: "node".to_owned(), password: password.to_owned() };
    let broker = Embedded::start(EmbeddedConfig { users: vec![user("right")], ..anywhere() }).await.unwrap();
    let url = BrokerUrl::tcp("127.0.0.1", broker.addr().port());
    for (credentials, admitted) in [(Some(user("right")), true), (Some(user("wrong")), false), (None, false)]
    {
        let mut config = config(url.clone(), "a");
        config.credentials = credentials.clone();
        let connected = Peer::new(config, "a")
            .until(|event| match event {
                Event::Connected { .. } => Some(true),
                Event::Unreachable { .. } => Some(false),
                _ => None,
            })
            .await;
        assert_eq!(connected, admitted, "{credentials:?}");
    }
}

#[tokio::test]
async fn a_broker_that_knows_only_3_1_1_is_spoken_to_in_3_1_1() {
    let listen = free_port();
    let settings = ServerSettings {
        name: "old".to_owned(),
        listen,
        tls: None,
        next_connection_delay_ms: 0,
        connections: ConnectionSettings {
            connection_timeout_ms: 5000,
            max_payload_size: 10_000,
            max_inflight_count: 100,
            auth: None,
            external_auth: None,
            dynamic_filters: true,
        },
    };
    let router = RouterConfig {
        max_connections: 10,
        max_outgoing_packet_count: 200,
        max_segment_size: 1024 * 1024,
        max_segment_count: 4,
        ..RouterConfig::default()
    };
    let mut server = Server::new(settings, Router::new(0, router).spawn(), V4);
    tokio::spawn(async move { server.start(LinkType::Remote).await });

    let mut a = Peer::new(config(BrokerUrl::tcp("127.0.0.1", listen.port()), "a"), "a");
    let spoken = a
        .until(|event| match event {
            Event::Connected { protocol, .. } => Some(*protocol),
            // Before it listens. That it hangs up on the newer version is not for whoever waits at a prompt to see.
            Event::Unreachable { reason, .. } => {
                assert!(reason.contains("Connection refused"), "{reason}");
                None
            }
            _ => None,
        })
        .await;
    assert_eq!(spoken, Protocol::V311);
    a.fabric.subscribe(vec![foa_wire::Filter::One(a.inbox())]).unwrap();
    a.say(&a.inbox(), "hello").await;
    assert_eq!(a.read().await, "hello");
}

#[tokio::test]
async fn what_the_broker_finds_too_large_is_named_and_the_rest_goes_on() {
    let Some(broker) = TestBroker::start_with(Kind::Mosquitto, "max_packet_size 100000").await else {
        return;
    };
    assert_eq!(broker.kind(), Kind::Mosquitto);
    let mut a = Peer::join(config(broker.url(), "a"), "a", vec![]).await;
    let large = Bytes::from(vec![b'x'; 100_001]);
    a.fabric.publish(&a.inbox(), large, false, None).await.unwrap();
    a.say(&a.inbox(), "small").await;
    let (topic, reason) = a
        .until(|event| match event {
            Event::PublishRefused { topic, reason } => Some((topic.clone(), reason.clone())),
            _ => None,
        })
        .await;
    assert!(topic == a.inbox() && reason.contains("100000"), "{topic}: {reason}");
    assert_eq!(a.read().await, "small");
}

/// rumqttd has at most 100 messages under way to a client, and acknowledges nothing to one that owes it as many: when the
/// client's own window is full as well, its acknowledgements must still find their way out.
#[tokio::test]
async fn full_windows_on_both_sides_do_not_jam() {
    const UNDER_WAY: usize = 100;
    const MESSAGES: usize = 300;
    let broker = Embedded::start(anywhere()).await.unwrap();
    let url = BrokerUrl::tcp("127.0.0.1", broker.addr().port());
    let mut a = Peer::join(config(url.clone(), "a"), "a", vec![]).await;
    let mut b = Peer::join(config(url, "b"), "b", vec![]).await;
    for n in 0..MESSAGES {
        b.say(&a.inbox(), &n.to_string()).await;
    }
    let mut owed = Vec::new();
    while owed.len() < UNDER_WAY {
        owed.push(a.hear().await.ack);
    }
    for n in 0..MESSAGES {
        a.say(&b.inbox(), &n.to_string()).await;
    }
    // The first of them has been with the broker, so the window of `a` is full or about to be.
    assert_eq!(b.read().await, "0");
    for ack in owed {
        a.fabric.ack(ack);
    }
    for n in UNDER_WAY..MESSAGES {
        assert_eq!(a.read().await, n.to_string());
    }
    for n in 1..MESSAGES {
        assert_eq!(b.read().await, n.to_string());
    }
}

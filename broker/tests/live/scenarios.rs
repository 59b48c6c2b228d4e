//! What must hold on every broker.

use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use foa_broker::{Event, Offered, Protocol, PublishError, Will};
use foa_wire::codec::MAX_ENVELOPE;
use foa_wire::{Connection, Filter, Topic};

use crate::broker::TestBroker;
use crate::peer::{Peer, config, node};

const GRACE: Duration = Duration::from_secs(10);

pub(crate) async fn messages_arrive_once_and_in_order(broker: TestBroker) {
    let mut a = Peer::join(config(broker.url(), "a"), "a", vec![]).await;
    let b = Peer::join(config(broker.url(), "b"), "b", vec![]).await;
    for n in 0..500 {
        b.say(&a.inbox(), &n.to_string()).await;
    }
    for n in 0..500 {
        let heard = a.hear().await;
        assert_eq!((heard.topic, heard.retained), (a.inbox(), false));
        assert_eq!(heard.payload, n.to_string().as_bytes());
        a.fabric.ack(heard.ack);
    }
    assert_eq!(b.fabric.disconnect(GRACE).await, 0);
    assert_eq!(a.fabric.disconnect(GRACE).await, 0);
    let late = b.fabric.publish(&a.inbox(), Bytes::new(), false, None).await;
    assert!(matches!(late, Err(PublishError::Closed(_))));
}

pub(crate) async fn what_is_retained_waits_for_those_who_come_later(broker: TestBroker) {
    let a = Peer::join(config(broker.url(), "a"), "a", vec![]).await;
    a.say(&a.status(), "online").await;
    assert_eq!(a.fabric.disconnect(GRACE).await, 0);
    let mut b = Peer::join(config(broker.url(), "b"), "b", vec![Filter::Statuses]).await;
    let heard = b.hear().await;
    assert_eq!((heard.topic.clone(), &heard.payload[..], heard.retained), (a.status(), &b"online"[..], true));
    b.fabric.ack(heard.ack);

    b.fabric.clear_retained(&heard.topic).await.unwrap();
    assert_eq!(b.read().await, "", "a cleared topic is heard as an empty message");
    let mut c = Peer::join(config(broker.url(), "c"), "c", vec![Filter::Statuses]).await;
    c.say(&c.status(), "c is here").await;
    assert_eq!(c.read().await, "c is here", "what was cleared is not heard");
}

pub(crate) async fn the_will_speaks_for_those_who_vanish_and_not_for_those_who_leave(broker: TestBroker) {
    let mut watcher = Peer::join(config(broker.url(), "w"), "w", vec![Filter::Statuses]).await;
    let mortal = |name: &'static str| {
        let mut config = config(broker.url(), name);
        config.will = Some(Box::new(move |connection: Connection| Will {
            topic: Topic::Status(node(name)),
            payload: format!("{name} offline in connection {connection}").into(),
        }));
        config
    };
    let leaver = Peer::join(mortal("leaver"), "leaver", vec![]).await;
    assert_eq!(leaver.fabric.disconnect(GRACE).await, 0);
    let vanisher = Peer::join(mortal("vanisher"), "vanisher", vec![]).await;
    drop(vanisher);
    assert_eq!(watcher.read().await, "vanisher offline in connection 1");
}

pub(crate) async fn a_restarted_broker_costs_nothing_that_was_queued(mut broker: TestBroker) {
    let mut a = Peer::join(config(broker.url(), "a"), "a", vec![Filter::Statuses]).await;
    broker.stop().await;
    a.until(|event| matches!(event, Event::Disconnected { .. }).then_some(())).await;
    // More than fit on a connection at once.
    for n in 0..200 {
        a.say(&a.inbox(), &n.to_string()).await;
    }
    a.fabric.publish(&a.inbox(), Bytes::from_static(b"stale"), false, Some(Duration::ZERO)).await.unwrap();
    a.until(|event| matches!(event, Event::Unreachable { .. }).then_some(())).await;
    broker.resume().await;
    let (connection, session) = a
        .until(|event| match event {
            Event::Connected { connection, session_present, .. } => Some((*connection, *session_present)),
            _ => None,
        })
        .await;
    assert!(connection > Connection(1) && !session, "{connection} {session}");
    // The subscription is back too: the inbox is its own.
    for n in 0..200 {
        assert_eq!(a.read().await, n.to_string());
    }
    a.say(&a.status(), "online").await;
    assert_eq!(a.read().await, "online", "what expired on the way was not sent");
}

pub(crate) async fn what_was_not_acknowledged_comes_again(broker: TestBroker) {
    let mut a = Peer::join(config(broker.url(), "a"), "a", vec![]).await;
    let b = Peer::join(config(broker.url(), "b"), "b", vec![]).await;
    for text in ["one", "two", "three", "four"] {
        b.say(&a.inbox(), text).await;
    }
    assert_eq!(a.read().await, "one");
    let unread = a.hear().await;
    assert_eq!(unread.payload, "two");
    // Later ones are acknowledged, and held back because "two" is not.
    assert_eq!(a.read().await, "three");
    assert_eq!(a.read().await, "four");
    // The acknowledgement of "one" is at the broker when something sent after it came round.
    a.say(&a.inbox(), "five").await;
    assert_eq!(a.read().await, "five");
    drop(a);

    let mut a = Peer::new(config(broker.url(), "a"), "a");
    let session = a
        .until(|event| match event {
            Event::Connected { session_present, .. } => Some(*session_present),
            _ => None,
        })
        .await;
    assert!(session, "the broker forgot the session");
    // A token of another connection does nothing here.
    a.fabric.ack(unread.ack);
    for text in ["two", "three", "four", "five"] {
        assert_eq!(a.read().await, text);
    }
}

pub(crate) async fn acknowledgements_may_be_given_in_any_order(broker: TestBroker) {
    let mut a = Peer::join(config(broker.url(), "a"), "a", vec![]).await;
    let b = Peer::join(config(broker.url(), "b"), "b", vec![]).await;
    let mut tokens = Vec::new();
    for n in 0..32 {
        b.say(&a.inbox(), &n.to_string()).await;
        tokens.push(a.hear().await.ack);
    }
    for token in tokens.into_iter().rev() {
        a.fabric.ack(token);
    }
    assert_eq!(a.fabric.disconnect(GRACE).await, 0);
    b.say(&a.inbox(), "while you were away").await;
    assert_eq!(b.fabric.disconnect(GRACE).await, 0);

    let mut a = Peer::new(config(broker.url(), "a"), "a");
    assert_eq!(a.read().await, "while you were away", "what was acknowledged came again");
}

pub(crate) async fn the_largest_envelope_passes_and_a_larger_one_is_named(broker: TestBroker) {
    let mut a = Peer::join(config(broker.url(), "a"), "a", vec![]).await;
    let largest = Bytes::from(vec![b'x'; MAX_ENVELOPE]);
    a.fabric.publish(&a.inbox(), largest.clone(), false, None).await.unwrap();
    let heard = a.hear().await;
    assert!(heard.payload == largest);
    a.fabric.ack(heard.ack);

    let larger = Bytes::from(vec![b'x'; MAX_ENVELOPE + 1]);
    let refused = a.fabric.publish(&a.inbox(), larger.clone(), false, None).await;
    assert_eq!(refused, Err(PublishError::TooLarge { topic: a.inbox(), bytes: MAX_ENVELOPE + 1 }));
    // A stranger does not ask first.
    stranger(&broker, &format!("site/foa/{}", a.inbox()), &larger).await;
    let bytes = a
        .until(|event| match event {
            Event::TooLarge { bytes, .. } => Some(*bytes),
            _ => None,
        })
        .await;
    assert_eq!(bytes, MAX_ENVELOPE + 1);
    a.say(&a.inbox(), "still here").await;
    assert_eq!(a.read().await, "still here");
}

pub(crate) async fn topics_of_others_are_named_and_disturb_nothing(broker: TestBroker) {
    let mut a = Peer::join(config(broker.url(), "a"), "a", vec![Filter::Everything]).await;
    stranger(&broker, "site/foa/weather/today", b"rain").await;
    let topic = a
        .until(|event| match event {
            Event::Foreign { topic, bytes: 4 } => Some(topic.clone()),
            _ => None,
        })
        .await;
    assert_eq!(topic, "site/foa/weather/today");
    a.say(&Topic::Calls, "still here").await;
    assert_eq!(a.read().await, "still here");
}

pub(crate) async fn old_and_new_protocol_understand_each_other(broker: TestBroker) {
    let mut peers = Vec::new();
    for (name, protocol) in [("old", Protocol::V311), ("new", Protocol::V5)] {
        let mut config = config(broker.url(), name);
        config.protocol = Some(protocol);
        let mut peer = Peer::new(config, name);
        let spoken = peer
            .until(|event| match event {
                Event::Connected { protocol, .. } => Some(*protocol),
                _ => None,
            })
            .await;
        assert_eq!(spoken, protocol);
        peer.fabric.subscribe(vec![Filter::One(peer.inbox())]).unwrap();
        peer.until(|event| matches!(event, Event::Subscribed { .. }).then_some(())).await;
        peers.push(peer);
    }
    let [old, new] = &mut peers[..] else { unreachable!("there are two") };
    let (old_inbox, new_inbox) = (old.inbox(), new.inbox());
    let expiry = Some(Duration::from_secs(60));
    new.fabric.publish(&old_inbox, Bytes::from_static(b"from new"), false, expiry).await.unwrap();
    old.fabric.publish(&new_inbox, Bytes::from_static(b"from old"), false, expiry).await.unwrap();
    assert_eq!(old.read().await, "from new");
    assert_eq!(new.read().await, "from old");
}

pub(crate) async fn a_full_queue_makes_the_publisher_wait(mut broker: TestBroker) {
    let mut config = config(broker.url(), "a");
    config.queue_bytes = 1; // raised to twice the largest envelope, the least that works
    let mut a = Peer::join(config, "a", vec![]).await;
    broker.stop().await;
    a.until(|event| matches!(event, Event::Disconnected { .. }).then_some(())).await;
    let (inbox, large) = (a.inbox(), Bytes::from(vec![b'x'; MAX_ENVELOPE]));
    for _ in 0..2 {
        a.fabric.publish(&inbox, large.clone(), false, None).await.unwrap();
    }
    let fabric = a.fabric.clone();
    let mut third = pin!(fabric.publish(&inbox, large.clone(), false, None));
    let waits = std::future::poll_fn(|cx| Poll::Ready(third.as_mut().poll(cx).is_pending())).await;
    assert!(waits, "a third envelope found room");
    broker.resume().await;
    third.await.unwrap();
    for _ in 0..3 {
        let heard = a.hear().await;
        assert!(heard.payload == large);
        a.fabric.ack(heard.ack);
    }
}

pub(crate) async fn an_offer_never_waits_and_what_may_be_lost_goes_first(mut broker: TestBroker) {
    let mut config = config(broker.url(), "a");
    config.queue_bytes = 1; // raised to twice the largest envelope
    let events = Topic::JobEvents("some-job".parse().unwrap());
    let mut a = Peer::join(config, "a", vec![Filter::One(events.clone())]).await;
    broker.stop().await;
    a.until(|event| matches!(event, Event::Disconnected { .. }).then_some(())).await;
    let payload = |n: u8| Bytes::from(vec![n; MAX_ENVELOPE / 4]);
    let offer = |topic: &Topic, n, expiry| a.fabric.offer(topic, payload(n), false, expiry).unwrap();
    let told = (0..20).take_while(|n| offer(&events, *n, None) == Offered::Queued).count();
    assert!((5..=6).contains(&told), "three quarters of eight: {told}");
    let inbox = a.inbox();
    assert_eq!(offer(&inbox, 100, Some(Duration::ZERO)), Offered::Queued, "there is room kept for commands");
    let commands: Vec<u8> = (0..100).take_while(|n| offer(&inbox, *n, None) == Offered::Queued).collect();
    assert!((24..=26).contains(&commands.len()), "a quarter, and three times the whole: {}", commands.len());
    broker.resume().await;
    for n in commands {
        let heard = a.hear().await;
        assert_eq!((heard.topic, heard.payload.first()), (inbox.clone(), Some(&n)));
        a.fabric.ack(heard.ack);
    }
}

/// Publishes once, QoS 1, as a client that knows nothing of foa.
async fn stranger(broker: &TestBroker, topic: &str, payload: &[u8]) {
    use rumqttc::{AsyncClient, Event, MqttOptions, Packet, QoS};
    let url = broker.url();
    let mut options = MqttOptions::new("stranger", url.host(), url.port());
    options.set_max_packet_size(1024 * 1024, 1024 * 1024);
    let (client, mut pump) = AsyncClient::new(options, 4);
    client.publish(topic, QoS::AtLeastOnce, false, payload).await.unwrap();
    while !matches!(pump.poll().await.unwrap(), Event::Incoming(Packet::PubAck(_))) {}
}

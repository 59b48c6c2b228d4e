//! A client with a name, and ways to wait for what it hears.

use std::time::Duration;

use bytes::Bytes;
use foa_broker::{AckToken, BrokerUrl, Config, Event, Events, Fabric, connect};
use foa_wire::{Filter, Namespace, NodeId, NodeKey, Topic};
use tokio::time::timeout;

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn node(name: &str) -> NodeId {
    let mut seed = [0; 32];
    seed[..name.len()].copy_from_slice(name.as_bytes());
    NodeId::new(name.parse().unwrap(), &NodeKey::from_seed(seed).public())
}

pub(crate) fn config(url: BrokerUrl, name: &str) -> Config {
    Config::new(url, "site/foa".parse::<Namespace>().unwrap(), node(name).to_string())
}

pub(crate) struct Peer {
    pub(crate) id: NodeId,
    pub(crate) fabric: Fabric,
    events: Events,
}

pub(crate) struct Heard {
    pub(crate) topic: Topic,
    pub(crate) payload: Bytes,
    pub(crate) retained: bool,
    pub(crate) ack: AckToken,
}

impl Peer {
    /// Starts connecting.
    pub(crate) fn new(config: Config, name: &str) -> Self {
        let (fabric, events) = connect(config);
        Self { id: node(name), fabric, events }
    }

    /// Connected, and subscribed to these and its own inbox.
    pub(crate) async fn join(config: Config, name: &str, mut filters: Vec<Filter>) -> Self {
        let mut peer = Self::new(config, name);
        filters.push(Filter::One(peer.inbox()));
        let count = filters.len();
        peer.fabric.subscribe(filters).unwrap();
        let agreed = peer
            .until(|event| match event {
                Event::Subscribed { filters } => Some(filters.len()),
                _ => None,
            })
            .await;
        assert_eq!(agreed, count);
        peer
    }

    pub(crate) fn inbox(&self) -> Topic {
        Topic::Inbox(self.id.clone())
    }

    pub(crate) fn status(&self) -> Topic {
        Topic::Status(self.id.clone())
    }

    pub(crate) async fn say(&self, topic: &Topic, text: &str) {
        let text = Bytes::copy_from_slice(text.as_bytes());
        self.fabric.publish(topic, text, topic.retained(), None).await.unwrap();
    }

    pub(crate) async fn event(&mut self) -> Event {
        self.events.next().await.expect("the connection is open")
    }

    /// The first event that `wanted` takes; others are passed over.
    pub(crate) async fn until<T>(&mut self, mut wanted: impl FnMut(&Event) -> Option<T>) -> T {
        let found = async {
            loop {
                if let Some(found) = wanted(&self.event().await) {
                    return found;
                }
            }
        };
        timeout(PATIENCE, found).await.expect("it did not happen")
    }

    /// The next message, not acknowledged.
    pub(crate) async fn hear(&mut self) -> Heard {
        let heard = async {
            loop {
                if let Event::Message { topic, payload, retained, ack } = self.event().await {
                    return Heard { topic, payload, retained, ack };
                }
            }
        };
        timeout(PATIENCE, heard).await.expect("no message came")
    }

    /// The next message as text, acknowledged.
    pub(crate) async fn read(&mut self) -> String {
        let heard = self.hear().await;
        self.fabric.ack(heard.ack);
        String::from_utf8(heard.payload.to_vec()).unwrap()
    }
}

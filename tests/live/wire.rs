//! A plain MQTT 3.1.1 client of another make than ours: what any stranger can see and say.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use rumqttc::{Client, Event, MqttOptions, Packet, QoS};

use crate::federation::PATIENCE;

/// Larger than what the broker takes, so that it is the broker or the node that refuses.
const MAX_PACKET: usize = 1024 * 1024;

#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) topic: String,
    pub(crate) payload: Vec<u8>,
    pub(crate) retained: bool,
}

impl Message {
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.payload).unwrap_or_default()
    }
}

enum Heard {
    Message(Message),
    Agreed,
    Acknowledged,
}

pub(crate) struct Wire {
    client: Client,
    heard: mpsc::Receiver<Heard>,
    /// Messages that came while something else was waited for.
    early: Vec<Message>,
}

impl Wire {
    /// Connected and subscribed; filters with the namespace.
    pub(crate) fn join(port: u16, name: &str, filters: &[&str]) -> Self {
        let mut options = MqttOptions::new(name, "127.0.0.1", port);
        options.set_max_packet_size(MAX_PACKET, MAX_PACKET).set_keep_alive(Duration::from_secs(60));
        let (client, mut connection) = Client::new(options, 1000);
        let (tell, heard) = mpsc::channel();
        std::thread::spawn(move || {
            for event in connection.iter() {
                let told = match event {
                    Ok(Event::Incoming(Packet::Publish(p))) => {
                        let (topic, payload, retained) = (p.topic, p.payload.to_vec(), p.retain);
                        tell.send(Heard::Message(Message { topic, payload, retained }))
                    }
                    Ok(Event::Incoming(Packet::SubAck(_))) => tell.send(Heard::Agreed),
                    Ok(Event::Incoming(Packet::PubAck(_))) => tell.send(Heard::Acknowledged),
                    Ok(_) => Ok(()),
                    Err(_) => return,
                };
                if told.is_err() {
                    return;
                }
            }
        });
        let mut wire = Self { client, heard, early: Vec::new() };
        for filter in filters {
            wire.subscribe(filter);
        }
        wire
    }

    /// Hears from now on also what matches, and what the broker keeps of it.
    pub(crate) fn subscribe(&mut self, filter: &str) {
        self.client.subscribe(filter, QoS::AtLeastOnce).unwrap();
        self.wait(|heard| matches!(heard, Heard::Agreed));
    }

    /// Publishes and waits until the broker has it.
    pub(crate) fn say(&mut self, topic: &str, payload: &[u8]) {
        self.client.publish(topic, QoS::AtLeastOnce, false, payload).unwrap();
        self.wait(|heard| matches!(heard, Heard::Acknowledged));
    }

    /// The first message that `wanted` takes, from the beginning; others are passed over.
    pub(crate) fn until<T>(&mut self, what: &str, mut wanted: impl FnMut(&Message) -> Option<T>) -> T {
        for message in std::mem::take(&mut self.early) {
            if let Some(found) = wanted(&message) {
                return found;
            }
        }
        let until = Instant::now() + PATIENCE;
        while let Some(left) = until.checked_duration_since(Instant::now()) {
            match self.heard.recv_timeout(left) {
                Ok(Heard::Message(message)) => {
                    if let Some(found) = wanted(&message) {
                        return found;
                    }
                }
                Ok(Heard::Agreed | Heard::Acknowledged) => {}
                Err(_) => break,
            }
        }
        panic!("wanted {what} within {PATIENCE:?}, did not hear it")
    }

    /// Everything heard so far.
    pub(crate) fn so_far(&mut self) -> Vec<Message> {
        while let Ok(heard) = self.heard.try_recv() {
            if let Heard::Message(message) = heard {
                self.early.push(message);
            }
        }
        std::mem::take(&mut self.early)
    }

    fn wait(&mut self, wanted: impl Fn(&Heard) -> bool) {
        loop {
            let heard = self.heard.recv_timeout(PATIENCE).expect("the broker is there and answers");
            if wanted(&heard) {
                return;
            }
            if let Heard::Message(message) = heard {
                self.early.push(message);
            }
        }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        let _ = self.client.disconnect();
    }
}

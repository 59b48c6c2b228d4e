//! A broker to test against, which can be stopped and started again on its port.

use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};

use foa_broker::{BrokerUrl, Embedded, EmbeddedConfig};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Embedded,
    Mosquitto,
}

enum Running {
    Embedded(Embedded),
    Mosquitto { child: Child, _conf: tempfile::TempDir },
    Stopped,
}

pub(crate) struct TestBroker {
    kind: Kind,
    addr: SocketAddr,
    /// Lines for the end of Mosquitto's configuration.
    extra: &'static str,
    running: Running,
}

pub(crate) fn free_port() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap()
}

impl TestBroker {
    /// None when there is no such broker on this machine, which is said aloud.
    pub(crate) async fn start(kind: Kind) -> Option<Self> {
        Self::start_with(kind, "").await
    }

    pub(crate) async fn start_with(kind: Kind, extra: &'static str) -> Option<Self> {
        if kind == Kind::Mosquitto && Command::new("mosquitto").arg("-h").output().is_err() {
            // Past the test harness, which hides what a passing test prints.
            let _ = writeln!(std::io::stderr(), "SKIPPED: mosquitto not found");
            return None;
        }
        let mut broker = Self { kind, addr: free_port(), extra, running: Running::Stopped };
        broker.resume().await;
        Some(broker)
    }

    pub(crate) fn url(&self) -> BrokerUrl {
        BrokerUrl::tcp("127.0.0.1", self.addr.port())
    }

    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    /// Kills it; what it kept is gone.
    pub(crate) async fn stop(&mut self) {
        match std::mem::replace(&mut self.running, Running::Stopped) {
            Running::Embedded(broker) => broker.stop().await,
            Running::Mosquitto { mut child, .. } => {
                child.kill().unwrap();
                child.wait().unwrap();
            }
            Running::Stopped => {}
        }
    }

    /// Starts it again on the same port.
    pub(crate) async fn resume(&mut self) {
        self.running = match self.kind {
            Kind::Embedded => {
                Running::Embedded(Embedded::start(EmbeddedConfig::new(self.addr)).await.unwrap())
            }
            Kind::Mosquitto => {
                let dir = tempfile::tempdir().unwrap();
                let conf = dir.path().join("mosquitto.conf");
                let text = format!(
                    "listener {} 127.0.0.1\nallow_anonymous true\npersistence false\nset_tcp_nodelay true\n\
                     max_inflight_messages 100\nlog_dest none\n{}\n",
                    self.addr.port(),
                    self.extra
                );
                std::fs::write(&conf, text).unwrap();
                let child = Command::new("mosquitto")
                    .arg("-c")
                    .arg(&conf)
                    .stdout(Stdio::null())
                    .stderr(Stdio::null())
                    .spawn()
                    .unwrap();
                // It need not listen yet: clients try until it does.
                Running::Mosquitto { child, _conf: dir }
            }
        };
    }
}

impl Drop for TestBroker {
    fn drop(&mut self) {
        if let Running::Mosquitto { child, .. } = &mut self.running {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}

//! A broker in a process of its own, which can be killed and started again on its port.

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::certificates;
use crate::process::Process;
use crate::program::{command, on_path, say};

/// A broker listens within this, on a busy machine.
const UP_WITHIN: Duration = Duration::from_secs(30);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `foa broker`, which keeps nothing over a restart.
    Embedded,
    /// Mosquitto, where it is installed, with everything it is told on disk.
    Mosquitto,
    /// The same, over TLS with a certificate authority made for the test.
    MosquittoTls,
}

pub(crate) struct Broker {
    kind: Kind,
    port: u16,
    folder: PathBuf,
    process: Option<Process>,
}

impl Broker {
    /// None when there is no such broker on this machine, which is said aloud.
    pub(crate) fn start(kind: Kind, folder: &Path) -> Option<Self> {
        let needed: &[&str] = match kind {
            Kind::Embedded => &[],
            Kind::Mosquitto => &["mosquitto"],
            Kind::MosquittoTls => &["mosquitto", "openssl"],
        };
        for program in needed {
            if !on_path(program) {
                say(&format!("SKIPPED: {program} not found"));
                return None;
            }
        }
        let mut broker = Self { kind, port: 0, folder: folder.to_owned(), process: None };
        if kind != Kind::Embedded {
            broker.port = free_port();
            broker.configure_mosquitto();
        }
        broker.resume();
        Some(broker)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn url(&self) -> String {
        match self.kind {
            Kind::Embedded | Kind::Mosquitto => format!("mqtt://127.0.0.1:{}", self.port),
            Kind::MosquittoTls => format!("mqtts://127.0.0.1:{}", self.port),
        }
    }

    /// Whom to trust, if not the system.
    pub(crate) fn ca(&self) -> Option<PathBuf> {
        (self.kind == Kind::MosquittoTls).then(|| self.folder.join(certificates::CA))
    }

    /// `kill -9`; what an embedded one kept is gone.
    pub(crate) fn kill(&mut self) {
        self.process.take().expect("it runs").kill();
    }

    /// Starts it, on the port it had before.
    pub(crate) fn resume(&mut self) {
        self.process = Some(match self.kind {
            Kind::Embedded => {
                let listen = format!("127.0.0.1:{}", self.port);
                let process = Process::start("broker", &mut command(&["broker", "--listen", &listen]));
                let url = process.first_line(UP_WITHIN);
                let port = url.rsplit(':').next().and_then(|port| port.parse().ok());
                self.port = port.unwrap_or_else(|| panic!("wanted mqtt://127.0.0.1:port, found {url:?}"));
                process
            }
            Kind::Mosquitto | Kind::MosquittoTls => {
                let mut mosquitto = Command::new("mosquitto");
                let process =
                    Process::start("mosquitto", mosquitto.arg("-c").arg(self.folder.join("mosquitto.conf")));
                process.says("running", UP_WITHIN);
                process
            }
        });
    }

    fn configure_mosquitto(&self) {
        let folder = self.folder.display();
        let mut text = format!(
            "listener {} 127.0.0.1\nallow_anonymous true\nset_tcp_nodelay true\nmax_queued_messages 100000\n\
             user root\npersistence true\npersistence_location {folder}/\nautosave_on_changes true\n\
             autosave_interval 1\n",
            self.port
        );
        if self.kind == Kind::MosquittoTls {
            certificates::make(&self.folder, "127.0.0.1");
            let (cert, key) = (certificates::CERT, certificates::KEY);
            text += &format!("certfile {folder}/{cert}\nkeyfile {folder}/{key}\n");
        }
        std::fs::write(self.folder.join("mosquitto.conf"), text).unwrap();
    }
}

/// A port that was free just now.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap().port()
}

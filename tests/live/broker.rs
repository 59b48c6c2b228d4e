//! A broker in a process of its own, which can be killed and started again on its port.

use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::process::Process;
use crate::program::{command, on_path, say};

/// A broker listens within this, on a busy machine.
const UP_WITHIN: Duration = Duration::from_secs(30);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `foa broker`.
    Embedded,
    /// Mosquitto, where it is installed.
    Mosquitto,
}

pub(crate) struct Broker {
    port: u16,
    process: Option<Process>,
}

impl Broker {
    /// None when there is no such broker on this machine, which is said aloud.
    pub(crate) fn start(kind: Kind, folder: &Path) -> Option<Self> {
        match kind {
            Kind::Embedded => {
                let mut broker = Self { port: 0, process: None };
                broker.resume();
                Some(broker)
            }
            Kind::Mosquitto if !on_path("mosquitto") => {
                say("SKIPPED: mosquitto not found");
                None
            }
            Kind::Mosquitto => {
                let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
                let port = listener.local_addr().unwrap().port();
                drop(listener);
                let file = folder.join("mosquitto.conf");
                let text = format!("listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\n");
                std::fs::write(&file, text).unwrap();
                let mut mosquitto = Command::new("mosquitto");
                let process = Process::start("mosquitto", mosquitto.arg("-c").arg(&file));
                process.says("running", UP_WITHIN);
                Some(Self { port, process: Some(process) })
            }
        }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn url(&self) -> String {
        format!("mqtt://127.0.0.1:{}", self.port)
    }

    /// `kill -9`; what it kept is gone.
    pub(crate) fn kill(&mut self) {
        self.process.take().expect("it runs").kill();
    }

    /// Starts the embedded one, on the port it had before.
    pub(crate) fn resume(&mut self) {
        let listen = format!("127.0.0.1:{}", self.port);
        let process = Process::start("broker", &mut command(&["broker", "--listen", &listen]));
        let url = process.first_line(UP_WITHIN);
        let port = url.rsplit(':').next().and_then(|port| port.parse().ok());
        self.port = port.unwrap_or_else(|| panic!("wanted mqtt://127.0.0.1:port, found {url:?}"));
        self.process = Some(process);
    }
}

//! A broker, nodes as processes, and the command line that asks them.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::broker::{Broker, Kind};
use crate::process::{Ended, Process};
use crate::program::{self, command};

/// Longer than anything short takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Fields are dropped in this order: nodes, broker, files.
pub(crate) struct Federation {
    nodes: BTreeMap<String, Process>,
    pub(crate) broker: Broker,
    folder: tempfile::TempDir,
}

impl Federation {
    /// A broker and nobody yet; none when something it needs cannot be had here, which is said aloud.
    pub(crate) fn new(kind: Kind) -> Option<Self> {
        if !program::model() {
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let broker = Broker::start(kind, folder.path())?;
        std::fs::write(
            folder.path().join("client.toml"),
            "[client]\nname = \"guest\"\nkey_file = \"guest.key\"\n",
        )
        .unwrap();
        Some(Self { nodes: BTreeMap::new(), broker, folder })
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Starts a node; the same name again is the same node with the same key and journal.
    pub(crate) fn start(&mut self, name: &str, roles: &[&str], agents: &str) {
        let file = self.folder().join(format!("{name}.toml"));
        let (url, roles) = (self.broker.url(), roles.join("\", \""));
        let text = format!(
            "[node]\nname = \"{name}\"\ndata_dir = \"{name}\"\nroles = [\"{roles}\"]\n\n\
             [broker]\nurl = \"{url}\"\n\n[limits]\ndrain_ms = 60000\n\n{agents}"
        );
        std::fs::write(&file, text).unwrap();
        self.again(name);
    }

    /// Starts a node with the configuration it had before.
    pub(crate) fn again(&mut self, name: &str) {
        let file = self.folder().join(format!("{name}.toml"));
        let mut node = command(&["node", "--config"]);
        let process = Process::start(name, node.arg(&file).current_dir(self.folder()));
        let before = self.nodes.insert(name.to_owned(), process);
        assert!(before.is_none(), "{name} runs already");
    }

    /// Waits until these nodes say that others know them.
    pub(crate) fn ready(&self, names: &[&str]) {
        for name in names {
            self.node(name).says("is ready", PATIENCE);
        }
    }

    pub(crate) fn node(&self, name: &str) -> &Process {
        &self.nodes[name]
    }

    /// Hands over a node, to be killed or waited for.
    pub(crate) fn take(&mut self, name: &str) -> Process {
        self.nodes.remove(name).unwrap_or_else(|| panic!("no node {name} runs"))
    }

    /// A command a person would type.
    pub(crate) fn begin(&self, args: &[&str]) -> Process {
        let mut client = command(args);
        client.arg("--config").arg(self.folder().join("client.toml")).args(["--broker", &self.broker.url()]);
        Process::start(&format!("foa {}", args[0]), &mut client)
    }

    pub(crate) fn run(&self, args: &[&str]) -> Ended {
        self.begin(args).end(2 * PATIENCE)
    }

    /// A command that must end well, as JSON.
    pub(crate) fn json(&self, args: &[&str]) -> Value {
        self.run(args).json()
    }

    /// Asks again until the answer is as wanted; each question is a process, which keeps the pace.
    pub(crate) fn until<T>(
        &self,
        what: &str,
        args: &[&str],
        mut wanted: impl FnMut(&Value) -> Option<T>,
    ) -> T {
        let until = Instant::now() + PATIENCE;
        loop {
            let ended = self.run(args);
            let found = if ended.code == Some(0) { wanted(&ended.json()) } else { None };
            match found {
                Some(found) => return found,
                None if Instant::now() < until => {}
                None => panic!("wanted {what} within {PATIENCE:?}, found {ended:#?}"),
            }
        }
    }

    /// Waits until a coordinator knows this many agents of nodes that are there.
    pub(crate) fn agents(&self, wanted: usize) {
        self.until(&format!("{wanted} agents"), &["agents", "list", "--json"], |agents| {
            let online = agents.as_array()?.iter().filter(|a| a["online"] == true).count();
            (online == wanted).then_some(())
        });
    }
}

/// An `[[agent]]` section.
pub(crate) fn agent(kind: &str, name: &str, keys: &[(&str, &str)]) -> String {
    let keys: String = keys.iter().map(|(key, value)| format!("{key} = {value:?}\n")).collect();
    format!("[[agent]]\nkind = \"{kind}\"\nname = \"{name}\"\n{keys}\n")
}

/// A list in a JSON value; empty when there is none.
pub(crate) fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

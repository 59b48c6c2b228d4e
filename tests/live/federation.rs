//! A broker, nodes as processes, and the command line that asks them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::broker::{Broker, Kind};
use crate::process::{Ended, Process};
use crate::program::{self, command, command_of};

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
        let federation = Self { nodes: BTreeMap::new(), broker, folder };
        let trust = federation.trust();
        let client = format!("[client]\nname = \"guest\"\nkey_file = \"guest.key\"\n\n[broker]\n{trust}");
        std::fs::write(federation.client(), client).unwrap();
        Some(federation)
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The command line's configuration.
    fn client(&self) -> PathBuf {
        self.folder().join("client.toml")
    }

    /// The setting that makes the broker trusted, if it needs one.
    fn trust(&self) -> String {
        self.broker.ca().map(|ca| format!("ca_file = {ca:?}\n")).unwrap_or_default()
    }

    /// Starts a node; the same name again is the same node with the same key and journal.
    pub(crate) fn start(&mut self, name: &str, roles: &[&str], agents: &str) {
        self.start_at(&self.broker.url(), name, roles, agents);
    }

    /// The same, with another way to the broker.
    pub(crate) fn start_at(&mut self, url: &str, name: &str, roles: &[&str], agents: &str) {
        self.configure(url, name, roles, agents);
        self.again(name);
    }

    /// Writes a node's configuration.
    pub(crate) fn configure(&self, url: &str, name: &str, roles: &[&str], agents: &str) {
        let file = self.folder().join(format!("{name}.toml"));
        let (roles, trust) = (roles.join("\", \""), self.trust());
        let text = format!(
            "[node]\nname = \"{name}\"\ndata_dir = \"{name}\"\nroles = [\"{roles}\"]\n\n\
             [broker]\nurl = \"{url}\"\n{trust}\n[limits]\ndrain_ms = 60000\n\n{agents}"
        );
        std::fs::write(&file, text).unwrap();
    }

    /// Starts a node with the configuration it had before.
    pub(crate) fn again(&mut self, name: &str) {
        self.again_as(program::foa(), name);
    }

    /// The same, as another binary.
    pub(crate) fn again_as(&mut self, binary: &Path, name: &str) {
        let file = self.folder().join(format!("{name}.toml"));
        let mut node = command_of(binary, &["node", "--config"]);
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

    pub(crate) fn runs(&self, name: &str) -> bool {
        self.nodes.contains_key(name)
    }

    /// Hands over a node, to be killed or waited for.
    pub(crate) fn take(&mut self, name: &str) -> Process {
        self.nodes.remove(name).unwrap_or_else(|| panic!("no node {name} runs"))
    }

    /// A command a person would type.
    pub(crate) fn begin(&self, args: &[&str]) -> Process {
        self.begin_as(&self.client(), args)
    }

    fn begin_as(&self, config: &Path, args: &[&str]) -> Process {
        let mut client = command(args);
        client.arg("--config").arg(config).args(["--broker", &self.broker.url()]);
        Process::start(&format!("foa {}", args[0]), &mut client)
    }

    /// A command with somebody else's configuration.
    pub(crate) fn run_as(&self, config: &Path, args: &[&str]) -> Ended {
        self.begin_as(config, args).end(2 * PATIENCE)
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

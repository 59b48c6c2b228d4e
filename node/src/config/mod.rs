//! What a node and the command line are told: file, then environment, then flags, each over the one before.
//!
//! [`layers::Layers`] is what was said and by whom; [`NodeConfig`] and [`ClientConfig`] are what it comes to, checked.
//! Secrets stand in files or in the environment, never among the values, so they cannot be shown by accident.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use etcetera::BaseStrategy as _;
use foa_broker::{BrokerUrl, Credentials};
use foa_capability::Money;
use foa_node_core::admission::Limits;
use foa_node_core::shards::Sharding;
use foa_node_core::status::Role;
use foa_wire::{Namespace, NodeId, NodeName};

mod card;
pub mod defaults;
pub mod error;
pub mod layers;

pub use self::error::ConfigError;
pub use self::layers::{Flag, Layers, Origin, Value};

use self::defaults::{CONFIG_ENV, PASSWORD_ENV};
use self::layers::AgentTable;
use crate::agent::config::AgentConfig;
use crate::artifact::Limits as ArtifactLimits;

/// How to reach the federation: what every command needs.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// The broker.
    pub broker: BrokerUrl,
    /// Who we are to the broker.
    pub credentials: Option<Credentials>,
    /// Certificates to trust instead of the system's.
    pub ca: Option<PathBuf>,
    /// The first part of every topic.
    pub namespace: Namespace,
    /// What people call us.
    pub name: NodeName,
    /// Where our key is.
    pub key_file: PathBuf,
}

/// All a node must know before it starts.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// What people call it.
    pub name: NodeName,
    /// The first part of every topic.
    pub namespace: Namespace,
    /// Where its key and journal are.
    pub data_dir: PathBuf,
    /// What it is for.
    pub roles: Vec<Role>,
    /// Who may control every job.
    pub operators: BTreeSet<NodeId>,
    /// The federation's coordinators, if they are fixed; empty is whoever says to be one.
    pub coordinators: BTreeSet<NodeId>,
    /// Whether unsigned jobs are taken.
    pub accept_unsigned: bool,
    /// The broker.
    pub broker: BrokerUrl,
    /// Who it is to the broker.
    pub credentials: Option<Credentials>,
    /// Certificates to trust instead of the system's.
    pub ca: Option<PathBuf>,
    /// Whether it runs the broker itself.
    pub embedded: bool,
    /// Its agents.
    pub agents: Vec<AgentConfig>,
    /// Where relative paths of agents start: the directory of the file.
    pub base: PathBuf,
    /// Bytes its journal may take; none is no limit.
    pub store_quota: Option<u64>,
    /// How long it finishes what it has when told to stop.
    pub drain: Duration,
    /// Artifacts: where they are kept and fetched.
    pub artifacts: ArtifactConfig,
    /// Jobs held and run at once, at most.
    pub limits: Limits,
    /// When the directory is shared among the coordinators.
    pub sharding: Sharding,
}

/// How a node keeps artifacts and gives them to others.
#[derive(Clone, Debug)]
pub struct ArtifactConfig {
    /// Where it listens.
    pub listen: Vec<String>,
    /// Addresses that lead there from outside.
    pub announce: Vec<String>,
    /// How much it keeps and for how long.
    pub limits: ArtifactLimits,
}

impl NodeConfig {
    /// Where the key is.
    #[must_use]
    pub fn key_file(&self) -> PathBuf {
        self.data_dir.join("node.key")
    }

    /// Where the journal is.
    #[must_use]
    pub fn journal(&self) -> PathBuf {
        self.data_dir.join("journal")
    }

    /// Where artifacts are.
    #[must_use]
    pub fn artifacts_dir(&self) -> PathBuf {
        self.data_dir.join("artifacts")
    }

    /// Where the directory is kept between two starts.
    #[must_use]
    pub fn directory(&self) -> PathBuf {
        self.data_dir.join("directory")
    }

    /// Where vectors of texts seen before are.
    #[must_use]
    pub fn vectors(&self) -> PathBuf {
        self.data_dir.join("vectors")
    }
}

/// Reads all layers. `explicit` is the file named on the command line; otherwise `FOA_CONFIG` names it, or it is
/// `foa/foa.toml` in the user's configuration directory, which may be absent.
///
/// # Errors
/// When a file that was named cannot be read, or something in it means nothing.
pub fn load(explicit: Option<&Path>, flags: Vec<Flag>) -> Result<Layers, ConfigError> {
    let named = explicit
        .map(Path::to_owned)
        .or_else(|| std::env::var_os(CONFIG_ENV).filter(|v| !v.is_empty()).map(PathBuf::from));
    let mut layers = Layers::default();
    match named {
        Some(path) => {
            let text = fs::read_to_string(&path)
                .map_err(|source| ConfigError::Unreadable { path: path.clone(), source })?;
            layers.add_file(&path, &text)?;
        }
        None => {
            if let Some(path) = default_file()
                && let Ok(text) = fs::read_to_string(&path)
            {
                layers.add_file(&path, &text)?;
            }
        }
    }
    // A variable whose name or value is no text is none of ours.
    let vars = std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)));
    layers.add_env(vars)?;
    layers.add_flags(flags);
    Ok(layers)
}

/// Where the file is looked for when nobody names one.
#[must_use]
pub fn default_file() -> Option<PathBuf> {
    Some(etcetera::choose_base_strategy().ok()?.config_dir().join("foa/foa.toml"))
}

impl Layers {
    /// What every command needs, checked.
    ///
    /// # Errors
    /// When a value cannot be, or a secret cannot be read.
    pub fn client(&self) -> Result<ClientConfig, ConfigError> {
        let key_file = match self.path("client.key_file") {
            Some(path) => path,
            None => etcetera::choose_base_strategy()
                .map_err(|_| ConfigError::NoHome { what: "your key", set: "FOA_CLIENT_KEY_FILE" })?
                .config_dir()
                .join("foa/client.key"),
        };
        Ok(ClientConfig {
            broker: self.parsed("broker.url")?,
            credentials: self.credentials()?,
            ca: self.path("broker.ca_file"),
            namespace: self.parsed("node.namespace")?,
            name: self.parsed("client.name")?,
            key_file,
        })
    }

    /// What a node needs, checked.
    ///
    /// # Errors
    /// When a value cannot be, an agent makes no sense, or a secret cannot be read.
    pub fn node(&self) -> Result<NodeConfig, ConfigError> {
        let name: NodeName = self.parsed("node.name")?;
        let broker: BrokerUrl = self.parsed("broker.url")?;
        let data_dir = match self.path("node.data_dir") {
            Some(path) => path,
            None => etcetera::choose_base_strategy()
                .map_err(|_| ConfigError::NoHome { what: "the node's data", set: "FOA_DATA_DIR" })?
                .data_dir()
                .join("foa")
                .join(name.as_str()),
        };
        let embedded = self.yes("broker.embedded").unwrap_or(false);
        if embedded && broker.is_tls() {
            return Err(self.invalid(
                "broker.embedded",
                format!("wanted a broker.url with mqtt:// for a broker in this process, found {broker}"),
            ));
        }
        Ok(NodeConfig {
            name,
            namespace: self.parsed("node.namespace")?,
            data_dir,
            roles: self.roles()?,
            operators: self.each("node.operators")?,
            coordinators: self.each("node.coordinators")?,
            accept_unsigned: self.yes("node.accept_unsigned").unwrap_or_else(|| broker.is_loopback()),
            credentials: self.credentials()?,
            ca: self.path("broker.ca_file"),
            broker,
            embedded,
            agents: self.checked_agents()?,
            base: self.base().to_owned(),
            store_quota: self.number("store.max_bytes").filter(|bytes| *bytes > 0),
            drain: Duration::from_millis(self.number("limits.drain_ms").unwrap_or(0)),
            limits: self.limits()?,
            sharding: self.sharding()?,
            artifacts: self.artifacts(),
        })
    }

    fn at_least_one(&self, path: &'static str) -> Result<usize, ConfigError> {
        match self.number(path).unwrap_or(0) {
            0 => Err(self.invalid(path, "wanted at least 1, found 0".to_owned())),
            number => Ok(usize::try_from(number).unwrap_or(usize::MAX)),
        }
    }

    fn sharding(&self) -> Result<Sharding, ConfigError> {
        let above = self.number("directory.max_cards").filter(|cards| *cards > 0);
        let above = above.map(|cards| usize::try_from(cards).unwrap_or(usize::MAX));
        Ok(Sharding { above, replicas: self.at_least_one("directory.replicas")? })
    }

    fn limits(&self) -> Result<Limits, ConfigError> {
        let unsigned = i64::try_from(self.number("limits.unsigned_budget").unwrap_or(0)).unwrap_or(i64::MAX);
        Ok(Limits {
            max_jobs: self.at_least_one("limits.max_jobs")?,
            max_running: self.at_least_one("limits.max_running")?,
            unsigned_budget: Some(Money(unsigned)),
        })
    }

    /// How artifacts are kept and handed over from here.
    #[must_use]
    pub fn artifacts(&self) -> ArtifactConfig {
        ArtifactConfig {
            listen: self.list("artifacts.listen"),
            announce: self.list("artifacts.announce"),
            limits: ArtifactLimits {
                quota: self.number("artifacts.quota_mb").unwrap_or(0).saturating_mul(1_000_000),
                keep: Duration::from_secs(
                    self.number("artifacts.keep_hours").unwrap_or(0).saturating_mul(3600),
                ),
            },
        }
    }

    /// Where relative paths of agents start.
    fn base(&self) -> &Path {
        self.file.as_deref().and_then(Path::parent).unwrap_or(Path::new(""))
    }

    fn checked_agents(&self) -> Result<Vec<AgentConfig>, ConfigError> {
        let mut agents: Vec<AgentConfig> = Vec::new();
        for given in &self.agents {
            let given = &card::with_card(given, self.base())?;
            let read = agent(given)?;
            if agents.iter().any(|other| other.name() == read.name()) {
                let detail = format!("wanted agents of different names, found two called {}", read.name());
                return Err(ConfigError::Agent { place: given.place_of("name"), detail });
            }
            agents.push(read);
        }
        Ok(agents)
    }

    fn text(&self, path: &str) -> Option<String> {
        match self.get(path) {
            Some((Value::Text(text), _)) => Some(text),
            Some((Value::Bool(_) | Value::Number(_) | Value::List(_), _)) | None => None,
        }
    }

    fn path(&self, path: &str) -> Option<PathBuf> {
        self.text(path).map(PathBuf::from)
    }

    fn yes(&self, path: &str) -> Option<bool> {
        match self.get(path) {
            Some((Value::Bool(yes), _)) => Some(yes),
            Some((Value::Text(_) | Value::Number(_) | Value::List(_), _)) | None => None,
        }
    }

    fn number(&self, path: &str) -> Option<u64> {
        match self.get(path) {
            Some((Value::Number(number), _)) => Some(number),
            Some((Value::Text(_) | Value::Bool(_) | Value::List(_), _)) | None => None,
        }
    }

    fn list(&self, path: &str) -> Vec<String> {
        match self.get(path) {
            Some((Value::List(list), _)) => list,
            Some((Value::Text(_) | Value::Number(_) | Value::Bool(_), _)) | None => Vec::new(),
        }
    }

    fn parsed<T: FromStr<Err: std::fmt::Display>>(&self, path: &'static str) -> Result<T, ConfigError> {
        let text = self.text(path).unwrap_or_default();
        text.parse().map_err(|e: T::Err| self.invalid(path, e.to_string()))
    }

    fn each<T: FromStr<Err: std::fmt::Display> + Ord>(
        &self,
        path: &'static str,
    ) -> Result<BTreeSet<T>, ConfigError> {
        let parse = |text: &String| text.parse().map_err(|e: T::Err| self.invalid(path, e.to_string()));
        self.list(path).iter().map(parse).collect()
    }

    fn roles(&self) -> Result<Vec<Role>, ConfigError> {
        let mut roles = Vec::new();
        for text in self.list("node.roles") {
            let role = match text.as_str() {
                "coordinator" => Role::Coordinator,
                "worker" => Role::Worker,
                _ => {
                    let detail = format!("wanted coordinator or worker, found {text:?}");
                    return Err(self.invalid("node.roles", detail));
                }
            };
            if !roles.contains(&role) {
                roles.push(role);
            }
        }
        if roles.is_empty() {
            return Err(
                self.invalid("node.roles", "wanted coordinator, worker or both, found neither".to_owned())
            );
        }
        Ok(roles)
    }

    fn credentials(&self) -> Result<Option<Credentials>, ConfigError> {
        let Some(user) = self.text("broker.username") else { return Ok(None) };
        let password = match (std::env::var(PASSWORD_ENV), self.path("broker.password_file")) {
            (Ok(password), _) => password,
            (Err(_), Some(path)) => {
                let text = fs::read_to_string(&path).map_err(|e| ConfigError::Secret {
                    origin: self.origin("broker.password_file"),
                    path: "broker.password_file",
                    detail: format!("cannot read {}: {e}", path.display()),
                    hint: format!("put the password into it, or into {PASSWORD_ENV}"),
                })?;
                text.trim_end_matches(['\r', '\n']).to_owned()
            }
            (Err(_), None) => String::new(),
        };
        Ok(Some(Credentials { user, password }))
    }

    fn origin(&self, path: &str) -> Origin {
        self.get(path).map_or(Origin::Default, |(_, origin)| origin)
    }

    fn invalid(&self, path: &'static str, detail: String) -> ConfigError {
        ConfigError::Invalid { origin: self.origin(path), path, detail }
    }
}

/// Reads one `[[agent]]`; the message has the line of the key that is wrong.
fn agent(given: &AgentTable) -> Result<AgentConfig, ConfigError> {
    let error = match toml::Value::Table(given.table.clone()).try_into::<AgentConfig>() {
        Ok(config) => return Ok(config),
        Err(error) => error,
    };
    let said = error.message();
    if let Some((key, known)) = expected(said, "unknown field") {
        let within = match given.table.get("kind").and_then(toml::Value::as_str) {
            Some(kind) => format!("[agent] of kind {kind}"),
            None => "[agent]".to_owned(),
        };
        return Err(ConfigError::UnknownKey {
            place: given.place_of(&key),
            key,
            within: Some(within),
            known,
        });
    }
    if let Some((kind, known)) = expected(said, "unknown variant") {
        let detail = format!("wanted a kind of {}, found {kind:?}", known.join(", "));
        return Err(ConfigError::Agent { place: given.place_of("kind"), detail });
    }
    // A value of the wrong type: serde says which value, not where. Taking away one key after another finds it.
    let culprit = given.table.keys().filter(|key| *key != "kind").find(|key| {
        let mut without = given.table.clone();
        without.remove(*key);
        let again = toml::Value::Table(without).try_into::<AgentConfig>();
        again.map_or_else(|e| e.message() != said, |_| true)
    });
    let place = culprit.map_or_else(|| given.place.clone(), |key| given.place_of(key));
    let said = said.replace("missing field", "wanted the key");
    let detail = culprit.map_or_else(|| said.clone(), |key| format!("{key}: {said}"));
    Err(ConfigError::Agent { place, detail })
}

/// What serde found and what it knows, in ``unknown field `x`, expected one of `a`, `b` ``.
fn expected(said: &str, what: &str) -> Option<(String, Vec<String>)> {
    let mut quoted = said.strip_prefix(what)?.split('`').skip(1).step_by(2).map(str::to_owned);
    let found = quoted.next()?;
    Some((found, quoted.collect()))
}

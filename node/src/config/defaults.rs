//! Every setting: its key, its environment variable, its default, and why that default.

use std::time::Duration;

/// What a setting holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Words.
    Text,
    /// A path; a relative one in a file is relative to the file's directory.
    Path,
    /// `true` or `false`.
    Bool,
    /// A whole number, zero or more.
    Number,
    /// A list of words; in the environment separated by commas.
    List,
}

impl Kind {
    /// What a message says was wanted.
    #[must_use]
    pub fn wanted(self) -> &'static str {
        match self {
            Self::Text => "a text",
            Self::Path => "a path",
            Self::Bool => "true or false",
            Self::Number => "a whole number, zero or more",
            Self::List => "a list of texts",
        }
    }
}

/// One setting.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// `section.key`, as it stands in the file.
    pub path: &'static str,
    /// The environment variable that overrides it.
    pub env: &'static str,
    /// What it holds.
    pub kind: Kind,
    /// In force when nobody says anything; `None` when there is none, or it depends on the machine.
    pub default: Option<&'static str>,
    /// One sentence for people.
    pub about: &'static str,
}

/// Never in a file and never shown.
pub const PASSWORD_ENV: &str = "FOA_BROKER_PASSWORD";
/// Where the configuration file is, when it is not where it is looked for.
pub const CONFIG_ENV: &str = "FOA_CONFIG";
/// Variables that are read elsewhere, so that they are not taken for misspelt settings.
pub const OTHER_ENV: &[&str] = &[
    CONFIG_ENV,
    PASSWORD_ENV,
    "FOA_LOG",
    "FOA_LOG_FORMAT",
    "FOA_MODEL_DIR",
    "FOA_MODEL_ALSO",
    "FOA_CACHE",
    "FOA_OFFLINE",
];

/// How many requests of the command line go unanswered for this long before it says so. A coordinator on the same
/// machine answers in milliseconds; five seconds cover a reconnection.
pub const QUERY_TIMEOUT: Duration = Duration::from_secs(5);

/// All settings, in the order `foa config show` prints them.
pub const SETTINGS: &[Setting] = &[
    Setting {
        path: "node.name",
        env: "FOA_NODE_NAME",
        kind: Kind::Text,
        // The fingerprint of the key makes the id unique, so the name need not be.
        default: Some("node"),
        about: "what people call the node",
    },
    Setting {
        path: "node.namespace",
        env: "FOA_NAMESPACE",
        kind: Kind::Text,
        default: Some("foa"),
        about: "first part of every topic; federations that share a broker differ in it",
    },
    Setting {
        path: "node.data_dir",
        env: "FOA_DATA_DIR",
        kind: Kind::Path,
        // The user's data directory, and in it one directory for each node name: two nodes on one machine are two names.
        default: None,
        about: "where the node keeps its key and its journal",
    },
    Setting {
        path: "node.roles",
        env: "FOA_ROLES",
        kind: Kind::List,
        // A single node must be a whole federation; with several, name the coordinators.
        default: Some("coordinator,worker"),
        about: "what the node is for: coordinator, worker",
    },
    Setting {
        path: "node.operators",
        env: "FOA_OPERATORS",
        kind: Kind::List,
        // Deny by default: nobody but a job's owner controls it.
        default: Some(""),
        about: "ids of those who may control every job",
    },
    Setting {
        path: "node.coordinators",
        env: "FOA_COORDINATORS",
        kind: Kind::List,
        // Whoever says to be one: nothing to set up. Naming them keeps strangers, and partitions among newcomers, out of
        // the replica sets.
        default: Some(""),
        about: "ids of the federation's coordinators, the same on all of them; empty is whoever says to be one",
    },
    Setting {
        path: "node.accept_unsigned",
        env: "FOA_ACCEPT_UNSIGNED",
        kind: Kind::Bool,
        // True while the broker is on this machine: `mosquitto_pub` should work on a laptop and nowhere else.
        default: None,
        about: "whether jobs that nobody signed are taken",
    },
    Setting {
        path: "broker.url",
        env: "FOA_BROKER_URL",
        kind: Kind::Text,
        // The port IANA assigned to MQTT, on this machine: reaching further is a decision.
        default: Some("mqtt://127.0.0.1:1883"),
        about: "the broker: mqtt://host:1883 or mqtts://host:8883",
    },
    Setting {
        path: "broker.username",
        env: "FOA_BROKER_USERNAME",
        kind: Kind::Text,
        default: None,
        about: "who the node is to the broker",
    },
    Setting {
        path: "broker.password_file",
        env: "FOA_BROKER_PASSWORD_FILE",
        kind: Kind::Path,
        default: None,
        about: "a file with the password; or the environment variable FOA_BROKER_PASSWORD",
    },
    Setting {
        path: "broker.ca_file",
        env: "FOA_BROKER_CA_FILE",
        kind: Kind::Path,
        default: None,
        about: "PEM certificates to trust instead of the system's, for mqtts",
    },
    Setting {
        path: "broker.embedded",
        env: "FOA_BROKER_EMBEDDED",
        kind: Kind::Bool,
        // A node joins a federation; only one process should bring the broker.
        default: Some("false"),
        about: "whether the node runs the broker itself, on the address in broker.url",
    },
    Setting {
        path: "client.name",
        env: "FOA_CLIENT_NAME",
        kind: Kind::Text,
        // The user's login name would tell every federation who sits here.
        default: Some("client"),
        about: "what people call you when you submit jobs",
    },
    Setting {
        path: "client.key_file",
        env: "FOA_CLIENT_KEY_FILE",
        kind: Kind::Path,
        // client.key beside the default configuration file.
        default: None,
        about: "your key: it owns the jobs you submit",
    },
    Setting {
        path: "store.max_bytes",
        env: "FOA_STORE_MAX_BYTES",
        kind: Kind::Number,
        // A hundred thousand jobs of some ten records; small beside any disk a coordinator should have.
        default: Some("8589934592"),
        about: "bytes the journal may take; a node whose journal is larger takes no new jobs; 0 is no limit",
    },
    Setting {
        path: "artifacts.listen",
        env: "FOA_ARTIFACTS_LISTEN",
        kind: Kind::List,
        // This machine only, on ports the system chooses: reaching further is a decision, like the broker's address.
        default: Some("/ip4/127.0.0.1/udp/0/quic-v1,/ip4/127.0.0.1/tcp/0"),
        about: "where other nodes fetch artifacts from here: multiaddresses, QUIC or TCP; empty: nowhere",
    },
    Setting {
        path: "artifacts.announce",
        env: "FOA_ARTIFACTS_ANNOUNCE",
        kind: Kind::List,
        default: Some(""),
        about: "addresses that lead here from outside, told before those it listens on",
    },
    Setting {
        path: "artifacts.quota_mb",
        env: "FOA_ARTIFACTS_QUOTA_MB",
        kind: Kind::Number,
        // Room for some attachments on any disk; what was not used for longest gives way.
        default: Some("2048"),
        about: "disk space for artifacts, in megabytes",
    },
    Setting {
        path: "artifacts.keep_hours",
        env: "FOA_ARTIFACTS_KEEP_HOURS",
        kind: Kind::Number,
        // A week: a result that was read on Monday can be followed up on Friday.
        default: Some("168"),
        about: "how long an artifact is kept that nobody uses, in hours",
    },
    Setting {
        path: "directory.max_cards",
        env: "FOA_DIRECTORY_MAX_CARDS",
        kind: Kind::Number,
        // About 1 GB of memory; up to there every coordinator answers by itself.
        default: Some("200000"),
        about: "cards a coordinator keeps before coordinators share them out by shards; 0 is never",
    },
    Setting {
        path: "directory.replicas",
        env: "FOA_DIRECTORY_REPLICAS",
        kind: Kind::Number,
        // Like the logs of jobs: two may go at once.
        default: Some("3"),
        about: "coordinators that keep each card, once cards are shared out",
    },
    Setting {
        path: "limits.drain_ms",
        env: "FOA_DRAIN_MS",
        kind: Kind::Number,
        // Container engines kill after ten seconds; two are left for the goodbye.
        default: Some("8000"),
        about: "how long a node that is told to stop finishes what it has, in milliseconds",
    },
    Setting {
        path: "limits.max_jobs",
        env: "FOA_MAX_JOBS",
        kind: Kind::Number,
        // Some tens of megabytes of logs in memory.
        default: Some("1000"),
        about: "open jobs of a coordinator, at most; beyond, and beyond a submitter's fair share, they are turned away",
    },
    Setting {
        path: "limits.max_running",
        env: "FOA_MAX_RUNNING",
        kind: Kind::Number,
        // Jobs mostly wait for agents; more at once would only make each of them slower.
        default: Some("256"),
        about: "jobs a coordinator works on at once; the others are safe and wait",
    },
    Setting {
        path: "limits.unsigned_budget",
        env: "FOA_UNSIGNED_BUDGET",
        kind: Kind::Number,
        // Nobody can be billed, so one unit: enough to try things out.
        default: Some("1000000"),
        about: "what a job that nobody signed may cost, at most, in millionths of the federation's currency",
    },
];

/// The setting of this path.
#[must_use]
pub fn setting(path: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|s| s.path == path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_stands_once_under_its_own_variable() {
        for (i, a) in SETTINGS.iter().enumerate() {
            assert!(a.path.split_once('.').is_some(), "{}", a.path);
            assert!(a.env.starts_with("FOA_"), "{}", a.env);
            assert!(!OTHER_ENV.contains(&a.env), "{}", a.env);
            assert!(SETTINGS[i + 1..].iter().all(|b| a.path != b.path && a.env != b.env), "{}", a.path);
        }
    }
}

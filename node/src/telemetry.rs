//! What the process tells its operator, on stderr: `FOA_LOG` filters it, `FOA_LOG_FORMAT=json` makes it machine-readable.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

/// How much a command says unless `FOA_LOG` says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verbosity {
    /// What an operator would tell a colleague: for a node and a broker.
    Service,
    /// Only what someone should look at: for commands that print an answer.
    Command,
}

impl Verbosity {
    /// Our own crates as wanted; the MQTT libraries only when they warn, because they log every connection.
    fn filter(self) -> &'static str {
        match self {
            Self::Service => "info,rumqttd=error,rumqttc=error,sled=warn,ort=warn",
            Self::Command => "warn,rumqttd=off,rumqttc=error,sled=warn,ort=error,rmcp=off",
        }
    }
}

/// Starts logging. Once per process; a second call changes nothing.
///
/// # Errors
/// When `FOA_LOG` is no filter.
pub fn start(verbosity: Verbosity) -> anyhow::Result<()> {
    let filter = match std::env::var("FOA_LOG") {
        Ok(text) if !text.is_empty() => EnvFilter::try_new(&text).map_err(|e| {
            anyhow::anyhow!(
                "wanted a filter like debug or foa_node=debug,info in FOA_LOG, found {text:?}: {e}"
            )
        })?,
        Ok(_) | Err(_) => EnvFilter::new(verbosity.filter()),
    };
    let builder =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    // A second start, in a test that runs commands in one process, keeps the first.
    drop(if std::env::var("FOA_LOG_FORMAT").is_ok_and(|f| f == "json") {
        builder.json().try_init()
    } else {
        builder.with_ansi(crate::cli::terminal::colour(std::io::stderr().is_terminal())).try_init()
    });
    Ok(())
}

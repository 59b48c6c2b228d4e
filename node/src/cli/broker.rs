//! `foa broker`: a broker for one machine.

use std::net::SocketAddr;
use std::process::ExitCode;

use foa_broker::{Credentials, Embedded, EmbeddedConfig};

use super::{Place, Stop, terminal};
use crate::config::defaults::PASSWORD_ENV;
use crate::exit::Failure;

/// Run an MQTT broker for one machine, a laptop or a demo
///
/// It keeps nothing over a restart. For more than one machine use Mosquitto, EMQX or another MQTT broker.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  foa broker --listen 127.0.0.1:1883")]
pub(super) struct Args {
    /// Address to listen on; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:1883")]
    listen: SocketAddr,
    /// The only user to let in, with the password in FOA_BROKER_PASSWORD [default: anyone who can reach it]
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
}

pub(super) async fn run(args: Args, _: &Place) -> Result<ExitCode, Failure> {
    let mut stop = Stop::listen().map_err(Failure::broken)?;
    let mut config = EmbeddedConfig::new(args.listen);
    if let Some(user) = args.user {
        let password = std::env::var(PASSWORD_ENV).map_err(|_| {
            Failure::broken(anyhow::anyhow!("wanted the password of {user} in {PASSWORD_ENV}, found none"))
        })?;
        config.users.push(Credentials { user, password });
    } else if !args.listen.ip().is_loopback() {
        terminal::note(
            "warning: anyone who can reach this address can use the broker; --user lets in one user only",
        );
    }
    let broker = Embedded::start(config).await.map_err(|e| {
        Failure::broken(e).hint("is another broker running there? --listen 127.0.0.1:0 takes a free port")
    })?;
    terminal::print(&format!("mqtt://{}", broker.addr()));
    terminal::note("broker is up; ctrl-C stops it");
    stop.told().await;
    broker.stop().await;
    Ok(ExitCode::SUCCESS)
}

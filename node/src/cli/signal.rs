//! Being told to stop.

use std::io;

/// Hears ctrl-C and SIGTERM.
pub(crate) struct Stop {
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
}

impl Stop {
    /// Begins to listen; from now on neither ends the process by itself.
    ///
    /// # Errors
    /// When the system allows no handler.
    #[cfg(unix)]
    pub(crate) fn listen() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Begins to listen; from now on ctrl-C does not end the process by itself.
    ///
    /// # Errors
    /// Never here.
    #[cfg(not(unix))]
    pub(crate) fn listen() -> io::Result<Self> {
        Ok(Self {})
    }

    /// Returns when told. Cancel-safe.
    #[cfg(unix)]
    pub(crate) async fn told(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }

    /// Returns when told. Cancel-safe.
    #[cfg(not(unix))]
    pub(crate) async fn told(&mut self) {
        drop(tokio::signal::ctrl_c().await);
    }
}

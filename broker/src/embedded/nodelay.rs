//! `TCP_NODELAY` for the connections of a broker that does not set it.
//!
//! rumqttd leaves Nagle's algorithm on for the sockets it accepts; with a client that delays its acknowledgements every small
//! answer waits some 40 ms. On Linux an accepted socket takes the option over from the socket that listens, so it is enough
//! to set it there. rumqttd does not hand that socket out: it is found among our own descriptors by its address.

use std::io;
use std::net::SocketAddr;

/// Turns the delay off for whatever the socket that listens on this address accepts from now on.
///
/// # Errors
/// When the system keeps us from our own descriptors, or nobody listens there.
#[cfg(target_os = "linux")]
pub(super) fn set(listen: SocketAddr) -> io::Result<()> {
    use rustix::net::{getsockname, sockopt};
    use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};

    let me = pidfd_open(getpid(), PidfdFlags::empty())?;
    for entry in std::fs::read_dir("/proc/self/fd")? {
        let entry = entry?;
        let Some(number) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let is_socket =
            std::fs::read_link(entry.path()).is_ok_and(|to| to.to_string_lossy().starts_with("socket:"));
        if !is_socket {
            continue;
        }
        // It may have been closed meanwhile. What we get is a copy that is ours to close.
        let Ok(socket) = pidfd_getfd(&me, number, PidfdGetfdFlags::empty()) else { continue };
        let at = getsockname(&socket).ok().and_then(|address| SocketAddr::try_from(address).ok());
        if at == Some(listen) && sockopt::socket_acceptconn(&socket) == Ok(true) {
            return Ok(sockopt::set_tcp_nodelay(&socket, true)?);
        }
    }
    Err(io::Error::new(io::ErrorKind::NotFound, "no descriptor of ours listens there"))
}

/// Elsewhere nothing is known of what accepted sockets take over.
#[cfg(not(target_os = "linux"))]
pub(super) fn set(_listen: SocketAddr) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn what_is_accepted_afterwards_does_not_delay() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        let accepted = |listener: &TcpListener| {
            let _client = TcpStream::connect(at).unwrap();
            listener.accept().unwrap().0.nodelay().unwrap()
        };
        assert!(!accepted(&listener));
        set(at).unwrap();
        assert!(accepted(&listener));
        drop(listener);
        assert_eq!(set(at).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}

//! A way to the broker that can be cut, stalled, slowed down, or passed in one direction only, and heals again.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::federation::PATIENCE;

/// How a link is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Link {
    /// Everything passes.
    Open,
    /// Connections break, and new ones are hung up on.
    Cut,
    /// Connections stand and are taken, and nothing passes.
    Stalled,
    /// Only what the node says passes; it hears nothing.
    Deaf,
    /// Only what the node hears passes; nobody hears it.
    Mute,
    /// Everything passes this much later.
    Slow(Duration),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    ToBroker,
    ToNode,
}

impl Link {
    fn passes(self, direction: Direction) -> bool {
        match self {
            Self::Open | Self::Slow(_) => true,
            Self::Cut | Self::Stalled => false,
            Self::Deaf => direction == Direction::ToBroker,
            Self::Mute => direction == Direction::ToNode,
        }
    }
}

struct State {
    link: Link,
    /// Grows with each connection that is hung up on, and each piece that is held back.
    suffered: usize,
    /// Both ends of each connection.
    connections: Vec<TcpStream>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>, bound: Duration) -> MutexGuard<'a, State> {
        self.changed.wait_timeout(state, bound).unwrap_or_else(PoisonError::into_inner).0
    }
}

/// One node's way to the broker.
pub(crate) struct Proxy {
    port: u16,
    shared: Arc<Shared>,
}

impl Proxy {
    /// An open way to the broker on this port.
    pub(crate) fn to(broker: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = State { link: Link::Open, suffered: 0, connections: Vec::new() };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() });
        let serving = Arc::clone(&shared);
        std::thread::spawn(move || {
            for node in listener.incoming() {
                let Ok(node) = node else { return };
                // A broker that is away hangs up, as it would without us.
                let Ok(far) = TcpStream::connect((Ipv4Addr::LOCALHOST, broker)) else { continue };
                connect(&serving, &node, &far);
            }
        });
        Self { port, shared }
    }

    pub(crate) fn url(&self) -> String {
        format!("mqtt://127.0.0.1:{}", self.port)
    }

    /// From now on the link is like this. What was held back goes on when it may, unless the connection has ended.
    pub(crate) fn set(&self, link: Link) {
        let mut state = self.shared.lock();
        state.link = link;
        state.suffered = 0;
        if link == Link::Cut {
            for connection in state.connections.drain(..) {
                // It may have ended by itself.
                let _ = connection.shutdown(Shutdown::Both);
            }
        }
        self.shared.changed.notify_all();
    }

    /// Waits until somebody has felt how the link is: a connection was refused, or something was held back.
    pub(crate) fn felt(&self) {
        let until = Instant::now() + PATIENCE;
        let mut state = self.shared.lock();
        while state.suffered == 0 {
            let left = until.checked_duration_since(Instant::now());
            let left =
                left.unwrap_or_else(|| panic!("wanted traffic on a {:?} link, found none", state.link));
            state = self.shared.wait(state, left);
        }
    }
}

fn connect(shared: &Arc<Shared>, node: &TcpStream, broker: &TcpStream) {
    let mut state = shared.lock();
    if state.link == Link::Cut {
        state.suffered += 1;
        shared.changed.notify_all();
        return;
    }
    let clone = |stream: &TcpStream| stream.try_clone().expect("a socket may be used twice");
    let _ = (node.set_nodelay(true), broker.set_nodelay(true));
    state.connections.extend([clone(node), clone(broker)]);
    for (from, to, direction) in
        [(clone(node), clone(broker), Direction::ToBroker), (clone(broker), clone(node), Direction::ToNode)]
    {
        let shared = Arc::clone(shared);
        std::thread::spawn(move || {
            pump(&shared, &from, &to, direction);
            let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
        });
    }
}

/// Passes bytes until one side ends.
fn pump(shared: &Shared, mut from: &TcpStream, mut to: &TcpStream, direction: Direction) {
    let mut bytes = vec![0; 64 * 1024];
    loop {
        let Ok(read) = from.read(&mut bytes) else { return };
        if read == 0 {
            return;
        }
        let mut state = shared.lock();
        let came = Instant::now();
        let mut held = false;
        loop {
            let late = match state.link {
                Link::Slow(by) => by.saturating_sub(came.elapsed()),
                Link::Open => Duration::ZERO,
                Link::Cut => return,
                link if link.passes(direction) => Duration::ZERO,
                Link::Stalled | Link::Deaf | Link::Mute => PATIENCE,
            };
            if late.is_zero() {
                break;
            }
            if !std::mem::replace(&mut held, true) {
                state.suffered += 1;
                shared.changed.notify_all();
            }
            state = shared.wait(state, late);
        }
        drop(state);
        if to.write_all(&bytes[..read]).is_err() {
            return;
        }
    }
}

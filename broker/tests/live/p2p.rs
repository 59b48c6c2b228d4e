//! Artifacts between hosts in one process: over QUIC and over TCP, interrupted, corrupted, refused.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use foa_broker::p2p::{
    Fault, FetchError, Host, HostConfig, Outline, Outliner, PIECE, Partial, Peer, Progress, Shelf, WINDOW,
    Wanted,
};
use foa_wire::{ArtifactId, NodeId, NodeKey, PublicKey};

pub(crate) const QUIC: &str = "/ip4/127.0.0.1/udp/0/quic-v1";
pub(crate) const TCP: &str = "/ip4/127.0.0.1/tcp/0";

/// Artifacts in memory, and what was read of them.
#[derive(Default)]
struct Memory {
    kept: BTreeMap<ArtifactId, (Arc<Outline>, Vec<u8>)>,
    read: AtomicU32,
    /// This piece is sent with one bit wrong.
    spoilt: Option<u32>,
    /// Pieces it gives before it gives no more.
    gives: Option<u32>,
}

impl Memory {
    fn holding(data: &[u8]) -> (Self, ArtifactId) {
        let mut outliner = Outliner::default();
        outliner.update(data);
        let outline = outliner.finish().unwrap();
        let id = outline.id();
        let kept = BTreeMap::from([(id, (Arc::new(outline), data.to_vec()))]);
        (Self { kept, ..Self::default() }, id)
    }
}

impl Shelf for Memory {
    fn outline(&self, id: &ArtifactId) -> io::Result<Option<Arc<Outline>>> {
        Ok(self.kept.get(id).map(|(outline, _)| Arc::clone(outline)))
    }

    fn piece(&self, id: &ArtifactId, piece: u32) -> io::Result<Option<Vec<u8>>> {
        let Some((outline, data)) = self.kept.get(id) else { return Ok(None) };
        let before = self.read.fetch_add(1, Ordering::SeqCst);
        if piece >= outline.pieces() || self.gives.is_some_and(|gives| before >= gives) {
            return Ok(None);
        }
        let (start, length) = outline.place(piece);
        let start = usize::try_from(start).unwrap();
        let mut data = data[start..start + length].to_vec();
        if self.spoilt == Some(piece) {
            data[length / 2] ^= 1;
        }
        Ok(Some(data))
    }
}

/// What was fetched so far, shared so that it outlives the fetch as a disk would.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Had>>);

type Had = (Option<Arc<Outline>>, BTreeMap<u32, Vec<u8>>);

impl Kept {
    fn content(&self) -> Vec<u8> {
        self.0.lock().unwrap().1.values().flatten().copied().collect()
    }

    fn pieces(&self) -> usize {
        self.0.lock().unwrap().1.len()
    }

    /// Waits for the piece that was being written when its fetch was dropped: a thread of its own holds it until then.
    async fn at_rest(&self) {
        while Arc::strong_count(&self.0) > 1 {
            tokio::task::yield_now().await;
        }
    }
}

impl Partial for Kept {
    fn outline(&self) -> Option<Arc<Outline>> {
        self.0.lock().unwrap().0.clone()
    }

    fn begin(&mut self, outline: Arc<Outline>) -> io::Result<()> {
        self.0.lock().unwrap().0 = Some(outline);
        Ok(())
    }

    fn has(&self, piece: u32) -> bool {
        self.0.lock().unwrap().1.contains_key(&piece)
    }

    fn write(&mut self, piece: u32, data: &[u8]) -> io::Result<()> {
        let before = self.0.lock().unwrap().1.insert(piece, data.to_vec());
        assert!(before.is_none(), "piece {piece} was moved twice");
        Ok(())
    }
}

struct Party {
    host: Host,
    peer: Peer,
    shelf: Arc<Memory>,
}

async fn party(seed: u8, listen: &[&str], shelf: Memory, admit: fn(&PublicKey) -> bool) -> Party {
    let key = NodeKey::from_seed([seed; 32]);
    let node = NodeId::new("host".parse().unwrap(), &key.public());
    let listen = listen.iter().map(|&a| a.to_owned()).collect();
    let shelf = Arc::new(shelf);
    let config = HostConfig { key, listen, announce: vec![] };
    let host = Host::start(config, shelf.clone(), Arc::new(admit)).await.unwrap();
    let peer = Peer { node, addresses: host.addresses() };
    Party { host, peer, shelf }
}

fn everyone(_: &PublicKey) -> bool {
    true
}

fn content(bytes: usize) -> Vec<u8> {
    let mut state = 7_u32;
    let next = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_le_bytes()[3]
    });
    next.take(bytes).collect()
}

fn wanted(id: ArtifactId) -> Wanted {
    Wanted { id, bytes: None, most_bytes: 1 << 30 }
}

fn nothing(_: Progress) {}

#[tokio::test]
async fn an_artifact_moves_over_quic_and_over_tcp() {
    for (transport, bytes) in [(QUIC, 20 * PIECE + 17), (TCP, 20 * PIECE + 17), (QUIC, 5), (TCP, 0)] {
        let data = content(bytes);
        let (shelf, id) = Memory::holding(&data);
        let giver = party(1, &[transport], shelf, everyone).await;
        let taker = party(2, &[], Memory::default(), everyone).await;
        let kind = if transport == QUIC { "quic" } else { "tcp" };
        assert!(giver.peer.addresses.iter().all(|a| a.as_str().contains(kind)), "{:?}", giver.peer);
        let mut seen = Vec::new();
        let holders = [giver.peer.clone()];
        let (kept, result) =
            taker.host.fetch(wanted(id), &holders, Kept::default(), |p| seen.push(p.have)).await;
        let pieces = u32::try_from(bytes.div_ceil(PIECE).max(1)).unwrap();
        let fetched = result.unwrap();
        assert_eq!((fetched.moved, fetched.kept, fetched.faults), (pieces, 0, vec![]), "{transport}");
        assert!(kept.content() == data, "{transport}: the content is another");
        assert_eq!(seen.last(), Some(&pieces));
        assert!(seen.is_sorted(), "{seen:?}");
    }
}

#[tokio::test]
async fn an_interrupted_fetch_goes_on_where_it_stopped() {
    for transport in [QUIC, TCP] {
        let data = content(40 * PIECE);
        let (shelf, id) = Memory::holding(&data);
        let giver = party(1, &[transport], shelf, everyone).await;
        let kept = Kept::default();
        let holders = [giver.peer.clone()];
        {
            // The taker is gone in the middle, with questions still open.
            let taker = party(2, &[], Memory::default(), everyone).await;
            let (stop, stopped) = tokio::sync::oneshot::channel();
            let mut stop = Some(stop);
            let fetch = taker.host.fetch(wanted(id), &holders, kept.clone(), |progress| {
                if progress.have >= 15
                    && let Some(stop) = stop.take()
                {
                    stop.send(()).unwrap();
                }
            });
            tokio::select! {
                _ = fetch => panic!("the fetch was to be interrupted"),
                _ = stopped => {}
            }
        }
        kept.at_rest().await;
        let had = u32::try_from(kept.pieces()).unwrap();
        assert!((15..40).contains(&had), "{had} pieces");
        let taker = party(2, &[], Memory::default(), everyone).await;
        let (kept, result) = taker.host.fetch(wanted(id), &holders, kept, nothing).await;
        let fetched = result.unwrap();
        assert_eq!(fetched.kept, had, "{fetched:?}");
        assert_eq!(fetched.moved, 40 - fetched.kept, "nothing is moved twice");
        assert!(kept.content() == data);
        let read = giver.shelf.read.load(Ordering::SeqCst);
        let again = read - 40;
        assert!(again <= u32::try_from(WINDOW).unwrap(), "{again} pieces were on their way at the end");
    }
}

#[tokio::test]
async fn wrong_bytes_are_found_at_their_piece_and_the_next_holder_goes_on() {
    let data = content(30 * PIECE);
    let (mut liar, id) = Memory::holding(&data);
    liar.spoilt = Some(12);
    let (honest, _) = Memory::holding(&data);
    let liar = party(1, &[QUIC], liar, everyone).await;
    let honest = party(2, &[TCP], honest, everyone).await;
    let taker = party(3, &[], Memory::default(), everyone).await;
    let holders = [liar.peer.clone(), honest.peer.clone()];
    let (kept, result) = taker.host.fetch(wanted(id), &holders, Kept::default(), nothing).await;
    let fetched = result.unwrap();
    assert_eq!(fetched.faults, [(liar.peer.node.clone(), Fault::WrongBytes { piece: 12 })]);
    assert!(kept.content() == data);
    let from_honest = honest.shelf.read.load(Ordering::SeqCst);
    assert!(from_honest < 30, "what the first had sent rightly was kept; {from_honest} pieces came again");
}

#[tokio::test]
async fn a_holder_that_is_gone_or_stops_half_way_is_followed_by_the_next() {
    let data = content(30 * PIECE);
    let (mut stops, id) = Memory::holding(&data);
    stops.gives = Some(10);
    let (whole, _) = Memory::holding(&data);
    let gone = party(1, &[TCP], Memory::default(), everyone).await;
    let gone_peer = gone.peer.clone();
    drop(gone);
    let stops = party(2, &[QUIC], stops, everyone).await;
    let whole = party(3, &[QUIC, TCP], whole, everyone).await;
    let taker = party(4, &[], Memory::default(), everyone).await;
    let holders = [gone_peer.clone(), stops.peer.clone(), whole.peer.clone()];
    let (kept, result) = taker.host.fetch(wanted(id), &holders, Kept::default(), nothing).await;
    let faults = result.unwrap().faults;
    let names: Vec<_> = faults.iter().map(|(_, fault)| fault.name()).collect();
    assert_eq!(names, ["unreachable", "missing"]);
    assert!(kept.content() == data);
}

#[tokio::test]
async fn a_stranger_is_turned_away() {
    let data = content(PIECE);
    for transport in [QUIC, TCP] {
        let (shelf, id) = Memory::holding(&data);
        let friend = |key: &PublicKey| *key == NodeKey::from_seed([2; 32]).public();
        let giver = party(1, &[transport], shelf, friend).await;
        let holders = [giver.peer.clone()];
        let stranger = party(9, &[], Memory::default(), everyone).await;
        let (_, result) = stranger.host.fetch(wanted(id), &holders, Kept::default(), nothing).await;
        let error = result.unwrap_err();
        assert!(matches!(error, FetchError::NoHolder { .. }), "{error}");
        assert_eq!(giver.shelf.read.load(Ordering::SeqCst), 0, "nothing was read for a stranger");
        let known = party(2, &[], Memory::default(), everyone).await;
        known.host.fetch(wanted(id), &holders, Kept::default(), nothing).await.1.unwrap();
    }
}

#[tokio::test]
async fn permission_ends_while_the_connection_stands() {
    use std::sync::atomic::AtomicBool;
    let data = content(PIECE);
    let (shelf, id) = Memory::holding(&data);
    let open = Arc::new(AtomicBool::new(true));
    let gate = Arc::clone(&open);
    let key = NodeKey::from_seed([1; 32]);
    let node = NodeId::new("giver".parse().unwrap(), &key.public());
    let config = HostConfig { key, listen: vec![QUIC.to_owned()], announce: vec![] };
    let admit = Arc::new(move |_: &PublicKey| gate.load(Ordering::SeqCst));
    let giver = Host::start(config, Arc::new(shelf), admit).await.unwrap();
    let holders = [Peer { node: node.clone(), addresses: giver.addresses() }];
    let taker = party(2, &[], Memory::default(), everyone).await;
    taker.host.fetch(wanted(id), &holders, Kept::default(), nothing).await.1.unwrap();
    open.store(false, Ordering::SeqCst);
    let (_, result) = taker.host.fetch(wanted(id), &holders, Kept::default(), nothing).await;
    let FetchError::NoHolder { faults, .. } = result.unwrap_err() else { panic!("another error") };
    assert_eq!(faults, [(node, Fault::Refused)]);
}

#[tokio::test]
async fn what_is_larger_than_wanted_or_than_said_is_not_begun() {
    let data = content(3 * PIECE);
    let (shelf, id) = Memory::holding(&data);
    let giver = party(1, &[QUIC], shelf, everyone).await;
    let taker = party(2, &[], Memory::default(), everyone).await;
    let holders = [giver.peer.clone()];
    let small = Wanted { id, bytes: None, most_bytes: 2 * PIECE as u64 };
    let (kept, result) = taker.host.fetch(small, &holders, Kept::default(), nothing).await;
    assert!(matches!(result, Err(FetchError::TooLarge { found, .. }) if found == 3 * PIECE as u64));
    assert_eq!(kept.pieces(), 0);
    let other = Wanted { id, bytes: Some(5), most_bytes: 1 << 30 };
    let (kept, result) = taker.host.fetch(other, &holders, Kept::default(), nothing).await;
    let FetchError::NoHolder { faults, .. } = result.unwrap_err() else { panic!("another error") };
    assert_eq!(faults[0].1.name(), "wrong-outline");
    assert_eq!(kept.pieces(), 0);
}

#[tokio::test]
async fn an_address_that_leads_to_somebody_else_gives_nothing() {
    let data = content(PIECE);
    let (shelf, id) = Memory::holding(&data);
    let giver = party(1, &[QUIC], shelf, everyone).await;
    let taker = party(2, &[], Memory::default(), everyone).await;
    // Atlas claims the giver's addresses as its own.
    let atlas = NodeId::new("atlas".parse().unwrap(), &NodeKey::from_seed([5; 32]).public());
    let holders = [Peer { node: atlas, addresses: giver.peer.addresses.clone() }];
    let (_, result) = taker.host.fetch(wanted(id), &holders, Kept::default(), nothing).await;
    let FetchError::NoHolder { faults, .. } = result.unwrap_err() else { panic!("another error") };
    assert_eq!(faults[0].1.name(), "unreachable");
}

#[tokio::test]
async fn a_host_says_where_it_is_and_refuses_what_is_no_address() {
    let key = NodeKey::from_seed([1; 32]);
    let start = async |listen: &str, announce: &[&str]| {
        let config = HostConfig {
            key: key.clone(),
            listen: vec![listen.to_owned()],
            announce: announce.iter().map(|&a| a.to_owned()).collect(),
        };
        Host::start(config, Arc::new(Memory::default()), Arc::new(everyone)).await
    };
    let host = start(TCP, &["/ip4/192.0.2.7/tcp/4001"]).await.unwrap();
    let addresses = host.addresses();
    assert_eq!(addresses.len(), 2);
    assert!(addresses[0].as_str().starts_with("/ip4/192.0.2.7/tcp/4001/p2p/12D3KooW"), "{addresses:?}");
    assert!(start("127.0.0.1:4001", &[]).await.is_err());
    assert!(start("/ip4/127.0.0.1/tcp/0/ws", &[]).await.is_err(), "websockets are not spoken");
    assert!(start(TCP, &["somewhere"]).await.is_err());
}

/// An artifact that is made as it is read and thrown away as it arrives, so that only the moving is measured.
struct Made {
    outline: Arc<Outline>,
    piece: Vec<u8>,
}

impl Shelf for Made {
    fn outline(&self, id: &ArtifactId) -> io::Result<Option<Arc<Outline>>> {
        Ok((*id == self.outline.id()).then(|| Arc::clone(&self.outline)))
    }

    fn piece(&self, _: &ArtifactId, piece: u32) -> io::Result<Option<Vec<u8>>> {
        Ok(Some(self.piece[..self.outline.place(piece).1].to_vec()))
    }
}

#[derive(Default)]
struct Discarded(Option<Arc<Outline>>, Vec<bool>);

impl Partial for Discarded {
    fn outline(&self) -> Option<Arc<Outline>> {
        self.0.clone()
    }

    fn begin(&mut self, outline: Arc<Outline>) -> io::Result<()> {
        self.1 = vec![false; outline.pieces() as usize];
        self.0 = Some(outline);
        Ok(())
    }

    fn has(&self, piece: u32) -> bool {
        self.1[piece as usize]
    }

    fn write(&mut self, piece: u32, _: &[u8]) -> io::Result<()> {
        self.1[piece as usize] = true;
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement: cargo test --release -p foa-broker --test live p2p::throughput -- --ignored --nocapture"]
async fn throughput_and_memory() {
    for (transport, megabytes) in [(QUIC, 100), (TCP, 100), (QUIC, 1024), (TCP, 1024)] {
        let piece = content(PIECE);
        let mut outliner = Outliner::default();
        for _ in 0..megabytes * 1024 * 1024 / PIECE {
            outliner.update(&piece);
        }
        let outline = Arc::new(outliner.finish().unwrap());
        let wanted = Wanted { id: outline.id(), bytes: Some(outline.bytes()), most_bytes: u64::MAX };
        let key = NodeKey::from_seed([1; 32]);
        let node = NodeId::new("giver".parse().unwrap(), &key.public());
        let config = HostConfig { key, listen: vec![transport.to_owned()], announce: vec![] };
        let giver = Host::start(config, Arc::new(Made { outline, piece }), Arc::new(everyone)).await.unwrap();
        let holders = [Peer { node, addresses: giver.addresses() }];
        let taker = party(2, &[], Memory::default(), everyone).await;
        let before = crate::measure::resident();
        let mut most = before;
        let start = std::time::Instant::now();
        let look = |_: Progress| most = most.max(crate::measure::resident());
        taker.host.fetch(wanted, &holders, Discarded::default(), look).await.1.unwrap();
        let seconds = start.elapsed().as_secs_f64();
        println!(
            "{transport}: {megabytes} MiB in {seconds:.2} s, {:.0} MB/s, both sides in one process: \
             {before} KiB before, at most +{} KiB",
            f64::from(u32::try_from(megabytes).unwrap()) * 1.048_576 / seconds,
            most - before,
        );
    }
}

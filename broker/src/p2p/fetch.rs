//! Fetching: piece by piece from one holder after another, every piece checked before it counts.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable as _};
use foa_wire::{ArtifactId, NodeId};
use libp2p::futures::StreamExt as _;
use libp2p::futures::stream::FuturesUnordered;

use super::host::{AskError, Host};
use super::outline::{Outline, WrongOutline};
use super::peer::Peer;
use super::protocol::{Answer, Question};

/// Pieces asked for at once; with pieces of 256 KiB a fetch holds at most 2 MiB.
pub const WINDOW: usize = 8;
/// How often a holder that is busy is asked again, with twice the pause each time.
const BUSY_RETRIES: usize = 5;
const BUSY_PAUSE: Duration = Duration::from_millis(50);

/// An artifact on its way to the disk. What it has survives the fetch, so that the next one goes on from there. Called on
/// threads that may wait for the disk.
pub trait Partial: Send + 'static {
    /// Its outline, once known.
    fn outline(&self) -> Option<Arc<Outline>>;

    /// Takes the outline, which has been checked, and makes room.
    ///
    /// # Errors
    /// When there is no room.
    fn begin(&mut self, outline: Arc<Outline>) -> io::Result<()>;

    /// Whether a piece is there.
    fn has(&self, piece: u32) -> bool;

    /// Takes a piece, which has been checked.
    ///
    /// # Errors
    /// When it cannot be written.
    fn write(&mut self, piece: u32, data: &[u8]) -> io::Result<()>;
}

/// What is to be fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The artifact.
    pub id: ArtifactId,
    /// Its size, if whoever named it said so.
    pub bytes: Option<u64>,
    /// The most that is taken.
    pub most_bytes: u64,
}

/// How far a fetch is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Pieces that are here.
    pub have: u32,
    /// Pieces in all.
    pub pieces: u32,
    /// Bytes in all.
    pub bytes: u64,
}

/// What a whole fetch took.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fetched {
    /// Pieces that came over the network.
    pub moved: u32,
    /// Pieces that were here before.
    pub kept: u32,
    /// Holders that were no use, and why.
    pub faults: Vec<(NodeId, Fault)>,
}

/// Why a holder was no use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// No connection, or it broke.
    #[error("it cannot be reached: {reason}")]
    Unreachable {
        /// Why.
        reason: String,
    },
    /// It took too long.
    #[error("it did not answer in time")]
    TimedOut,
    /// It has none.
    #[error("it does not hold the artifact")]
    Missing,
    /// It does not know us.
    #[error("it does not serve us")]
    Refused,
    /// It stayed busy.
    #[error("it is too busy")]
    Busy,
    /// Its outline is not that of the artifact.
    #[error("its outline is wrong: {reason}")]
    WrongOutline {
        /// What is wrong with it.
        reason: String,
    },
    /// It sent other bytes.
    #[error("it sent wrong bytes as piece {piece}")]
    WrongBytes {
        /// Where.
        piece: u32,
    },
    /// It answered something else.
    #[error("it answered something that was not asked")]
    OutOfPlace,
}

impl Fault {
    /// Its stable name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } => "unreachable",
            Self::TimedOut => "timeout",
            Self::Missing => "missing",
            Self::Refused => "refused",
            Self::Busy => "busy",
            Self::WrongOutline { .. } => "wrong-outline",
            Self::WrongBytes { .. } => "wrong-bytes",
            Self::OutOfPlace => "out-of-place",
        }
    }
}

/// Why an artifact could not be had.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// Everyone who might hold it was asked.
    #[error("wanted {id} from {} holders, found none that gives it{}", faults.len(), listed(faults))]
    NoHolder {
        /// The artifact.
        id: ArtifactId,
        /// Who was asked and what was wrong with them.
        faults: Vec<(NodeId, Fault)>,
    },
    /// It is larger than is taken here.
    #[error("wanted an artifact of at most {most} bytes, found {found}")]
    TooLarge {
        /// The most that is taken.
        most: u64,
        /// Its size.
        found: u64,
    },
    /// Our own disk.
    #[error("it cannot be kept")]
    Disk(#[from] io::Error),
}

fn listed(faults: &[(NodeId, Fault)]) -> String {
    faults.iter().map(|(node, fault)| format!("; {}: {fault}", node.name())).collect()
}

/// How one holder's turn ended early.
enum Stop {
    Holder(Fault),
    All(FetchError),
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Self::Holder(fault)
    }
}

impl Host {
    /// Fetches an artifact from the first of `holders` that gives it, going on with the next where one fails. Pieces that
    /// `partial` has are not asked for again. `partial` comes back in any case, with all that was had.
    pub async fn fetch<P: Partial>(
        &self,
        wanted: Wanted,
        holders: &[Peer],
        partial: P,
        mut progress: impl FnMut(Progress),
    ) -> (P, Result<Fetched, FetchError>) {
        let mut turn = Turn { host: self, wanted, partial: Some(partial), moved: 0 };
        let kept = turn.have();
        let mut faults = Vec::new();
        let mut ended = None;
        for holder in holders {
            match turn.from(holder, &mut progress).await {
                Ok(()) => {
                    ended = Some(Ok(()));
                    break;
                }
                Err(Stop::Holder(fault)) => {
                    tracing::info!(peer = %holder.node, artifact = %wanted.id, %fault, "no artifact from a holder");
                    faults.push((holder.node.clone(), fault));
                }
                Err(Stop::All(error)) => {
                    ended = Some(Err(error));
                    break;
                }
            }
        }
        let moved = turn.moved;
        let partial = turn.partial.take().expect("it is there between the turns");
        let result = match ended {
            Some(Ok(())) => Ok(Fetched { moved, kept, faults }),
            Some(Err(error)) => Err(error),
            None => Err(FetchError::NoHolder { id: wanted.id, faults }),
        };
        (partial, result)
    }
}

/// A fetch, while it asks one holder after another.
struct Turn<'a, P> {
    host: &'a Host,
    wanted: Wanted,
    /// Away only while the disk works on it.
    partial: Option<P>,
    moved: u32,
}

impl<P: Partial> Turn<'_, P> {
    fn partial(&self) -> &P {
        self.partial.as_ref().expect("it is there while the disk rests")
    }

    fn have(&self) -> u32 {
        let partial = self.partial();
        let Some(outline) = partial.outline() else { return 0 };
        u32::try_from((0..outline.pieces()).filter(|piece| partial.has(*piece)).count()).unwrap_or(u32::MAX)
    }

    async fn from(&mut self, holder: &Peer, progress: &mut impl FnMut(Progress)) -> Result<(), Stop> {
        let outline = match self.partial().outline() {
            Some(outline) => outline,
            None => self.outline(holder).await?,
        };
        let partial = self.partial();
        let mut missing: VecDeque<u32> = (0..outline.pieces()).filter(|piece| !partial.has(*piece)).collect();
        let mut have = self.have();
        let mut asked = FuturesUnordered::new();
        let host = self.host;
        loop {
            progress(Progress { have, pieces: outline.pieces(), bytes: outline.bytes() });
            while asked.len() < WINDOW
                && let Some(piece) = missing.pop_front()
            {
                let question = Question::Piece(outline.id(), piece);
                asked.push(async move { (piece, ask(host, holder, question).await) });
            }
            let Some((piece, answer)) = asked.next().await else { return Ok(()) };
            let Answer::Piece(data) = answer? else { return Err(Fault::OutOfPlace.into()) };
            self.keep(&outline, piece, data).await?;
            have += 1;
        }
    }

    /// The outline, from a holder that also has the last piece: the hash proves how many pieces there are, only the last
    /// piece itself proves how long it is.
    async fn outline(&mut self, holder: &Peer) -> Result<Arc<Outline>, Stop> {
        let id = self.wanted.id;
        let wrong = |reason: String| Fault::WrongOutline { reason };
        let Answer::Outline(encoded) = ask(self.host, holder, Question::Outline(id)).await? else {
            return Err(Fault::OutOfPlace.into());
        };
        let outline =
            Outline::decode(id, &encoded).map_err(|e: WrongOutline| Stop::from(wrong(e.to_string())))?;
        if let Some(bytes) = self.wanted.bytes.filter(|bytes| *bytes != outline.bytes()) {
            return Err(wrong(format!("wanted {bytes} bytes, found {}", outline.bytes())).into());
        }
        let last = outline.pieces() - 1;
        let Answer::Piece(data) = ask(self.host, holder, Question::Piece(id, last)).await? else {
            return Err(Fault::OutOfPlace.into());
        };
        if !outline.fits(last, &data) {
            return Err(Fault::WrongBytes { piece: last }.into());
        }
        if outline.bytes() > self.wanted.most_bytes {
            let (most, found) = (self.wanted.most_bytes, outline.bytes());
            return Err(Stop::All(FetchError::TooLarge { most, found }));
        }
        let outline = Arc::new(outline);
        let begun = Arc::clone(&outline);
        self.on_disk(move |partial| partial.begin(begun)).await?;
        self.keep(&outline, last, data).await?;
        Ok(outline)
    }

    async fn keep(&mut self, outline: &Arc<Outline>, piece: u32, data: Vec<u8>) -> Result<(), Stop> {
        let outline = Arc::clone(outline);
        let fits = self
            .on_disk(move |partial| {
                let fits = outline.fits(piece, &data);
                if fits {
                    partial.write(piece, &data)?;
                }
                Ok(fits)
            })
            .await?;
        if !fits {
            return Err(Fault::WrongBytes { piece }.into());
        }
        self.moved += 1;
        Ok(())
    }

    /// Has a thread that may wait hash and write.
    async fn on_disk<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut P) -> io::Result<T> + Send + 'static,
    ) -> Result<T, Stop> {
        let mut partial = self.partial.take().expect("the disk does one thing at a time");
        let done = tokio::task::spawn_blocking(move || {
            let result = work(&mut partial);
            (partial, result)
        });
        let (partial, result) = done.await.expect("hashing and writing do not panic");
        self.partial = Some(partial);
        result.map_err(|e| Stop::All(FetchError::Disk(e)))
    }
}

/// Asks a holder, again when it is busy.
async fn ask(host: &Host, holder: &Peer, question: Question) -> Result<Answer, Fault> {
    let pauses =
        ExponentialBuilder::new().with_min_delay(BUSY_PAUSE).with_factor(2.0).with_max_times(BUSY_RETRIES);
    let once = || async {
        match host.ask(holder, question).await {
            Ok(Answer::Missing) => Err(Fault::Missing),
            Ok(Answer::Refused) => Err(Fault::Refused),
            Ok(Answer::Busy) => Err(Fault::Busy),
            Ok(answer @ (Answer::Outline(_) | Answer::Piece(_))) => Ok(answer),
            Err(AskError::TimedOut) => Err(Fault::TimedOut),
            Err(error @ (AskError::NoAddress | AskError::Unreachable(_) | AskError::Ended)) => {
                Err(Fault::Unreachable { reason: error.to_string() })
            }
        }
    };
    once.retry(pauses).when(|fault| *fault == Fault::Busy).await
}

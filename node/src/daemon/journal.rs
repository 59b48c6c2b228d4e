//! The disk, on a thread of its own: everything that waits is appended together and flushed once.

use std::sync::Arc;
use std::sync::mpsc as blocking;
use std::thread;
use std::time::{Duration, Instant};

use foa_node_core::journal::{self as node_core, NodeRecord};
use tokio::sync::mpsc;

use super::meter::Meter;
use super::standing;
use crate::store::{Append, Store, StoreError, Stream};

/// How often it is looked how large the store is, and, while it is full, what of it can be given back.
const WEIGH: Duration = Duration::from_secs(5);

/// What the disk has to say.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum News {
    /// Everything up to this record is on it.
    Synced(u64),
    /// The store has outgrown its quota, or is well below it again.
    StoreFull(bool),
}

/// What the disk is told.
enum Write {
    Record { seq: u64, record: Box<NodeRecord> },
    Forget(node_core::Stream),
}

/// The writing side of a node's store.
pub(super) struct Journal {
    /// What one turn of the loop wrote so far: it reaches the disk together.
    turn: Vec<Write>,
    writes: blocking::Sender<Vec<Write>>,
    news: mpsc::UnboundedReceiver<Result<News, StoreError>>,
}

impl Journal {
    pub(super) fn start(store: Arc<dyn Store>, meter: Arc<Meter>) -> Self {
        let (writes, waiting) = blocking::channel();
        let (done, news) = mpsc::unbounded_channel();
        thread::Builder::new()
            .name("foa-journal".to_owned())
            .spawn(move || run(&*store, &meter, &waiting, &done))
            .expect("the operating system has room for one more thread");
        Self { turn: Vec::new(), writes, news }
    }

    pub(super) fn append(&mut self, seq: u64, record: Box<NodeRecord>) {
        self.turn.push(Write::Record { seq, record });
    }

    pub(super) fn forget(&mut self, stream: node_core::Stream) {
        self.turn.push(Write::Forget(stream));
    }

    /// Hands the turn to the disk.
    pub(super) fn end_turn(&mut self) {
        if !self.turn.is_empty() {
            // A writer that is gone has said why through `news`.
            let _ = self.writes.send(std::mem::take(&mut self.turn));
        }
    }

    /// What is new about the disk; an error ends the node. Cancel-safe.
    pub(super) async fn news(&mut self) -> Option<Result<News, StoreError>> {
        self.news.recv().await
    }
}

fn run(
    store: &dyn Store,
    meter: &Meter,
    waiting: &blocking::Receiver<Vec<Write>>,
    done: &mpsc::UnboundedSender<Result<News, StoreError>>,
) {
    let mut weighed: Option<Instant> = None;
    loop {
        if weighed.is_none_or(|at| at.elapsed() >= WEIGH) {
            weighed = Some(Instant::now());
            if let Some(full) = weigh(store, meter)
                && done.send(Ok(News::StoreFull(full))).is_err()
            {
                return;
            }
        }
        let first = match waiting.recv_timeout(WEIGH) {
            Ok(first) => first,
            // Syncing at leisure lets the store note how far it is synced.
            Err(blocking::RecvTimeoutError::Timeout) => match store.sync() {
                Ok(()) => continue,
                Err(e) => {
                    let _ = done.send(Err(e));
                    return;
                }
            },
            Err(blocking::RecvTimeoutError::Disconnected) => return,
        };
        let batch: Vec<Write> = std::iter::once(first).chain(waiting.try_iter()).flatten().collect();
        match write(store, meter, batch) {
            Ok(None) => {}
            Ok(Some(last)) => {
                if done.send(Ok(News::Synced(last))).is_err() {
                    return;
                }
            }
            Err(e) => {
                // The node must not go on with what it cannot keep.
                let _ = done.send(Err(e));
                return;
            }
        }
    }
}

/// Looks how large the store is, after giving back what can be given back if it was full. Returns whether it is full, if
/// that has changed.
fn weigh(store: &dyn Store, meter: &Meter) -> Option<bool> {
    let (_, full) = meter.store();
    let reclaimed = if full { store.reclaim() } else { Ok(()) };
    let bytes = match reclaimed.and_then(|()| store.bytes()) {
        Ok(bytes) => bytes,
        Err(error) => {
            tracing::warn!(%error, "cannot see how large the store is");
            return None;
        }
    };
    let changed = meter.weighed(bytes, store.quota());
    match changed {
        Some(true) => tracing::warn!(
            bytes,
            quota = store.quota(),
            "the store is larger than store.max_bytes: no new jobs are taken until there is room"
        ),
        Some(false) => tracing::info!(bytes, "the store has room again"),
        None => {}
    }
    changed
}

/// Appends and forgets, in the order it was told, and waits for the disk once; returns the last record written, if there
/// was one. What is only forgotten waits for nobody: the worst is that it is there again after a crash.
fn write(store: &dyn Store, meter: &Meter, batch: Vec<Write>) -> Result<Option<u64>, StoreError> {
    let mut last = None;
    let (mut bodies, mut bytes, mut records) = (Vec::new(), 0, 0);
    for one in batch {
        match one {
            Write::Record { seq, record } => {
                if let NodeRecord::Enrolled { .. } = &*record {
                    standing::has_fellows(store)?;
                }
                let body = serde_json::to_vec(&record).expect("records have string keys and finite numbers");
                records += 1;
                bytes += body.len();
                bodies.push((kept_as(record.stream()), body));
                last = Some(seq);
            }
            Write::Forget(stream) => {
                // A job of the same id may begin anew behind this.
                append(store, &mut bodies)?;
                store.truncate(&kept_as(stream))?;
            }
        }
    }
    append(store, &mut bodies)?;
    if last.is_some() {
        store.sync()?;
        meter.synced(records, bytes);
    }
    Ok(last)
}

fn kept_as(stream: node_core::Stream) -> Stream {
    match stream {
        node_core::Stream::Node => Stream::Node,
        node_core::Stream::Job(job) => Stream::Job(job),
        node_core::Stream::Work(job) => Stream::Work(job),
    }
}

fn append(store: &dyn Store, bodies: &mut Vec<(Stream, Vec<u8>)>) -> Result<(), StoreError> {
    if bodies.is_empty() {
        return Ok(());
    }
    let appends: Vec<Append<'_>> = bodies.iter().map(|(stream, body)| Append { stream, body }).collect();
    store.append(&appends)?;
    bodies.clear();
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;

    use super::*;
    use crate::store::{MemoryStore, SegmentStore};

    #[test]
    fn a_store_over_its_quota_is_full_until_what_was_forgotten_gave_its_disk_back() {
        let (dir, meter) = (tempfile::tempdir().unwrap(), Meter::default());
        let store = SegmentStore::open(dir.path()).unwrap();
        let quota = store.bytes().unwrap() + 1_000_000;
        let store = store.with_quota(Some(quota));
        let job = Stream::Job("job-large".parse().unwrap());
        assert_eq!(weigh(&store, &meter), None);
        store.append(&[Append { stream: &job, body: &vec![7; 1_500_000] }]).unwrap();
        assert_eq!(weigh(&store, &meter), Some(true));
        assert_eq!(weigh(&store, &meter), None, "it is needed");
        store.truncate(&job).unwrap();
        assert!(store.bytes().unwrap() > quota, "forgetting alone gives nothing back");
        assert_eq!(weigh(&store, &meter), Some(false));
    }

    #[test]
    fn a_disk_says_that_it_is_full_before_anything_is_written() {
        let (dir, meter) = (tempfile::tempdir().unwrap(), Meter::default());
        let store = SegmentStore::open(dir.path()).unwrap().with_quota(Some(1));
        let (writes, waiting) = blocking::channel();
        let (done, mut news) = mpsc::unbounded_channel();
        drop(writes);
        run(&store, &meter, &waiting, &done);
        assert_eq!(news.try_recv().unwrap().unwrap(), News::StoreFull(true));
    }

    #[test]
    fn a_job_that_begins_anew_right_after_it_was_forgotten_is_kept() {
        let (store, meter) = (MemoryStore::default(), Meter::default());
        let job: foa_wire::JobId = "job-again".parse().unwrap();
        let started = |seq, n| Write::Record {
            seq,
            record: Box::new(NodeRecord::Started {
                work: foa_wire::WorkId::new(&job, n),
                until: foa_wire::Time::ZERO,
            }),
        };
        let batch = vec![started(1, 1), Write::Forget(node_core::Stream::Work(job.clone())), started(2, 2)];
        assert_eq!(write(&store, &meter, batch).unwrap(), Some(2));
        assert_eq!(meter.counts().syncs, 1, "forgetting needs no flush of its own");
        let mut kept = Vec::new();
        store
            .replay(&mut |_, _, body| {
                kept.push(serde_json::from_slice::<NodeRecord>(body).unwrap());
                ControlFlow::Continue(())
            })
            .unwrap();
        let until = foa_wire::Time::ZERO;
        assert_eq!(kept, [NodeRecord::Started { work: foa_wire::WorkId::new(&job, 2), until }]);
    }
}

//! The disk, on a thread of its own: everything that waits is appended together and flushed once.

use std::sync::Arc;
use std::sync::mpsc as blocking;
use std::thread;

use foa_node_core::journal::{self as node_core, NodeRecord};
use tokio::sync::mpsc;

use super::meter::Meter;
use crate::store::{Append, Store, StoreError, Stream};

/// After so many batches it is looked how large the store is.
const WEIGH: u64 = 256;

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
    synced: mpsc::UnboundedReceiver<Result<u64, StoreError>>,
}

impl Journal {
    pub(super) fn start(store: Arc<dyn Store>, meter: Arc<Meter>) -> Self {
        let (writes, waiting) = blocking::channel();
        let (done, synced) = mpsc::unbounded_channel();
        thread::Builder::new()
            .name("foa-journal".to_owned())
            .spawn(move || run(&*store, &meter, &waiting, &done))
            .expect("the operating system has room for one more thread");
        Self { turn: Vec::new(), writes, synced }
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
            // A writer that is gone has said why through `synced`.
            let _ = self.writes.send(std::mem::take(&mut self.turn));
        }
    }

    /// The last record that is on disk, each time it grows; an error ends the node. Cancel-safe.
    pub(super) async fn synced(&mut self) -> Option<Result<u64, StoreError>> {
        self.synced.recv().await
    }
}

fn run(
    store: &dyn Store,
    meter: &Meter,
    waiting: &blocking::Receiver<Vec<Write>>,
    done: &mpsc::UnboundedSender<Result<u64, StoreError>>,
) {
    let mut batches = 0u64;
    while let Ok(first) = waiting.recv() {
        if batches.is_multiple_of(WEIGH) {
            weigh(store, meter);
        }
        batches += 1;
        let batch: Vec<Write> = std::iter::once(first).chain(waiting.try_iter()).flatten().collect();
        match write(store, meter, batch) {
            Ok(None) => {}
            Ok(Some(last)) => {
                if done.send(Ok(last)).is_err() {
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

fn weigh(store: &dyn Store, meter: &Meter) {
    match store.bytes() {
        Ok(bytes) if meter.weighed(bytes, store.quota()) => {
            tracing::warn!(bytes, quota = store.quota(), "the store is larger than store.max_bytes");
        }
        Ok(_) => {}
        Err(error) => tracing::warn!(%error, "cannot see how large the store is"),
    }
}

/// Appends and forgets, in the order it was told, and waits for the disk once; returns the last record written, if there
/// was one. What is only forgotten waits for nobody: the worst is that it is there again after a crash.
fn write(store: &dyn Store, meter: &Meter, batch: Vec<Write>) -> Result<Option<u64>, StoreError> {
    let mut last = None;
    let (mut bodies, mut bytes, mut records) = (Vec::new(), 0, 0);
    for one in batch {
        match one {
            Write::Record { seq, record } => {
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
    use crate::store::MemoryStore;

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

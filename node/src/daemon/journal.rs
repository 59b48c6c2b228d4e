//! The disk, on a thread of its own: everything that waits is appended together and flushed once.

use std::sync::Arc;
use std::sync::mpsc as blocking;
use std::thread;

use foa_node_core::journal::{self as node_core, NodeRecord};
use tokio::sync::mpsc;

use crate::store::{Append, Store, StoreError, Stream};

/// What the disk is told.
enum Write {
    Record { seq: u64, record: Box<NodeRecord> },
    Forget(node_core::Stream),
}

/// The writing side of a node's store.
pub(super) struct Journal {
    writes: blocking::Sender<Write>,
    synced: mpsc::UnboundedReceiver<Result<u64, StoreError>>,
}

impl Journal {
    pub(super) fn start(store: Arc<dyn Store>) -> Self {
        let (writes, waiting) = blocking::channel();
        let (done, synced) = mpsc::unbounded_channel();
        thread::Builder::new()
            .name("foa-journal".to_owned())
            .spawn(move || run(&*store, &waiting, &done))
            .expect("the operating system has room for one more thread");
        Self { writes, synced }
    }

    pub(super) fn append(&self, seq: u64, record: Box<NodeRecord>) {
        // A writer that is gone has said why through `synced`.
        let _ = self.writes.send(Write::Record { seq, record });
    }

    pub(super) fn forget(&self, stream: node_core::Stream) {
        let _ = self.writes.send(Write::Forget(stream));
    }

    /// The last record that is on disk, each time it grows; an error ends the node. Cancel-safe.
    pub(super) async fn synced(&mut self) -> Option<Result<u64, StoreError>> {
        self.synced.recv().await
    }
}

fn run(
    store: &dyn Store,
    waiting: &blocking::Receiver<Write>,
    done: &mpsc::UnboundedSender<Result<u64, StoreError>>,
) {
    while let Ok(first) = waiting.recv() {
        let batch: Vec<Write> = std::iter::once(first).chain(waiting.try_iter()).collect();
        match write(store, batch) {
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

/// Appends, flushes and forgets, in the order it was told; returns the last record written, if there was one.
fn write(store: &dyn Store, batch: Vec<Write>) -> Result<Option<u64>, StoreError> {
    let mut last = None;
    let mut bodies = Vec::new();
    for one in batch {
        match one {
            Write::Record { seq, record } => {
                let body = serde_json::to_vec(&record).expect("records have string keys and finite numbers");
                bodies.push((kept_as(record.stream()), body));
                last = Some(seq);
            }
            Write::Forget(stream) => {
                // A job of the same id may begin anew behind this.
                flush(store, &mut bodies)?;
                store.truncate(&kept_as(stream))?;
            }
        }
    }
    flush(store, &mut bodies)?;
    Ok(last)
}

fn kept_as(stream: node_core::Stream) -> Stream {
    match stream {
        node_core::Stream::Node => Stream::Node,
        node_core::Stream::Job(job) => Stream::Job(job),
        node_core::Stream::Work(job) => Stream::Work(job),
    }
}

fn flush(store: &dyn Store, bodies: &mut Vec<(Stream, Vec<u8>)>) -> Result<(), StoreError> {
    if bodies.is_empty() {
        return Ok(());
    }
    let appends: Vec<Append<'_>> = bodies.iter().map(|(stream, body)| Append { stream, body }).collect();
    store.append(&appends)?;
    store.sync()?;
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
        let store = MemoryStore::default();
        let job: foa_wire::JobId = "job-again".parse().unwrap();
        let started = |seq, n| Write::Record {
            seq,
            record: Box::new(NodeRecord::Started {
                work: foa_wire::WorkId::new(&job, n),
                until: foa_wire::Time::ZERO,
            }),
        };
        let batch = vec![started(1, 1), Write::Forget(node_core::Stream::Work(job.clone())), started(2, 2)];
        assert_eq!(write(&store, batch).unwrap(), Some(2));
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

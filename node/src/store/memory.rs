//! A store that ends with its process: for tests, and for throw-away nodes.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{Append, Replayed, Store, StoreError, Stream, Visit, frame};

/// A store in memory.
#[derive(Debug, Default)]
pub struct MemoryStore(Mutex<Contents>);

#[derive(Debug, Default)]
struct Contents {
    last: u64,
    records: BTreeMap<u64, (Stream, Vec<u8>)>,
    cells: BTreeMap<String, Vec<u8>>,
}

impl MemoryStore {
    fn contents(&self) -> MutexGuard<'_, Contents> {
        // Every change below is complete before the lock is released, so a panicking holder leaves nothing half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for MemoryStore {
    fn append(&self, batch: &[Append<'_>]) -> Result<u64, StoreError> {
        if let Some(large) = batch.iter().find(|a| a.body.len() > frame::MAX_BODY) {
            return Err(StoreError::TooLarge { bytes: large.body.len() });
        }
        let mut contents = self.contents();
        for append in batch {
            contents.last += 1;
            let seq = contents.last;
            contents.records.insert(seq, (append.stream.clone(), append.body.to_vec()));
        }
        Ok(contents.last)
    }

    fn sync(&self) -> Result<(), StoreError> {
        Ok(())
    }

    fn replay(&self, visit: &mut Visit<'_>) -> Result<Replayed, StoreError> {
        let mut replayed = Replayed::default();
        for (seq, (stream, body)) in &self.contents().records {
            replayed.records += 1;
            if visit(stream, *seq, body).is_break() {
                break;
            }
        }
        Ok(replayed)
    }

    fn truncate(&self, stream: &Stream) -> Result<(), StoreError> {
        self.contents().records.retain(|_, (s, _)| s != stream);
        Ok(())
    }

    fn reclaim(&self) -> Result<(), StoreError> {
        // Forgetting gave it back already.
        Ok(())
    }

    fn get(&self, cell: &str) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.contents().cells.get(cell).cloned())
    }

    fn put(&self, cell: &str, value: &[u8]) -> Result<(), StoreError> {
        self.contents().cells.insert(cell.to_owned(), value.to_vec());
        Ok(())
    }

    fn quota(&self) -> Option<u64> {
        None
    }

    fn bytes(&self) -> Result<u64, StoreError> {
        let contents = self.contents();
        let records = contents.records.values().map(|(_, body)| body.len());
        Ok(records.chain(contents.cells.values().map(Vec::len)).map(|length| length as u64).sum())
    }
}

//! Vectors that were computed before, by the hash of their text. An embedding costs as much as 35 message round trips.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use foa_capability::{ModelId, Vector};
use sha2::{Digest as _, Sha256};

use crate::store::{StoreError, open_sled, sled_error};

/// What a vector is kept under: SHA-256 of the model id and the text.
pub type Key = [u8; 32];

/// The key of one text under one model.
#[must_use]
pub(super) fn key(model: &ModelId, text: &str) -> Key {
    let mut hasher = Sha256::new();
    hasher.update(model.as_str());
    hasher.update([0]);
    hasher.update(text);
    hasher.finalize().into()
}

/// A place vectors outlive the process in. Losing one costs only time, so nothing here reports errors.
pub trait VectorCache: Send + Sync {
    /// The vector kept under `key`.
    fn get(&self, key: &Key) -> Option<Vector>;
    /// Keeps a vector.
    fn put(&self, key: &Key, vector: &Vector);
}

/// The latest vectors, in memory. Two generations: when the young one is full the old one goes, and whatever is asked
/// for becomes young again, so at most twice `capacity` vectors are held and the ones in use stay.
pub struct Memory {
    capacity: usize,
    generations: Mutex<(BTreeMap<Key, Vector>, BTreeMap<Key, Vector>)>,
}

impl Memory {
    /// Room for `capacity` vectors in use.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self { capacity: capacity.max(1), generations: Mutex::default() }
    }
}

impl VectorCache for Memory {
    fn get(&self, key: &Key) -> Option<Vector> {
        let mut guard = self.generations.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(vector) = guard.0.get(key) {
            return Some(vector.clone());
        }
        let vector = guard.1.remove(key)?;
        drop(guard);
        self.put(key, &vector);
        Some(vector)
    }

    fn put(&self, key: &Key, vector: &Vector) {
        let mut guard = self.generations.lock().unwrap_or_else(PoisonError::into_inner);
        if guard.0.len() >= self.capacity {
            guard.1 = std::mem::take(&mut guard.0);
        }
        guard.0.insert(*key, vector.clone());
    }
}

/// Vectors in a sled tree, as little-endian numbers.
pub struct SledCache(sled::Tree);

impl SledCache {
    /// Opens or makes the cache in `directory`, such as `<data>/vectors`. One process at a time.
    ///
    /// # Errors
    /// When the directory cannot be used.
    pub fn open(directory: &Path) -> Result<Self, StoreError> {
        let vectors = open_sled(directory)?.open_tree("vectors");
        vectors.map(Self).map_err(|e| sled_error(directory, e))
    }
}

impl VectorCache for SledCache {
    fn get(&self, key: &Key) -> Option<Vector> {
        let bytes = self.0.get(key).ok()??;
        let numbers = bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
        Vector::new(numbers).ok()
    }

    fn put(&self, key: &Key, vector: &Vector) {
        let bytes: Vec<u8> = vector.as_slice().iter().flat_map(|x| x.to_le_bytes()).collect();
        if let Err(error) = self.0.insert(key, bytes) {
            tracing::warn!(%error, "cannot keep a vector");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vector(x: f32) -> Vector {
        Vector::new(vec![x, 1.0]).unwrap()
    }

    #[test]
    fn what_is_asked_for_stays_and_the_rest_is_forgotten() {
        let memory = Memory::new(2);
        let keys: Vec<Key> = (0..6).map(|i| [i; 32]).collect();
        memory.put(&keys[0], &vector(0.0));
        for (i, key) in keys.iter().enumerate().skip(1) {
            memory.put(key, &vector(i as f32));
            assert!(memory.get(&keys[0]).is_some(), "forgotten after {i}");
        }
        assert!(memory.get(&keys[1]).is_none());
        let guard = memory.generations.lock().unwrap();
        assert!(guard.0.len() + guard.1.len() <= 4);
    }

    #[test]
    fn a_vector_survives_the_process() {
        let dir = tempfile::tempdir().unwrap();
        let model: ModelId = "m/2@8199be6f".parse().unwrap();
        SledCache::open(dir.path()).unwrap().put(&key(&model, "a text"), &vector(0.5));
        let cache = SledCache::open(dir.path()).unwrap();
        assert_eq!(cache.get(&key(&model, "a text")), Some(vector(0.5)));
        assert_eq!(cache.get(&key(&model, "another")), None);
        assert_eq!(cache.get(&key(&"n/2@8199be6f".parse().unwrap(), "a text")), None);
    }
}

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use foa_broker::p2p::{Outliner, PIECE, Partial as _, Shelf as _};
use foa_wire::{ArtifactId, Time};

use super::{ArtifactStore, Limits, StoreError};

const NOW: Time = Time::from_millis(4_000_000_000_000);
const LIMITS: Limits = Limits { quota: 10 * PIECE as u64, keep: Duration::from_secs(3600) };

fn content(seed: u8, bytes: usize) -> Vec<u8> {
    (0..bytes).map(|n| seed.wrapping_add(u8::try_from(n * 31 % 251).unwrap())).collect()
}

fn open(dir: &Path) -> ArtifactStore {
    ArtifactStore::open(dir, LIMITS).unwrap()
}

fn after(seconds: u64) -> Time {
    NOW + Duration::from_secs(seconds)
}

fn names(dir: &Path) -> BTreeMap<String, u64> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
    entries.map(|e| (e.file_name().into_string().unwrap(), e.metadata().unwrap().len())).collect()
}

/// Fetches these pieces of `data` into the store.
fn fetch(store: &ArtifactStore, data: &[u8], pieces: std::ops::Range<u32>) -> (ArtifactId, Vec<u32>) {
    let mut outliner = Outliner::default();
    outliner.update(data);
    let outline = Arc::new(outliner.finish().unwrap());
    let mut partial = store.fetching(outline.id(), NOW).unwrap();
    if partial.outline().is_none() {
        partial.begin(Arc::clone(&outline)).unwrap();
    }
    let had = (0..outline.pieces()).filter(|piece| partial.has(*piece)).collect();
    for piece in pieces {
        let (start, length) = outline.place(piece);
        let start = usize::try_from(start).unwrap();
        partial.write(piece, &data[start..start + length]).unwrap();
    }
    if (0..outline.pieces()).all(|piece| partial.has(piece)) {
        partial.finish().unwrap();
    }
    (outline.id(), had)
}

#[test]
fn what_is_added_is_there_under_its_hash_also_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let data = content(1, 2 * PIECE + 5);
    let id = open(dir.path()).add(&data[..], data.len() as u64, NOW).unwrap();
    assert_eq!(id, hash_of(&data));
    let store = open(dir.path());
    assert_eq!(store.bytes(&id), Some(data.len() as u64));
    assert!(store.read(&id, u64::MAX, NOW).unwrap() == data);
    assert_eq!(store.piece(&id, 2).unwrap().unwrap(), data[2 * PIECE..]);
    assert_eq!(store.piece(&id, 3).unwrap(), None);
    assert!(store.read(&id, 10, NOW).is_err(), "more than the reader wants");
    store.remove(&id).unwrap();
    assert_eq!(names(dir.path()), BTreeMap::new());
    assert!(matches!(store.read(&id, u64::MAX, NOW), Err(StoreError::Missing { .. })));
}

/// The hash of the whole, read in another way than the store reads.
fn hash_of(data: &[u8]) -> ArtifactId {
    let mut outliner = Outliner::default();
    data.chunks(1000).for_each(|chunk| outliner.update(chunk));
    outliner.finish().unwrap().id()
}

#[test]
fn the_least_recently_used_makes_room_unless_an_open_job_needs_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let add = |seed, pieces, at| {
        let data = content(seed, pieces * PIECE);
        store.add(&data[..], data.len() as u64, at)
    };
    let first = add(1, 4, after(1)).unwrap();
    let second = add(2, 4, after(2)).unwrap();
    store.read(&first, u64::MAX, after(3)).unwrap();
    let third = add(3, 4, after(4)).unwrap();
    assert!(store.holds(&first) && !store.holds(&second) && store.holds(&third));
    store.pin(first, "job-00001".parse().unwrap(), NOW);
    store.pin(third, "job-00001".parse().unwrap(), NOW);
    let full = add(4, 4, after(5)).unwrap_err();
    assert!(matches!(full, StoreError::Full { .. }), "{full}");
    assert_eq!(names(dir.path()).len(), 5, "nothing is left of what found no room: {:?}", names(dir.path()));
    assert_eq!(open(dir.path()).list().iter().map(|kept| kept.jobs).collect::<Vec<_>>(), [1, 1], "pins stay");
    store.unpin(&"job-00001".parse().unwrap());
    let fourth = add(4, 4, after(6)).unwrap();
    assert!(!store.holds(&first) && store.holds(&third) && store.holds(&fourth));
    assert!(
        matches!(add(5, 11, after(7)).unwrap_err(), StoreError::Full { .. }),
        "never more than the quota"
    );
    assert!(store.holds(&third) && store.holds(&fourth), "nobody is evicted for what cannot fit");
}

#[test]
fn what_nobody_needs_expires() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let old = store.add(&b"old"[..], 0, NOW).unwrap();
    let needed = store.add(&b"needed"[..], 0, NOW).unwrap();
    let read = store.add(&b"read"[..], 0, NOW).unwrap();
    store.pin(needed, "job-00001".parse().unwrap(), after(2));
    store.read(&read, u64::MAX, after(3000)).unwrap();
    assert!(store.expire(after(3600)).unwrap().is_empty());
    assert_eq!(store.expire(after(3601)).unwrap(), [old]);
    assert!(!store.holds(&old) && store.holds(&needed) && store.holds(&read));
    assert_eq!(store.expire(after(3603)).unwrap(), [needed], "no job takes that long");
}

#[test]
fn a_fetch_goes_on_after_a_restart_and_believes_only_what_is_right() {
    let dir = tempfile::tempdir().unwrap();
    let data = content(1, 6 * PIECE + 9);
    let (id, had) = fetch(&open(dir.path()), &data, 1..4);
    assert!(had.is_empty());
    let part = dir.path().join(format!("{}.part", id.hex()));
    let mut bytes = fs::read(&part).unwrap();
    bytes[2 * PIECE + 1] ^= 1;
    fs::write(&part, &bytes).unwrap();
    let store = open(dir.path());
    assert!(!store.holds(&id));
    assert_eq!(store.list().iter().map(|kept| kept.whole).collect::<Vec<_>>(), [false]);
    let (_, had) = fetch(&store, &data, 0..7);
    assert_eq!(had, [1, 3], "the damaged piece 2 is fetched again");
    assert!(store.holds(&id));
    assert!(store.read(&id, u64::MAX, NOW).unwrap() == data);
    assert_eq!(names(dir.path()).len(), 2, "{:?}", names(dir.path()));
}

#[test]
fn one_fetches_at_a_time_and_what_is_on_its_way_counts() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let data = content(1, 7 * PIECE);
    let mut outliner = Outliner::default();
    outliner.update(&data);
    let outline = Arc::new(outliner.finish().unwrap());
    let mut partial = store.fetching(outline.id(), NOW).unwrap();
    partial.begin(Arc::clone(&outline)).unwrap();
    assert!(matches!(store.fetching(outline.id(), NOW), Err(StoreError::Underway { .. })));
    assert!(matches!(store.remove(&outline.id()), Err(StoreError::Underway { .. })));
    let full = store.add(&content(2, 4 * PIECE)[..], 0, NOW).unwrap_err();
    assert!(matches!(full, StoreError::Full { .. }), "{full}");
    drop(partial);
    // A fetch that nobody goes on with gives way like anything else.
    store.add(&content(2, 4 * PIECE)[..], 0, NOW).unwrap();
    assert_eq!(store.fetching(outline.id(), NOW).unwrap().outline(), None);
}

#[test]
fn what_a_crash_or_a_bad_disk_left_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let data = content(1, 3 * PIECE);
    let id = store.add(&data[..], 0, NOW).unwrap();
    let path = dir.path().join(id.hex());
    let mut bytes = fs::read(&path).unwrap();
    bytes[PIECE + 7] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let error = store.read(&id, u64::MAX, NOW).unwrap_err();
    assert!(matches!(error, StoreError::Damaged { at, .. } if at == PIECE as u64), "{error}");
    fs::write(&path, &bytes[..100]).unwrap();
    fs::write(dir.path().join("17-1.adding"), b"half").unwrap();
    fs::write(dir.path().join("notes.txt"), b"not ours").unwrap();
    let store = open(dir.path());
    assert!(!store.holds(&id), "its length is wrong");
    assert_eq!(names(dir.path()).into_keys().collect::<Vec<_>>(), ["notes.txt"]);
}

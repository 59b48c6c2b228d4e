use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use super::*;

fn job(id: &str) -> Stream {
    Stream::Job(id.parse().unwrap())
}

fn bodies(store: &dyn Store) -> (Vec<String>, Replayed) {
    let mut seen = Vec::new();
    let mut numbers = Vec::new();
    let replayed = store
        .replay(&mut |_, number, body| {
            seen.push(String::from_utf8_lossy(body).trim_end().to_owned());
            numbers.push(number);
            ControlFlow::Continue(())
        })
        .unwrap();
    assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
    (seen, replayed)
}

fn append(store: &dyn Store, text: &str) -> u64 {
    store.append(&[Append { stream: &Stream::Node, body: text.as_bytes() }]).unwrap()
}

fn segment(dir: &Path, id: u64) -> PathBuf {
    file::path_of(&dir.join(LOG), id)
}

/// Leaves five records of eleven bytes of text, of which `damage` has changed the bytes, and opens the store again.
fn reopened_after(damage: impl Fn(&mut Vec<u8>)) -> (tempfile::TempDir, SegmentStore) {
    let dir = tempfile::tempdir().unwrap();
    let store = SegmentStore::open(dir.path()).unwrap();
    for i in 1..=5 {
        append(&store, &format!("record {i}   "));
    }
    store.sync().unwrap();
    drop(store);
    let path = segment(dir.path(), 1);
    let mut bytes = fs::read(&path).unwrap();
    damage(&mut bytes);
    fs::write(&path, bytes).unwrap();
    let store = SegmentStore::open(dir.path()).unwrap();
    (dir, store)
}

fn frame_length() -> usize {
    frame::length(&Stream::Node, 11)
}

fn at(record: usize) -> usize {
    file::HEADER + (record - 1) * frame_length()
}

#[test]
fn what_was_synced_is_there_after_a_restart() {
    let (_dir, store) = reopened_after(|_| ());
    assert_eq!(get_u64(&store, LOST).unwrap(), 0);
    let (seen, replayed) = bodies(&store);
    assert_eq!(seen, ["record 1", "record 2", "record 3", "record 4", "record 5"]);
    assert_eq!(replayed, Replayed { records: 5, repaired: Repair::default() });
    assert_eq!(append(&store, "r6"), 6);
}

#[test]
fn a_log_cut_at_any_byte_goes_on_behind_its_last_whole_record() {
    for cut in (at(5) + 1..at(6)).step_by(3) {
        let (dir, store) = reopened_after(|bytes| {
            let length = bytes.len();
            bytes.truncate(cut);
            bytes.resize(length, 0);
        });
        let (seen, replayed) = bodies(&store);
        assert_eq!(seen.len(), 4, "cut at {cut}");
        let tail = (cut - at(5)) as u64;
        // What ended in zeros anyway cannot be told from zeros written ahead.
        assert!(replayed.repaired.bytes > 0 && replayed.repaired.bytes <= tail, "{:?}", replayed.repaired);
        assert_eq!((replayed.repaired.from, replayed.repaired.records, replayed.repaired.whole), (5, 1, 0));
        assert_eq!(append(&store, "another"), 5);
        store.sync().unwrap();
        drop(store);
        let store = SegmentStore::open(dir.path()).unwrap();
        assert!(!store.repaired().any(), "repaired once, whole afterwards");
        assert_eq!(bodies(&store).0.last().unwrap(), "another");
    }
}

#[test]
fn a_file_that_lost_its_end_goes_on_too() {
    let (_dir, store) = reopened_after(|bytes| bytes.truncate(at(3) + 5));
    assert_eq!(bodies(&store).0.len(), 2);
    assert_eq!(append(&store, "r3"), 3);
    store.sync().unwrap();
    assert_eq!(bodies(&store).0, ["record 1", "record 2", "r3"]);
}

#[test]
fn what_was_synced_and_is_gone_is_told_from_a_torn_tail() {
    let (dir, store) = reopened_after(|bytes| bytes.truncate(at(5)));
    assert!(store.repaired().synced && !store.repaired().any(), "the end of the file is gone");
    append(&store, "r5");
    store.sync().unwrap();
    append(&store, "r6");
    drop(store);
    let path = segment(dir.path(), 1);
    let mut bytes = fs::read(&path).unwrap();
    let end = bytes.iter().rposition(|b| *b != 0).unwrap();
    bytes[end] ^= 1;
    fs::write(&path, bytes).unwrap();
    let store = SegmentStore::open(dir.path()).unwrap();
    assert!(!store.repaired().synced && store.repaired().any(), "nobody was told that r6 is kept");
    assert_eq!(get_u64(&store, LOST).unwrap(), 1, "what was lost once is lost");
    assert_eq!(bodies(&store).0.len(), 5);
}

#[test]
fn any_flipped_bit_of_a_record_cuts_there_and_keeps_the_rest_aside() {
    for bit in (at(4) * 8..at(5) * 8).step_by(7) {
        let (dir, store) = reopened_after(|bytes| bytes[bit / 8] ^= 1 << (bit % 8));
        let (seen, replayed) = bodies(&store);
        assert_eq!(seen, ["record 1", "record 2", "record 3"], "bit {bit}");
        let both = 2 * frame_length() as u64;
        assert_eq!(replayed.repaired, Repair { from: 4, records: 2, whole: 1, bytes: both, synced: true });
        let aside: Vec<_> = fs::read_dir(dir.path().join(LOG).join(ASIDE)).unwrap().collect();
        assert_eq!(aside.len(), 1);
        assert_eq!(aside[0].as_ref().unwrap().metadata().unwrap().len(), both);
    }
}

#[test]
fn a_batch_whose_end_is_missing_never_was() {
    let dir = tempfile::tempdir().unwrap();
    let store = SegmentStore::open(dir.path()).unwrap();
    append(&store, "alone");
    let both =
        [Append { stream: &Stream::Node, body: b"first" }, Append { stream: &Stream::Node, body: b"second" }];
    store.append(&both).unwrap();
    drop(store);
    let path = segment(dir.path(), 1);
    let mut bytes = fs::read(&path).unwrap();
    let second = frame::length(&Stream::Node, 5) * 2 + file::HEADER;
    bytes[second..second + 40].fill(0);
    fs::write(&path, bytes).unwrap();
    let store = SegmentStore::open(dir.path()).unwrap();
    let (seen, replayed) = bodies(&store);
    assert_eq!(seen, ["alone"]);
    assert_eq!((replayed.repaired.records, replayed.repaired.whole), (1, 1));
}

#[test]
fn a_broken_segment_takes_those_behind_it_along() {
    let dir = tempfile::tempdir().unwrap();
    let store = SegmentStore::open_with(dir.path(), 1000).unwrap();
    for i in 1..=30 {
        append(&store, &format!("{i:<200}"));
    }
    drop(store);
    let path = segment(dir.path(), 2);
    let mut bytes = fs::read(&path).unwrap();
    bytes[file::HEADER + 100] ^= 1;
    fs::write(&path, bytes).unwrap();
    let seen = inspect(dir.path()).unwrap().unwrap().broken.unwrap();
    let store = SegmentStore::open_with(dir.path(), 1000).unwrap();
    assert_eq!(bodies(&store).0, ["1", "2", "3", "4"]);
    assert_eq!(store.repaired(), seen.repair, "the doctor says what a repair then does");
    assert_eq!((seen.repair.from, seen.repair.records, seen.repair.whole), (5, 26, 25));
    assert_eq!(append(&store, "5 again"), 5);
    drop(store);
    let store = SegmentStore::open_with(dir.path(), 1000).unwrap();
    assert!(!store.repaired().any());
    assert_eq!(bodies(&store).0, ["1", "2", "3", "4", "5 again"]);
}

#[test]
fn a_segment_without_its_header_is_set_aside_whole() {
    let dir = tempfile::tempdir().unwrap();
    let store = SegmentStore::open_with(dir.path(), 1000).unwrap();
    for i in 1..=6 {
        append(&store, &format!("{i:<200}"));
    }
    drop(store);
    let path = segment(dir.path(), 2);
    let mut bytes = fs::read(&path).unwrap();
    bytes[3] ^= 1;
    fs::write(&path, bytes).unwrap();
    let store = SegmentStore::open_with(dir.path(), 1000).unwrap();
    assert_eq!(bodies(&store).0, ["1", "2", "3", "4"]);
    assert_eq!((store.repaired().records, store.repaired().whole), (2, 2));
    assert!(!path.exists());
}

#[test]
fn numbers_go_on_after_everything_was_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let store = SegmentStore::open_with(dir.path(), 200).unwrap();
    for i in 1..=20 {
        assert_eq!(append(&store, "some text that fills segments"), i);
        store.truncate(&Stream::Node).unwrap();
    }
    drop(store);
    let store = SegmentStore::open_with(dir.path(), 200).unwrap();
    assert_eq!(append(&store, "r21"), 21);
    assert_eq!(bodies(&store).0, ["r21"]);
}

/// Random appends and forgettings, against a model, with openings in between: what is wanted is there, in order, and
/// the disk holds little more.
#[test]
fn what_was_forgotten_stays_so_and_its_disk_is_given_back() {
    let dir = tempfile::tempdir().unwrap();
    let reference = crate::store::MemoryStore::default();
    let mut random = 1u64;
    let mut next = |below: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % below
    };
    let mut most = 0;
    for round in 0..40 {
        let store = SegmentStore::open_with(dir.path(), 16 << 10).unwrap();
        assert_eq!(bodies(&store), bodies(&reference), "round {round}");
        for _ in 0..100 {
            let stream = job(&format!("job-{:04}", next(30)));
            if next(6) == 0 {
                store.truncate(&stream).unwrap();
                reference.truncate(&stream).unwrap();
            } else {
                let text = format!("{:<100}", next(1000)).repeat(1 + next(4) as usize);
                let batch = [Append { stream: &stream, body: text.as_bytes() }; 2];
                let count = 1 + next(2) as usize;
                assert_eq!(
                    store.append(&batch[..count]).unwrap(),
                    reference.append(&batch[..count]).unwrap()
                );
            }
        }
        assert_eq!(bodies(&store), bodies(&reference), "round {round}");
        most = most.max(inspect_open(&store));
    }
    // About 30 streams of ten records of 300 bytes are wanted at a time; two megabytes were written.
    assert!(most < 600 << 10, "{most} bytes");
}

fn inspect_open(store: &SegmentStore) -> u64 {
    store.state().index.bytes()
}

#[test]
fn segments_put_together_and_not_yet_removed_count_once() {
    let dir = tempfile::tempdir().unwrap();
    let store = SegmentStore::open_with(dir.path(), 4000).unwrap();
    let (kept, gone) = (job("kept-job"), job("gone-job"));
    for i in 0..60 {
        let stream = if i % 10 == 0 { &kept } else { &gone };
        store.append(&[Append { stream, body: format!("{i:<200}").as_bytes() }]).unwrap();
    }
    store.truncate(&gone).unwrap();
    store.sync().unwrap();
    let log = dir.path().join(LOG);
    let before: Vec<(PathBuf, Vec<u8>)> = file::list(&log)
        .unwrap()
        .segments
        .into_iter()
        .map(|(_, p)| (p.clone(), fs::read(p).unwrap()))
        .collect();
    store.append(&[Append { stream: &kept, body: &[b'x'; 3900] }]).unwrap();
    let wanted = bodies(&store);
    drop(store);
    // A crash between the new segment's name and the end of the old ones.
    let missing: Vec<_> = before.iter().filter(|(path, _)| !path.exists()).collect();
    assert!(!missing.is_empty());
    for (path, bytes) in missing {
        fs::write(path, bytes).unwrap();
    }
    fs::write(log.join("00000099.tmp"), b"half a segm").unwrap();
    let store = SegmentStore::open_with(dir.path(), 4000).unwrap();
    assert_eq!(bodies(&store), wanted);
    assert!(!log.join("00000099.tmp").exists());
}

#[test]
fn the_log_of_an_older_version_is_carried_over_once() {
    let dir = tempfile::tempdir().unwrap();
    let old = SledStore::open(dir.path()).unwrap();
    for i in 1..=600 {
        append(&old, &format!("r{i}"));
    }
    old.truncate(&Stream::Node).unwrap();
    let stream = job("old-job-1");
    for i in 601..=603 {
        old.append(&[Append { stream: &stream, body: format!("r{i}").as_bytes() }]).unwrap();
    }
    old.put("boot", b"7").unwrap();
    old.sync().unwrap();
    drop(old);
    for extra in 0..3 {
        let store = SegmentStore::open(dir.path()).unwrap();
        let (seen, _) = bodies(&store);
        assert_eq!(seen.len(), 3 + extra, "{seen:?}");
        assert_eq!(seen[..3], ["r601", "r602", "r603"]);
        assert_eq!(store.get("boot").unwrap().unwrap(), b"7");
        assert_eq!(append(&store, "new"), 604 + extra as u64);
    }
    // Someone goes back to the older version for a while.
    let old = SledStore::open(dir.path()).unwrap();
    append(&old, "meanwhile");
    old.sync().unwrap();
    drop(old);
    let store = SegmentStore::open(dir.path()).unwrap();
    assert_eq!(bodies(&store).0, ["r601", "r602", "r603", "new", "new", "new", "meanwhile"]);
}

#[test]
fn a_directory_in_use_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let open = SegmentStore::open(dir.path()).unwrap();
    let second = SegmentStore::open(dir.path()).err().unwrap();
    assert!(matches!(second, StoreError::Locked { .. }), "{second}");
    assert!(matches!(inspect(dir.path()), Err(StoreError::Locked { .. })));
    drop(open);
    SegmentStore::open(dir.path()).unwrap();
}

#[test]
fn after_a_write_that_failed_nothing_is_written_until_it_is_opened_again() {
    let dir = tempfile::tempdir().unwrap();
    let store = SegmentStore::open(dir.path()).unwrap();
    append(&store, "r1");
    store.sync().unwrap();
    // A handle that cannot write stands for a disk that no longer takes anything.
    let path = segment(dir.path(), 1);
    store.state().active = SegmentFile::read_only(path).unwrap();
    assert!(store.append(&[Append { stream: &Stream::Node, body: b"lost" }]).is_err());
    assert!(store.append(&[Append { stream: &Stream::Node, body: b"lost" }]).is_err());
    assert!(store.sync().is_err(), "a sync must not say that all is well");
    assert_eq!(bodies(&store).0, ["r1"]);
    drop(store);
    let store = SegmentStore::open(dir.path()).unwrap();
    assert_eq!((bodies(&store).0.len(), append(&store, "r2")), (1, 2));
}

#[test]
fn looking_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(inspect(&dir.path().join("none")).unwrap(), None);
    let store = SegmentStore::open(dir.path()).unwrap();
    let (a, b) = (job("aaaaaaaa"), job("bbbbbbbb"));
    for stream in [&a, &b, &a] {
        store.append(&[Append { stream, body: b"text" }]).unwrap();
    }
    store.truncate(&a).unwrap();
    drop(store);
    let path = segment(dir.path(), 1);
    let mut bytes = fs::read(&path).unwrap();
    let end = bytes.iter().rposition(|b| *b != 0).unwrap() + 1;
    bytes[end..end + 3].copy_from_slice(b"odd");
    fs::write(&path, &bytes).unwrap();
    let seen = inspect(dir.path()).unwrap().unwrap();
    assert_eq!((seen.segments, seen.records, seen.streams, seen.last), (1, 3, 1, 3));
    assert_eq!(seen.live, frame::length(&b, 4) as u64);
    assert_eq!(seen.bytes, bytes.len() as u64);
    let broken = seen.broken.unwrap();
    assert_eq!(
        (broken.at, broken.repair),
        (end, Repair { from: 4, records: 1, whole: 0, bytes: 3, synced: false })
    );
    assert_eq!(fs::read(&path).unwrap(), bytes);
    assert!(!dir.path().join(LOG).join(ASIDE).exists());
}

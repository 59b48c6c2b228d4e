//! Messages of released versions: what they sent, today's code still reads. `tests/golden/v…` holds the samples of a
//! release, copied from `tests/golden` when it is made.

use std::path::{Path, PathBuf};

use foa_node_core::Body;
use foa_wire::envelope::{Envelope, Header};
use foa_wire::{Boot, NodeId, NodeKey, Sequence, Time};

/// Every sample in a folder that cannot be read, and how many there are in all.
fn unreadable(folder: &Path) -> (usize, Vec<String>) {
    let key = NodeKey::from_seed([1; 32]);
    let from = NodeId::new("released".parse().unwrap(), &key.public());
    let mut read = 0;
    let mut wrong = Vec::new();
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        read += 1;
        let header = Header {
            kind: path.file_stem().unwrap().to_str().unwrap().to_owned(),
            to: "board/calls".to_owned(),
            id: "golden-message".parse().unwrap(),
            from: from.clone(),
            boot: Boot(1),
            seq: Sequence(1),
            sent: Time::from_millis(1_769_851_800_250),
            expires: None,
            trace: None,
        };
        let body = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        if let Err(e) = Body::read(Envelope { header, body }) {
            wrong.push(format!("{}: {e}", path.display()));
        }
    }
    (read, wrong)
}

fn golden() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden")
}

#[test]
fn what_released_versions_said_is_still_read() {
    let mut folders = vec![golden()];
    let entries = std::fs::read_dir(golden()).unwrap().map(|entry| entry.unwrap().path());
    folders.extend(entries.filter(|path| path.is_dir()));
    for folder in folders {
        let (read, wrong) = unreadable(&folder);
        assert!(read > 0, "wanted samples in {}, found none", folder.display());
        assert!(wrong.is_empty(), "{wrong:#?}");
    }
}

#[test]
fn a_message_that_can_no_longer_be_read_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("job.accepted.json"), r#"{"job":"golden-job"}"#).unwrap();
    std::fs::write(folder.path().join("job.forgotten.json"), "{}").unwrap();
    let (read, wrong) = unreadable(folder.path());
    assert_eq!((read, wrong.len()), (2, 2), "{wrong:#?}");
}

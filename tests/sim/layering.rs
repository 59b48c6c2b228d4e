//! Who may know whom: the arrows of ARCHITECTURE.md, checked against what cargo resolves and what the sources say.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Each crate of ours, its folder, and all of ours that it may know.
const ARROWS: [(&str, &str, &[&str]); 5] = [
    ("foa-wire", "broker/wire", &[]),
    ("foa-capability", "capability", &["foa-wire"]),
    ("foa-workflows", "workflows", &["foa-wire", "foa-capability"]),
    ("foa-node-core", "node/core", &["foa-wire", "foa-capability", "foa-workflows"]),
    ("foa-broker", "broker", &["foa-wire"]),
];

/// Crates that decide and do nothing else.
const PURE: [&str; 4] = ["foa-wire", "foa-capability", "foa-workflows", "foa-node-core"];

/// What a pure crate may not depend on, however indirectly.
const IMPURE: [&str; 8] = ["tokio", "mio", "rumqttc", "rumqttd", "sled", "reqwest", "fastembed", "ort"];

/// What the source of a pure crate may not say: clocks, files, sockets, threads, and maps without an order.
const WORDS: [&str; 9] = [
    "SystemTime",
    "Instant::now",
    "std::fs",
    "std::net",
    "std::process",
    "thread::spawn",
    "HashMap",
    "HashSet",
    "std::env",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Everything a crate depends on when it is built for use, itself left out.
fn dependencies(package: &str) -> BTreeSet<String> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let output = Command::new(cargo)
        .current_dir(root())
        .args([
            "tree",
            "--offline",
            "--package",
            package,
            "--edges",
            "normal",
            "--prefix",
            "none",
            "--format",
            "{p}",
        ])
        .output()
        .expect("cargo runs these tests, so it is there");
    assert!(output.status.success(), "cargo tree: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("cargo writes UTF-8");
    let names = text.lines().filter_map(|line| line.split_whitespace().next());
    names.filter(|name| *name != package).map(str::to_owned).collect()
}

#[test]
fn crates_know_only_whom_they_may() {
    for (package, _, may) in ARROWS {
        let ours: BTreeSet<String> = dependencies(package)
            .into_iter()
            .filter(|d| d.starts_with("foa-") || *d == "federation-tests")
            .collect();
        let may: BTreeSet<String> = may.iter().map(|d| (*d).to_owned()).collect();
        assert!(ours.is_subset(&may), "{package} knows {ours:?}, may know {may:?}");
    }
    assert!(!dependencies("foa-node").contains("federation-tests"), "nobody may know the tests");
}

#[test]
fn pure_crates_depend_on_nothing_that_acts() {
    for package in PURE {
        let all = dependencies(package);
        let found: Vec<&&str> = IMPURE.iter().filter(|impure| all.contains(**impure)).collect();
        assert!(found.is_empty(), "{package} depends on {found:?}");
    }
}

#[test]
fn pure_sources_have_no_clock_no_file_no_thread_and_no_unordered_map() {
    for (package, folder, _) in ARROWS.into_iter().filter(|(package, ..)| PURE.contains(package)) {
        let files = sources(&root().join(folder).join("src"));
        assert!(files.len() > 5, "{package} has {} source files", files.len());
        for file in files {
            let text = std::fs::read_to_string(&file).expect("a source file can be read");
            for (n, line) in text.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//"))
            {
                let word = WORDS.iter().find(|word| line.contains(**word));
                assert!(word.is_none(), "{}:{}: {}", file.display(), n + 1, line.trim());
            }
        }
    }
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).expect("the folder of a crate is there") {
        let path = entry.expect("a folder can be read").path();
        if path.is_dir() {
            files.extend(sources(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            files.push(path);
        }
    }
    files
}

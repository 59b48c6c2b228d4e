//! What the demo's federation knows: this repository's own documents, or a folder of yours, dealt out so that every
//! node holds a part and none holds all.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// A document and its name, as it is cited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Document {
    pub(super) name: String,
    pub(super) bytes: Vec<u8>,
}

/// Asked when nobody asks anything: it takes two facts that different nodes hold, and then a calculation.
pub(super) const QUESTION: &str = "How large may an envelope be, and how large may a record of the journal be? \
    Then calculate the difference between the two in bytes.";

/// The repository's documents, compiled in so that the binary alone is a demo, and dealt to three nodes room by room. The
/// front page is not among them: it shows a demo and so gives the answer away.
const OWN: [&[(&str, &str)]; 3] = [
    &[
        ("broker/README.md", include_str!("../../../broker/README.md")),
        ("deploy/README.md", include_str!("../../../deploy/README.md")),
    ],
    &[
        ("ARCHITECTURE.md", include_str!("../../../ARCHITECTURE.md")),
        ("node/README.md", include_str!("../../README.md")),
        ("tests/README.md", include_str!("../../../tests/README.md")),
    ],
    &[
        ("CHANGELOG.md", include_str!("../../../CHANGELOG.md")),
        ("capability/README.md", include_str!("../../../capability/README.md")),
        ("workflows/README.md", include_str!("../../../workflows/README.md")),
    ],
];

/// Kinds of files a corpus reads.
const READABLE: &[&str] = &["md", "markdown", "txt", "text", "html", "htm"];
/// Most files taken from a folder: the demo is to be ready within seconds.
const MAX_FILES: usize = 2000;

/// The repository's own documents, one part for each node that holds documents.
pub(super) fn own() -> Vec<Vec<Document>> {
    let document =
        |(name, text): &(&str, &str)| Document { name: (*name).to_owned(), bytes: text.as_bytes().to_vec() };
    OWN.iter().map(|part| part.iter().map(document).collect()).collect()
}

/// Every readable document below a folder; hidden folders and files are left out.
pub(super) fn below(folder: &Path) -> io::Result<Vec<Document>> {
    let mut documents = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        let mut entries: Vec<PathBuf> =
            fs::read_dir(&next)?.map(|e| e.map(|e| e.path())).collect::<Result<_, _>>()?;
        entries.sort();
        for path in entries {
            let hidden = path.file_name().is_some_and(|n| n.to_string_lossy().starts_with('.'));
            if hidden {
                continue;
            }
            if path.is_dir() && !path.is_symlink() {
                folders.push(path);
                continue;
            }
            let extension = path.extension().map(|e| e.to_string_lossy().to_lowercase());
            if extension.is_some_and(|e| READABLE.contains(&e.as_str())) && documents.len() < MAX_FILES {
                let name = path.strip_prefix(folder).unwrap_or(&path).to_string_lossy().into_owned();
                documents.push(Document { name, bytes: fs::read(&path)? });
            }
        }
    }
    documents.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(documents)
}

/// Deals documents to `hands` nodes: the largest first, each to whoever has least. When there are fewer documents than
/// nodes they are cut at their headings first, so that still nobody holds all.
pub(super) fn deal(documents: Vec<Document>, hands: usize) -> Vec<Vec<Document>> {
    let mut parts =
        if documents.len() < hands { documents.iter().flat_map(sections).collect() } else { documents };
    parts.sort_by(|a, b| b.bytes.len().cmp(&a.bytes.len()).then_with(|| a.name.cmp(&b.name)));
    let mut dealt: Vec<(usize, Vec<Document>)> = vec![(0, Vec::new()); hands];
    for part in parts {
        let least = dealt.iter_mut().min_by_key(|(bytes, _)| *bytes).expect("there is at least one node");
        least.0 += part.bytes.len();
        match least.1.iter_mut().find(|d| d.name == part.name) {
            Some(same) => same.bytes.extend_from_slice(&part.bytes),
            None => least.1.push(part),
        }
    }
    dealt.into_iter().map(|(_, documents)| documents).collect()
}

/// The parts of a text that begin with a second-level heading; what stands before the first stays with it.
fn sections(document: &Document) -> Vec<Document> {
    let Ok(text) = std::str::from_utf8(&document.bytes) else { return vec![document.clone()] };
    let mut parts: Vec<String> = Vec::new();
    for line in text.split_inclusive('\n') {
        match parts.last_mut() {
            Some(part) if !line.starts_with("## ") => part.push_str(line),
            Some(_) | None => parts.push(line.to_owned()),
        }
    }
    parts.into_iter().map(|part| Document { name: document.name.clone(), bytes: part.into_bytes() }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(name: &str, text: &str) -> Document {
        Document { name: name.to_owned(), bytes: text.as_bytes().to_vec() }
    }

    #[test]
    fn nobody_holds_everything_and_nothing_is_lost() {
        let sizes = [5, 40, 3, 30, 20, 10, 1];
        let documents: Vec<Document> =
            sizes.iter().map(|n| document(&format!("d{n}"), &"x".repeat(*n))).collect();
        let dealt = deal(documents, 3);
        let sums: Vec<usize> = dealt.iter().map(|d| d.iter().map(|d| d.bytes.len()).sum::<usize>()).collect();
        assert_eq!(sums.iter().sum::<usize>(), sizes.iter().sum::<usize>());
        assert!(sums.iter().all(|s| (30..=45).contains(s)), "{sums:?}");
    }

    #[test]
    fn the_question_takes_facts_that_different_nodes_hold() {
        let holders = |fact: &str| {
            let holds = |part: &Vec<Document>| {
                part.iter().any(|d| String::from_utf8_lossy(&d.bytes).replace('\n', " ").contains(fact))
            };
            own().iter().enumerate().filter(|(_, part)| holds(part)).map(|(i, _)| i).collect::<Vec<_>>()
        };
        assert_eq!(holders("An envelope may be at most 256 KiB large"), [0]);
        assert_eq!(holders("A record of the journal may be at most 2 MiB large"), [1]);
    }

    #[test]
    fn one_document_is_cut_at_its_headings() {
        let dealt = deal(vec![document("a.md", "# A\nintro\n## One\n1\n## Two\n22\n")], 3);
        let texts: Vec<&str> = dealt.iter().map(|d| std::str::from_utf8(&d[0].bytes).unwrap()).collect();
        assert_eq!(texts, ["# A\nintro\n", "## Two\n22\n", "## One\n1\n"]);
    }

    #[test]
    fn a_folder_is_read_without_what_is_hidden() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("sub/.git")).unwrap();
        for name in ["b.md", "sub/a.txt", "sub/.git/c.md", "sub/d.exe", ".e.md"] {
            fs::write(dir.path().join(name), name).unwrap();
        }
        let names: Vec<String> = below(dir.path()).unwrap().into_iter().map(|d| d.name).collect();
        assert_eq!(names, ["b.md", "sub/a.txt"]);
    }
}

//! Reads a folder of documents: Markdown, plain text and HTML (turned into Markdown). PDF is left out on purpose: an
//! extractor that loses reading order quotes wrongly, and a wrong quotation is worse than none.

use std::io;
use std::path::{Path, PathBuf};

use walkdir::WalkDir;

/// The largest file that is read.
const MAX_FILE: u64 = 4 << 20;
/// The most files of one folder.
const MAX_FILES: usize = 5_000;

/// A document: its path below the folder, and its text as Markdown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// Path below the folder, with `/`.
    pub path: String,
    /// Its text as Markdown; plain text is Markdown enough.
    pub text: String,
}

impl Document {
    /// A document of this path and content; HTML is recognised by the path.
    #[must_use]
    pub fn new(path: &str, content: &str) -> Self {
        let html = [".html", ".htm", ".xhtml"].iter().any(|e| path.to_lowercase().ends_with(e));
        let text = if html { from_html(content) } else { content.to_owned() };
        Self { path: path.to_owned(), text }
    }
}

/// Why a folder could not be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read documents in {path}")]
pub struct ReadError {
    path: PathBuf,
    source: io::Error,
}

/// The documents in `folder` (or the one document it is), in order of path. Hidden files, unreadable files, files that
/// are no text and files over 4 MiB are left out, with a warning where that may surprise.
///
/// # Errors
/// When the folder itself cannot be read.
pub fn folder(folder: &Path) -> Result<Vec<Document>, ReadError> {
    let failed = |source| ReadError { path: folder.to_owned(), source };
    std::fs::metadata(folder).map_err(failed)?;
    let visible = |e: &walkdir::DirEntry| {
        let name = e.file_name().to_string_lossy();
        e.depth() == 0 || !(name.starts_with('.') || name == "target" || name == "node_modules")
    };
    let walk = WalkDir::new(folder).sort_by_file_name().into_iter().filter_entry(visible);
    let mut documents = Vec::new();
    for entry in walk.filter_map(Result::ok).filter(|e| e.file_type().is_file() && is_document(e.path())) {
        if documents.len() == MAX_FILES {
            tracing::warn!(folder = %folder.display(), "more than {MAX_FILES} documents, the rest is left out");
            break;
        }
        let path = entry.path();
        if entry.metadata().is_ok_and(|m| m.len() > MAX_FILE) {
            tracing::warn!(path = %path.display(), "document over 4 MiB left out");
            continue;
        }
        let below = path.strip_prefix(folder).ok().filter(|p| !p.as_os_str().is_empty());
        let below = below.or_else(|| path.file_name().map(Path::new)).unwrap_or(path);
        let name = below.components().map(|c| c.as_os_str().to_string_lossy()).collect::<Vec<_>>().join("/");
        match std::fs::read_to_string(path) {
            Ok(content) => documents.push(Document::new(&name, &content)),
            Err(error) => tracing::warn!(path = %path.display(), %error, "document left out"),
        }
    }
    Ok(documents)
}

fn is_document(path: &Path) -> bool {
    let extension = path.extension().and_then(|e| e.to_str()).unwrap_or("").to_lowercase();
    matches!(
        extension.as_str(),
        "md" | "markdown" | "mdx" | "txt" | "text" | "rst" | "html" | "htm" | "xhtml"
    )
}

fn from_html(content: &str) -> String {
    let skipped = vec!["script", "style", "nav", "footer", "noscript", "svg", "head"];
    let converter = htmd::HtmlToMarkdown::builder().skip_tags(skipped).build();
    converter.convert(content).unwrap_or_else(|_| content.to_owned())
}

//! Cuts a document into passages: what stands below one heading, in pieces a reader takes in at once. A table row and a
//! list item stay whole; a row carries its column names.

use pulldown_cmark::{Event, HeadingLevel, Options, Parser, Tag, TagEnd};

use super::read::Document;
use crate::agent::text::sentences;

/// Blocks are gathered until a passage has this many words.
const ENOUGH: usize = 60;
/// A longer paragraph is cut between sentences.
const TOO_LONG: usize = 120;

/// A piece of a document, with the smallest pieces it can be quoted in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passage {
    /// Path of its document.
    pub path: String,
    /// The headings above it, outermost first.
    pub headings: Vec<String>,
    /// Its sentences, table rows and list items, each of which reads alone.
    pub pieces: Vec<String>,
}

impl Passage {
    /// Where it stands: `README.md § Quick start`.
    #[must_use]
    pub fn source(&self) -> String {
        match self.headings.last() {
            Some(heading) => format!("{} § {heading}", self.path),
            None => self.path.clone(),
        }
    }

    /// Its text.
    #[must_use]
    pub fn text(&self) -> String {
        self.pieces.join(" ")
    }

    /// Its text below its headings, as it is embedded and searched.
    #[must_use]
    pub fn in_context(&self) -> String {
        format!("{}: {}", self.headings.join(" / "), self.text())
    }
}

/// The passages of a document, in order.
#[must_use]
pub fn passages(document: &Document) -> Vec<Passage> {
    let mut cutter = Cutter { path: document.path.clone(), ..Cutter::default() };
    let options = Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH | Options::ENABLE_TASKLISTS;
    for event in Parser::new_ext(&document.text, options) {
        cutter.take(event);
    }
    cutter.finish();
    cutter.passages
}

#[derive(Default)]
struct Cutter {
    path: String,
    headings: Vec<(HeadingLevel, String)>,
    passages: Vec<Passage>,
    pieces: Vec<String>,
    text: String,
    heading: Option<HeadingLevel>,
    code: bool,
    columns: Vec<String>,
    cells: Vec<String>,
    items: usize,
}

impl Cutter {
    fn take(&mut self, event: Event<'_>) {
        match event {
            Event::Start(Tag::Heading { level, .. }) => {
                self.block();
                self.flush();
                self.heading = Some(level);
            }
            Event::End(TagEnd::Heading(level)) => {
                let title = tidy(&std::mem::take(&mut self.text));
                self.headings.retain(|(l, _)| *l < level);
                self.headings.push((level, title));
                self.heading = None;
            }
            Event::Start(Tag::Item) => {
                self.block();
                self.items += 1;
            }
            Event::End(TagEnd::Item) => {
                self.items -= 1;
                let item = tidy(&std::mem::take(&mut self.text));
                self.whole(item);
            }
            Event::End(TagEnd::Paragraph) if self.items > 0 => self.text.push(' '),
            Event::End(TagEnd::Paragraph | TagEnd::BlockQuote(_) | TagEnd::HtmlBlock) => self.block(),
            Event::Start(Tag::CodeBlock(_)) => {
                self.block();
                self.code = true;
            }
            Event::End(TagEnd::CodeBlock) => {
                self.code = false;
                let code = std::mem::take(&mut self.text);
                for line in code.lines().map(tidy) {
                    self.whole(line);
                }
            }
            Event::Start(Tag::Table(_)) => self.block(),
            Event::End(TagEnd::TableCell) => self.cells.push(tidy(&std::mem::take(&mut self.text))),
            Event::End(TagEnd::TableHead) => self.columns = std::mem::take(&mut self.cells),
            Event::End(TagEnd::TableRow) => {
                let row = self.row();
                self.whole(row);
            }
            Event::Text(text) => self.text.push_str(&text),
            Event::Code(code) => {
                self.text.push('`');
                self.text.push_str(&code);
                self.text.push('`');
            }
            Event::SoftBreak if self.code => self.text.push('\n'),
            Event::SoftBreak | Event::HardBreak => self.text.push(' '),
            _ => {}
        }
    }

    /// A table row as one line: the first cell names it, the others come with their column.
    fn row(&mut self) -> String {
        let cells = std::mem::take(&mut self.cells);
        let named =
            cells.iter().enumerate().filter(|(_, cell)| !cell.is_empty()).map(|(i, cell)| {
                match self.columns.get(i).filter(|c| i > 0 && !c.is_empty()) {
                    Some(column) => format!("{column}: {cell}"),
                    None => cell.clone(),
                }
            });
        named.collect::<Vec<_>>().join(" | ")
    }

    /// Ends a paragraph: its sentences are pieces.
    fn block(&mut self) {
        if self.heading.is_some() {
            return;
        }
        let text = tidy(&std::mem::take(&mut self.text));
        if words(&text) + self.words() > TOO_LONG && self.words() >= ENOUGH / 2 {
            self.flush();
        }
        for sentence in sentences(&text) {
            if self.words() >= TOO_LONG {
                self.flush();
            }
            self.pieces.push(sentence.to_owned());
        }
        if self.words() >= ENOUGH {
            self.flush();
        }
    }

    /// Adds a piece that must not be cut.
    fn whole(&mut self, piece: String) {
        if !piece.is_empty() {
            if words(&piece) + self.words() > TOO_LONG {
                self.flush();
            }
            self.pieces.push(piece);
            if self.words() >= ENOUGH {
                self.flush();
            }
        }
    }

    fn words(&self) -> usize {
        self.pieces.iter().map(|p| words(p)).sum()
    }

    fn flush(&mut self) {
        let pieces = std::mem::take(&mut self.pieces);
        if pieces.iter().any(|p| p.chars().any(char::is_alphanumeric)) {
            let headings = self.headings.iter().map(|(_, title)| title.clone()).collect();
            self.passages.push(Passage { path: self.path.clone(), headings, pieces });
        }
    }

    fn finish(&mut self) {
        self.block();
        self.flush();
    }
}

fn words(text: &str) -> usize {
    text.split_whitespace().count()
}

fn tidy(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_carry_their_columns_and_items_stay_whole() {
        let text = "# Stores\n\nWe tried four. One won.\n\n| store | lost |\n|---|---|\n| sled | 0 |\n\n## Notes\n\n- first, and\n  more\n- second\n";
        let found = passages(&Document::new("a.md", text));
        assert_eq!(found[0].source(), "a.md § Stores");
        assert_eq!(found[0].pieces, ["We tried four.", "One won.", "sled | lost: 0"]);
        assert_eq!(found[1].headings, ["Stores", "Notes"]);
        assert_eq!(found[1].pieces, ["first, and more", "second"]);
    }

    #[test]
    fn html_reads_like_markdown_without_its_scripts() {
        let page = "<html><head><title>x</title></head><body><script>var a</script><h1>Limits</h1><p>A card has 224 KiB.</p><ul><li>one</li></ul></body></html>";
        let found = passages(&Document::new("a.html", page));
        assert_eq!(found.len(), 1);
        assert_eq!(
            (found[0].source().as_str(), found[0].text().as_str()),
            ("a.html § Limits", "A card has 224 KiB. one")
        );
    }

    #[test]
    fn a_long_paragraph_is_cut_between_sentences() {
        let text = "One two three four five six seven eight nine ten. ".repeat(40);
        let found = passages(&Document::new("a.txt", &text));
        assert!(found.len() > 2 && found.iter().all(|p| words(&p.text()) <= TOO_LONG + 10));
    }
}

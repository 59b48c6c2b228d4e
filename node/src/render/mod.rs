//! Records, results and lists as people read them. Everything is readable without colour and fits the given width.

mod lists;
mod record;
mod replay;
mod result;
mod route;

pub use self::lists::{agents, artifacts, card, jobs, nodes, rejected};
pub use self::record::{Telling, phase};
pub use self::replay::replay;
pub use self::result::result;
pub use self::route::route;

/// What the place we write to can show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    /// Whether colour may be used.
    pub colour: bool,
    /// Columns there are.
    pub width: usize,
}

impl Style {
    /// No colour, for files and tests.
    #[must_use]
    pub fn plain(width: usize) -> Self {
        Self { colour: false, width }
    }

    /// A heading.
    #[must_use]
    pub fn bold(&self, text: &str) -> String {
        self.paint("1", text)
    }

    /// What matters less.
    #[must_use]
    pub fn dim(&self, text: &str) -> String {
        self.paint("2", text)
    }

    /// Something went well.
    #[must_use]
    pub fn green(&self, text: &str) -> String {
        self.paint("32", text)
    }

    /// Someone should look.
    #[must_use]
    pub fn yellow(&self, text: &str) -> String {
        self.paint("33", text)
    }

    /// Something went wrong.
    #[must_use]
    pub fn red(&self, text: &str) -> String {
        self.paint("31", text)
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.colour && !text.is_empty() { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// The text on one line, at most `width` characters, with an ellipsis where it was cut. What a peer wrote cannot move
/// the cursor: control characters become spaces.
pub(crate) fn one_line(text: &str, width: usize) -> String {
    let clean: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let line = clean.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= width {
        return line;
    }
    let mut cut: String = line.chars().take(width.saturating_sub(1)).collect();
    cut.truncate(cut.trim_end().len());
    cut + "…"
}

/// The text over as many lines as it takes, each with `indent` in front; lines of the text stay lines.
pub(crate) fn wrapped(text: &str, indent: &str, width: usize) -> String {
    let room = width.saturating_sub(indent.chars().count()).max(20);
    let mut out = String::new();
    for line in text.lines() {
        let line: String = line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let mut current = String::new();
        for word in line.split_whitespace() {
            if !current.is_empty() && current.chars().count() + 1 + word.chars().count() > room {
                out.push_str(&format!("{indent}{current}\n"));
                current.clear();
            }
            if !current.is_empty() {
                current.push(' ');
            }
            current.push_str(word);
        }
        out.push_str(format!("{indent}{current}").trim_end());
        out.push('\n');
    }
    out
}

/// The text on one line of at most `width` characters.
#[must_use]
pub fn brief(text: &str, width: usize) -> String {
    one_line(text, width)
}

/// Milliseconds for people: `340 ms`, `3.4 s`, `2 min 05 s`.
#[must_use]
pub fn duration(ms: u64) -> String {
    match ms {
        0..1000 => format!("{ms} ms"),
        1000..60_000 => format!("{}.{} s", ms / 1000, ms % 1000 / 100),
        _ => format!("{} min {:02} s", ms / 60_000, ms % 60_000 / 1000),
    }
}

/// A size for people: `512 bytes`, `52.4 MB`.
#[must_use]
pub fn bytes(n: u64) -> String {
    let (unit, name) = match n {
        0..1_000 => return format!("{n} bytes"),
        1_000..1_000_000 => (1_000, "KB"),
        1_000_000..1_000_000_000 => (1_000_000, "MB"),
        _ => (1_000_000_000, "GB"),
    };
    format!("{}.{} {name}", n / unit, n % unit * 10 / unit)
}

/// `1 agent`, `2 agents`.
pub(crate) fn count(n: usize, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}

/// Columns under headings. The last column takes the room that is left and is cut there.
pub(crate) struct Table {
    headings: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(headings: &[&'static str]) -> Self {
        Self { headings: headings.to_vec(), rows: Vec::new() }
    }

    pub(crate) fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells.into_iter().map(|cell| one_line(&cell, 400)).collect());
    }

    pub(crate) fn render(&self, style: Style) -> String {
        let columns = self.headings.len();
        let mut widths: Vec<usize> = self.headings.iter().map(|h| h.chars().count()).collect();
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let before_last: usize = widths.iter().take(columns - 1).map(|w| w + 2).sum();
        widths[columns - 1] = style.width.saturating_sub(before_last).max(16);
        let line = |cells: &[String]| {
            let mut line = String::new();
            for (i, (cell, width)) in cells.iter().zip(&widths).enumerate() {
                if i + 1 == columns {
                    line.push_str(&one_line(cell, *width));
                } else {
                    line.push_str(&format!("{cell:<width$}  "));
                }
            }
            line.trim_end().to_owned()
        };
        let headings: Vec<String> = self.headings.iter().map(|h| (*h).to_owned()).collect();
        let mut out = style.bold(&line(&headings)) + "\n";
        for row in &self.rows {
            out.push_str(&line(row));
            out.push('\n');
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_well() {
        for (ms, text) in [(0, "0 ms"), (999, "999 ms"), (3449, "3.4 s"), (125_000, "2 min 05 s")] {
            assert_eq!(duration(ms), text);
        }
    }

    #[test]
    fn what_a_peer_wrote_cannot_move_the_cursor() {
        assert_eq!(one_line("a\x1b[2Jb\r\n c", 80), "a [2Jb c");
        assert!(!wrapped("a\x1b[2Jb", "", 80).contains('\x1b'));
    }

    #[test]
    fn lines_keep_to_the_width() {
        let text = "one two three four five six seven eight nine ten\n\nlast";
        let out = wrapped(text, "  ", 24);
        assert!(out.lines().all(|l| l.chars().count() <= 24), "{out}");
        assert_eq!(out.split_whitespace().count(), 11);
        assert_eq!(one_line(text, 9), "one two…");
    }

    #[test]
    fn tables_align() {
        let mut table = Table::new(&["AGENT", "WHAT"]);
        table.row(vec!["a".to_owned(), "x".to_owned()]);
        table.row(vec!["longer-name".to_owned(), "y".to_owned()]);
        assert_eq!(table.render(Style::plain(40)), "AGENT        WHAT\na            x\nlonger-name  y\n");
    }
}

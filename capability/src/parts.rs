//! A request in its parts: one that asks for several things is near to nobody as a whole.

/// Most parts of one request; more clauses are put together, neighbours first.
pub const MAX_PARTS: usize = 12;
/// Words a clause must have to mean something by itself.
const FEWEST_WORDS: usize = 4;
/// What ends a clause, besides the end of a sentence or a line.
const BREAKS: [&str; 2] = [", and then ", ", then "];

/// The texts to embed for a request: the request itself, then its parts when it has more than one.
///
/// ```
/// let texts = foa_capability::parts::texts("Find the invoices of May. Translate them into French.");
/// assert_eq!(texts[1..], ["Find the invoices of May.", "Translate them into French."]);
/// assert_eq!(foa_capability::parts::texts("Translate this contract."), ["Translate this contract."]);
/// ```
#[must_use]
pub fn texts(request: &str) -> Vec<String> {
    let clauses = clauses(request);
    let mut texts = vec![request.to_owned()];
    if clauses.len() > 1 {
        let parts = clauses.len().min(MAX_PARTS);
        let from = |part: usize| part * clauses.len() / parts;
        texts.extend((0..parts).map(|part| clauses[from(part)..from(part + 1)].join(" ")));
    }
    texts
}

/// Sentences, lines and what comes "then", without bullets; what is too short to mean something is left out.
fn clauses(request: &str) -> Vec<&str> {
    let mut clauses = Vec::new();
    for line in request.lines() {
        let mut rest = line;
        while let Some((clause, more)) = cut(rest) {
            clauses.push(clause);
            rest = more;
        }
        clauses.push(rest);
    }
    let bare = clauses
        .into_iter()
        .map(|clause| clause.trim_matches(|c: char| c.is_whitespace() || matches!(c, '-' | '*' | '•')));
    bare.filter(|clause| clause.split_whitespace().count() >= FEWEST_WORDS).collect()
}

/// The first clause of a line and what follows, when something does.
fn cut(line: &str) -> Option<(&str, &str)> {
    let sentence = line.match_indices(['.', '!', '?', ';']).find_map(|(at, mark)| {
        let end = at + mark.len();
        line[end..].starts_with(char::is_whitespace).then_some((end, end))
    });
    let then = BREAKS.iter().filter_map(|b| line.find(b).map(|at| (at, at + b.len()))).min();
    let (end, next) = match (sentence, then) {
        (Some(a), Some(b)) => a.min(b),
        (a, b) => a.or(b)?,
    };
    Some((&line[..end], &line[next..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_lines_and_steps_are_parts() {
        let request = "Plan a trip to Rome for me.\n- find a cheap hotel room\n- ok\nBook the flight now, and then \
                       rent a small car; tell me version 1.2 of it!";
        assert_eq!(
            texts(request)[1..],
            [
                "Plan a trip to Rome for me.",
                "find a cheap hotel room",
                "Book the flight now",
                "rent a small car;",
                "tell me version 1.2 of it!"
            ]
        );
    }

    #[test]
    fn one_clause_is_no_part_and_many_are_put_together() {
        for request in ["", "Translate.", "Translate this long contract. Thanks!"] {
            assert_eq!(texts(request), [request]);
        }
        let many: Vec<String> = (0..21).map(|i| format!("Do the thing number {i}.")).collect();
        let parts = texts(&many.join(" "));
        assert_eq!(parts.len(), 1 + MAX_PARTS);
        assert_eq!(parts[1..].join(" "), many.join(" "), "nothing is lost");
    }
}

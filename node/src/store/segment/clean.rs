//! Gives back the disk of what was forgotten.

use std::fs;
use std::io;

use super::file::{self, HEADER, Header, SegmentFile};
use super::index::Segment;
use super::{SegmentStore, State};
use crate::store::frame::{self, Frame};

impl SegmentStore {
    /// Removes full segments in which nothing is wanted, and rewrites those in which more than half is not, together
    /// with the one before when both fit into one. Everything that was forgotten is durable by now, because a segment
    /// is synced before the next one begins.
    ///
    /// It is a kindness, not a duty: when the disk is too full to rewrite a segment, the segment stays.
    pub(super) fn clean(&self, state: &mut State) {
        let mut at = 0;
        while at + 1 < state.index.segments.len() {
            match self.clean_one(state, at) {
                Ok(true) => {}
                Ok(false) => at += 1,
                Err(e) => {
                    tracing::warn!(path = %self.path.display(), error = %e, "the log could not be made smaller");
                    return;
                }
            }
        }
        state.index.tidy();
    }

    /// Cleans one segment. `true` when it is gone, and the next one stands in its place.
    fn clean_one(&self, state: &mut State, at: usize) -> io::Result<bool> {
        let kept = state.index.kept(at);
        let used = state.index.segments[at].end - HEADER as u64;
        if kept == 0 {
            fs::remove_file(&state.index.segments[at].path)?;
            state.index.segments.remove(at);
            // What comes next may forget what forgot records in here, so those must be gone first.
            file::sync_directory(&self.log)?;
            return Ok(true);
        }
        let with_one_before = at > 0 && state.index.segments[at - 1].end + kept <= self.segment_bytes / 2;
        if with_one_before {
            self.rewrite(state, at - 1, at)?;
            return Ok(true);
        }
        if used > 2 * kept {
            self.rewrite(state, at, at)?;
        }
        Ok(false)
    }

    /// Puts what is wanted of the segments `from` to `to` into one that takes the place of the first. Until it has its
    /// name, the old ones count; from then on, those behind the first are leftovers.
    fn rewrite(&self, state: &mut State, from: usize, to: usize) -> io::Result<()> {
        let index = &state.index;
        let segments = &index.segments[from..=to];
        let through = segments.last().map_or(0, |s| s.header.through);
        let header = Header { through, ..segments[0].header };
        let mut frames = Vec::new();
        let mut rewritten = Segment::new(header, segments[0].path.clone(), 0);
        for (i, segment) in segments.iter().enumerate() {
            let bytes = fs::read(&segment.path)?;
            let (end, _, _) = file::scan(&bytes, segment.header, &mut |frame, _| {
                if index.keeps(from + i, frame) {
                    let before = frames.len();
                    // All of it is durable, so nothing is held together by a batch any more.
                    frame::write(&Frame { closes: true, ..frame.clone() }, &mut frames);
                    rewritten.put(frame, frames.len() - before);
                }
            });
            if end as u64 != segment.end {
                return Err(io::Error::other(format!("{} is broken at {end}", segment.path.display())));
            }
        }
        rewritten.length = SegmentFile::create(&self.log, header, &frames, false)?.length;
        let merged: Vec<Segment> = state.index.segments.splice(from..=to, [rewritten]).skip(1).collect();
        file::sync_directory(&self.log)?;
        // Those that stay behind after a crash are removed when the store is opened.
        merged.iter().try_for_each(|segment| fs::remove_file(&segment.path))
    }
}

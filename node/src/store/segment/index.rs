//! What lies in which segment, and what of it is still wanted. Only sizes are kept: records are read from the disk.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::file::{HEADER, Header};
use crate::store::Stream;
use crate::store::frame::{Frame, Kind};

/// One segment.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) header: Header,
    pub(super) path: PathBuf,
    /// Bytes it has on the disk.
    pub(super) length: u64,
    /// Bytes of it that mean something.
    pub(super) end: u64,
    streams: BTreeMap<Stream, Held>,
    /// Bytes of its frames that forget a stream, by stream.
    forgets: BTreeMap<Stream, u64>,
    live: u64,
}

/// What a segment holds of one stream, in bytes.
#[derive(Clone, Copy, Debug, Default)]
struct Held {
    live: u64,
    dead: u64,
}

impl Segment {
    pub(super) fn new(header: Header, path: PathBuf, length: u64) -> Self {
        Self {
            header,
            path,
            length,
            end: HEADER as u64,
            streams: BTreeMap::new(),
            forgets: BTreeMap::new(),
            live: 0,
        }
    }

    /// A frame that is wanted stands in it.
    pub(super) fn put(&mut self, frame: &Frame<'_>, length: usize) {
        let length = length as u64;
        self.end += length;
        match frame.kind {
            Kind::Record => {
                self.streams.entry(frame.stream.clone()).or_default().live += length;
                self.live += length;
            }
            Kind::Forget => *self.forgets.entry(frame.stream.clone()).or_default() += length,
        }
    }
}

/// All segments, oldest first. There is always one, which is the one that is written.
#[derive(Debug, Default)]
pub(super) struct Index {
    pub(super) segments: Vec<Segment>,
    /// Up to which number each stream was forgotten, while any of its records is still on the disk.
    forgotten: BTreeMap<Stream, u64>,
}

impl Index {
    /// A frame was found in, or written to, the last segment.
    pub(super) fn add(&mut self, frame: &Frame<'_>, length: usize) {
        if frame.kind == Kind::Forget {
            self.forget(&frame.stream, frame.number);
        }
        if let Some(segment) = self.segments.last_mut() {
            segment.put(frame, length);
        }
    }

    fn forget(&mut self, stream: &Stream, number: u64) {
        for segment in &mut self.segments {
            if let Some(held) = segment.streams.get_mut(stream) {
                segment.live -= held.live;
                held.dead += std::mem::take(&mut held.live);
            }
        }
        self.forgotten.insert(stream.clone(), number);
    }

    /// Whether any record of this stream is still wanted.
    pub(super) fn holds(&self, stream: &Stream) -> bool {
        self.segments.iter().any(|s| s.streams.get(stream).is_some_and(|held| held.live > 0))
    }

    /// Whether this record is still wanted.
    pub(super) fn wants(&self, frame: &Frame<'_>) -> bool {
        frame.kind == Kind::Record && self.forgotten.get(&frame.stream).is_none_or(|n| frame.number > *n)
    }

    /// Whether this frame of segment `at` must be kept when the segment is rewritten: a record that is wanted, or a
    /// forgetting whose records lie in an older segment.
    pub(super) fn keeps(&self, at: usize, frame: &Frame<'_>) -> bool {
        match frame.kind {
            Kind::Record => self.wants(frame),
            Kind::Forget => self.guards(at, &frame.stream),
        }
    }

    fn guards(&self, at: usize, stream: &Stream) -> bool {
        self.segments[..at].iter().any(|s| s.streams.get(stream).is_some_and(|held| held.dead > 0))
    }

    /// Bytes of segment `at` that a rewriting would keep.
    pub(super) fn kept(&self, at: usize) -> u64 {
        let segment = &self.segments[at];
        let forgets = segment.forgets.iter().filter(|(stream, _)| self.guards(at, stream));
        segment.live + forgets.map(|(_, length)| length).sum::<u64>()
    }

    /// Whether more than half of the segment that is written could be given back.
    pub(super) fn mostly_dead(&self) -> bool {
        self.segments
            .last()
            .is_some_and(|last| last.end - HEADER as u64 > 2 * self.kept(self.segments.len() - 1))
    }

    /// Bytes of the records that are wanted.
    pub(super) fn live(&self) -> u64 {
        self.segments.iter().map(|s| s.live).sum()
    }

    /// Forgets what was forgotten so thoroughly that nothing of it is left on the disk.
    pub(super) fn tidy(&mut self) {
        let segments = &self.segments;
        self.forgotten.retain(|stream, _| {
            segments.iter().any(|s| s.streams.get(stream).is_some_and(|held| held.dead > 0))
        });
    }

    /// Bytes on the disk.
    pub(super) fn bytes(&self) -> u64 {
        self.segments.iter().map(|s| s.length).sum()
    }

    /// Streams with records that are wanted.
    pub(super) fn streams(&self) -> usize {
        let live = self.segments.iter().flat_map(|s| s.streams.iter().filter(|(_, h)| h.live > 0));
        live.map(|(stream, _)| stream).collect::<std::collections::BTreeSet<_>>().len()
    }
}

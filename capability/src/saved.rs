//! What is kept on a disk between two starts: sections of bytes, each with a mark that names its layout, its length, and
//! BLAKE3 of what it says. Little endian.

/// Bytes of a length, and of a checksum.
const LENGTH: usize = 8;
const CHECKSUM: usize = 32;

/// Bytes that were not saved by this version, or not whole. The way out is to learn again what they said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// They begin otherwise: something else, or another version.
    #[error("wanted what this version saves, found other bytes")]
    Mark,
    /// They end early or were changed.
    #[error("wanted all that was saved, found bytes whose checksum does not hold")]
    Checksum,
    /// What they say cannot be.
    #[error("wanted what makes sense here, found {0}")]
    Unsound(&'static str),
}

/// A section that is being written.
pub(crate) struct Section {
    mark: usize,
    out: Vec<u8>,
}

impl Section {
    /// An empty one.
    pub(crate) fn new(mark: &[u8]) -> Self {
        Self { mark: mark.len(), out: [mark, &[0; LENGTH]].concat() }
    }

    /// Adds a number.
    pub(crate) fn number(&mut self, number: u32) {
        self.out.extend_from_slice(&number.to_le_bytes());
    }

    /// Adds bytes whose number the reader knows.
    pub(crate) fn raw(&mut self, bytes: impl IntoIterator<Item = u8>) {
        self.out.extend(bytes);
    }

    /// Adds bytes and how many they are.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.number(u32::try_from(bytes.len()).expect("a piece is smaller than 4 GiB"));
        self.out.extend_from_slice(bytes);
    }

    /// Adds numbers and how many they are.
    pub(crate) fn numbers(&mut self, numbers: impl Iterator<Item = u32>) {
        let at = self.out.len();
        self.number(0);
        let mut count = 0_u32;
        for number in numbers {
            self.number(number);
            count += 1;
        }
        self.out[at..at + 4].copy_from_slice(&count.to_le_bytes());
    }

    /// The section as bytes.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        let start = self.mark + LENGTH;
        let length = (self.out.len() - start) as u64;
        self.out[self.mark..start].copy_from_slice(&length.to_le_bytes());
        let checksum = blake3::hash(&self.out[start..]);
        self.out.extend_from_slice(checksum.as_bytes());
        self.out
    }
}

/// What is still to be read of a section.
pub(crate) struct Rest<'a>(&'a [u8]);

/// Opens the section that bytes begin with; what comes after it is the second.
pub(crate) fn open<'a>(mark: &[u8], bytes: &'a [u8]) -> Result<(Rest<'a>, &'a [u8]), Unreadable> {
    let rest = bytes.strip_prefix(mark).ok_or(Unreadable::Mark)?;
    let (length, rest) = rest.split_first_chunk::<LENGTH>().ok_or(Unreadable::Checksum)?;
    let length = usize::try_from(u64::from_le_bytes(*length)).map_err(|_| Unreadable::Checksum)?;
    let (body, rest) = rest.split_at_checked(length).ok_or(Unreadable::Checksum)?;
    let (checksum, rest) = rest.split_at_checked(CHECKSUM).ok_or(Unreadable::Checksum)?;
    if blake3::hash(body).as_bytes() != checksum {
        return Err(Unreadable::Checksum);
    }
    Ok((Rest(body), rest))
}

impl<'a> Rest<'a> {
    /// Whether all was read.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// So many bytes.
    pub(crate) fn raw(&mut self, count: usize) -> Result<&'a [u8], Unreadable> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Unreadable::Unsound("too few bytes"))?;
        self.0 = rest;
        Ok(taken)
    }

    /// A number.
    pub(crate) fn number(&mut self) -> Result<u32, Unreadable> {
        Ok(u32::from_le_bytes(self.raw(4)?.try_into().expect("four were taken")))
    }

    /// Bytes with their number before them.
    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], Unreadable> {
        let count = self.number()? as usize;
        self.raw(count)
    }

    /// Numbers with their number before them.
    pub(crate) fn numbers(&mut self) -> Result<Vec<u32>, Unreadable> {
        let count = self.number()? as usize;
        let (numbers, _) = self.raw(count.saturating_mul(4))?.as_chunks::<4>();
        Ok(numbers.iter().map(|number| u32::from_le_bytes(*number)).collect())
    }
}

//! What two hosts say to each other: one short question on a stream of its own, one bounded answer.
//!
//! A question is 37 bytes: what is wanted (0 the outline, 1 a piece), the 32 bytes of the hash, and the number of the
//! piece as four bytes, little-endian. An answer is one byte of kind and what follows until the stream ends: 0 an outline,
//! 1 a piece, and without anything further 2 not here, 3 not for you, 4 too busy now.

use std::io;

use foa_wire::ArtifactId;
use libp2p::StreamProtocol;
use libp2p::futures::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use libp2p::request_response::Codec;

use super::outline::{MOST_PIECES, PIECE};

/// The protocol's name; a change of the bytes is a new number.
pub(super) const NAME: StreamProtocol = StreamProtocol::new("/foa/artifact/1");

const QUESTION: usize = 37;
const MOST_OUTLINE: usize = 8 + 32 * MOST_PIECES;

/// What one host wants of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Question {
    /// The outline of an artifact.
    Outline(ArtifactId),
    /// One piece of it.
    Piece(ArtifactId, u32),
}

/// What it gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// An encoded outline, which the asker checks.
    Outline(Vec<u8>),
    /// A piece, which the asker checks.
    Piece(Vec<u8>),
    /// It is not here.
    Missing,
    /// The asker is not known here.
    Refused,
    /// Too many are asking; later.
    Busy,
}

/// The bytes of both.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Bytes;

impl Codec for Bytes {
    type Protocol = StreamProtocol;
    type Request = Question;
    type Response = Answer;

    async fn read_request<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Question>
    where
        T: AsyncRead + Unpin + Send,
    {
        let mut bytes = [0; QUESTION];
        io.read_exact(&mut bytes).await?;
        read_question(&bytes)
    }

    async fn read_response<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Answer>
    where
        T: AsyncRead + Unpin + Send,
    {
        let mut kind = [0];
        io.read_exact(&mut kind).await?;
        Ok(match kind[0] {
            0 => Answer::Outline(rest(io, MOST_OUTLINE).await?),
            1 => Answer::Piece(rest(io, PIECE).await?),
            2 => Answer::Missing,
            3 => Answer::Refused,
            4 => Answer::Busy,
            other => return Err(invalid(format!("wanted an answer of kind 0 to 4, found {other}"))),
        })
    }

    async fn write_request<T>(&mut self, _: &StreamProtocol, io: &mut T, asked: Question) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        io.write_all(&write_question(&asked)).await
    }

    async fn write_response<T>(&mut self, _: &StreamProtocol, io: &mut T, answer: Answer) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        let (kind, rest): (u8, &[u8]) = match &answer {
            Answer::Outline(outline) => (0, outline),
            Answer::Piece(piece) => (1, piece),
            Answer::Missing => (2, &[]),
            Answer::Refused => (3, &[]),
            Answer::Busy => (4, &[]),
        };
        io.write_all(&[kind]).await?;
        io.write_all(rest).await
    }
}

fn write_question(asked: &Question) -> [u8; QUESTION] {
    let (kind, id, piece) = match asked {
        Question::Outline(id) => (0, id, 0),
        Question::Piece(id, piece) => (1, id, *piece),
    };
    let mut bytes = [0; QUESTION];
    bytes[0] = kind;
    bytes[1..33].copy_from_slice(id.as_bytes());
    bytes[33..].copy_from_slice(&piece.to_le_bytes());
    bytes
}

fn read_question(bytes: &[u8; QUESTION]) -> io::Result<Question> {
    let [kind, id @ .., a, b, c, d] = *bytes;
    let (id, piece) = (ArtifactId::from_bytes(id), u32::from_le_bytes([a, b, c, d]));
    match kind {
        0 => Ok(Question::Outline(id)),
        1 => Ok(Question::Piece(id, piece)),
        other => Err(invalid(format!("wanted a question of kind 0 or 1, found {other}"))),
    }
}

/// Everything until the stream ends, unless that is more than `most`.
async fn rest<T: AsyncRead + Unpin>(io: &mut T, most: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    io.take(most as u64 + 1).read_to_end(&mut bytes).await?;
    if bytes.len() > most {
        return Err(invalid(format!("wanted at most {most} bytes, found more")));
    }
    Ok(bytes)
}

fn invalid(detail: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, detail)
}

#[cfg(test)]
mod tests {
    use libp2p::futures::io::Cursor;

    use super::*;

    #[tokio::test]
    async fn questions_and_answers_come_out_as_they_went_in() {
        let id = ArtifactId::from_bytes([3; 32]);
        for asked in [Question::Outline(id), Question::Piece(id, 70_000)] {
            let mut io = Cursor::new(Vec::new());
            Bytes.write_request(&NAME, &mut io, asked).await.unwrap();
            io.set_position(0);
            assert_eq!(Bytes.read_request(&NAME, &mut io).await.unwrap(), asked);
        }
        let answers = [
            Answer::Outline(vec![1; 40]),
            Answer::Piece(vec![2; PIECE]),
            Answer::Missing,
            Answer::Refused,
            Answer::Busy,
        ];
        for answer in answers {
            let mut io = Cursor::new(Vec::new());
            Bytes.write_response(&NAME, &mut io, answer.clone()).await.unwrap();
            io.set_position(0);
            assert_eq!(Bytes.read_response(&NAME, &mut io).await.unwrap(), answer);
        }
    }

    #[tokio::test]
    async fn what_is_too_long_too_short_or_unknown_is_an_error() {
        let read = async |bytes: Vec<u8>| Bytes.read_response(&NAME, &mut Cursor::new(bytes)).await;
        assert!(read(vec![]).await.is_err());
        assert!(read(vec![9]).await.is_err());
        let mut long = vec![1];
        long.resize(2 + PIECE, 0);
        assert!(read(long).await.is_err());
        assert!(Bytes.read_request(&NAME, &mut Cursor::new(vec![0; 10])).await.is_err());
        assert!(Bytes.read_request(&NAME, &mut Cursor::new(vec![7; 37])).await.is_err());
    }
}

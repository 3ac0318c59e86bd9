//! Compressed bodies, decompressed up to a bound; `compression.py` is the counterpart.

use std::borrow::Cow;
use std::cell::RefCell;

use flate2::{Decompress, FlushDecompress, Status};

/// The largest decompressed body in bytes.
const MAX_BODY: usize = 16 << 20;
const MAGIC: &[u8] = b"\x1f\x8b";
/// The parts around the compressed data: a head without optional fields, then checksum and length.
const HEAD: usize = 10;
const TAIL: usize = 8;
/// A byte expands to no more bytes than these.
const MAX_RATIO: usize = 1032;
/// Room behind the text, with which the stream can come to its end, and is faster: it writes the longest
/// repetition without looking for the end.
const ROOM: usize = 300;

thread_local! {
    static STREAM: RefCell<Decompress> = RefCell::new(Decompress::new(false));
}

/// A body, decompressed if it is a gzip stream. None if it is not of the common form, or damaged.
pub fn decompress(body: &[u8]) -> Option<Cow<'_, [u8]>> {
    if !body.starts_with(MAGIC) {
        return Some(Cow::Borrowed(body));
    }
    if body.len() < HEAD + TAIL || body[2..4] != [8, 0] {
        return None;
    }
    let (compressed, tail) = body[HEAD..].split_at(body.len() - HEAD - TAIL);
    let word = |at: usize| u32::from_le_bytes([tail[at], tail[at + 1], tail[at + 2], tail[at + 3]]);
    let (checksum, length) = (word(0), word(4) as usize);
    if length > MAX_BODY || length > compressed.len() * MAX_RATIO {
        return None;
    }
    let mut text = Vec::with_capacity(length + ROOM);
    let is_whole = STREAM.with_borrow_mut(|stream| {
        stream.reset(false);
        let status = stream.decompress_vec(compressed, &mut text, FlushDecompress::Finish);
        matches!(status, Ok(Status::StreamEnd)) && stream.total_in() == compressed.len() as u64
    });
    let is_right = is_whole && text.len() == length && crc32fast::hash(&text) == checksum;
    is_right.then_some(Cow::Owned(text))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::write::GzEncoder;
    use flate2::Compression;

    use super::*;

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn what_was_compressed_comes_back() {
        for text in [&b""[..], b"{}", &b"x".repeat(1 << 20)] {
            assert_eq!(decompress(&gzip(text)).as_deref(), Some(text));
        }
        assert_eq!(decompress(b"{}").as_deref(), Some(&b"{}"[..]));
    }

    #[test]
    fn damaged_bodies_are_left() {
        let whole = gzip(br#"{"data":{"ndarray":[[0.1,0.9]]}}"#);
        for end in 2..whole.len() {
            assert_eq!(decompress(&whole[..end]), None, "{end}");
        }
        for at in (2..4).chain(10..whole.len()) {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x41;
            assert_eq!(decompress(&damaged), None, "{at}");
        }
        assert_eq!(decompress(&[&whole[..], &whole[..]].concat()), None);
        assert_eq!(decompress(&[&whole[..], b"\0"].concat()), None);
        assert_eq!(decompress(&gzip(&vec![0; MAX_BODY + 1])), None);
    }
}

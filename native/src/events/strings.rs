//! Strings of JSON: how far they are plain, and what their escapes and base64 stand for.

use base64::engine::general_purpose::STANDARD;
use base64::Engine;

const ONES: u64 = u64::from_ne_bytes([1; 8]);
const HIGH: u64 = ONES << 7;

const fn all(byte: u8) -> u64 {
    ONES * byte as u64
}

/// The high bit of each byte that is 0; bytes behind the first of them may be marked too.
const fn zeros(word: u64) -> u64 {
    word.wrapping_sub(ONES) & !word & HIGH
}

/// How many bytes from the start on are plain: ASCII, and neither a quote, a backslash nor a control
/// character. The last few bytes of the text are not counted.
#[inline]
pub fn plain_length(text: &[u8]) -> usize {
    let mut length = 0;
    for bytes in text.chunks_exact(8) {
        // The chunk has eight bytes, so this cannot fail.
        let word = u64::from_le_bytes(bytes.try_into().unwrap_or_default());
        let controls = word.wrapping_sub(all(0x20)) & !word & HIGH;
        let found = (word & HIGH) | controls | zeros(word ^ all(b'"')) | zeros(word ^ all(b'\\'));
        if found != 0 {
            return length + found.trailing_zeros() as usize / 8;
        }
        length += 8;
    }
    length
}

/// The character of the escape that the text begins with, and the length of the escape. None for half of
/// a surrogate pair, which is no character.
pub fn escape(text: &[u8]) -> Option<(char, usize)> {
    let character = match *text.get(1)? {
        byte @ (b'"' | b'\\' | b'/') => char::from(byte),
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        b'u' => {
            let first = unit(text)?;
            if !(0xd800..0xdc00).contains(&first) {
                return Some((char::from_u32(first)?, 6));
            }
            let second = unit(text.get(6..)?)?.checked_sub(0xdc00)?;
            // Of a second unit that is no low surrogate, it is too large a number.
            return Some((char::from_u32(pair(first, second)?)?, 12));
        }
        _ => return None,
    };
    Some((character, 2))
}

fn pair(first: u32, low: u32) -> Option<u32> {
    (low < 0x400).then_some(0x10000 + ((first - 0xd800) << 10) + low)
}

/// The number in `\uXXXX`.
fn unit(text: &[u8]) -> Option<u32> {
    if !text.starts_with(b"\\u") {
        return None;
    }
    text.get(2..6)?.iter().try_fold(0, |sum, &byte| Some(sum << 4 | char::from(byte).to_digit(16)?))
}

/// The text of a string with escapes.
pub fn unescape(written: &[u8]) -> Option<Vec<u8>> {
    let mut text = Vec::with_capacity(written.len());
    let mut at = 0;
    while let Some(&byte) = written.get(at) {
        if byte == b'\\' {
            let (character, length) = escape(&written[at..])?;
            text.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
            at += length;
        } else {
            text.push(byte);
            at += 1;
        }
    }
    Some(text)
}

/// The bytes that a text is the base64 of. None if it is not in the standard form, with its padding.
pub fn from_base64(text: &[u8]) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_bytes_are_counted_up_to_the_first_other_one() {
        for length in 0..20 {
            for odd in [b'"', b'\\', 0, 0x1f, 0x80, 0xff] {
                let mut text = vec![b'x'; length];
                text.push(odd);
                text.extend_from_slice(&[b'y'; 8]);
                assert_eq!(plain_length(&text), length, "{odd}");
            }
        }
        assert_eq!(plain_length(b"\x20\x7f~!#[]^"), 8);
        assert_eq!(plain_length(b"short"), 0);
    }

    #[test]
    fn escapes_stand_for_characters() {
        assert_eq!(escape(b"\\n"), Some(('\n', 2)));
        assert_eq!(escape(b"\\u00E9"), Some(('\u{e9}', 6)));
        assert_eq!(escape(b"\\ud83d\\ude00"), Some(('\u{1f600}', 12)));
        for bad in [
            &b"\\"[..],
            b"\\x",
            b"\\u12",
            b"\\u+123",
            b"\\ud800",
            b"\\udc00",
            b"\\ud800\\ud800",
            b"\\ud800\\ue000",
            b"\\ud800abcdef",
        ] {
            assert_eq!(escape(bad), None, "{bad:?}");
        }
        assert_eq!(unescape(b"a\\u0020b").as_deref(), Some(&b"a b"[..]));
    }
}

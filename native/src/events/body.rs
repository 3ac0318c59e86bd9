//! Template keys of message bodies: two messages of the common case with equal keys have the same
//! content.

use crate::events::json::Scanner;
use crate::quantities;

/// Longer rows, names and numbers get no template: they hardly ever repeat.
const MAX_TEXT: usize = 8192;

fn put(key: &mut Vec<u8>, tag: u8, text: &[u8]) -> Option<()> {
    if text.len() > MAX_TEXT {
        return None;
    }
    key.push(tag);
    key.extend_from_slice(&(text.len() as u16).to_le_bytes());
    key.extend_from_slice(text);
    Some(())
}

/// Append a name of the stream that a message belongs to.
pub fn name(key: &mut Vec<u8>, text: &[u8]) -> Option<()> {
    put(key, b'n', text)
}

/// Append the content of a response with one row of data; its probabilities replace `values`.
pub fn response(scanner: &mut Scanner, key: &mut Vec<u8>, values: &mut Vec<u8>) -> Option<()> {
    scanner.expect(b'{')?;
    message(scanner, key, values)?.has(DATA)
}

const DATA: u32 = 1;

/// Append the content of a message whose `{` was taken: its data; `meta` is skipped. Returns which
/// members it has.
fn message(scanner: &mut Scanner, key: &mut Vec<u8>, values: &mut Vec<u8>) -> Option<Once> {
    let mut seen = Once::default();
    scanner.members_of_open(|scanner, name| match name {
        b"data" => {
            seen.first(DATA)?;
            data(scanner, key, values)
        }
        b"meta" => {
            seen.first(2)?;
            scanner.skip().map(|_| ())
        }
        _ => None,
    })?;
    Some(seen)
}

/// Append the content of a feedback: a reward, and a truth of at most one row.
pub fn feedback(scanner: &mut Scanner, key: &mut Vec<u8>) -> Option<()> {
    let mut seen = Once::default();
    scanner.members(|scanner, name| match name {
        b"reward" => {
            seen.first(1)?;
            reward(scanner, key)
        }
        b"truth" => {
            seen.first(2)?;
            truth(scanner, key)
        }
        b"meta" => {
            seen.first(4)?;
            scanner.skip().map(|_| ())
        }
        _ => None,
    })
}

/// Append a reward, as it is written.
pub fn reward(scanner: &mut Scanner, key: &mut Vec<u8>) -> Option<()> {
    put(key, b'w', scanner.number()?)
}

/// Append the content of a truth: one row of data, or nothing.
pub fn truth(scanner: &mut Scanner, key: &mut Vec<u8>) -> Option<()> {
    scanner.expect(b'{')?;
    if scanner.closes(b'}') {
        return Some(());
    }
    // The probabilities of a truth do not matter.
    message(scanner, key, &mut Vec::new()).map(|_| ())
}

/// Append the names and the one row of data; its probabilities replace `values`.
pub fn data(scanner: &mut Scanner, key: &mut Vec<u8>, values: &mut Vec<u8>) -> Option<()> {
    let mut seen = Once::default();
    scanner.members(|scanner, name| match name {
        b"names" => {
            seen.first(1)?;
            if !scanner.next_is(b'[') {
                return None;
            }
            put(key, b'd', scanner.skip()?)
        }
        b"ndarray" => {
            seen.first(2)?;
            scanner.expect(b'[')?;
            row(scanner, key, values)?;
            scanner.expect(b']')
        }
        _ => None,
    })?;
    seen.has(2)
}

/// Append a row: of scores between 0 and 1 only the position of the greatest, any other row as it is
/// written. If the scores are probabilities, these replace `values`.
fn row(scanner: &mut Scanner, key: &mut Vec<u8>, values: &mut Vec<u8>) -> Option<()> {
    scanner.blank();
    let start = scanner.at;
    if let Some((greatest, length)) = scores(scanner, values) {
        key.push(if values.is_empty() { b'p' } else { b'q' });
        key.extend_from_slice(&greatest.to_le_bytes());
        key.extend_from_slice(&length.to_le_bytes());
        return Some(());
    }
    values.clear();
    scanner.at = start;
    put(key, b'r', scanner.skip()?)
}

/// The position of the first greatest of several numbers from 0 to 1 that are not all equal and not all
/// 0 or 1, and how many numbers there are. More probabilities than are kept are left to Python.
fn scores(scanner: &mut Scanner, values: &mut Vec<u8>) -> Option<(u32, u32)> {
    scanner.expect(b'[')?;
    values.clear();
    let (mut greatest, mut position, mut least, mut length) = (0.0, 0, 1.0, 0);
    let (mut sum, mut are_sure, mut are_bits) = (0.0, true, true);
    loop {
        let text = scanner.number()?;
        // A number is ASCII, so this cannot fail.
        let number: f64 = std::str::from_utf8(text).ok()?.parse().ok()?;
        if !(0.0..=1.0).contains(&number) {
            return None;
        }
        if number > greatest {
            (greatest, position) = (number, length);
        }
        if number < least {
            least = number;
        }
        sum += number;
        are_bits = are_bits && (number == 0.0 || number == 1.0);
        let q = quantities::quantize(number);
        are_sure = are_sure && (q == 0 || q == quantities::ONE);
        if values.len() <= 2 * quantities::MAX_WIDTH {
            values.extend_from_slice(&q.to_le_bytes());
        }
        length += 1;
        if !scanner.more(b']')? {
            break;
        }
    }
    if are_sure || !quantities::is_whole(sum) {
        values.clear();
    } else if values.len() > 2 * quantities::MAX_WIDTH {
        return None;
    }
    (least < greatest && !are_bits).then_some((position, length))
}

/// Keys of an object that have been seen, as bits. A key that comes twice is left to Python, which knows
/// which of the two counts.
#[derive(Default)]
pub struct Once(u32);

impl Once {
    /// None if the key was seen before.
    pub fn first(&mut self, bit: u32) -> Option<()> {
        if self.0 & bit != 0 {
            return None;
        }
        self.0 |= bit;
        Some(())
    }

    /// None unless all of these keys were seen.
    pub fn has(&self, bits: u32) -> Option<()> {
        (self.0 & bits == bits).then_some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key_of(text: &[u8], read: fn(&mut Scanner, &mut Vec<u8>) -> Option<()>) -> Option<Vec<u8>> {
        let (mut scanner, mut key) = (Scanner::new(text), Vec::new());
        read(&mut scanner, &mut key)?;
        scanner.at_end()?;
        Some(key)
    }

    fn response(scanner: &mut Scanner, key: &mut Vec<u8>) -> Option<()> {
        super::response(scanner, key, &mut Vec::new())
    }

    #[test]
    fn probabilities_stand_beside_the_key() {
        let mut values = vec![1];
        let mut read = |text: &[u8]| {
            super::response(&mut Scanner::new(text), &mut Vec::new(), &mut values).unwrap();
            values.clone()
        };
        assert_eq!(read(br#"{"data":{"ndarray":[[0.25,0.75]]}}"#), [0, 0x40, 0xff, 0xbf]);
        assert!(read(br#"{"data":{"ndarray":[[0.25,0.85]]}}"#).is_empty());
        assert!(read(br#"{"data":{"ndarray":[["a"]]}}"#).is_empty());
    }

    #[test]
    fn equal_content_has_equal_keys() {
        let one =
            key_of(br#"{"data":{"names":["a","b"],"ndarray":[[0.1,0.9]]},"meta":{}}"#, response);
        let other = key_of(br#"{"data":{"names":["a","b"],"ndarray":[[0.2,0.8]]}}"#, response);
        assert!(one.is_some());
        assert_eq!(one, other);
        assert_ne!(one, key_of(br#"{"data":{"names":["a","b"],"ndarray":[[0.9,0.1]]}}"#, response));
        assert_ne!(one, key_of(br#"{"data":{"names":["a","b"],"ndarray":[[0,1]]}}"#, response));
        assert_ne!(
            key_of(br#"{"reward":1}"#, feedback),
            key_of(br#"{"reward":1,"truth":{"data":{"ndarray":[1]}}}"#, feedback)
        );
    }

    #[test]
    fn other_bodies_have_no_key() {
        for text in [
            &br#"{"data":{"ndarray":[[0.1,0.9],[0.1,0.9]]}}"#[..],
            br#"{"data":{"ndarray":[]}}"#,
            br#"{"data":{"ndarray":[[1,2]]},"data":{"ndarray":[[1,2]]}}"#,
            br#"{"data":{"tensor":{}}}"#,
            br#"{"meta":{}}"#,
            br#"{}"#,
            br#"{"data":{"ndarray":[[1,2]]},"strData":"x"}"#,
        ] {
            assert_eq!(key_of(text, response), None);
        }
        assert_eq!(key_of(br#"{"reward":true}"#, feedback), None);
        assert_eq!(key_of(br#"{}"#, feedback), None);
    }
}

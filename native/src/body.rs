//! What a usual message says, as bytes: two messages with equal bytes say the same.

use crate::json::Scanner;

/// Longer rows, names and numbers are not usual: nobody remembers them.
const LONGEST: usize = 8192;

fn put(key: &mut Vec<u8>, tag: u8, text: &[u8]) -> Option<()> {
    if text.len() > LONGEST {
        return None;
    }
    key.push(tag);
    key.extend_from_slice(&(text.len() as u16).to_le_bytes());
    key.extend_from_slice(text);
    Some(())
}

/// Appends a name of the stream that a message belongs to.
pub fn name(key: &mut Vec<u8>, text: &[u8]) -> Option<()> {
    put(key, b'n', text)
}

/// Appends what a response says: one row of data, and nothing else that counts.
pub fn response(scanner: &mut Scanner, key: &mut Vec<u8>) -> Option<()> {
    scanner.expect(b'{')?;
    message(scanner, key)?.has(DATA)
}

const DATA: u32 = 1;

/// The members of a message that is open: data and what does not count; which of them there are.
fn message(scanner: &mut Scanner, key: &mut Vec<u8>) -> Option<Once> {
    let mut seen = Once::default();
    scanner.members_of_open(|scanner, name| match name {
        b"data" => {
            seen.first(DATA)?;
            data(scanner, key)
        }
        b"meta" => {
            seen.first(2)?;
            scanner.skip().map(|_| ())
        }
        _ => None,
    })?;
    Some(seen)
}

/// Appends what a feedback says: a reward, and a truth of one row or none.
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

/// Appends a reward.
pub fn reward(scanner: &mut Scanner, key: &mut Vec<u8>) -> Option<()> {
    put(key, b'w', scanner.number()?)
}

/// Appends what a truth says: one row of data, or nothing.
pub fn truth(scanner: &mut Scanner, key: &mut Vec<u8>) -> Option<()> {
    scanner.expect(b'{')?;
    if scanner.closes(b'}') {
        return Some(());
    }
    message(scanner, key).map(|_| ())
}

/// Appends names and the one row of data.
pub fn data(scanner: &mut Scanner, key: &mut Vec<u8>) -> Option<()> {
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
            row(scanner, key)?;
            scanner.expect(b']')
        }
        _ => None,
    })?;
    seen.has(2)
}

/// Of probabilities only the place of the greatest counts; any other row is taken as it is written.
fn row(scanner: &mut Scanner, key: &mut Vec<u8>) -> Option<()> {
    scanner.blank();
    let start = scanner.at;
    if let Some((top, length)) = probabilities(scanner) {
        key.push(b'p');
        key.extend_from_slice(&top.to_le_bytes());
        key.extend_from_slice(&length.to_le_bytes());
        return Some(());
    }
    scanner.at = start;
    put(key, b'r', scanner.skip()?)
}

/// The place of the first greatest of several numbers that are not all equal and lie between 0 and 1,
/// and how many they are.
fn probabilities(scanner: &mut Scanner) -> Option<(u32, u32)> {
    scanner.expect(b'[')?;
    let (mut top, mut place, mut least, mut length) = (0.0, 0, 1.0, 0);
    loop {
        let text = scanner.number()?;
        // Only ASCII of a number is in it.
        let number: f64 = std::str::from_utf8(text).ok()?.parse().ok()?;
        if !(number > 0.0 && number < 1.0) {
            return None;
        }
        if number > top {
            (top, place) = (number, length);
        }
        if number < least {
            least = number;
        }
        length += 1;
        if !scanner.more(b']')? {
            return (least < top).then_some((place, length));
        }
    }
}

/// Keys of an object that come once, as nearly all do: which of two counts is not ours to say.
#[derive(Default)]
pub struct Once(u32);

impl Once {
    pub fn first(&mut self, bit: u32) -> Option<()> {
        if self.0 & bit != 0 {
            return None;
        }
        self.0 |= bit;
        Some(())
    }

    pub fn has(&self, bits: u32) -> Option<()> {
        (self.0 & bits == bits).then_some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &[u8], of: fn(&mut Scanner, &mut Vec<u8>) -> Option<()>) -> Option<Vec<u8>> {
        let (mut scanner, mut key) = (Scanner::new(text), Vec::new());
        of(&mut scanner, &mut key)?;
        scanner.at_end()?;
        Some(key)
    }

    #[test]
    fn equal_where_they_say_the_same() {
        let one =
            said(br#"{"data":{"names":["a","b"],"ndarray":[[0.1,0.9]]},"meta":{}}"#, response);
        let other = said(br#"{"data":{"names":["a","b"],"ndarray":[[0.2,0.8]]}}"#, response);
        assert!(one.is_some());
        assert_eq!(one, other);
        assert_ne!(one, said(br#"{"data":{"names":["a","b"],"ndarray":[[0.9,0.1]]}}"#, response));
        assert_ne!(one, said(br#"{"data":{"names":["a","b"],"ndarray":[[0,1]]}}"#, response));
        assert_ne!(
            said(br#"{"reward":1}"#, feedback),
            said(br#"{"reward":1,"truth":{"data":{"ndarray":[1]}}}"#, feedback)
        );
    }

    #[test]
    fn not_ours() {
        for text in [
            &br#"{"data":{"ndarray":[[0.1,0.9],[0.1,0.9]]}}"#[..],
            br#"{"data":{"ndarray":[]}}"#,
            br#"{"data":{"ndarray":[[1,2]]},"data":{"ndarray":[[1,2]]}}"#,
            br#"{"data":{"tensor":{}}}"#,
            br#"{"meta":{}}"#,
            br#"{}"#,
            br#"{"data":{"ndarray":[[1,2]]},"strData":"x"}"#,
        ] {
            assert_eq!(said(text, response), None);
        }
        assert_eq!(said(br#"{"reward":true}"#, feedback), None);
        assert_eq!(said(br#"{}"#, feedback), None);
    }
}

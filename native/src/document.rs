//! Documents of the request logger that look like nearly all: one answer of one row, and one feedback
//! at most, as `usual_documents.py` has them.

use crate::body::{self, Once};
use crate::json::Scanner;
use crate::times;

/// When the answer was given, and the feedback if there is one; what they say goes to the keys.
pub struct Times {
    pub made: i64,
    pub said: Option<i64>,
}

/// The parts of a document that count, as they are written.
#[derive(Default)]
struct Parts<'a> {
    /// Id, namespace, deployment, predictor, model.
    names: [&'a [u8]; 5],
    response: &'a [u8],
    feedback: Option<&'a [u8]>,
}

const NAMES: [&[u8]; 5] =
    [b"RequestId", b"Ce-Namespace", b"Ce-Inferenceservicename", b"Ce-Endpoint", b"Ce-Modelid"];
const RESPONSE: u32 = 1 << 5;
const FEEDBACK: u32 = 1 << 6;
const NEEDED: u32 = (RESPONSE - 1) | RESPONSE;

fn parts(text: &[u8]) -> Option<Parts<'_>> {
    let mut scanner = Scanner::new(text);
    let (mut found, mut seen) = (Parts::default(), Once::default());
    scanner.members(|scanner, key| {
        if let Some(place) = NAMES.iter().position(|name| *name == key) {
            seen.first(1 << place)?;
            found.names[place] = scanner.string()?;
        } else if key == b"response" {
            seen.first(RESPONSE)?;
            found.response = scanner.skip()?;
        } else if key == b"feedback" {
            seen.first(FEEDBACK)?;
            found.feedback = Some(scanner.skip()?);
        } else {
            scanner.skip()?;
        }
        Some(())
    })?;
    scanner.at_end()?;
    seen.has(NEEDED)?;
    Some(found)
}

/// A usual document with this id. The keys are emptied first.
pub fn read(id: &[u8], text: &[u8], made: &mut Vec<u8>, said: &mut Vec<u8>) -> Option<Times> {
    // What is skipped is not looked into, so it has to be plain as well.
    if !text.is_ascii() || !(1..=127).contains(&id.len()) {
        return None;
    }
    let parts = parts(text)?;
    if parts.names[0] != id {
        return None;
    }
    made.clear();
    made.push(b'm');
    for name in &parts.names[1..] {
        body::name(made, name)?;
    }
    let stream = made.len();
    let predicted_at = response(parts.response, made, stream)?;
    let feedback_at = match parts.feedback {
        None => None,
        Some(part) => {
            said.clear();
            // The stream, with the node that `response` has put behind it.
            let node = node_end(made, stream);
            said.extend_from_slice(&made[..node]);
            said[0] = b's';
            Some(feedback(part, said)?)
        }
    };
    Some(Times { made: predicted_at, said: feedback_at })
}

/// Where the name of the node ends that `node` wrote at a place.
fn node_end(key: &[u8], at: usize) -> usize {
    match key[at] {
        b'n' => at + 3 + usize::from(u16::from_le_bytes([key[at + 1], key[at + 2]])),
        _ => at + 1,
    }
}

fn response(text: &[u8], key: &mut Vec<u8>, stream: usize) -> Option<i64> {
    let mut scanner = Scanner::new(text);
    let (mut seen, mut time) = (Once::default(), None);
    scanner.members(|scanner, name| match name {
        b"ce-time" => {
            seen.first(1)?;
            time = Some(times::parse(scanner.string()?)?);
            Some(())
        }
        b"payload" => {
            seen.first(2)?;
            payload(scanner, key, stream)
        }
        _ => scanner.skip().map(|_| ()),
    })?;
    seen.has(3)?;
    time
}

fn payload(scanner: &mut Scanner, key: &mut Vec<u8>, stream: usize) -> Option<()> {
    let mut seen = Once::default();
    let mut answer = Vec::new();
    let mut node = None;
    scanner.members(|scanner, name| match name {
        b"data" => {
            seen.first(1)?;
            body::data(scanner, &mut answer)
        }
        b"meta" => {
            seen.first(2)?;
            node = only_node(scanner)?;
            Some(())
        }
        _ => None,
    })?;
    seen.has(1)?;
    debug_assert_eq!(key.len(), stream);
    match node {
        Some(node) => body::name(key, node)?,
        None => key.push(b'-'),
    }
    key.extend_from_slice(&answer);
    Some(())
}

/// The only node that a message went through; None inside where there are none or several.
fn only_node<'a>(scanner: &mut Scanner<'a>) -> Option<Option<&'a [u8]>> {
    let (mut seen, mut node) = (Once::default(), None);
    scanner.expect(b'{')?;
    if scanner.closes(b'}') {
        return Some(None);
    }
    scanner.members_of_open(|scanner, name| {
        if name != b"requestPath" {
            return scanner.skip().map(|_| ());
        }
        seen.first(1)?;
        scanner.expect(b'{')?;
        if !scanner.closes(b'}') {
            let first = scanner.key()?;
            scanner.skip()?;
            let mut others = false;
            while scanner.more(b'}')? {
                // One that comes twice is one to Python, and not plain to us.
                if scanner.key()? == first {
                    return None;
                }
                scanner.skip()?;
                others = true;
            }
            node = (!others).then_some(first);
        }
        Some(())
    })?;
    Some(node)
}

fn feedback(text: &[u8], key: &mut Vec<u8>) -> Option<i64> {
    let mut scanner = Scanner::new(text);
    let (mut seen, mut time) = (Once::default(), None);
    scanner.members(|scanner, name| match name {
        b"ce-time" => {
            seen.first(1)?;
            time = Some(times::parse(scanner.string()?)?);
            Some(())
        }
        b"reward" => {
            seen.first(2)?;
            body::reward(scanner, key)
        }
        b"truth" => {
            seen.first(4)?;
            body::truth(scanner, key)
        }
        _ => scanner.skip().map(|_| ()),
    })?;
    time
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"{"RequestId":"r1","Ce-Namespace":"ns","Ce-Inferenceservicename":"d",
        "Ce-Endpoint":"p","Ce-Modelid":"m","request":{"payload":[1]},"response":{"payload":{"meta":
        {"requestPath":{"m":"image"}},"data":{"ndarray":[[0.1,0.9]]}},"ce-time":"1970-01-01T00:00:01Z"},
        "feedback":{"reward":1,"ce-time":"1970-01-01T00:00:02Z","more":{}}}"#;

    fn both(text: &str) -> Option<(Times, Vec<u8>, Vec<u8>)> {
        let (mut made, mut said) = (Vec::new(), Vec::new());
        let times = read(b"r1", text.as_bytes(), &mut made, &mut said)?;
        Some((times, made, said))
    }

    #[test]
    fn what_a_document_says() {
        let (times, made, said) = both(TEXT).unwrap();
        assert_eq!((times.made, times.said), (times::SECOND, Some(2 * times::SECOND)));
        let (_, other, same) = both(&TEXT.replace("0.1,0.9", "0.9,0.1")).unwrap();
        assert_ne!(made, other);
        assert_eq!(said, same);
        let (_, other, another) =
            both(&TEXT.replace("\"m\":\"image\"", "\"k\":\"image\"")).unwrap();
        assert_ne!(made, other);
        assert_ne!(said, another);
    }

    #[test]
    fn not_usual() {
        for (part, odd) in [
            ("\"r1\"", "\"r2\""),
            ("\"payload\":{\"meta\"", "\"payload\":{\"tensor\":1,\"meta\""),
            ("[[0.1,0.9]]", "[[0.1,0.9],[1]]"),
            ("image", "im\u{e4}ge"),
            ("\"feedback\":{", "\"feedback\":null,\"x\":{"),
        ] {
            assert!(both(&TEXT.replace(part, odd)).is_none(), "{odd}");
        }
    }
}

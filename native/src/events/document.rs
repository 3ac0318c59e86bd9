//! Template keys of the request logger's documents in the common case: one answer of one row, and at
//! most one feedback.

use crate::events::body::{self, Once};
use crate::events::event::Content;
use crate::events::json::Scanner;
use crate::times;

/// The times (ns) of a document's prediction and feedback.
pub struct Times {
    pub predicted_at: i64,
    pub feedback_at: Option<i64>,
}

/// The parts of a document that matter, as they are written.
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
        if let Some(index) = NAMES.iter().position(|name| *name == key) {
            seen.first(1 << index)?;
            found.names[index] = scanner.string()?;
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

/// Read a document of the common case that has this id. The key and values of its prediction and the key
/// of its feedback replace the contents of the two buffers.
pub fn read(
    id: &[u8],
    text: &[u8],
    prediction: &mut Content,
    feedback_key: &mut Vec<u8>,
) -> Option<Times> {
    // Parts that are skipped are not parsed, so they must be plain as well.
    if !text.is_ascii() || !(1..=127).contains(&id.len()) {
        return None;
    }
    let parts = parts(text)?;
    if parts.names[0] != id {
        return None;
    }
    let Content { key: prediction_key, values } = prediction;
    prediction_key.clear();
    values.clear();
    prediction_key.push(b'm');
    for name in &parts.names[1..] {
        body::name(prediction_key, name)?;
    }
    let stream = prediction_key.len();
    let predicted_at = response(parts.response, prediction_key, values, stream)?;
    let feedback_at = match parts.feedback {
        None => None,
        Some(part) => {
            feedback_key.clear();
            // The stream, with the node that `response` has appended to it.
            let node = node_end(prediction_key, stream);
            feedback_key.extend_from_slice(&prediction_key[..node]);
            feedback_key[0] = b's';
            Some(feedback(part, feedback_key)?)
        }
    };
    Some(Times { predicted_at, feedback_at })
}

/// The end of the node's name that starts at `at`.
fn node_end(key: &[u8], at: usize) -> usize {
    match key[at] {
        b'n' => at + 3 + usize::from(u16::from_le_bytes([key[at + 1], key[at + 2]])),
        _ => at + 1,
    }
}

fn response(text: &[u8], key: &mut Vec<u8>, values: &mut Vec<u8>, stream: usize) -> Option<i64> {
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
            payload(scanner, key, values, stream)
        }
        _ => scanner.skip().map(|_| ()),
    })?;
    seen.has(3)?;
    time
}

fn payload(
    scanner: &mut Scanner,
    key: &mut Vec<u8>,
    values: &mut Vec<u8>,
    stream: usize,
) -> Option<()> {
    let mut seen = Once::default();
    let mut answer = Vec::new();
    let mut node = None;
    scanner.members(|scanner, name| match name {
        b"data" => {
            seen.first(1)?;
            body::data(scanner, &mut answer, values)
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

/// The only node that a message passed: `Some(None)` if there is no node or more than one.
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
                // A node that comes twice is left to Python, which counts it as one.
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

    fn read_text(text: &str) -> Option<(Times, Vec<u8>, Vec<u8>)> {
        let (mut prediction, mut feedback) = (Content::default(), Vec::new());
        let times = read(b"r1", text.as_bytes(), &mut prediction, &mut feedback)?;
        Some((times, prediction.key, feedback))
    }

    #[test]
    fn keys_differ_with_the_content() {
        let (times, prediction, feedback) = read_text(TEXT).unwrap();
        assert_eq!(times.predicted_at, times::SECOND);
        assert_eq!(times.feedback_at, Some(2 * times::SECOND));
        let (_, other, same) = read_text(&TEXT.replace("0.1,0.9", "0.9,0.1")).unwrap();
        assert_ne!(prediction, other);
        assert_eq!(feedback, same);
        let (_, other, another) =
            read_text(&TEXT.replace("\"m\":\"image\"", "\"k\":\"image\"")).unwrap();
        assert_ne!(prediction, other);
        assert_ne!(feedback, another);
    }

    #[test]
    fn other_documents_are_left() {
        for (part, odd) in [
            ("\"r1\"", "\"r2\""),
            ("\"payload\":{\"meta\"", "\"payload\":{\"tensor\":1,\"meta\""),
            ("[[0.1,0.9]]", "[[0.1,0.9],[1]]"),
            ("image", "im\u{e4}ge"),
            ("\"feedback\":{", "\"feedback\":null,\"x\":{"),
        ] {
            assert!(read_text(&TEXT.replace(part, odd)).is_none(), "{odd}");
        }
    }
}

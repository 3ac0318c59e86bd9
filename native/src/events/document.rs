//! Template keys of the request logger's documents in the common case: one answer of one row, and at
//! most one feedback.

use std::borrow::Cow;

use crate::events::body;
use crate::events::event::MAX_ID_LENGTH;
use crate::events::json::Scanner;
use crate::events::payloads::content::{Content, Once};
use crate::times;

/// The times (ns) of a document's prediction and feedback.
pub struct Times {
    pub predicted_at: i64,
    pub feedback_at: Option<i64>,
}

/// The parts of a document that matter; response and feedback as they are written.
#[derive(Default)]
struct Parts<'a> {
    /// Id, namespace, deployment, predictor, model.
    names: [Cow<'a, [u8]>; 5],
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

/// Read a document of the common case that has this id. Its prediction and its feedback replace the
/// contents of the two buffers.
pub fn read(
    id: &[u8],
    text: &[u8],
    prediction: &mut Content,
    feedback: &mut Content,
) -> Option<Times> {
    if !(1..=MAX_ID_LENGTH).contains(&id.len()) {
        return None;
    }
    let parts = parts(text)?;
    if *parts.names[0] != *id {
        return None;
    }
    let (predicted_at, node) = response(parts.response, &parts.names[1..], prediction)?;
    let feedback_at = match parts.feedback {
        None => None,
        Some(part) => {
            stream(&parts.names[1..], node.as_deref(), feedback)?;
            feedback.begin(true)?;
            Some(self::feedback(part, feedback)?)
        }
    };
    Some(Times { predicted_at, feedback_at })
}

/// Make the names of a model, and the only node that answered, the key.
fn stream(names: &[Cow<[u8]>], node: Option<&[u8]>, content: &mut Content) -> Option<()> {
    content.key.clear();
    for name in names.iter().map(|name| &**name).chain(node) {
        content.put(b'n', name)?;
    }
    Some(())
}

/// Read a response. Returns its time, and the only node that answered.
fn response<'a>(
    text: &'a [u8],
    names: &[Cow<[u8]>],
    content: &mut Content,
) -> Option<(i64, Option<Cow<'a, [u8]>>)> {
    let mut scanner = Scanner::new(text);
    let (mut seen, mut time, mut node) = (Once::default(), None, None);
    scanner.members(|scanner, name| match name {
        b"ce-time" => {
            seen.first(1)?;
            time = Some(times::parse(&scanner.string()?)?);
            Some(())
        }
        b"payload" => {
            seen.first(2)?;
            node = payload(scanner, names, content)?;
            Some(())
        }
        _ => scanner.skip().map(|_| ()),
    })?;
    seen.has(3)?;
    Some((time?, node))
}

fn payload<'a>(
    scanner: &mut Scanner<'a>,
    names: &[Cow<[u8]>],
    content: &mut Content,
) -> Option<Option<Cow<'a, [u8]>>> {
    let mut seen = Once::default();
    let (mut data, mut node) = (&b""[..], None);
    scanner.members(|scanner, name| match name {
        b"data" => {
            seen.first(1)?;
            data = scanner.skip()?;
            Some(())
        }
        b"meta" => {
            seen.first(2)?;
            node = only_node(scanner)?;
            Some(())
        }
        _ => None,
    })?;
    seen.has(1)?;
    // The rules of the data are known once the node is.
    stream(names, node.as_deref(), content)?;
    content.begin(false)?;
    body::data(&mut Scanner::new(data), content)?;
    (content.rows.len() == 1).then_some(node)
}

/// The only node that a message passed: `Some(None)` if there is no node or more than one.
fn only_node<'a>(scanner: &mut Scanner<'a>) -> Option<Option<Cow<'a, [u8]>>> {
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

fn feedback(text: &[u8], content: &mut Content) -> Option<i64> {
    let mut scanner = Scanner::new(text);
    let (mut seen, mut time) = (Once::default(), None);
    scanner.members(|scanner, name| match name {
        b"ce-time" => {
            seen.first(1)?;
            time = Some(times::parse(&scanner.string()?)?);
            Some(())
        }
        b"reward" => {
            seen.first(2)?;
            body::reward(scanner, content)
        }
        b"truth" => {
            seen.first(4)?;
            body::truth(scanner, content)
        }
        _ => scanner.skip().map(|_| ()),
    })?;
    body::says_something(content)?;
    time
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::payloads::content::tests::no_rules;

    const TEXT: &str = r#"{"RequestId":"r1","Ce-Namespace":"ns","Ce-Inferenceservicename":"d",
        "Ce-Endpoint":"p","Ce-Modelid":"m","request":{"payload":[1]},"response":{"payload":{"meta":
        {"requestPath":{"m":"image"}},"data":{"ndarray":[[0.1,0.9]]}},"ce-time":"1970-01-01T00:00:01Z"},
        "feedback":{"reward":1,"ce-time":"1970-01-01T00:00:02Z","more":{}}}"#;

    /// The times, and the key and the classes of the prediction and of the feedback.
    type Found = (Times, [(Vec<u8>, Vec<Vec<u8>>); 2]);

    fn read_text(text: &str) -> Option<Found> {
        read_with(text, &mut [Content::default(), Content::default()])
    }

    fn read_with(text: &str, [prediction, feedback]: &mut [Content; 2]) -> Option<Found> {
        prediction.offer(Some(no_rules()));
        feedback.offer(Some(no_rules()));
        let times = read(b"r1", text.as_bytes(), prediction, feedback)?;
        let found = [prediction, feedback].map(|content| {
            let classes = content.rows.iter().map(|(class, _)| class.to_vec()).collect();
            (content.key.clone(), classes)
        });
        Some((times, found))
    }

    #[test]
    fn keys_differ_with_the_content() {
        let mut contents = [Content::default(), Content::default()];
        let (times, [prediction, feedback]) = read_with(TEXT, &mut contents).unwrap();
        assert_eq!(times.predicted_at, times::SECOND);
        assert_eq!(times.feedback_at, Some(2 * times::SECOND));
        let other = TEXT.replace("0.1,0.9", "0.9,0.1");
        let (_, [other, same]) = read_with(&other, &mut contents).unwrap();
        assert_eq!(prediction.0, other.0);
        assert_ne!(prediction.1, other.1);
        assert_eq!(feedback, same);
        let other = TEXT.replace("\"m\":\"image\"", "\"k\":\"image\"");
        let (_, [other, another]) = read_with(&other, &mut contents).unwrap();
        assert_ne!(prediction.0, other.0);
        assert_ne!(feedback.0, another.0);
    }

    #[test]
    fn other_documents_are_left() {
        for (part, odd) in [
            ("\"r1\"", "\"r2\""),
            ("\"payload\":{\"meta\"", "\"payload\":{\"tensor\":1,\"meta\""),
            ("[[0.1,0.9]]", "[[0.1,0.9],[1]]"),
            ("image", "im\\ud800ge"),
            ("\"more\":{}", "\"more\":\"\\ud800\""),
            ("\"reward\":1,", ""),
            ("\"feedback\":{", "\"feedback\":null,\"x\":{"),
        ] {
            assert!(read_text(&TEXT.replace(part, odd)).is_none(), "{odd}");
        }
    }
}

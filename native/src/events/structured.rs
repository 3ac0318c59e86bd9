//! Structured events, which are JSON as a whole, and batches of them; `structured.py` is the counterpart.

use std::borrow::Cow;

use crate::events::compression::decompress;
use crate::events::event::{read_body, Event, Reason};
use crate::events::headers::Headers;
use crate::events::json::Scanner;
use crate::events::names::{attribute, Name};
use crate::events::payloads::content::{Content, Once};
use crate::events::payloads::format::Format;
use crate::events::strings;

/// The header of a record that holds one structured event.
pub const HEADER: (&str, &[u8]) = ("content-type", b"application/cloudevents+json");

/// A larger batch is left to Python, which refuses it.
const MAX_BATCH: usize = 10_000;

const DATA: u32 = 1;
const DATA_BASE64: u32 = 2;

/// Read a structured event; its content replaces that of `content`. `timestamp` (ns) stands in for a
/// missing time, unless it is negative.
pub fn read<'a>(
    text: &'a [u8],
    timestamp: i64,
    content: &mut Content,
) -> Result<Event<'a>, Reason> {
    let Members { mut headers, data, bytes } = members(text).ok_or(Reason::Envelope)?;
    let is_text = bytes.is_none() && data.first() == Some(&b'"');
    // A text is base64 in CloudEvents 0.3, and some senders put an object as a text into the data.
    if is_text && headers.has(Name::DataEncoding) {
        return Err(Reason::Envelope);
    }
    let event = headers.event(timestamp, &mut content.key).ok_or(Reason::Envelope)?;
    if !event.kind.is_observed() {
        return Ok(event);
    }
    if let Some(bytes) = bytes {
        let body = decompress(&bytes).ok_or(Reason::Body)?;
        read_body(&body, event.kind, event.format, content)?;
    } else {
        let body = if is_text { Scanner::new(data).string() } else { Some(Cow::Borrowed(data)) };
        // Only `data_base64` holds other bodies than JSON.
        read_body(&body.ok_or(Reason::Body)?, event.kind, Format::JsonAlone, content)?;
    }
    Ok(event)
}

/// The members of an event that matter.
struct Members<'a> {
    headers: Headers<Cow<'a, [u8]>>,
    /// The data as they are written, empty if there are none.
    data: &'a [u8],
    /// What is in `data_base64`, which counts before the data.
    bytes: Option<Vec<u8>>,
}

fn members(text: &[u8]) -> Option<Members<'_>> {
    let mut scanner = Scanner::new(text);
    let (mut headers, mut seen, mut data) = (Headers::default(), Once::default(), &b""[..]);
    let mut bytes = None;
    scanner.members(|scanner, name| {
        if let Some(found) = attribute(name) {
            return headers.put(found, value(scanner)?);
        }
        match name {
            b"data" => {
                seen.first(DATA)?;
                data = scanner.skip()?;
            }
            b"data_base64" => {
                seen.first(DATA_BASE64)?;
                if scanner.next_is(b'"') {
                    bytes = Some(strings::from_base64(&scanner.string()?)?);
                } else if scanner.skip()? != b"null" {
                    return None;
                }
            }
            _ => {
                scanner.skip()?;
            }
        }
        Some(())
    })?;
    scanner.at_end()?;
    Some(Members { headers, data, bytes })
}

/// The value of an attribute: a text, or any other value as it is written.
fn value<'a>(scanner: &mut Scanner<'a>) -> Option<Option<Cow<'a, [u8]>>> {
    if scanner.next_is(b'"') {
        return Some(Some(scanner.string()?));
    }
    let written = scanner.skip()?;
    Some((written != b"null").then_some(Cow::Borrowed(written)))
}

/// The events of a batch as they are written.
pub fn split(text: &[u8]) -> Option<Vec<&[u8]>> {
    let mut scanner = Scanner::new(text);
    scanner.expect(b'[')?;
    let mut events = Vec::new();
    if !scanner.closes(b']') {
        loop {
            events.push(scanner.skip()?);
            if !scanner.more(b']')? {
                break;
            }
        }
    }
    scanner.at_end()?;
    (events.len() <= MAX_BATCH).then_some(events)
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::STANDARD;
    use base64::Engine;

    use super::*;
    use crate::events::event::Kind;
    use crate::events::payloads::content::Rules;

    const EVENT: &str = r#"{"specversion":"1.0","data":{"data":{"ndarray":[[0.1,0.9]]}},"more":[1],
        "type":"io.seldon.serving.inference.response","inferenceservicename":"dep","modelid":"m",
        "requestid":"r1","time":"1970-01-01T00:00:01Z","namespace":null}"#;

    fn read_text(text: &str) -> Option<(Kind, String, i64, Vec<u8>)> {
        let mut content = Content::default();
        content.offer(Some(Rules::default()));
        let event = read(text.as_bytes(), -1, &mut content).ok()?;
        let id = String::from_utf8_lossy(&event.id).into_owned();
        Some((event.kind, id, event.time, content.key))
    }

    #[test]
    fn an_event_is_read_whatever_the_order_of_its_members() {
        let plain = read_text(EVENT).unwrap();
        assert_eq!((plain.0, &plain.1[..], plain.2), (Kind::Response, "r1", 1_000_000_000));
        let data = r#"{"data":{"ndarray":[[0.1,0.9]]}}"#;
        let last = EVENT.replace("null}", &format!("null,\"data\":{data}}}"));
        for same in [
            last.replacen(&format!("\"data\":{data},"), "", 1),
            EVENT.replace(data, r#"" {\"data\":{\"ndarray\":[[0.1,0.9]]}}""#),
            EVENT.replace("\"modelid\"", "\"mod\\u0065lid\""),
            EVENT.replace("\"more\":[1]", "\"data_base64\":null"),
        ] {
            assert_eq!(read_text(&same), Some(plain.clone()), "{same}");
        }
    }

    #[test]
    fn bytes_count_before_the_data() {
        let plain = read_text(EVENT).unwrap();
        let bytes = STANDARD.encode(r#"{"data":{"ndarray":[[0.1,0.9]]}}"#);
        let with = |data: &str| EVENT.replace(r#"{"data":{"ndarray":[[0.1,0.9]]}}"#, data);
        for data in ["null", "1", "\"x\""] {
            let text = with(data).replace("\"more\":[1]", &format!("\"data_base64\":\"{bytes}\""));
            assert_eq!(read_text(&text), Some(plain.clone()), "{text}");
        }
        let request = EVENT.replace("inference.response", "inference.request");
        assert!(read_text(&request).is_some());
        let bad = request.replace("\"more\":[1]", "\"data_base64\":\"e\"");
        assert!(read_text(&bad).is_none());
    }

    #[test]
    fn other_events_are_left() {
        for (part, odd) in [
            ("\"more\"", "\"type\""),
            ("\"more\"", "\"data\""),
            ("[1]", "[1"),
            ("\"more\":[1]", "\"data_base64\":\"e30=\""),
            ("\"more\":[1]", "\"data_base64\":\"e30\""),
            ("\"more\":[1]", "\"data_base64\":1"),
            ("\"1970-01-01T00:00:01Z\"", "null"),
            ("\"1.0\"", "\"\\\"1.0\\\"\""),
            ("{\"data\":{\"ndarray\":[[0.1,0.9]]}}", "null"),
            ("{\"data\":{\"ndarray\":[[0.1,0.9]]}}", "\"e30=\""),
        ] {
            assert!(read_text(&EVENT.replacen(part, odd, 1)).is_none(), "{odd}");
        }
        for text in ["{}", "[]", "null", ""] {
            assert!(read_text(text).is_none(), "{text}");
        }
    }

    #[test]
    fn a_batch_has_its_events() {
        assert_eq!(split(b" [ {\"a\": 1} ,2]\n"), Some(vec![&b"{\"a\": 1}"[..], b"2"]));
        assert_eq!(split(b"[]"), Some(vec![]));
        for bad in [&b"[1"[..], b"[1,]", b"{}", b"[NaN]", b"[1] 2", b""] {
            assert_eq!(split(bad), None);
        }
        assert_eq!(split(format!("[{}1]", "1,".repeat(MAX_BATCH)).as_bytes()), None);
    }
}

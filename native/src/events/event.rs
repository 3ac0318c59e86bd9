//! Template keys of the events of Seldon's loggers in the common case: lines of an events file, and
//! records in binary mode.

use crate::events::body;
use crate::events::json::Scanner;
use crate::events::payloads::content::{self, Content, Once};
use crate::times;

/// A longer request id is left to Python.
const MAX_ID_LENGTH: usize = 127;

#[derive(Clone, Copy, PartialEq)]
pub enum Kind {
    Response,
    Request,
    Feedback,
}

fn kind(event_type: &[u8]) -> Option<Kind> {
    Some(match event_type {
        b"io.seldon.serving.inference.response"
        | b"org.kubeflow.serving.inference.response"
        | b"io.kserve.inference.response" => Kind::Response,
        b"io.seldon.serving.inference.request"
        | b"org.kubeflow.serving.inference.request"
        | b"io.kserve.inference.request" => Kind::Request,
        b"io.seldon.serving.feedback" | b"org.kubeflow.serving.feedback" => Kind::Feedback,
        _ => return None,
    })
}

/// The parts of an event that its template does not have.
pub struct Event<'a> {
    pub kind: Kind,
    pub id: &'a [u8],
    pub time: i64,
}

/// The headers of an event that matter.
#[derive(Default)]
struct Headers<'a> {
    names: [&'a [u8]; 8],
    seen: Once,
}

const TYPE: usize = 0;
const ID: usize = 5;
const TIME: usize = 6;
const CONTENT_TYPE: usize = 7;

/// All but the content type.
const NEEDED: u32 = 0x7f;

impl<'a> Headers<'a> {
    /// Add a header; `separator` stands after `ce` in its name. None if Python has to read the event.
    fn put(&mut self, name: &[u8], separator: u8, value: &'a [u8]) -> Option<()> {
        let plain = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let index = match name {
            b"content-type" => CONTENT_TYPE,
            b"content-encoding" => return None,
            [b'c', b'e', found, rest @ ..] if *found == separator => match rest {
                b"type" => TYPE,
                b"namespace" => 1,
                b"inferenceservicename" => 2,
                b"endpoint" => 3,
                b"modelid" => 4,
                b"requestid" => ID,
                b"time" => TIME,
                // These can make the event more than its type says.
                b"statuscode" | b"component" => return None,
                b"specversion" if value.first() == Some(&b'"') => return None,
                _ if rest.iter().all(plain) => return Some(()),
                _ => return None,
            },
            // These matter only if a header above is empty.
            b"seldon-puid" | b"traceparent" => return Some(()),
            _ => return None,
        };
        self.seen.first(1 << index)?;
        self.names[index] = value;
        Some(())
    }

    /// The event; its stream becomes the beginning of the key.
    fn event(&self, key: &mut Vec<u8>) -> Option<Event<'a>> {
        self.seen.has(NEEDED)?;
        let kind = kind(self.names[TYPE])?;
        let (id, names) = (self.names[ID], &self.names);
        if id.is_empty() || id.len() > MAX_ID_LENGTH || !id.is_ascii() {
            return None;
        }
        if names[2].is_empty() || names[4].is_empty() {
            return None;
        }
        key.clear();
        key.push(kind as u8);
        for index in [1, 2, 3, 4, CONTENT_TYPE] {
            content::put(key, b'n', names[index])?;
        }
        Some(Event { kind, id, time: times::parse(names[TIME])? })
    }
}

fn body_of(scanner: &mut Scanner, kind: Kind, content: &mut Content) -> Option<()> {
    match kind {
        Kind::Response => {
            content.begin(false)?;
            if content.rules.is_excluded {
                return scanner.skip().map(|_| ());
            }
            body::response(scanner, content)
        }
        Kind::Feedback => {
            content.begin(true)?;
            body::feedback(scanner, content)
        }
        Kind::Request => scanner.skip().map(|_| ()),
    }
}

/// Read a line of an events file; its message replaces that of `content`.
pub fn line<'a>(text: &'a [u8], content: &mut Content) -> Option<Event<'a>> {
    let mut scanner = Scanner::new(text);
    scanner.expect(b'{')?;
    if scanner.key()? != b"headers" {
        return None;
    }
    let mut headers = Headers::default();
    scanner.members(|scanner, name| headers.put(name, b'-', scanner.string()?))?;
    let event = headers.event(&mut content.key)?;
    if !scanner.more(b'}')? || scanner.key()? != b"data" {
        return None;
    }
    body_of(&mut scanner, event.kind, content)?;
    scanner.expect(b'}')?;
    scanner.at_end()?;
    Some(event)
}

/// Read a record in binary mode; its message replaces that of `content`.
pub fn record<'a>(
    headers: impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)>,
    value: Option<&'a [u8]>,
    content: &mut Content,
) -> Option<Event<'a>> {
    let mut found = Headers::default();
    for (name, value) in headers {
        found.put(name, b'_', value?)?;
    }
    if found.names[CONTENT_TYPE] != b"application/json" {
        return None;
    }
    let event = found.event(&mut content.key)?;
    if event.kind != Kind::Request {
        let mut scanner = Scanner::new(value?);
        body_of(&mut scanner, event.kind, content)?;
        scanner.at_end()?;
    }
    Some(event)
}

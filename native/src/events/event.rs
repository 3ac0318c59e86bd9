//! Template keys of events: lines of an events file, and records, in any content mode.

use std::borrow::Cow;

use crate::events::body;
use crate::events::compression::decompress;
use crate::events::headers::{Headers, Mode};
use crate::events::json::Scanner;
use crate::events::payloads::content::Content;
use crate::events::payloads::format::Format;
use crate::events::payloads::{infer_response, predict_response, seldon};
use crate::events::{strings, structured};

/// The timestamp of a line, which has no time but that of its event.
pub const NO_TIME: i64 = -1;
/// A request id of more bytes is left to Python.
pub const MAX_ID_LENGTH: usize = 255;

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    Response,
    Request,
    Feedback,
    /// Events that are counted, and mean nothing else (counting rule 23).
    Other,
    Failed,
    Explanation,
}

impl Kind {
    /// Whether an event of this kind has an observation.
    pub fn is_observed(self) -> bool {
        matches!(self, Kind::Response | Kind::Feedback)
    }
}

/// The kind of an event by its type. None if Python has to read it.
pub fn kind_of(event_type: &[u8]) -> Option<Kind> {
    Some(match event_type {
        b"io.seldon.serving.inference.response"
        | b"org.kubeflow.serving.inference.response"
        | b"io.kserve.inference.response" => Kind::Response,
        b"io.seldon.serving.inference.request"
        | b"org.kubeflow.serving.inference.request"
        | b"io.kserve.inference.request" => Kind::Request,
        b"io.seldon.serving.feedback" | b"org.kubeflow.serving.feedback" => Kind::Feedback,
        // Python looks into quotes.
        [] | [b'"', ..] | [.., b'"'] => return None,
        _ => Kind::Other,
    })
}

/// The parts of an event that its template does not have; empty if it is only counted.
pub struct Event<'a> {
    pub kind: Kind,
    pub id: Cow<'a, [u8]>,
    pub time: i64,
    pub format: Format,
}

impl Event<'_> {
    pub fn into_owned(self) -> Event<'static> {
        Event { id: Cow::Owned(self.id.into_owned()), ..self }
    }
}

/// What a record holds.
pub enum Found<'a> {
    Event(Event<'a>),
    /// A batch of structured events, as text.
    Batch(Cow<'a, [u8]>),
}

/// Why Python has to read an event.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Reason {
    /// Its headers, its content mode, or JSON that is not strict.
    Envelope,
    /// Its body is of another form than those that are read here.
    Body,
    /// It has no template yet, or is of a kind that gets none.
    Template,
}

/// Begin with the message of an event. Returns whether it has to be read: a response of an excluded model
/// is only counted.
fn begin(kind: Kind, content: &mut Content) -> Result<bool, Reason> {
    content.begin(kind == Kind::Feedback).ok_or(Reason::Template)?;
    Ok(kind == Kind::Feedback || !content.rules.is_excluded)
}

/// Read JSON of an event that has an observation.
fn json(scanner: &mut Scanner, kind: Kind, content: &mut Content) -> Option<()> {
    match kind {
        Kind::Response => body::response(scanner, content),
        _ => body::feedback(scanner, content),
    }
}

/// Read a body that is JSON, maybe with binary tensors behind it.
fn json_body(text: &[u8], kind: Kind, format: Format, content: &mut Content) -> Option<()> {
    let start = content.key.len();
    // Whatever ends otherwise is no object.
    if text.trim_ascii_end().ends_with(b"}") {
        let mut scanner = Scanner::new(text);
        if json(&mut scanner, kind, content).and_then(|()| scanner.at_end()).is_some() {
            return Some(());
        }
        content.begin_again(start);
    }
    match (kind, format) {
        (Kind::Response, Format::Json) => with_tensors(text, None, content),
        (Kind::Response, Format::SplitJson(length)) => {
            with_tensors(text, Some(length as usize), content)
        }
        _ => None,
    }
}

/// Read an answer in JSON, of this length if it is known, that binary tensors follow.
fn with_tensors(text: &[u8], length: Option<usize>, content: &mut Content) -> Option<()> {
    let mut scanner = Scanner::new(text);
    // Python looks for the end of the JSON without skipping blanks before it.
    if length.is_none() && text.first() != Some(&b'{') {
        return None;
    }
    scanner.skip()?;
    let end = scanner.at;
    // Python reads JSON without binary data first.
    if scanner.at_end().is_some() {
        return None;
    }
    let (text, binary) = text.split_at_checked(length.unwrap_or(end))?;
    let mut scanner = Scanner::with_binary(text, binary);
    body::response(&mut scanner, content)?;
    scanner.at_end()?;
    scanner.has_taken_all()
}

/// Read a body that is a protobuf message.
fn message(bytes: &[u8], kind: Kind, format: Format, content: &mut Content) -> Option<()> {
    match (kind, format) {
        (_, Format::Json | Format::SplitJson(_) | Format::JsonAlone) => None,
        (Kind::Feedback, _) => seldon::feedback(bytes, content),
        (_, Format::Seldon) => seldon::response(bytes, content),
        (_, Format::Inference) => infer_response::read(bytes, content),
        (_, Format::TensorFlow) => predict_response::read(bytes, content),
    }
}

/// Read the body of an event that has an observation; of any other event nothing is read.
pub fn read_body(
    text: &[u8],
    kind: Kind,
    format: Format,
    content: &mut Content,
) -> Result<(), Reason> {
    if !kind.is_observed() || !begin(kind, content)? {
        return Ok(());
    }
    let read = match format.is_json(text) {
        true => json_body(text, kind, format, content),
        false => message(text, kind, format, content),
    };
    read.ok_or(Reason::Body)
}

/// Read the JSON of an event within a line.
fn body_of(scanner: &mut Scanner, kind: Kind, content: &mut Content) -> Result<(), Reason> {
    let read = match kind.is_observed() && begin(kind, content)? {
        true => json(scanner, kind, content),
        false => scanner.skip().map(|_| ()),
    };
    read.ok_or(Reason::Body)
}

/// Read a line of an events file; its message replaces that of `content`.
pub fn line<'a>(text: &'a [u8], content: &mut Content) -> Result<Event<'a>, Reason> {
    let mut scanner = Scanner::new(text);
    let (mut headers, is_base64) = line_headers(&mut scanner).ok_or(Reason::Envelope)?;
    match headers.mode().ok_or(Reason::Envelope)? {
        Mode::Binary if is_base64 => {
            let bytes = line_bytes(&mut scanner).ok_or(Reason::Envelope)?;
            let event = headers.binary_event(NO_TIME, &mut content.key).ok_or(Reason::Envelope)?;
            if event.kind.is_observed() {
                let body = decompress(&bytes).ok_or(Reason::Body)?;
                read_body(&body, event.kind, event.format, content)?;
            }
            Ok(event)
        }
        Mode::Binary => {
            let event = headers.binary_event(NO_TIME, &mut content.key).ok_or(Reason::Envelope)?;
            body_of(&mut scanner, event.kind, content)?;
            line_end(&mut scanner).ok_or(Reason::Body)?;
            Ok(event)
        }
        Mode::Structured if !is_base64 => {
            let data = scanner.skip().ok_or(Reason::Envelope)?;
            line_end(&mut scanner).ok_or(Reason::Envelope)?;
            structured::read(data, NO_TIME, content)
        }
        _ => Err(Reason::Envelope),
    }
}

/// The headers of a line, up to the start of its data; and whether these are in base64.
fn line_headers<'a>(scanner: &mut Scanner<'a>) -> Option<(Headers<Cow<'a, [u8]>>, bool)> {
    scanner.expect(b'{')?;
    if *scanner.key()? != *b"headers" {
        return None;
    }
    let mut headers = Headers::default();
    scanner.members(|scanner, name| headers.put_line_header(name, scanner.string()?))?;
    if !scanner.more(b'}')? {
        return None;
    }
    match &*scanner.key()? {
        b"data" => Some((headers, false)),
        b"data_base64" => Some((headers, true)),
        _ => None,
    }
}

/// The data of a line whose data are in base64.
fn line_bytes(scanner: &mut Scanner) -> Option<Vec<u8>> {
    let bytes = strings::from_base64(&scanner.string()?)?;
    line_end(scanner)?;
    Some(bytes)
}

fn line_end(scanner: &mut Scanner) -> Option<()> {
    scanner.expect(b'}')?;
    scanner.at_end()
}

/// Read a record; the message of its event replaces that of `content`. `timestamp` (ns)
/// stands in for a missing time, unless it is negative.
pub fn record<'a>(
    headers: impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)>,
    value: Option<&'a [u8]>,
    timestamp: i64,
    content: &mut Content,
) -> Result<Found<'a>, Reason> {
    let mut found = Headers::default();
    for (place, (name, value)) in headers.enumerate() {
        let spelling = content.spellings.at(place, name);
        spelling.and_then(|one| found.put_header(one, value)).ok_or(Reason::Envelope)?;
    }
    let mode = found.mode().ok_or(Reason::Envelope)?;
    if matches!(mode, Mode::Binary) {
        let event = found.binary_event(timestamp, &mut content.key).ok_or(Reason::Envelope)?;
        if event.kind.is_observed() {
            let body = decompress(value.unwrap_or_default()).ok_or(Reason::Body)?;
            read_body(&body, event.kind, event.format, content)?;
        }
        return Ok(Found::Event(event));
    }
    let text = decompress(value.unwrap_or_default()).ok_or(Reason::Envelope)?;
    if matches!(mode, Mode::Batch) {
        return Ok(Found::Batch(text));
    }
    let event = match text {
        Cow::Borrowed(text) => structured::read(text, timestamp, content)?,
        Cow::Owned(text) => structured::read(&text, timestamp, content)?.into_owned(),
    };
    Ok(Found::Event(event))
}

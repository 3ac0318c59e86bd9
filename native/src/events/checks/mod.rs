//! What must hold of any input: no reader panics, what is accepted is valid, and nothing depends on what
//! was read before. For the tests of damaged input, and for the fuzz targets.

use crate::events::compression::decompress;
use crate::events::event::{line, read_body, record, Event, Found, Kind, Reason};
use crate::events::json::Scanner;
use crate::events::payloads::content::{Content, Rules};
use crate::events::payloads::format::Format;
use crate::events::record_batch::RecordBatch;
use crate::events::{document, structured};
use crate::times;

#[cfg(test)]
mod fuzz;

type Header<'a> = (&'a [u8], Option<&'a [u8]>);

/// The readers' buffers, which are used again for each input.
#[derive(Default)]
pub struct Checks {
    content: Content,
    feedback: Content,
}

/// Rules of models of every kind.
fn rules() -> [Rules; 4] {
    let plain = || Rules { threshold: 0.5, unit: -6, ..Rules::default() };
    [
        plain(),
        Rules { is_multilabel: true, output_name: Some(b"proba"[..].into()), ..plain() },
        Rules { is_regression: true, unit: -2, ..plain() },
        Rules { has_scores: true, threshold: 0.25, ..plain() },
    ]
}

/// Let any stream be read with these rules.
fn offer(content: &mut Content, rules: Rules) {
    content.forget_streams();
    content.offer(Some(rules));
}

fn assert_same(one: &Content, other: &Content) {
    assert!(one.key == other.key && one.reward == other.reward);
    assert!(one.rows.iter().eq(other.rows.iter()));
}

fn assert_valid(event: &Event, content: &Content) {
    assert!(std::str::from_utf8(&event.id).is_ok());
    assert!(event.time >= 0);
    if event.kind.is_observed() {
        assert!(!event.id.is_empty() && !content.key.is_empty());
    }
}

impl Checks {
    /// Read an event with every kind of rules, twice: into buffers that were used, and into new ones.
    /// Returns how often it is accepted.
    fn event<'a>(&mut self, read: impl Fn(&mut Content) -> Result<Event<'a>, Reason>) -> u64 {
        let mut accepted = 0;
        for (used, new) in rules().into_iter().zip(rules()) {
            let mut fresh = Content::default();
            offer(&mut self.content, used);
            offer(&mut fresh, new);
            match (read(&mut self.content), read(&mut fresh)) {
                (Ok(one), Ok(other)) => {
                    assert!((one.kind, &one.id, one.time) == (other.kind, &other.id, other.time));
                    assert_valid(&one, &self.content);
                    if one.kind.is_observed() {
                        assert_same(&self.content, &fresh);
                    }
                    accepted += 1;
                }
                (one, other) => assert_eq!(one.err(), other.err()),
            }
        }
        accepted
    }

    fn body(&mut self, bytes: &[u8], kinds: &[(Kind, Format)]) -> u64 {
        let mut accepted = 0;
        for &(kind, format) in kinds {
            accepted += self.event(|content| {
                content.key.clear();
                content.put(b'n', b"m").ok_or(Reason::Envelope)?;
                read_body(bytes, kind, format, content)?;
                Ok(Event { kind, id: b"r1"[..].into(), time: 0, format })
            });
        }
        accepted
    }

    /// Read a text as a body, a line, a structured event, a document, a value, and a time.
    pub fn json(&mut self, text: &[u8]) -> u64 {
        let mut accepted = self.body(
            text,
            &[
                (Kind::Response, Format::Json),
                (Kind::Response, Format::SplitJson(text.len() as u32 / 2)),
                (Kind::Feedback, Format::Json),
            ],
        );
        accepted += self.event(|content| line(text, content));
        accepted += self.event(|content| structured::read(text, 0, content));
        for rules in rules() {
            accepted += self.document(text, rules);
        }
        if let Some(value) = Scanner::new(text).skip() {
            assert!(std::str::from_utf8(value).is_ok());
            accepted += 1;
        }
        if let Some(string) = Scanner::new(text).string() {
            assert!(std::str::from_utf8(&string).is_ok());
        }
        times::parse(text);
        accepted
    }

    fn document(&mut self, text: &[u8], rules: Rules) -> u64 {
        let Checks { content, feedback } = self;
        offer(feedback, Rules { threshold: 0.5, ..Rules::default() });
        offer(content, rules);
        let Some(times) = document::read(b"r1", text, content, feedback) else { return 0 };
        assert!(std::str::from_utf8(text).is_ok());
        assert!(times.predicted_at >= 0 && content.rows.len() == 1);
        1
    }

    /// Read bytes as a protobuf message of Seldon, a feedback, and one of the Open Inference Protocol.
    pub fn protobuf(&mut self, bytes: &[u8]) -> u64 {
        self.body(
            bytes,
            &[
                (Kind::Response, Format::Seldon),
                (Kind::Feedback, Format::Seldon),
                (Kind::Response, Format::Inference),
                (Kind::Response, Format::TensorFlow),
                (Kind::Response, Format::JsonAlone),
            ],
        )
    }

    /// Read the record of an input of lines `name: value`, one of a header each, an empty line, and a
    /// body. A line without a colon is a header without a value.
    pub fn envelope(&mut self, input: &[u8]) -> u64 {
        let (mut headers, mut rest) = (Vec::new(), input);
        loop {
            let end = rest.iter().position(|&byte| byte == b'\n').unwrap_or(rest.len());
            let (line, after) = rest.split_at(end);
            rest = after.get(1..).unwrap_or_default();
            if line.is_empty() {
                break;
            }
            headers.push(match line.iter().position(|&byte| byte == b':') {
                None => (line, None),
                Some(at) => (&line[..at], Some(line[at + 1..].trim_ascii_start())),
            });
        }
        self.record(&headers, Some(rest), 7)
    }

    fn record(&mut self, headers: &[Header], value: Option<&[u8]>, timestamp: i64) -> u64 {
        let mut batch = None;
        let accepted = self.event(|content| {
            match record(headers.iter().copied(), value, timestamp, content)? {
                Found::Event(event) => Ok(event),
                // It is split below.
                Found::Batch(_) => Err(Reason::Envelope),
            }
        });
        offer(&mut self.content, Rules::default());
        let found = record(headers.iter().copied(), value, timestamp, &mut self.content);
        if let Ok(Found::Batch(text)) = found {
            batch = Some(text.into_owned());
        }
        let texts = batch.as_deref().and_then(structured::split).unwrap_or_default();
        let events = texts
            .iter()
            .map(|text| self.event(|content| structured::read(text, timestamp, content)));
        accepted + events.sum::<u64>()
    }

    /// Read bytes as a batch of Kafka's.
    pub fn record_batch(&mut self, bytes: &[u8]) -> u64 {
        let Some(mut records) = RecordBatch::new(bytes) else { return 0 };
        let mut accepted = 0;
        while let Some(Some(found)) = records.next() {
            accepted += self.record(&found.headers, found.value, found.timestamp);
        }
        accepted
    }

    /// Decompress a body.
    pub fn gzip(&mut self, body: &[u8]) -> u64 {
        let found = decompress(body);
        assert!(found.is_some() || body.starts_with(b"\x1f\x8b"));
        u64::from(found.is_some_and(|text| &*text != body))
    }
}

//! The headers that decide what an event means, in every spelling that Python accepts: `attributes.py`
//! and `envelope.py` are the counterpart.

use std::borrow::Cow;
use std::ops::Deref;

use crate::events::event::{kind_of, Event, Kind, MAX_ID_LENGTH};
use crate::events::names::{header, Name, Spelling, ATTRIBUTES, COUNT, EXECUTOR, WRAPPED};
use crate::events::payloads::content;
use crate::events::payloads::format::Format;
use crate::times;

const WRAPPED_TYPE: &[u8] = b"dev.knative.kafka.event";
const VENDORS: [&[u8]; 3] = [b"io.seldon.", b"org.kubeflow.", b"io.kserve."];
/// The vendors whose protobuf bodies are of the Open Inference Protocol, unless they name another.
const KSERVE: [&[u8]; 2] = [b"org.kubeflow.", b"io.kserve."];
/// Go's zero time, which stands for no time.
const ZERO_TIME: &[u8] = b"0001-01-01T00:00:00Z";

/// The content modes of CloudEvents, by the content type.
pub enum Mode {
    Binary,
    Structured,
    Batch,
}

const CLOUD_EVENTS: &[u8] = b"application/cloudevents";

/// The value of a header: as it was sent, or as it was in JSON.
pub trait Value<'a>: Default + Deref<Target = [u8]> + Into<Cow<'a, [u8]>> {}

impl<'a> Value<'a> for &'a [u8] {}
impl<'a> Value<'a> for Cow<'a, [u8]> {}

/// The headers of an event that matter.
pub struct Headers<V> {
    values: [V; COUNT],
    /// Names that were met, and those of them that have a value.
    met: u64,
    present: u64,
    /// Names that were written in lower case with `ce_`, if they have this prefix.
    exact: u64,
    has_dash: bool,
    has_other_case: bool,
}

impl<V: Default> Default for Headers<V> {
    fn default() -> Self {
        Headers {
            values: std::array::from_fn(|_| V::default()),
            met: 0,
            present: 0,
            exact: 0,
            has_dash: false,
            has_other_case: false,
        }
    }
}

impl<'a> Headers<&'a [u8]> {
    /// Add a header of a record. None if Python has to read the event.
    pub fn put_header(&mut self, spelling: Spelling, value: Option<&'a [u8]>) -> Option<()> {
        let Spelling { found, has_dash, has_other_case } = spelling;
        self.has_dash |= has_dash;
        let Some(found) = found else { return Some(()) };
        self.has_other_case |= has_other_case;
        if !has_other_case && !has_dash && found != Name::WrappedOther {
            self.exact |= 1 << found as u64;
        }
        self.put(found, Some(value?))
    }
}

impl<'a> Headers<Cow<'a, [u8]>> {
    /// Add a header of a line, whose names must be names in HTTP. None if Python has to read the event.
    pub fn put_line_header(&mut self, name: &[u8], value: Cow<'a, [u8]>) -> Option<()> {
        let is_token =
            |&byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+.^_`|~-".contains(&byte);
        if name.is_empty() || !name.iter().all(is_token) {
            return None;
        }
        let found = match name.iter().any(u8::is_ascii_uppercase) {
            true => header(&name.to_ascii_lowercase()),
            false => header(name),
        };
        found.map_or(Some(()), |found| self.put(found, Some(value)))
    }
}

impl<'a, V: Value<'a>> Headers<V> {
    /// Add a header, or an attribute; its value may be null. None if it comes twice: Python knows which of
    /// the two counts.
    pub fn put(&mut self, name: Name, value: Option<V>) -> Option<()> {
        if name == Name::WrappedOther {
            return None;
        }
        let bit = 1 << name as u64;
        if self.met & bit != 0 {
            return None;
        }
        self.met |= bit;
        if let Some(value) = value {
            self.present |= bit;
            self.values[name as usize] = value;
        }
        Some(())
    }

    pub fn has(&self, name: Name) -> bool {
        self.present & 1 << name as u64 != 0
    }

    pub fn get(&self, name: Name) -> &[u8] {
        &self.values[name as usize]
    }

    fn is_exact(&self, name: Name) -> bool {
        self.exact & 1 << name as u64 != 0
    }

    /// The content mode of a record with these headers. None if Python has to read it.
    pub fn mode(&self) -> Option<Mode> {
        // Python looks for other spellings only in records without the usual one.
        if self.has_other_case
            && !self.has_dash
            && self.is_exact(Name::ContentType)
            && (self.is_exact(Name::Type) || self.is_exact(Name::ExecutorType))
        {
            return None;
        }
        let content_type = self.get(Name::ContentType);
        let is_cloud_events = content_type
            .get(..CLOUD_EVENTS.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(CLOUD_EVENTS));
        if !is_cloud_events {
            return Some(Mode::Binary);
        }
        let format = content_type[CLOUD_EVENTS.len()..].split(|&byte| byte == b';').next()?;
        let format = format.trim_ascii_end();
        if format.eq_ignore_ascii_case(b"+json") {
            return Some(Mode::Structured);
        }
        format.eq_ignore_ascii_case(b"-batch+json").then_some(Mode::Batch)
    }

    /// The event of a record in binary mode, which may be one of the executor's own log. `timestamp` (ns)
    /// stands in for a missing time, unless it is negative.
    pub fn binary_event(&mut self, timestamp: i64, key: &mut Vec<u8>) -> Option<Event<'a>> {
        if self.met & 1 << Name::Type as u64 != 0 {
            return self.event(timestamp, key);
        }
        if !self.is_vendors(Name::ExecutorType) {
            return None;
        }
        self.rename(EXECUTOR);
        self.known_event(timestamp, key)
    }

    fn is_vendors(&self, name: Name) -> bool {
        VENDORS.iter().any(|vendor| self.get(name).starts_with(vendor))
    }

    /// Take attributes from the executor's headers, which have no component and no id of their own.
    fn rename(&mut self, headers: [Name; 6]) {
        for (name, own) in ATTRIBUTES.into_iter().zip(headers) {
            self.values[name as usize] = std::mem::take(&mut self.values[own as usize]);
        }
        self.clear([Name::Component, Name::EventId]);
    }

    fn clear<const N: usize>(&mut self, names: [Name; N]) {
        for name in names {
            self.values[name as usize] = V::default();
        }
    }

    /// The event; its stream becomes the beginning of the key.
    pub fn event(&mut self, timestamp: i64, key: &mut Vec<u8>) -> Option<Event<'a>> {
        if self.get(Name::Type) == WRAPPED_TYPE && self.is_vendors(Name::WrappedType) {
            self.rename(WRAPPED);
            self.values[Name::Puid as usize] =
                std::mem::take(&mut self.values[Name::WrappedPuid as usize]);
            self.clear([Name::Status, Name::SpecVersion, Name::ContentEncoding]);
            self.clear([Name::ExecutorRequestId, Name::HeaderProtocol, Name::HeaderJsonLength]);
            for (name, own) in [
                (Name::Protocol, Name::WrappedProtocol),
                (Name::JsonLength, Name::WrappedJsonLength),
            ] {
                self.values[name as usize] = std::mem::take(&mut self.values[own as usize]);
            }
        }
        self.known_event(timestamp, key)
    }

    fn known_event(&mut self, timestamp: i64, key: &mut Vec<u8>) -> Option<Event<'a>> {
        let kind = self.kind()?;
        if !kind.is_observed() {
            return Some(Event { kind, id: Cow::default(), time: 0, format: Format::Json });
        }
        if self.get(Name::Deployment).is_empty() {
            return None;
        }
        key.clear();
        key.push(kind as u8);
        for name in [Name::Namespace, Name::Deployment, Name::Predictor] {
            content::put(key, b'n', self.get(name))?;
        }
        content::put(key, b'n', self.model())?;
        let format = self.format();
        key.push(format.number());
        // No body that is read here depends on anything else in these.
        content::put(key, b'n', self.get(Name::ContentType))?;
        content::put(key, b'n', self.get(Name::ContentEncoding))?;
        let time = match self.get(Name::Time) {
            written if self.has(Name::Time) && written != ZERO_TIME => times::parse(written)?,
            _ => (timestamp >= 0).then_some(timestamp)?,
        };
        let ids = [Name::RequestId, Name::ExecutorRequestId, Name::Puid, Name::EventId];
        let name = ids.into_iter().find(|&name| !self.get(name).is_empty())?;
        let id = std::mem::take(&mut self.values[name as usize]);
        let is_id = id.len() <= MAX_ID_LENGTH && std::str::from_utf8(&id).is_ok();
        is_id.then(|| Event { kind, id: id.into(), time, format })
    }

    fn format(&self) -> Format {
        let first = |name: Name, other: Name| match self.get(name) {
            b"" => self.get(other),
            found => found,
        };
        let protocol = match first(Name::Protocol, Name::HeaderProtocol) {
            b"" if KSERVE.iter().any(|vendor| self.get(Name::Type).starts_with(vendor)) => b"v2",
            found => found,
        };
        let content_type = first(Name::ContentType, Name::DataContentType);
        let length = first(Name::HeaderJsonLength, Name::JsonLength);
        Format::of(content_type, self.get(Name::ContentEncoding), protocol, length)
    }

    fn kind(&self) -> Option<Kind> {
        let kind = kind_of(self.get(Name::Type))?;
        if matches!(kind, Kind::Request | Kind::Other) {
            return Some(kind);
        }
        if self.get(Name::SpecVersion).first() == Some(&b'"') {
            return None;
        }
        if kind == Kind::Response {
            if is_error(self.get(Name::Status)) {
                return Some(Kind::Failed);
            }
            if self.get(Name::Component) == b"explainer" {
                return Some(Kind::Explanation);
            }
        }
        Some(kind)
    }

    /// The node that answered: each of KServe's components but the predictor is one.
    fn model(&self) -> &[u8] {
        match (self.get(Name::Model), self.get(Name::Component)) {
            (b"", b"predictor") => b"",
            (b"", component) => component,
            (model, _) => model,
        }
    }
}

/// Whether the status of an answer is that of an error.
fn is_error(status: &[u8]) -> bool {
    status.len() < 10
        && status.iter().all(u8::is_ascii_digit)
        && status.iter().fold(0, |sum, &byte| sum * 10 + u64::from(byte - b'0')) >= 400
}

#[cfg(test)]
mod tests {
    use super::*;

    type Pairs<'a> = &'a [(&'a str, &'a str)];

    const COMMON: Pairs = &[
        ("ce_type", "io.seldon.serving.inference.response"),
        ("ce_inferenceservicename", "dep"),
        ("ce_modelid", "m"),
        ("ce_requestid", "r1"),
        ("ce_time", "1970-01-01T00:00:01Z"),
        ("content-type", "application/json"),
    ];

    /// The kind, id and time of an event, and its key.
    fn read(pairs: &[(&str, &str)]) -> Option<(Kind, String, i64, Vec<u8>)> {
        let mut headers = Headers::default();
        for (name, value) in pairs {
            headers.put_header(Spelling::of(name.as_bytes())?, Some(value.as_bytes()))?;
        }
        headers.mode()?;
        let mut key = Vec::new();
        let event = headers.binary_event(7, &mut key)?;
        Some((event.kind, String::from_utf8_lossy(&event.id).into(), event.time, key))
    }

    fn with(more: Pairs) -> Vec<(&'static str, &'static str)> {
        let given = |name: &str| more.iter().any(|(other, _)| *other == name);
        let mut pairs: Vec<_> = COMMON.iter().copied().filter(|(name, _)| !given(name)).collect();
        for (name, value) in more {
            pairs.push((name.to_string().leak(), value.to_string().leak()));
        }
        pairs
    }

    #[test]
    fn spellings_of_one_event_have_one_key() {
        let plain = read(COMMON).unwrap();
        assert_eq!((plain.0, &plain.1[..], plain.2), (Kind::Response, "r1", 1_000_000_000));
        let dashed: Vec<_> =
            COMMON.iter().map(|(name, value)| (name.replace('_', "-"), *value)).collect();
        let dashed: Vec<_> = dashed.iter().map(|(name, value)| (&name[..], *value)).collect();
        assert_eq!(read(&dashed), Some(plain.clone()));
        let upper: Vec<_> =
            COMMON.iter().map(|(name, value)| (name.to_uppercase(), *value)).collect();
        let upper: Vec<_> = upper.iter().map(|(name, value)| (&name[..], *value)).collect();
        assert_eq!(read(&upper), Some(plain.clone()));
        for more in
            [("accept", "x"), ("ce_statuscode", "200"), ("ce_component", "c"), ("type", "x")]
        {
            assert_eq!(read(&with(&[more])), Some(plain.clone()), "{more:?}");
        }
    }

    #[test]
    fn what_only_python_decides_is_left() {
        for more in [
            ("ce-type", "io.seldon.serving.feedback"),
            ("Ce_Requestid", "r2"),
            ("Ce_Component", "c"),
            ("ce_specversion", "\"1.0\""),
            ("ce_type", "\"io.seldon.serving.feedback\""),
            ("ce_kafkaheaderce_statuscode", "404"),
            ("ce_inferenceservicename", ""),
            ("ce_time", ""),
            ("\u{212a}", "x"),
            ("content-type", "application/cloudevents+avro"),
        ] {
            assert_eq!(read(&with(&[more])), None, "{more:?}");
        }
        assert_eq!(read(&COMMON[1..]), None);
    }

    #[test]
    fn answers_can_be_errors_or_explanations() {
        let kind = |more: Pairs| read(&with(more)).unwrap().0;
        assert_eq!(kind(&[("ce_statuscode", "404")]), Kind::Failed);
        assert_eq!(kind(&[("ce_statuscode", "9999999999")]), Kind::Response);
        assert_eq!(kind(&[("ce_component", "explainer")]), Kind::Explanation);
        assert_eq!(kind(&[("ce_type", "order.created")]), Kind::Other);
        let request = ("ce_type", "io.kserve.inference.request");
        assert_eq!(kind(&[request, ("ce_specversion", "\"1.0\"")]), Kind::Request);
    }

    #[test]
    fn ids_and_times_have_substitutes() {
        let found = |more: Pairs| {
            let (_, id, time, _) = read(&with(more)).unwrap();
            (id, time)
        };
        let empty = ("ce_requestid", "");
        assert_eq!(found(&[empty, ("ce_id", "e"), ("seldon-puid", "p")]).0, "p");
        assert_eq!(found(&[empty, ("ce_id", "e")]).0, "e");
        let untimed: Vec<_> =
            COMMON.iter().copied().filter(|(name, _)| *name != "ce_time").collect();
        assert_eq!(read(&untimed).unwrap().2, 7);
        let executor: Vec<_> = untimed
            .iter()
            .map(|(name, value)| (name.trim_start_matches("ce_"), *value))
            .chain([("ce_id", "e"), ("ce_component", "explainer"), ("ce_namespace", "x")])
            .collect();
        assert_eq!(read(&executor), read(&untimed));
        let wrapped: Vec<_> = executor
            .iter()
            .map(|(name, value)| match *name {
                "content-type" => (name.to_string(), *value),
                name if name.starts_with("ce_") => (name.to_string(), *value),
                name => (format!("ce_kafkaheader{name}"), *value),
            })
            .chain([("ce_type".into(), "dev.knative.kafka.event"), ("ce_id".into(), "e")])
            .collect();
        let wrapped: Vec<_> = wrapped.iter().map(|(name, value)| (&name[..], *value)).collect();
        assert_eq!(read(&wrapped[..wrapped.len() - 1]), read(&untimed));
        assert_eq!(read(&wrapped), None);
        let zero = with(&[("ce_time", "0001-01-01T00:00:00Z")]);
        assert_eq!(read(&zero).unwrap().2, 7);
        assert_eq!(read(&with(&[("ce_type", "dev.knative.kafka.event")])).unwrap().0, Kind::Other);
    }
}

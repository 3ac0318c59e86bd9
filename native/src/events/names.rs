//! The names of the headers and attributes of an event that matter.

/// A header that matters. `Executor` are the executor's own, of records that are not CloudEvents;
/// `Wrapped` are those of a record that Knative's KafkaSource has wrapped.
#[derive(Clone, Copy, PartialEq)]
pub enum Name {
    Type,
    Namespace,
    Deployment,
    Predictor,
    Model,
    RequestId,
    Component,
    Status,
    SpecVersion,
    EventId,
    Time,
    DataEncoding,
    DataContentType,
    Protocol,
    ContentType,
    ContentEncoding,
    Puid,
    /// The length of the JSON before binary tensors.
    JsonLength,
    /// The protocol of a record, where it is no attribute, and that length.
    HeaderProtocol,
    HeaderJsonLength,
    ExecutorType,
    ExecutorNamespace,
    ExecutorDeployment,
    ExecutorPredictor,
    ExecutorModel,
    ExecutorRequestId,
    WrappedType,
    WrappedNamespace,
    WrappedDeployment,
    WrappedPredictor,
    WrappedModel,
    WrappedRequestId,
    WrappedPuid,
    WrappedProtocol,
    WrappedJsonLength,
    /// A wrapped header in a spelling that KafkaSource does not write.
    WrappedOther,
}

/// How many names there are, without the last, which is never kept.
pub const COUNT: usize = Name::WrappedOther as usize;
/// The attributes that the executor's headers stand for.
pub const ATTRIBUTES: [Name; 6] =
    [Name::Type, Name::Namespace, Name::Deployment, Name::Predictor, Name::Model, Name::RequestId];

/// The executor's headers, in the order of `ATTRIBUTES`.
pub const EXECUTOR: [Name; 6] = [
    Name::ExecutorType,
    Name::ExecutorNamespace,
    Name::ExecutorDeployment,
    Name::ExecutorPredictor,
    Name::ExecutorModel,
    Name::ExecutorRequestId,
];
/// The executor's headers that KafkaSource has wrapped, in the same order.
pub const WRAPPED: [Name; 6] = [
    Name::WrappedType,
    Name::WrappedNamespace,
    Name::WrappedDeployment,
    Name::WrappedPredictor,
    Name::WrappedModel,
    Name::WrappedRequestId,
];
/// The attribute of an event with this name, which is written without `ce_`.
pub fn attribute(name: &[u8]) -> Option<Name> {
    Some(match name {
        b"type" => Name::Type,
        b"namespace" => Name::Namespace,
        b"inferenceservicename" => Name::Deployment,
        b"endpoint" => Name::Predictor,
        b"modelid" => Name::Model,
        b"requestid" => Name::RequestId,
        b"component" => Name::Component,
        b"statuscode" => Name::Status,
        b"specversion" => Name::SpecVersion,
        b"id" => Name::EventId,
        b"time" => Name::Time,
        b"datacontentencoding" => Name::DataEncoding,
        b"datacontenttype" => Name::DataContentType,
        b"protocol" => Name::Protocol,
        b"inferenceheadercontentlength" => Name::JsonLength,
        _ => return wrapped(name.strip_prefix(b"kafkaheader")?),
    })
}

fn wrapped(name: &[u8]) -> Option<Name> {
    Some(match name {
        b"type" => Name::WrappedType,
        b"namespace" => Name::WrappedNamespace,
        b"inferenceservicename" => Name::WrappedDeployment,
        b"endpoint" => Name::WrappedPredictor,
        b"modelid" => Name::WrappedModel,
        b"requestid" => Name::WrappedRequestId,
        b"seldonpuid" => Name::WrappedPuid,
        b"protocol" => Name::WrappedProtocol,
        b"inferenceheadercontentlength" => Name::WrappedJsonLength,
        _ if name.iter().all(u8::is_ascii_alphanumeric) => return None,
        _ => Name::WrappedOther,
    })
}

/// The header of a record with this name in lower case.
pub fn header(name: &[u8]) -> Option<Name> {
    Some(match name {
        [b'c', b'e', b'_' | b'-', rest @ ..] => return attribute(rest),
        b"content-type" => Name::ContentType,
        b"content-encoding" => Name::ContentEncoding,
        b"seldon-puid" => Name::Puid,
        b"protocol" => Name::HeaderProtocol,
        b"inference-header-content-length" => Name::HeaderJsonLength,
        b"type" => Name::ExecutorType,
        b"namespace" => Name::ExecutorNamespace,
        b"inferenceservicename" => Name::ExecutorDeployment,
        b"endpoint" => Name::ExecutorPredictor,
        b"modelid" => Name::ExecutorModel,
        b"requestid" => Name::ExecutorRequestId,
        _ => return None,
    })
}

/// What the name of a record's header says: which header it is, and how it is spelled.
#[derive(Clone, Copy)]
pub struct Spelling {
    pub found: Option<Name>,
    pub has_dash: bool,
    pub has_other_case: bool,
}

impl Spelling {
    /// None if Python has to read the event.
    pub fn of(name: &[u8]) -> Option<Self> {
        let has_other_case = name.iter().any(|byte| !byte.is_ascii() || byte.is_ascii_uppercase());
        if !has_other_case {
            let has_dash = name.starts_with(b"ce-");
            return Some(Spelling { found: header(name), has_dash, has_other_case });
        }
        // Letters beyond ASCII can become ASCII in lower case.
        if !name.is_ascii() {
            return None;
        }
        let found = header(&name.to_ascii_lowercase());
        Some(Spelling { found, has_dash: false, has_other_case })
    }
}

/// Headers behind these, and names of more bytes, are looked up each time.
const MAX_PLACES: usize = 32;
const MAX_NAME: usize = 64;

/// The names of headers by their places in the records before: most often the next one has the same.
#[derive(Default)]
pub struct Spellings(Vec<(Vec<u8>, Option<Spelling>)>);

impl Spellings {
    /// What the name of the header at a place says; None if Python has to read the event.
    pub fn at(&mut self, place: usize, name: &[u8]) -> Option<Spelling> {
        if let Some((known, spelling)) = self.0.get(place) {
            if known == name {
                return *spelling;
            }
        }
        let spelling = Spelling::of(name);
        if place < MAX_PLACES && name.len() <= MAX_NAME {
            if place >= self.0.len() {
                self.0.resize_with(place + 1, Default::default);
            }
            self.0[place] = (name.to_vec(), spelling);
        }
        spelling
    }
}

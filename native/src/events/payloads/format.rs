//! How the body of an event is written: the counterpart of `resolve_format` and `bodies.py`.

/// What the headers of an event say of its body.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Format {
    /// JSON, which binary tensors may follow, or what only Python reads.
    Json,
    /// JSON of so many bytes, which binary tensors follow.
    SplitJson(u32),
    /// JSON alone: anything else Python refuses.
    JsonAlone,
    /// Protobuf messages of Seldon.
    Seldon,
    /// Protobuf messages of the Open Inference Protocol; feedback is Seldon's.
    Inference,
    /// Protobuf messages of TensorFlow.
    TensorFlow,
}

const PROTOBUF: [&[u8]; 5] = [
    b"application/protobuf",
    b"application/x-protobuf",
    b"application/vnd.google.protobuf",
    b"application/grpc",
    b"application/grpc+proto",
];
/// Bodies in gzip are recognized by their first bytes, whatever this header says.
const ENCODINGS: [&[u8]; 4] = [b"", b"identity", b"gzip", b"x-gzip"];

impl Format {
    /// The format by the content type, the encoding, the protocol, and the length of the JSON before binary
    /// tensors, each empty if it is not known.
    pub fn of(content_type: &[u8], encoding: &[u8], protocol: &[u8], length: &[u8]) -> Self {
        if !is_one_of(encoding, &ENCODINGS) {
            return Format::JsonAlone;
        }
        if !is_one_of(content_type, &PROTOBUF) {
            return Self::of_json(length);
        }
        match protocol {
            b"v2" | b"kfserving" | b"open-inference" => Format::Inference,
            b"tensorflow" => Format::TensorFlow,
            _ => Format::Seldon,
        }
    }

    fn of_json(length: &[u8]) -> Self {
        if length.is_empty() {
            return Format::Json;
        }
        let is_natural = length.iter().all(u8::is_ascii_digit) && length.len() <= 10;
        let length = std::str::from_utf8(length).ok().filter(|_| is_natural);
        let length = length.and_then(|text| text.parse().ok());
        length.map_or(Format::JsonAlone, Format::SplitJson)
    }

    /// What tells formats apart in a key.
    pub fn number(self) -> u8 {
        match self {
            Format::Json => 0,
            Format::SplitJson(_) => 1,
            Format::JsonAlone => 2,
            Format::Seldon => 3,
            Format::Inference => 4,
            Format::TensorFlow => 5,
        }
    }

    /// Whether a body of this format is to be read as JSON: Python tries this with every body that begins
    /// like a JSON object.
    pub fn is_json(self, body: &[u8]) -> bool {
        let is_space = |byte: &&u8| matches!(byte, b' ' | b'\t'..=b'\r');
        matches!(self, Format::Json | Format::SplitJson(_))
            || body.iter().find(|byte| !is_space(byte)) == Some(&b'{')
    }
}

/// Whether a header without its parameters is one of these names.
fn is_one_of(header: &[u8], names: &[&[u8]]) -> bool {
    let token = header.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii();
    names.iter().any(|name| token.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_select_the_format() {
        for (content_type, encoding, protocol, expected) in [
            ("application/json", "", "v2", Format::Json),
            ("application/json", "br", "v2", Format::JsonAlone),
            ("", "", "", Format::Json),
            ("application/x-protobuf", "", "", Format::Seldon),
            (" Application/GRPC ; a=b", "GZIP", "v2", Format::Inference),
            ("application/protobuf", "identity", "V2", Format::Seldon),
            ("application/protobuf", "", "tensorflow", Format::TensorFlow),
            ("application/protobuf", "br", "", Format::JsonAlone),
        ] {
            let parts = [content_type, encoding, protocol].map(str::as_bytes);
            assert_eq!(Format::of(parts[0], parts[1], parts[2], b""), expected, "{content_type}");
        }
        for (length, expected) in [
            ("12", Format::SplitJson(12)),
            ("0", Format::SplitJson(0)),
            ("-1", Format::JsonAlone),
            ("9999999999", Format::JsonAlone),
            ("00000000001", Format::JsonAlone),
        ] {
            assert_eq!(Format::of(b"", b"", b"v2", length.as_bytes()), expected, "{length}");
        }
        assert_eq!(Format::of(b"application/grpc", b"", b"", b"x"), Format::Seldon);
    }

    #[test]
    fn an_object_is_json_whatever_the_format() {
        assert!(Format::Seldon.is_json(b"\n\x0b {"));
        assert!(!Format::Seldon.is_json(b"\n\x02"));
        assert!(!Format::Seldon.is_json(b""));
        assert!(Format::Json.is_json(b""));
    }
}

//! How the body of an event is written: the counterpart of `resolve_format` and `bodies.py`.

/// What the headers of an event say of its body.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Format {
    /// JSON, or what only Python reads.
    Json,
    /// Protobuf messages of Seldon.
    Seldon,
    /// Protobuf messages of the Open Inference Protocol; feedback is Seldon's.
    Inference,
    /// Protobuf messages of TensorFlow.
    TensorFlow,
    /// Protobuf that is packed in a way that Python refuses.
    Packed,
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
    pub fn of(content_type: &[u8], encoding: &[u8], protocol: &[u8]) -> Self {
        if !is_one_of(content_type, &PROTOBUF) {
            return Format::Json;
        }
        if !is_one_of(encoding, &ENCODINGS) {
            return Format::Packed;
        }
        match protocol {
            b"v2" | b"kfserving" | b"open-inference" => Format::Inference,
            b"tensorflow" => Format::TensorFlow,
            _ => Format::Seldon,
        }
    }

    /// Whether a body of this format is to be read as JSON: Python tries this with every body that begins
    /// like a JSON object.
    pub fn is_json(self, body: &[u8]) -> bool {
        let is_space = |byte: &&u8| matches!(byte, b' ' | b'\t'..=b'\r');
        self == Format::Json || body.iter().find(|byte| !is_space(byte)) == Some(&b'{')
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
            ("", "", "", Format::Json),
            ("application/x-protobuf", "", "", Format::Seldon),
            (" Application/GRPC ; a=b", "GZIP", "v2", Format::Inference),
            ("application/protobuf", "identity", "V2", Format::Seldon),
            ("application/protobuf", "", "tensorflow", Format::TensorFlow),
            ("application/protobuf", "br", "", Format::Packed),
        ] {
            let parts = [content_type, encoding, protocol].map(str::as_bytes);
            assert_eq!(Format::of(parts[0], parts[1], parts[2]), expected, "{content_type}");
        }
    }

    #[test]
    fn an_object_is_json_whatever_the_format() {
        assert!(Format::Seldon.is_json(b"\n\x0b {"));
        assert!(!Format::Seldon.is_json(b"\n\x02"));
        assert!(!Format::Seldon.is_json(b""));
        assert!(Format::Json.is_json(b""));
    }
}

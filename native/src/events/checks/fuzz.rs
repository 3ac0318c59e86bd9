//! Reads damaged input with every reader: none may panic, and what is accepted must be valid. The time
//! that it takes is `FUZZ_SECONDS`, one second if that is not set.

use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use flate2::write::GzEncoder;
use flate2::Compression;

use crate::events::checks::Checks;

const SEED: u64 = 20_261_120;
/// The most bytes of an input.
const MAX_LENGTH: usize = 4096;

const TOKENS: [&[u8]; 30] = [
    b"\"",
    b"\\",
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"\\u",
    b"\\ud83d\\ude00",
    b"\\ud800",
    b"null",
    b"true",
    b"-",
    b"1e999",
    b"0.5",
    b"NaN",
    b"\xc3\xa9",
    b"\xff",
    b"\xed\xa0\x80",
    b"\0",
    b"\x1f\x8b",
    b"[[[[[[[[",
    b"\"data\":",
    b"\"ndarray\":[[0.1,0.9]]",
    b"\xff\xff\xff\xff\x0f",
    b"ce_type",
    b"content-type",
    b"application/cloudevents+json",
    b"application/cloudevents-batch+json",
];

/// The generator `xorshift64*`.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % limit.max(1)
    }

    /// A copy of one text that is damaged, maybe with a part of another.
    fn damaged(&mut self, texts: &[Vec<u8>]) -> Vec<u8> {
        let mut text = texts[self.below(texts.len())].clone();
        for _ in 0..=self.below(4) {
            let at = self.below(text.len() + 1);
            let to = (at + self.below(24)).min(text.len());
            match self.below(6) {
                0 => text.truncate(at),
                1 => drop(text.drain(at..to)),
                2 => {
                    let token = TOKENS[self.below(TOKENS.len())];
                    drop(text.splice(at..to, token.iter().copied()));
                }
                3 if at < text.len() => text[at] = self.below(256) as u8,
                4 if at < text.len() => text[at] ^= 1 << self.below(8),
                _ => {
                    let other = &texts[self.below(texts.len())];
                    let start = self.below(other.len() + 1);
                    drop(text.splice(at..to, other[start..].iter().copied()));
                }
            }
        }
        text.truncate(MAX_LENGTH);
        text
    }
}

fn varint(number: i64) -> Vec<u8> {
    let mut rest = (number << 1 ^ number >> 63) as u64;
    let mut bytes = Vec::new();
    while rest > 0x7f {
        bytes.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    bytes.push(rest as u8);
    bytes
}

/// A record batch of Kafka's with one record.
fn batch(headers: &[(&str, &str)], value: &[u8]) -> Vec<u8> {
    let sized = |bytes: &[u8]| [&varint(bytes.len() as i64), bytes].concat();
    let mut record = vec![0, 0, 0, 1];
    record.extend(sized(value));
    record.extend(varint(headers.len() as i64));
    for (name, text) in headers {
        record.extend(sized(name.as_bytes()));
        record.extend(sized(text.as_bytes()));
    }
    let mut bytes = vec![0; 61];
    bytes[60] = 1;
    bytes.extend(sized(&record));
    bytes
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

/// What is damaged: messages, events and documents, and the real ones of the Python tests.
fn corpus() -> Vec<Vec<u8>> {
    let message =
        br#"{"data":{"names":["a","\u00e9"],"ndarray":[[0.1,0.9]]},"meta":{"tags":{"x":[1]}}}"#;
    let event = format!(
        r#"{{"type":"io.seldon.serving.inference.response","inferenceservicename":"d","modelid":"m",
        "requestid":"r1","time":"2026-11-20T09:00:00.5Z","data":{}}}"#,
        String::from_utf8_lossy(message)
    );
    let line = r#"{"headers":{"ce-type":"io.seldon.serving.feedback","ce-inferenceservicename":"d",
        "ce-modelid":"m","ce-requestid":"ré","ce-time":"2026-11-20T09:00:00Z"},
        "data":{"reward":0.5,"truth":{"data":{"ndarray":[[0,1,0]]}}}}"#;
    let document = r#"{"RequestId":"r1","Ce-Namespace":"ns","Ce-Inferenceservicename":"d","Ce-Endpoint":
        "p","Ce-Modelid":"m","response":{"payload":{"meta":{"requestPath":{"m":"i"}},"data":{"ndarray":
        [[0.1,0.9]]}},"ce-time":"2026-11-20T09:00:00Z"},"feedback":{"reward":1,"ce-time":
        "2026-11-20T09:01:00Z"}}"#;
    let headers = [
        ("ce_type", "io.seldon.serving.inference.response"),
        ("CE-InferenceServiceName", "d"),
        ("ce-modelid", "m"),
        ("ce_id", "r1"),
        ("content-type", "application/json"),
    ];
    let structured_mode = [("content-type", "application/cloudevents+json")];
    let batch_mode = [("content-type", "application/cloudevents-batch+json; charset=utf-8")];
    let events = format!("[{event},{event}]");
    let mut texts = vec![
        message.to_vec(),
        event.clone().into(),
        events.clone().into(),
        line.into(),
        document.into(),
        gzip(message),
        batch(&headers, message),
        batch(&headers, &gzip(message)),
        batch(&structured_mode, event.as_bytes()),
        batch(&structured_mode, &gzip(event.as_bytes())),
        batch(&batch_mode, events.as_bytes()),
    ];
    for folder in ["payloads", "answer-forms"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data").join(folder);
        let mut paths: Vec<_> =
            folder.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        let lines = paths.iter().flat_map(|path| {
            let text = std::fs::read(path).unwrap();
            if path.extension().is_some_and(|extension| extension == "pb") {
                return vec![text];
            }
            text.split(|&byte| byte == b'\n').map(<[u8]>::to_vec).collect::<Vec<_>>()
        });
        texts.extend(lines.filter(|text| (1..MAX_LENGTH).contains(&text.len())));
    }
    texts
}

/// Read a text with every reader. Returns how many accept it.
fn read(text: &[u8], checks: &mut Checks) -> u64 {
    checks.record_batch(text)
        + checks.json(text)
        + checks.protobuf(text)
        + checks.envelope(text)
        + checks.gzip(text)
}

#[test]
fn no_reader_panics() {
    let seconds = std::env::var("FUZZ_SECONDS")
        .map_or(1.0, |text| text.parse().expect("FUZZ_SECONDS is a number"));
    let end = Instant::now() + Duration::from_secs_f64(seconds);
    let (texts, mut random) = (corpus(), Random(SEED));
    let mut checks = Checks::default();
    let own = texts.iter().take(11).map(|text| read(text, &mut checks));
    assert!(own.into_iter().all(|accepted| accepted > 0));
    let (mut inputs, mut accepted) = (0u64, 0u64);
    while Instant::now() < end {
        for _ in 0..100 {
            let text = random.damaged(&texts);
            inputs += 1;
            accepted += read(&text, &mut checks);
        }
    }
    println!("{inputs} inputs, accepted {accepted} times");
    assert!(accepted > 0);
}

//! What was read of a message, and the rules of its stream.

use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};

use crate::events::names::Spellings;
use crate::events::payloads::rows::Rows;

/// Longer names get no key: they hardly ever repeat.
const MAX_TEXT: usize = 1 << 15;

/// What the models file says of the rows of a stream's messages.
#[derive(Debug, Default, PartialEq)]
pub struct Rules {
    pub threshold: f64,
    /// The unit of numbers as a power of ten.
    pub unit: i32,
    pub is_regression: bool,
    pub is_multilabel: bool,
    /// Whether several outputs of one number each are scores.
    pub has_scores: bool,
    pub output_name: Option<Box<[u8]>>,
    /// Whether responses are counted and mean nothing.
    pub is_excluded: bool,
    /// The labels that have other names in the models file.
    pub renamed: FxHashSet<Box<[u8]>>,
}

/// The rules of a stream from Python: threshold, unit, task, whether several outputs are scores, the name
/// of the output that counts, whether responses are excluded, and the labels that have other names.
pub type RuleParts = (f64, i32, Option<String>, bool, Option<String>, bool, Vec<Vec<u8>>);

impl Rules {
    pub fn new(parts: RuleParts) -> Self {
        let (threshold, unit, task, has_scores, output_name, is_excluded, renamed) = parts;
        let is_task = |name| task.as_deref() == Some(name);
        Rules {
            threshold,
            unit,
            is_regression: is_task("regression"),
            is_multilabel: is_task("multilabel"),
            has_scores,
            output_name: output_name.map(|name| name.into_bytes().into()),
            is_excluded,
            renamed: renamed.into_iter().map(Vec::into_boxed_slice).collect(),
        }
    }
}

/// A stream is of one model and kind: its number, and its rules.
type Stream = (u32, Arc<Rules>);

/// The content of one message: the buffers are used again for each.
#[derive(Default)]
pub struct Content {
    /// The names of the stream; after `begin` its number, and all of the message but its rows.
    pub key: Vec<u8>,
    pub rows: Rows,
    /// The reward of a feedback in millionths.
    pub reward: Option<i64>,
    pub rules: Arc<Rules>,
    pub is_truth: bool,
    /// Tells streams of one number apart that are of several contents.
    tag: u8,
    /// The numbers of a row, or of a tensor.
    pub numbers: Vec<f64>,
    streams: FxHashMap<Box<[u8]>, Stream>,
    /// The rules of the next stream, if it is not known yet.
    offered: Option<Rules>,
    /// The names of the headers of records.
    pub spellings: Spellings,
}

impl Content {
    /// Content whose keys differ from those of contents with another tag.
    pub fn tagged(tag: u8) -> Self {
        Content { tag, ..Content::default() }
    }

    /// Begin with the message of the stream whose names are the key. None if the stream is not known.
    pub fn begin(&mut self, is_truth: bool) -> Option<()> {
        let Content { key, streams, offered, .. } = self;
        if !streams.contains_key(&key[..]) {
            let rules = offered.take()?;
            streams.insert(key[..].into(), (streams.len() as u32, Arc::new(rules)));
        }
        let (number, rules) = &streams[&key[..]];
        self.rules = rules.clone();
        self.rows.clear();
        self.reward = None;
        self.is_truth = is_truth;
        let number = number.to_le_bytes();
        self.key.clear();
        self.key.extend_from_slice(&number);
        self.key.extend_from_slice(&[self.tag, u8::from(is_truth)]);
        Some(())
    }

    /// Begin the message again, with a key of so many bytes.
    pub fn begin_again(&mut self, length: usize) {
        self.key.truncate(length);
        self.rows.clear();
        self.reward = None;
    }

    /// Give the next stream that `begin` does not know these rules, or none.
    pub fn offer(&mut self, rules: Option<Rules>) {
        self.offered = rules;
    }

    pub fn streams(&self) -> usize {
        self.streams.len()
    }

    pub fn forget_streams(&mut self) {
        self.streams.clear();
    }

    /// Append a text to the key.
    pub fn put(&mut self, tag: u8, text: &[u8]) -> Option<()> {
        put(&mut self.key, tag, text)
    }
}

/// Append a text to a key.
pub fn put(key: &mut Vec<u8>, tag: u8, text: &[u8]) -> Option<()> {
    if text.len() > MAX_TEXT {
        return None;
    }
    key.push(tag);
    key.extend_from_slice(&(text.len() as u16).to_le_bytes());
    key.extend_from_slice(text);
    Some(())
}

/// Names that have been seen, as bits. A name that comes twice is left to Python, which knows which of
/// the two counts.
#[derive(Default)]
pub struct Once(u32);

impl Once {
    /// None if the name was seen before.
    pub fn first(&mut self, bit: u32) -> Option<()> {
        if self.0 & bit != 0 {
            return None;
        }
        self.0 |= bit;
        Some(())
    }

    /// None unless all of these names were seen.
    pub fn has(&self, bits: u32) -> Option<()> {
        (self.0 & bits == bits).then_some(())
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// Content in which a message of a stream with these rules can be read.
    pub fn begun(rules: Rules, is_truth: bool) -> Content {
        let mut content = Content::default();
        content.offer(Some(rules));
        content.begin(is_truth).unwrap();
        content
    }

    /// Rules that say nothing.
    pub fn no_rules() -> Rules {
        Rules { threshold: 0.5, unit: -6, ..Rules::default() }
    }

    #[test]
    fn a_stream_keeps_its_number_and_rules() {
        let mut content = Content::default();
        content.key.extend_from_slice(b"one");
        assert!(content.begin(false).is_none());
        content.offer(Some(Rules { threshold: 0.25, ..Rules::default() }));
        content.begin(false).unwrap();
        let first = content.key.clone();
        content.key = b"two".to_vec();
        content.offer(Some(Rules::default()));
        content.begin(false).unwrap();
        assert_ne!(content.key, first);
        content.key = b"one".to_vec();
        content.begin(false).unwrap();
        assert_eq!(content.key, first);
        assert_eq!(content.rules.threshold, 0.25);
    }
}

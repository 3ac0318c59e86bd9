//! Rows as classes and values: two rows of a message with equal classes say the same but for their
//! values.

use std::borrow::Cow;

use std::cmp::Ordering;

use crate::events::payloads::content::Rules;
use crate::quantities;

/// As many rows as Python accepts in one message.
const MAX_ROWS: usize = 20_000;
/// The most bytes of the classes of one message.
const MAX_CLASSES: usize = 1 << 19;
/// A longer text is no label.
const MAX_LABEL: usize = 256;
/// Integers of this size or more are not exact as doubles.
pub const INTEGER_LIMIT: f64 = 9_007_199_254_740_992.0;

pub const SCORES: u8 = b's';
pub const INTEGER: u8 = b'i';
pub const TEXT: u8 = b't';
const PROBABILITY: u8 = b'p';
const NUMBER: u8 = b'n';
const NAMED_SCORES: u8 = b'o';
pub const LABELLED: u8 = b'l';
pub const CONFIDENT: u8 = b'c';
const SET: u8 = b'm';
const TEXT_SET: u8 = b'x';

/// How to read rows: the rules of their stream, and whether they are a truth's.
#[derive(Clone, Copy)]
pub struct Reading<'a> {
    pub rules: &'a Rules,
    pub is_truth: bool,
}

/// The rows of a message: their classes and values, one behind the other.
#[derive(Default)]
pub struct Rows {
    classes: Vec<u8>,
    values: Vec<u8>,
    ends: Vec<(usize, usize)>,
}

impl Rows {
    pub fn clear(&mut self) {
        self.classes.clear();
        self.values.clear();
        self.ends.clear();
    }

    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// The class and the values of each row.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&[u8], &[u8])> + Clone {
        let mut start = (0, 0);
        self.ends.iter().map(move |&end| {
            let row = (&self.classes[start.0..end.0], &self.values[start.1..end.1]);
            start = end;
            row
        })
    }

    /// Whether any row has values.
    pub fn have_values(&self) -> bool {
        !self.values.is_empty()
    }

    fn end_row(&mut self) -> Option<()> {
        if self.ends.len() >= MAX_ROWS || self.classes.len() > MAX_CLASSES {
            return None;
        }
        self.ends.push((self.classes.len(), self.values.len()));
        Some(())
    }

    /// Add a row of one or more finite numbers.
    pub fn add_numbers(&mut self, numbers: &[f64], reading: Reading) -> Option<()> {
        match numbers {
            [] => None,
            _ if reading.rules.is_multilabel => self.add_set(numbers, reading.rules.threshold),
            [number] => self.add_number(*number, reading),
            _ => self.add_scores(numbers, reading),
        }
    }

    /// Add a row of one finite number, or of true (1) or false (0).
    pub fn add_number(&mut self, number: f64, reading: Reading) -> Option<()> {
        let Reading { rules, is_truth } = reading;
        if rules.is_multilabel {
            return self.add_set(&[number], rules.threshold);
        }
        let is_integer = number.fract() == 0.0 && number.abs() < INTEGER_LIMIT;
        let is_probability = 0.0 < number && number < 1.0;
        if is_integer && !rules.is_regression {
            self.classes.push(INTEGER);
            self.classes.extend_from_slice(&(number as i64).to_le_bytes());
        } else if is_probability && !rules.is_regression {
            // Such a truth is judged by the threshold of its prediction, so it stands on the log.
            if is_truth {
                return None;
            }
            self.classes.extend_from_slice(&[PROBABILITY, u8::from(number >= rules.threshold)]);
            let (first, second) = quantities::quantize_pair(number);
            self.add_values([first, second].into_iter());
        } else {
            self.classes.push(NUMBER);
            if is_truth {
                // An integer has no sign of zero.
                let number = if is_integer { number + 0.0 } else { number };
                self.values.extend_from_slice(&number.to_le_bytes());
            } else if rules.unit > 0 {
                return None;
            } else {
                let amount = quantities::to_units(number, rules.unit)?;
                self.values.extend_from_slice(&amount.to_le_bytes());
            }
        }
        self.end_row()
    }

    /// Add a row of 0s and 1s, or of probabilities, of labels that may be several.
    fn add_set(&mut self, scores: &[f64], threshold: f64) -> Option<()> {
        self.classes.push(SET);
        self.classes.extend_from_slice(&(scores.len() as u32).to_le_bytes());
        for (position, score) in scores.iter().enumerate() {
            if !(0.0..=1.0).contains(score) {
                return None;
            }
            if *score >= threshold {
                self.classes.extend_from_slice(&(position as u32).to_le_bytes());
            }
        }
        self.end_row()
    }

    /// Add a row of labels, which may be several or none.
    pub fn add_text_set(&mut self, texts: &mut [impl AsRef<[u8]> + Ord]) -> Option<()> {
        texts.sort_unstable();
        self.classes.push(TEXT_SET);
        for text in texts {
            let text = text.as_ref();
            if text.len() > MAX_LABEL || text.contains(&b':') {
                return None;
            }
            self.classes.extend_from_slice(&(text.len() as u16).to_le_bytes());
            self.classes.extend_from_slice(text);
        }
        self.end_row()
    }

    /// Add a row of several finite scores.
    pub fn add_scores(&mut self, scores: &[f64], reading: Reading) -> Option<()> {
        let (position, _) = top(scores)?;
        self.classes.push(SCORES);
        self.classes.extend_from_slice(&position.to_le_bytes());
        self.classes.extend_from_slice(&(scores.len() as u32).to_le_bytes());
        if !reading.is_truth {
            self.add_probabilities(scores);
        }
        self.end_row()
    }

    /// Add a row that is an object of several finite scores.
    pub fn add_named_scores(
        &mut self,
        names: &[Cow<[u8]>],
        scores: &[f64],
        reading: Reading,
    ) -> Option<()> {
        let (position, are_probabilities) = top(scores)?;
        self.classes.push(NAMED_SCORES);
        self.classes.push(u8::from(are_probabilities));
        self.classes.extend_from_slice(&position.to_le_bytes());
        for name in names {
            self.classes.extend_from_slice(&u16::try_from(name.len()).ok()?.to_le_bytes());
            self.classes.extend_from_slice(name);
        }
        if !reading.is_truth {
            self.add_probabilities(scores);
        }
        self.end_row()
    }

    /// Add a row of a text.
    pub fn add_text(&mut self, text: &[u8]) -> Option<()> {
        // A text with a colon can hold an object, or a score before its label.
        if text.len() > MAX_LABEL || text.contains(&b':') {
            return None;
        }
        self.classes.push(TEXT);
        self.classes.extend_from_slice(text);
        self.end_row()
    }

    /// Add a row of a label, by its class, beside the scores of all classes.
    pub fn add_labelled(&mut self, label: &[u8], scores: &[f64], is_truth: bool) -> Option<()> {
        if !matches!(label[0], INTEGER | TEXT) {
            return None;
        }
        self.classes.push(LABELLED);
        let at = self.classes.len();
        self.classes.extend_from_slice(&[0; 4]);
        self.classes.extend_from_slice(label);
        let start = self.values.len();
        self.add_probabilities(scores);
        if self.values.len() > start {
            self.classes[at..at + 4].copy_from_slice(&(scores.len() as u32).to_le_bytes());
        }
        if is_truth {
            self.values.truncate(start);
        }
        self.end_row()
    }

    /// Add a row of a label, by its class, beside its probability if that is known.
    pub fn add_confident(
        &mut self,
        label: &[u8],
        confidence: Option<f64>,
        is_truth: bool,
    ) -> Option<()> {
        if label.len() > MAX_LABEL {
            return None;
        }
        let q = confidence.map(quantities::quantize).filter(|&q| !is_sure(q));
        self.classes.extend_from_slice(&[CONFIDENT, u8::from(q.is_some())]);
        self.classes.extend_from_slice(label);
        if let (Some(q), false) = (q, is_truth) {
            self.values.extend_from_slice(&q.to_le_bytes());
        }
        self.end_row()
    }

    /// Add the values of scores, if they are probabilities and not all 0 or 1.
    fn add_probabilities(&mut self, scores: &[f64]) {
        let sum = scores.iter().fold(0.0, |sum, score| sum + score);
        let are_within = scores.iter().all(|score| (0.0..=1.0).contains(score));
        if !are_within || !quantities::is_whole(sum) {
            return;
        }
        if scores.len() <= quantities::MAX_WIDTH {
            return self.add_values(scores.iter().map(|&score| quantities::quantize(score)));
        }
        if scores.iter().all(|&score| is_sure(quantities::quantize(score))) {
            return;
        }
        let mut largest: Vec<u32> = (0..scores.len() as u32).collect();
        let order = |one: &u32, other: &u32| {
            let (this, that) = (scores[*one as usize], scores[*other as usize]);
            // They are finite; 0 and -0 are equal.
            that.partial_cmp(&this).unwrap_or(Ordering::Equal).then(one.cmp(other))
        };
        largest.select_nth_unstable_by(quantities::KEPT - 1, order);
        largest.truncate(quantities::KEPT);
        largest.sort_unstable_by(order);
        for position in largest {
            self.values.extend_from_slice(&position.to_le_bytes());
            let q = quantities::quantize(scores[position as usize]);
            self.values.extend_from_slice(&q.to_le_bytes());
        }
    }

    /// Add values of two bytes, unless all are 0 or 1.
    fn add_values(&mut self, values: impl Iterator<Item = u16>) {
        let start = self.values.len();
        let mut are_sure = true;
        for q in values {
            are_sure = are_sure && is_sure(q);
            self.values.extend_from_slice(&q.to_le_bytes());
        }
        if are_sure {
            self.values.truncate(start);
        }
    }
}

fn is_sure(q: u16) -> bool {
    q == 0 || q == quantities::ONE
}

/// The position of the first greatest of several scores, and whether they are probabilities. None if all
/// are equal, or if they are 0s and 1s with more than one 1.
fn top(scores: &[f64]) -> Option<(u32, bool)> {
    let (mut position, mut greatest, mut least) = (0, scores[0], scores[0]);
    let (mut sum, mut ones, mut zeros) = (0.0, 0, 0);
    for (at, &score) in scores.iter().enumerate() {
        if score > greatest {
            (position, greatest) = (at, score);
        }
        if score < least {
            least = score;
        }
        sum += score;
        ones += usize::from(score == 1.0);
        zeros += usize::from(score == 0.0);
    }
    if greatest == least || (ones > 1 && ones + zeros == scores.len()) {
        return None;
    }
    let are_probabilities = least >= 0.0 && greatest <= 1.0 && quantities::is_whole(sum);
    Some((u32::try_from(position).ok()?, are_probabilities))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::payloads::content::tests::no_rules;

    type Added = Option<(Vec<u8>, Vec<u8>)>;

    fn added(numbers: &[f64], rules: &Rules, is_truth: bool) -> Added {
        let mut rows = Rows::default();
        rows.add_numbers(numbers, Reading { rules, is_truth })?;
        let (class, values) = rows.iter().next()?;
        Some((class.to_vec(), values.to_vec()))
    }

    fn plain(numbers: &[f64]) -> Added {
        added(numbers, &no_rules(), false)
    }

    #[test]
    fn the_class_of_scores_is_the_place_of_the_first_greatest() {
        let (class, values) = plain(&[0.25, 0.75]).unwrap();
        assert_eq!(values, [0, 0x40, 0xff, 0xbf]);
        assert_eq!(plain(&[0.1, 0.9]).unwrap().0, class);
        assert_eq!(plain(&[-3.0, 12.5]).unwrap(), (class.clone(), vec![]));
        assert_eq!(plain(&[0.0, 1.0]).unwrap(), (class.clone(), vec![]));
        assert_ne!(plain(&[2.0, 2.0, 1.0]).unwrap().0, class);
        assert_eq!(plain(&[2.0, 2.0, 1.0]), plain(&[3.0, 2.0, 1.0]));
        assert!(plain(&[0.5, 0.5]).is_none());
        assert!(plain(&[1.0, 1.0, 0.0]).is_none());
        assert!(plain(&[1.0, 1.0, 0.5]).is_some());
    }

    #[test]
    fn of_many_scores_the_largest_are_kept() {
        let mut scores = vec![0.01; 18];
        (scores[17], scores[3]) = (0.5, 0.34);
        let (_, values) = plain(&scores).unwrap();
        assert_eq!(values.len(), 60);
        assert_eq!(values[..4], 17u32.to_le_bytes());
        assert_eq!(values[6..10], 3u32.to_le_bytes());
        assert_eq!(values[12..16], 0u32.to_le_bytes());
    }

    #[test]
    fn one_number_is_by_the_rules_of_its_stream() {
        assert_eq!(plain(&[0.75]).unwrap(), (vec![PROBABILITY, 1], vec![0, 0x40, 0xff, 0xbf]));
        assert_eq!(plain(&[0.25]).unwrap().0, [PROBABILITY, 0]);
        assert_eq!(plain(&[-0.0]), plain(&[0.0]));
        assert_eq!(plain(&[2.0]).unwrap().0[0], INTEGER);
        assert_eq!(plain(&[2.5]).unwrap(), (vec![NUMBER], 2_500_000i64.to_le_bytes().to_vec()));
        assert!(plain(&[2.5e300]).is_none());
        let regression = Rules { is_regression: true, unit: 0, ..Rules::default() };
        assert_eq!(
            added(&[2.0], &regression, false).unwrap(),
            (vec![NUMBER], 2i64.to_le_bytes().to_vec())
        );
        assert_eq!(
            added(&[-0.0], &regression, true).unwrap(),
            (vec![NUMBER], 0f64.to_le_bytes().to_vec())
        );
        assert!(added(&[0.5], &no_rules(), true).is_none());
    }

    #[test]
    fn several_labels_are_by_the_threshold() {
        let rules = Rules { is_multilabel: true, threshold: 0.25, ..Rules::default() };
        let found = added(&[0.25, 0.1, 1.0], &rules, false).unwrap();
        assert_eq!(found, added(&[1.0, 0.0, 1.0], &rules, true).unwrap());
        assert_ne!(found, added(&[1.0, 0.0, 1.0, 0.0], &rules, false).unwrap());
        assert_eq!(added(&[0.5, 1.5], &rules, false), None);
        let mut rows = Rows::default();
        rows.add_text_set(&mut [b"b", b"a"]).unwrap();
        rows.add_text_set(&mut [b"a", b"b"]).unwrap();
        rows.add_text_set(&mut [&b""[..]; 0]).unwrap();
        let classes: Vec<_> = rows.iter().map(|(class, _)| class.to_vec()).collect();
        assert_eq!(classes[0], classes[1]);
        assert_eq!(classes[2], [TEXT_SET]);
    }

    #[test]
    fn labels_stand_beside_scores() {
        let mut rows = Rows::default();
        rows.add_labelled(b"ta", &[0.25, 0.75], false).unwrap();
        rows.add_labelled(b"ta", &[2.0, 3.0], false).unwrap();
        assert!(rows.add_labelled(b"n", &[0.25, 0.75], false).is_none());
        let found: Vec<_> = rows.iter().take(2).collect();
        assert_eq!(found[0], (&b"l\x02\0\0\0ta"[..], &[0, 0x40, 0xff, 0xbf][..]));
        assert_eq!(found[1], (&b"l\0\0\0\0ta"[..], &[][..]));
    }
}

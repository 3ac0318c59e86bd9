//! The sums of statistics of packed values: the counterpart of `probabilities.py` and `numbers.py`. The
//! kinds are those of `sums.py`.

use rustc_hash::FxHashMap;

use crate::ids::LabelId;
use crate::join::plans::{Number, Scores, Tolerance};
use crate::wide::Wide;

/// What is summed, its label and its bin.
pub type Key = (u32, LabelId, i64);
/// The squares of numbers need more than 64 bits, and some dozens of them more than 128.
pub type Sums = FxHashMap<Key, Wide>;

const PROBABILITY_ITEMS: u32 = 0;
const CLASS_ITEMS: u32 = 1;
const CLASS_Q: u32 = 2;
const CLASS_Q_SQUARES: u32 = 3;
const OWN_ITEMS: u32 = 4;
const OWN_Q: u32 = 5;
const POSITIVES: u32 = 6;
const NEGATIVES: u32 = 7;
const TOP_ITEMS: u32 = 8;
const TOP_RIGHT: u32 = 9;
const TOP_Q: u32 = 10;
const LOG_LOSS: u32 = 11;
const RANK: u32 = 12;
const OUTSIDE: u32 = 13;
const SECOND: u32 = 14;
const NUMBER_ITEMS: u32 = 20;
const ERROR: u32 = 21;
const ABSOLUTE_ERROR: u32 = 22;
const SQUARED_ERROR: u32 = 23;
const ACTUAL: u32 = 24;
const SQUARED_ACTUAL: u32 = 25;
const PREDICTED: u32 = 26;
const SQUARED_PREDICTED: u32 = 27;
const PRODUCT: u32 = 28;
const ABSOLUTE_ACTUAL: u32 = 29;
const PERCENTAGE: u32 = 30;
const PERCENTAGE_ITEMS: u32 = 31;
const ERROR_BUCKET: u32 = 32;
const TOLERANCE_ITEMS: u32 = 33;
const WITHIN: u32 = 34;

const BINS: usize = 64;
/// The rank of an actual that is not among the probabilities that are kept.
const BEYOND: usize = 17;
const MILLION: i128 = 1_000_000;
/// The part of the truth that a tolerance of 100 % is.
const WHOLE: i128 = 1_000_000_000;

/// Tables that Python has computed, so that both sides have the same integers.
#[derive(Default)]
pub struct Tables {
    /// The bin of each q.
    bins: Vec<u8>,
    /// The log loss of each q in millionths.
    log_losses: Vec<i64>,
    /// The absolute errors at which each bucket but the first begins.
    error_edges: Vec<i128>,
}

impl Tables {
    pub fn new(bin_edges: Vec<u16>, log_losses: Vec<i64>, error_edges: Vec<i128>) -> Self {
        let bin = |q: u16| bin_edges.partition_point(|&edge| edge <= q) as u8;
        Tables { bins: (0..=u16::MAX).map(bin).collect(), log_losses, error_edges }
    }

    fn bin(&self, q: u16) -> usize {
        self.bins[usize::from(q)].into()
    }

    fn bucket(&self, error: i128) -> i64 {
        self.error_edges.partition_point(|&edge| edge <= error) as i64
    }
}

fn add(sums: &mut Sums, kind: u32, label: LabelId, bin: i64, amount: i128) {
    let sum = sums.entry((kind, label, bin)).or_default();
    *sum = sum.plus(amount.into());
}

/// Sums of one class.
#[derive(Clone)]
struct ClassSums {
    items: i64,
    q: i64,
    squares: i64,
    own_items: i64,
    own_q: i64,
    positives: [u32; BINS],
    negatives: [u32; BINS],
}

impl ClassSums {
    const ZERO: Self = ClassSums {
        items: 0,
        q: 0,
        squares: 0,
        own_items: 0,
        own_q: 0,
        positives: [0; BINS],
        negatives: [0; BINS],
    };
}

/// Sums of the probabilities of all classes of some items that have the same classes.
pub struct ScoreSums {
    classes: Vec<ClassSums>,
    items: i64,
    log_loss: i64,
    ranks: [u32; BEYOND + 1],
    outside: i64,
    top_items: [u32; BINS],
    top_right: [u32; BINS],
    top_q: [i64; BINS],
}

impl ScoreSums {
    pub fn new(width: usize) -> Self {
        ScoreSums {
            classes: vec![ClassSums::ZERO; width],
            items: 0,
            log_loss: 0,
            ranks: [0; BEYOND + 1],
            outside: 0,
            top_items: [0; BINS],
            top_right: [0; BINS],
            top_q: [0; BINS],
        }
    }

    /// Add an item whose values are the q of all classes, two bytes each.
    pub fn add(&mut self, plan: &Scores, values: &[u8], tables: &Tables) {
        let q_of = |at: usize| u16::from_le_bytes([values[2 * at], values[2 * at + 1]]);
        let mut own: Option<(usize, u16)> = None;
        for (at, sums) in self.classes.iter_mut().enumerate() {
            let q = q_of(at);
            let number = i64::from(q);
            sums.items += 1;
            sums.q += number;
            sums.squares += number * number;
            let is_own = plan.own[at];
            if is_own {
                sums.own_items += 1;
                sums.own_q += number;
                own = own.or(Some((at, q)));
            }
            if plan.known {
                let side = if is_own { &mut sums.positives } else { &mut sums.negatives };
                side[tables.bin(q)] += 1;
            }
        }
        self.items += 1;
        let rank = match own {
            None => {
                self.outside += 1;
                BEYOND
            }
            Some((position, own)) => {
                let above = (0..self.classes.len())
                    .filter(|&at| q_of(at) > own || (at < position && q_of(at) == own));
                1 + above.count()
            }
        };
        self.ranks[rank] += 1;
        self.log_loss += tables.log_losses[usize::from(own.map_or(0, |(_, q)| q))];
        if let Some(top) = plan.top {
            self.add_top(q_of(top), plan.right, tables);
        }
    }

    /// Add the probability of the predicted label.
    pub fn add_top(&mut self, q: u16, right: bool, tables: &Tables) {
        let bin = tables.bin(q);
        self.top_items[bin] += 1;
        self.top_right[bin] += u32::from(right);
        self.top_q[bin] += i64::from(q);
    }

    /// Add all of it to the sums by key. `by_threshold` says whether a threshold decided between two
    /// classes; `none` is the empty label.
    pub fn add_to(&self, names: &[LabelId], by_threshold: bool, none: LabelId, sums: &mut Sums) {
        for (class, &label) in self.classes.iter().zip(names) {
            for (kind, amount) in [
                (CLASS_ITEMS, class.items),
                (CLASS_Q, class.q),
                (CLASS_Q_SQUARES, class.squares),
                (OWN_ITEMS, class.own_items),
                (OWN_Q, class.own_q),
            ] {
                add(sums, kind, label, 0, amount.into());
            }
            for (kind, side) in [(POSITIVES, &class.positives), (NEGATIVES, &class.negatives)] {
                for (bin, &items) in side.iter().enumerate().filter(|(_, &items)| items != 0) {
                    add(sums, kind, label, bin as i64, items.into());
                }
            }
        }
        if self.items != 0 {
            add(sums, PROBABILITY_ITEMS, none, 0, self.items.into());
            add(sums, LOG_LOSS, none, 0, self.log_loss.into());
            add(sums, OUTSIDE, none, 0, self.outside.into());
            for (rank, &items) in self.ranks.iter().enumerate().filter(|(_, &items)| items != 0) {
                add(sums, RANK, none, rank as i64, items.into());
            }
            if let [_, second] = names {
                add(sums, SECOND, *second, by_threshold.into(), self.items.into());
            }
        }
        for (bin, &items) in self.top_items.iter().enumerate().filter(|(_, &items)| items != 0) {
            let bin_number = bin as i64;
            add(sums, TOP_ITEMS, none, bin_number, items.into());
            add(sums, TOP_RIGHT, none, bin_number, self.top_right[bin].into());
            add(sums, TOP_Q, none, bin_number, self.top_q[bin].into());
        }
    }
}

/// Add a number and its truth, both in units, to the sums. Returns whether it is within the tolerance.
pub fn add_number(
    plan: &Number,
    predicted: i64,
    actual: i64,
    tables: &Tables,
    sums: &mut Sums,
) -> bool {
    let (predicted, actual) = (i128::from(predicted), i128::from(actual));
    let error = predicted - actual;
    let (size, magnitude) = (error.abs(), actual.abs());
    let label = plan.unit_label;
    for (kind, amount) in [
        (NUMBER_ITEMS, 1),
        (ERROR, error),
        (ABSOLUTE_ERROR, size),
        (SQUARED_ERROR, error * error),
        (ACTUAL, actual),
        (SQUARED_ACTUAL, actual * actual),
        (PREDICTED, predicted),
        (SQUARED_PREDICTED, predicted * predicted),
        (PRODUCT, predicted * actual),
        (ABSOLUTE_ACTUAL, magnitude),
    ] {
        add(sums, kind, label, 0, amount);
    }
    add(sums, ERROR_BUCKET, label, tables.bucket(size), 1);
    if actual != 0 {
        add(sums, PERCENTAGE, label, 0, (MILLION * size + magnitude / 2) / magnitude);
        add(sums, PERCENTAGE_ITEMS, label, 0, 1);
    }
    let within = match plan.tolerance {
        Tolerance::None => return false,
        Tolerance::Units(units) => size <= units.into(),
        Tolerance::Part(part) => size * WHOLE <= i128::from(part) * magnitude,
    };
    add(sums, TOLERANCE_ITEMS, label, 0, 1);
    add(sums, WITHIN, label, 0, within.into());
    within
}

/// Bytes of a class and its q where only the largest probabilities are kept.
const PAIR: usize = 6;

/// Add an item whose values are pairs of a position and its q, the largest first.
pub fn add_pairs(plan: &Scores, values: &[u8], none: LabelId, tables: &Tables, sums: &mut Sums) {
    let pairs = values.chunks_exact(PAIR).map(|pair| {
        let position = u32::from_le_bytes(pair[..4].try_into().unwrap()) as usize;
        (position, u16::from_le_bytes([pair[4], pair[5]]))
    });
    let mut own: Option<(usize, u16)> = None;
    for (order, (position, q)) in pairs.clone().enumerate() {
        let (Some(&label), Some(&is_own)) = (plan.names.get(position), plan.own.get(position))
        else {
            continue;
        };
        let number = i128::from(q);
        add(sums, CLASS_ITEMS, label, 0, 1);
        add(sums, CLASS_Q, label, 0, number);
        add(sums, CLASS_Q_SQUARES, label, 0, number * number);
        if is_own {
            add(sums, OWN_ITEMS, label, 0, 1);
            add(sums, OWN_Q, label, 0, number);
            own = own.or(Some((order, q)));
        }
        if plan.known {
            let kind = if is_own { POSITIVES } else { NEGATIVES };
            add(sums, kind, label, tables.bin(q) as i64, 1);
        }
        if plan.top == Some(position) {
            let bin = tables.bin(q) as i64;
            add(sums, TOP_ITEMS, none, bin, 1);
            add(sums, TOP_RIGHT, none, bin, plan.right.into());
            add(sums, TOP_Q, none, bin, number);
        }
    }
    let rank = match own {
        None => BEYOND,
        Some((order, own)) => {
            1 + pairs
                .enumerate()
                .filter(|&(at, (_, q))| q > own || (at < order && q == own))
                .count()
        }
    };
    add(sums, PROBABILITY_ITEMS, none, 0, 1);
    add(sums, LOG_LOSS, none, 0, tables.log_losses[usize::from(own.map_or(0, |(_, q)| q))].into());
    add(sums, RANK, none, rank as i64, 1);
    add(sums, OUTSIDE, none, 0, own.is_none().into());
}

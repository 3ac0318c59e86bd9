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

pub const PROBABILITY_ITEMS: u32 = 0;
pub const CLASS_ITEMS: u32 = 1;
pub const CLASS_Q: u32 = 2;
pub const CLASS_Q_SQUARES: u32 = 3;
pub const OWN_ITEMS: u32 = 4;
pub const OWN_Q: u32 = 5;
pub const POSITIVES: u32 = 6;
pub const NEGATIVES: u32 = 7;
pub const TOP_ITEMS: u32 = 8;
pub const TOP_RIGHT: u32 = 9;
pub const TOP_Q: u32 = 10;
pub const LOG_LOSS: u32 = 11;
pub const RANK: u32 = 12;
pub const OUTSIDE: u32 = 13;
pub const SECOND: u32 = 14;
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

/// The rank of an actual that is not among the probabilities that are kept.
pub const BEYOND: usize = 17;
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
    /// The ends of the buckets of delays in nanoseconds.
    delay_ends: Vec<i64>,
}

impl Tables {
    pub fn new(
        bin_edges: Vec<u16>,
        log_losses: Vec<i64>,
        error_edges: Vec<i128>,
        delay_ends: Vec<i64>,
    ) -> Self {
        let bin = |q: u16| bin_edges.partition_point(|&edge| edge <= q) as u8;
        Tables { bins: (0..=u16::MAX).map(bin).collect(), log_losses, error_edges, delay_ends }
    }

    /// The bucket of a delay in nanoseconds.
    pub fn delay_bucket(&self, delay: i64) -> u8 {
        self.delay_ends.partition_point(|&end| end < delay) as u8
    }

    pub fn bin(&self, q: u16) -> usize {
        self.bins[usize::from(q)].into()
    }

    pub fn log_loss(&self, q: u16) -> i64 {
        self.log_losses[usize::from(q)]
    }

    fn bucket(&self, error: i128) -> i64 {
        self.error_edges.partition_point(|&edge| edge <= error) as i64
    }
}

/// Add an amount to a sum.
pub fn add(sums: &mut Sums, kind: u32, label: LabelId, bin: i64, amount: i128) {
    let sum = sums.entry((kind, label, bin)).or_default();
    *sum = sum.plus(amount.into());
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
    add(sums, LOG_LOSS, none, 0, tables.log_loss(own.map_or(0, |(_, q)| q)).into());
    add(sums, RANK, none, rank as i64, 1);
    add(sums, OUTSIDE, none, 0, own.is_none().into());
}

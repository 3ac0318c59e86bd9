//! Sums of the probabilities of items that have the same classes. They are emptied and used again, since
//! most batches have few items for each of many minutes.

use std::ops::AddAssign;

use crate::ids::LabelId;
use crate::join::deltas::changes::Scored;
use crate::join::deltas::sums::{
    Tables, BEYOND, CLASS_ITEMS, CLASS_Q, CLASS_Q_SQUARES, LOG_LOSS, NEGATIVES, OUTSIDE, OWN_ITEMS,
    OWN_Q, POSITIVES, PROBABILITY_ITEMS, RANK, SECOND, TOP_ITEMS, TOP_Q, TOP_RIGHT,
};
use crate::join::plans::Scores;

const BINS: usize = 64;

/// Amounts by bin. Only bins in use are passed through and emptied: few items use few of them.
#[derive(Clone)]
struct Bins<T> {
    /// A bit for each bin in use.
    used: u64,
    amounts: [T; BINS],
}

impl<T: Copy + Default + AddAssign> Bins<T> {
    fn add(&mut self, bin: usize, amount: T) {
        self.used |= 1 << bin;
        self.amounts[bin] += amount;
    }

    /// The bins in use and their amounts, in order.
    fn iter(&self) -> impl Iterator<Item = (i64, T)> + '_ {
        let mut rest = self.used;
        std::iter::from_fn(move || {
            let bin = (rest != 0).then(|| rest.trailing_zeros())?;
            rest &= rest - 1;
            Some((bin.into(), self.amounts[bin as usize]))
        })
    }

    fn clear(&mut self) {
        while self.used != 0 {
            self.amounts[self.used.trailing_zeros() as usize] = T::default();
            self.used &= self.used - 1;
        }
    }
}

impl<T: Copy + Default> Default for Bins<T> {
    fn default() -> Self {
        Bins { used: 0, amounts: [T::default(); BINS] }
    }
}

/// Sums of one class.
#[derive(Clone, Default)]
struct ClassSums {
    items: i64,
    q: i64,
    squares: i64,
    own_items: i64,
    own_q: i64,
    positives: Bins<u32>,
    negatives: Bins<u32>,
}

type Amount = fn(&ClassSums) -> i64;

/// Sums of the probabilities of the predicted label.
#[derive(Clone, Copy, Default)]
struct TopSums {
    items: u32,
    right: u32,
    q: i64,
}

impl AddAssign for TopSums {
    fn add_assign(&mut self, other: Self) {
        self.items += other.items;
        self.right += other.right;
        self.q += other.q;
    }
}

/// The classes of items.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Names {
    pub labels: Vec<LabelId>,
    /// The second of two classes, and whether a threshold decided between them.
    pub second: Option<(LabelId, bool)>,
}

/// Sums of the probabilities of all classes of some items that have the same classes.
#[derive(Default)]
pub struct ScoreSums {
    /// At least as many as there are classes: more are left from items with more classes.
    classes: Vec<ClassSums>,
    items: i64,
    log_loss: i64,
    ranks: Bins<u32>,
    outside: i64,
    top: Bins<TopSums>,
}

impl ScoreSums {
    /// Add an item whose values are the q of all classes, two bytes each.
    pub fn add(&mut self, plan: &Scores, values: &[u8], tables: &Tables) {
        let width = plan.names.len();
        let q_of = |at: usize| u16::from_le_bytes([values[2 * at], values[2 * at + 1]]);
        let mut own: Option<(usize, u16)> = None;
        if self.classes.len() < width {
            self.classes.resize_with(width, ClassSums::default);
        }
        for (at, sums) in self.classes[..width].iter_mut().enumerate() {
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
                side.add(tables.bin(q), 1);
            }
        }
        self.items += 1;
        let rank = match own {
            None => {
                self.outside += 1;
                BEYOND
            }
            Some((position, own)) => {
                let above =
                    (0..width).filter(|&at| q_of(at) > own || (at < position && q_of(at) == own));
                1 + above.count()
            }
        };
        self.ranks.add(rank, 1);
        self.log_loss += tables.log_loss(own.map_or(0, |(_, q)| q));
        if let Some(top) = plan.top {
            self.add_top(q_of(top), plan.right, tables);
        }
    }

    /// Add the probability of the predicted label.
    pub fn add_top(&mut self, q: u16, right: bool, tables: &Tables) {
        let sums = TopSums { items: 1, right: right.into(), q: q.into() };
        self.top.add(tables.bin(q), sums);
    }

    /// Move all of it to the sums by key, by kind and in the order of the classes that is given, that of
    /// their names: then there is nothing to sort. `none` is the empty label.
    pub fn move_to(&mut self, names: &Names, order: &[usize], none: LabelId, sums: &mut Scored) {
        let mut add = |kind: u32, label: LabelId, bin: i64, amount: i64| {
            if amount != 0 {
                sums.push(((kind, label, bin), amount));
            }
        };
        add(PROBABILITY_ITEMS, none, 0, self.items);
        let classes = || order.iter().map(|&at| (names.labels[at], &self.classes[at]));
        let amounts: [(u32, Amount); 5] = [
            (CLASS_ITEMS, |class| class.items),
            (CLASS_Q, |class| class.q),
            (CLASS_Q_SQUARES, |class| class.squares),
            (OWN_ITEMS, |class| class.own_items),
            (OWN_Q, |class| class.own_q),
        ];
        for (kind, amount) in amounts {
            classes().for_each(|(label, class)| add(kind, label, 0, amount(class)));
        }
        for (label, class) in classes() {
            class.positives.iter().for_each(|(bin, n)| add(POSITIVES, label, bin, n.into()));
        }
        for (label, class) in classes() {
            class.negatives.iter().for_each(|(bin, n)| add(NEGATIVES, label, bin, n.into()));
        }
        self.top.iter().for_each(|(bin, top)| add(TOP_ITEMS, none, bin, top.items.into()));
        self.top.iter().for_each(|(bin, top)| add(TOP_RIGHT, none, bin, top.right.into()));
        self.top.iter().for_each(|(bin, top)| add(TOP_Q, none, bin, top.q));
        add(LOG_LOSS, none, 0, self.log_loss);
        self.ranks.iter().for_each(|(rank, n)| add(RANK, none, rank, n.into()));
        add(OUTSIDE, none, 0, self.outside);
        if let Some((second, by_threshold)) = names.second {
            add(SECOND, second, by_threshold.into(), self.items);
        }
        self.clear(order.len());
    }

    fn clear(&mut self, width: usize) {
        for class in &mut self.classes[..width] {
            let ClassSums { positives, negatives, .. } = class;
            positives.clear();
            negatives.clear();
            (class.items, class.q, class.squares, class.own_items, class.own_q) = (0, 0, 0, 0, 0);
        }
        self.ranks.clear();
        self.top.clear();
        (self.items, self.log_loss, self.outside) = (0, 0, 0);
    }
}

//! Maps and sets that keep the order of insertion, as Python's dicts do, and a bounded memo.

use std::hash::Hash;

use indexmap::{IndexMap, IndexSet};
use rustc_hash::{FxBuildHasher, FxHashMap};

pub type OrderedMap<K, V> = IndexMap<K, V, FxBuildHasher>;
pub type OrderedSet<T> = IndexSet<T, FxBuildHasher>;

/// Results of calls into Python by their arguments: emptied when it is full.
pub struct Memo<K, V>(FxHashMap<K, V>);

const MAX_ENTRIES: usize = 1 << 16;

impl<K, V> Default for Memo<K, V> {
    fn default() -> Self {
        Memo(FxHashMap::default())
    }
}

impl<K: Eq + Hash, V: Copy> Memo<K, V> {
    pub fn get(&self, key: &K) -> Option<V> {
        self.0.get(key).copied()
    }

    pub fn put(&mut self, key: K, value: V) {
        if self.0.len() >= MAX_ENTRIES {
            self.0.clear();
        }
        self.0.insert(key, value);
    }
}

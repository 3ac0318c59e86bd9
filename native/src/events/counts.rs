//! How many events were decoded, and how many remain for Python.

use crate::events::event::{Event, Kind, Reason};
use crate::times::SECOND;

/// Events whose time is this far ahead of their record's are counted (counting rule 13).
const MAX_AHEAD: i64 = 300 * SECOND;

/// How many events were decoded, by `Kind`; how many of these are ahead of their records; and how many
/// remain, by `Reason`.
pub type Counts = ([u64; 6], u64, [u64; 3]);

/// Counts the events of a block or batch.
#[derive(Default)]
pub struct Decoded {
    events: [u64; 6],
    future: u64,
    remaining: [u64; 3],
}

impl Decoded {
    pub fn counts(&self) -> Counts {
        (self.events, self.future, self.remaining)
    }

    pub fn add(&mut self, kind: Kind) {
        self.events[kind as usize] += 1;
    }

    pub fn leave(&mut self, reason: Reason) {
        self.remaining[reason as usize] += 1;
    }

    /// Count an event if it is ahead of its record's timestamp (ns).
    pub fn check_time(&mut self, event: &Event, timestamp: i64) {
        if event.kind.is_observed()
            && timestamp >= 0
            && event.time > timestamp.saturating_add(MAX_AHEAD)
        {
            self.future += 1;
        }
    }
}

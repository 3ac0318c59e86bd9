//! Rows of observations as they stand on the log, in MessagePack: reads and writes them.

/// An item of a row: its position in the batch's dictionary, and its packed values, empty if it has none.
#[derive(Clone, Copy)]
pub struct Item<'a> {
    pub position: usize,
    pub values: &'a [u8],
}

/// The items of a row.
pub enum Items<'a> {
    One(Item<'a>),
    /// A list, and whether values stand beside it.
    Several(Vec<Item<'a>>, bool),
}

impl<'a> Items<'a> {
    /// The item of a row that has no list.
    pub fn one(&self) -> Option<Item<'a>> {
        match self {
            Items::One(item) => Some(*item),
            Items::Several(..) => None,
        }
    }
}

/// A row of a prediction; `model` and the answers are positions in the batch's dictionaries.
pub struct Prediction<'a> {
    pub id: &'a [u8],
    pub model: usize,
    pub time: i64,
    pub source_rank: u64,
    pub digest: u64,
    pub answers: Items<'a>,
    pub provisional: bool,
}

/// A row of a feedback; `scope` and the truth are positions in the batch's dictionaries.
pub struct Feedback<'a> {
    pub id: &'a [u8],
    pub scope: usize,
    pub time: i64,
    pub source_rank: u64,
    pub digest: u64,
    pub truth: Option<Items<'a>>,
    pub reward: Option<i64>,
}

/// Reads a MessagePack list of rows, one after another.
pub struct Rows<'a> {
    data: &'a [u8],
    at: usize,
    remaining: usize,
}

impl<'a> Rows<'a> {
    pub fn new(data: &'a [u8]) -> Option<Self> {
        let mut rows = Rows { data, at: 0, remaining: 0 };
        rows.remaining = rows.list()?;
        Some(rows)
    }

    /// The number of rows that were not read yet.
    pub fn len(&self) -> usize {
        self.remaining
    }

    fn byte(&mut self) -> Option<u8> {
        let byte = *self.data.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(length)?;
        let found = self.data.get(self.at..end)?;
        self.at = end;
        Some(found)
    }

    fn unsigned(&mut self, bytes: usize) -> Option<u64> {
        Some(self.take(bytes)?.iter().fold(0, |sum, &byte| sum << 8 | u64::from(byte)))
    }

    fn list(&mut self) -> Option<usize> {
        match self.byte()? {
            tag @ 0x90..=0x9f => Some(usize::from(tag & 0xf)),
            0xdc => self.unsigned(2).map(|n| n as usize),
            0xdd => self.unsigned(4).map(|n| n as usize),
            _ => None,
        }
    }

    fn text(&mut self) -> Option<&'a [u8]> {
        let length = match self.byte()? {
            tag @ 0xa0..=0xbf => u64::from(tag & 0x1f),
            0xd9 => self.unsigned(1)?,
            0xda => self.unsigned(2)?,
            0xdb => self.unsigned(4)?,
            _ => return None,
        };
        self.take(length as usize)
    }

    fn natural(&mut self) -> Option<u64> {
        match self.byte()? {
            tag @ 0..=0x7f => Some(u64::from(tag)),
            0xcc => self.unsigned(1),
            0xcd => self.unsigned(2),
            0xce => self.unsigned(4),
            0xcf => self.unsigned(8),
            _ => None,
        }
    }

    fn integer(&mut self) -> Option<i64> {
        let start = self.at;
        match self.byte()? {
            tag @ 0xe0..=0xff => Some(i64::from(tag as i8)),
            0xd0 => self.unsigned(1).map(|n| i64::from(n as u8 as i8)),
            0xd1 => self.unsigned(2).map(|n| i64::from(n as u16 as i16)),
            0xd2 => self.unsigned(4).map(|n| i64::from(n as u32 as i32)),
            0xd3 => self.unsigned(8).map(|n| n as i64),
            _ => {
                self.at = start;
                self.natural().and_then(|n| i64::try_from(n).ok())
            }
        }
    }

    /// The packed values of one item.
    fn values(&mut self) -> Option<&'a [u8]> {
        if self.is_nil() {
            return Some(&[]);
        }
        self.bytes()
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = match self.byte()? {
            0xc4 => self.unsigned(1)?,
            0xc5 => self.unsigned(2)?,
            _ => return None,
        };
        self.take(length as usize)
    }

    fn is_nil(&mut self) -> bool {
        let nil = self.data.get(self.at) == Some(&0xc0);
        self.at += usize::from(nil);
        nil
    }

    fn skip(&mut self, depth: u32) -> Option<()> {
        if depth > 8 {
            return None;
        }
        let start = self.at;
        match self.byte()? {
            0..=0x7f | 0xc0 | 0xc2 | 0xc3 | 0xe0..=0xff => Some(()),
            0xa0..=0xbf | 0xd9..=0xdb => {
                self.at = start;
                self.text().map(|_| ())
            }
            0x90..=0x9f | 0xdc | 0xdd => {
                self.at = start;
                let length = self.list()?;
                (0..length).try_for_each(|_| self.skip(depth + 1))
            }
            0xc4 | 0xc5 => {
                self.at = start;
                self.values().map(|_| ())
            }
            0xcc | 0xd0 => self.take(1).map(|_| ()),
            0xcd | 0xd1 => self.take(2).map(|_| ()),
            0xce | 0xd2 | 0xca => self.take(4).map(|_| ()),
            0xcf | 0xd3 | 0xcb => self.take(8).map(|_| ()),
            _ => None,
        }
    }

    /// The bytes of the next row, and its content if `read` can parse it. None at the end, or if the
    /// bytes are malformed; then `is_complete` is false.
    pub fn next<T>(&mut self, read: fn(&mut Self) -> Option<T>) -> Option<(&'a [u8], Option<T>)> {
        if self.remaining == 0 {
            return None;
        }
        let start = self.at;
        let parsed = read(self);
        if parsed.is_none() {
            self.at = start;
            self.skip(0)?;
        }
        self.remaining -= 1;
        Some((&self.data[start..self.at], parsed))
    }

    /// The next rows, up to `count`, as `next` gives them. Returns false if there are none.
    pub fn next_few<T>(
        &mut self,
        read: fn(&mut Self) -> Option<T>,
        count: usize,
        to: &mut Vec<(&'a [u8], Option<T>)>,
    ) -> bool {
        to.clear();
        while to.len() < count {
            let Some(row) = self.next(read) else { break };
            to.push(row);
        }
        !to.is_empty()
    }

    /// Whether all rows were read and no bytes follow them.
    pub fn is_complete(&self) -> bool {
        self.remaining == 0 && self.at == self.data.len()
    }
}

/// The positions of a row's items: one, or a list.
enum Positions {
    One(usize),
    Several(Vec<usize>),
}

impl<'a> Rows<'a> {
    fn positions(&mut self) -> Option<Positions> {
        if !matches!(*self.data.get(self.at)?, 0x90..=0x9f | 0xdc | 0xdd) {
            return Some(Positions::One(self.natural()? as usize));
        }
        let length = self.list()?;
        // Each position takes a byte or more.
        let mut positions = Vec::with_capacity(length.min(self.data.len() - self.at));
        for _ in 0..length {
            positions.push(self.natural()? as usize);
        }
        Some(Positions::Several(positions))
    }

    /// The items at some positions, whose values come next.
    fn items(&mut self, positions: Positions) -> Option<Items<'a>> {
        let positions = match positions {
            Positions::One(position) => {
                return Some(Items::One(Item { position, values: self.values()? }));
            }
            Positions::Several(positions) => positions,
        };
        let valued = !self.is_nil();
        if valued && self.list()? != positions.len() {
            return None;
        }
        let mut items = Vec::with_capacity(positions.len());
        for position in positions {
            items.push(Item { position, values: if valued { self.bytes()? } else { &[] } });
        }
        Some(Items::Several(items, valued))
    }
}

/// Parse a prediction.
pub fn prediction<'a>(rows: &mut Rows<'a>) -> Option<Prediction<'a>> {
    if rows.list()? != 8 {
        return None;
    }
    let (id, model, time) = (rows.text()?, rows.natural()? as usize, rows.integer()?);
    let (source_rank, digest) = (rows.natural()?, rows.natural()?);
    let positions = rows.positions()?;
    let provisional = match rows.byte()? {
        0xc2 => false,
        0xc3 => true,
        _ => return None,
    };
    let answers = rows.items(positions)?;
    Some(Prediction { id, model, time, source_rank, digest, answers, provisional })
}

/// Parse a feedback.
pub fn feedback<'a>(rows: &mut Rows<'a>) -> Option<Feedback<'a>> {
    if rows.list()? != 8 {
        return None;
    }
    let (id, scope, time) = (rows.text()?, rows.natural()? as usize, rows.integer()?);
    let (source_rank, digest) = (rows.natural()?, rows.natural()?);
    let positions = if rows.is_nil() { None } else { Some(rows.positions()?) };
    let reward = if rows.is_nil() { None } else { Some(rows.integer()?) };
    let truth = match positions {
        Some(positions) => Some(rows.items(positions)?),
        None if rows.is_nil() => None,
        None => return None,
    };
    Some(Feedback { id, scope, time, source_rank, digest, truth, reward })
}

/// A text and bytes, which other sources leave out.
type Pair<'a> = (&'a [u8], Option<&'a [u8]>);

/// The pairs of a text and bytes in a MessagePack list of pairs. None if it is of another form.
pub fn pairs(list: &[u8]) -> Option<Vec<Pair<'_>>> {
    let mut rows = Rows::new(list)?;
    let mut found = Vec::with_capacity(rows.remaining.min(64));
    for _ in 0..rows.remaining {
        if rows.list()? != 2 {
            return None;
        }
        found.push((rows.text()?, Some(rows.bytes()?)));
    }
    rows.remaining = 0;
    rows.is_complete().then_some(found)
}

/// The request id and the model (or scope) of any row.
pub fn head(row: &[u8]) -> Option<(&[u8], usize)> {
    let mut rows = Rows { data: row, at: 0, remaining: 1 };
    rows.list()?;
    Some((rows.text()?, rows.natural()? as usize))
}

/// Collects the rows that Python has to apply.
#[derive(Default)]
pub struct Remaining {
    count: u32,
    bytes: Vec<u8>,
}

impl Remaining {
    pub fn push(&mut self, row: &[u8]) {
        if self.count == 0 {
            self.bytes.extend_from_slice(&[0xdd, 0, 0, 0, 0]);
        }
        self.count += 1;
        self.bytes.extend_from_slice(row);
    }

    /// The rows as a MessagePack list, None if there are none.
    pub fn into_list(mut self) -> Option<Vec<u8>> {
        if self.count == 0 {
            return None;
        }
        self.bytes[1..5].copy_from_slice(&self.count.to_be_bytes());
        Some(self.bytes)
    }
}

/// Append a row of eight fields: the id, the packed model, the time (ns), and the other packed fields.
pub fn write(to: &mut Vec<u8>, id: &[u8], model: &[u8], time: i64, rest: &[u8]) {
    to.push(0x98);
    match id.len() {
        length @ 0..=31 => to.push(0xa0 | length as u8),
        length => to.extend_from_slice(&[0xd9, length as u8]),
    }
    to.extend_from_slice(id);
    to.extend_from_slice(model);
    to.push(0xd3);
    to.extend_from_slice(&time.to_be_bytes());
    to.extend_from_slice(rest);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_that_were_written_can_be_read() {
        let mut bytes = vec![0x92];
        write(&mut bytes, b"r1", &[3], 5, &[1, 9, 2, 0xc2, 0xc4, 2, 7, 8]);
        bytes.extend_from_slice(&[0x98, 0xa1, b'x', 0, 1, 2, 3, 0x92, 1, 2, 0xc3]);
        bytes.extend_from_slice(&[0x92, 0xc4, 1, 7, 0xc4, 2, 8, 9]);
        let mut rows = Rows::new(&bytes).unwrap();
        let (_, parsed) = rows.next(prediction).unwrap();
        let parsed = parsed.unwrap();
        assert_eq!((parsed.id, parsed.model, parsed.time), (&b"r1"[..], 3, 5));
        assert_eq!((parsed.source_rank, parsed.digest, parsed.provisional), (1, 9, false));
        let item = parsed.answers.one().unwrap();
        assert_eq!((item.position, item.values), (2, &[7, 8][..]));
        let (several, parsed) = rows.next(prediction).unwrap();
        assert_eq!(several.len(), 19);
        let parsed = parsed.unwrap();
        let Items::Several(items, true) = parsed.answers else { panic!() };
        assert_eq!((items[0].position, items[0].values), (1, &[7][..]));
        assert_eq!((items[1].position, items[1].values), (2, &[8, 9][..]));
        assert!(rows.next(prediction).is_none());
        assert!(rows.is_complete());
        assert!(Rows::new(&bytes[..bytes.len() - 1]).is_some_and(|mut rows| {
            while rows.next(prediction).is_some() {}
            !rows.is_complete()
        }));
    }
}

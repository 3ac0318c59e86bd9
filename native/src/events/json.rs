//! A strict scanner of plain JSON: ASCII, strings without escapes, limited depth. Text that is not plain
//! is not an error: the scanner returns None, and Python decides.

pub struct Scanner<'a> {
    text: &'a [u8],
    pub at: usize,
}

/// Plain JSON nests no deeper.
const MAX_DEPTH: u32 = 32;

impl<'a> Scanner<'a> {
    pub fn new(text: &'a [u8]) -> Self {
        Scanner { text, at: 0 }
    }

    #[inline]
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    #[inline]
    pub fn blank(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
    }

    pub fn at_end(&mut self) -> Option<()> {
        self.blank();
        (self.at == self.text.len()).then_some(())
    }

    #[inline]
    pub fn expect(&mut self, byte: u8) -> Option<()> {
        self.blank();
        self.take(byte)
    }

    #[inline]
    fn take(&mut self, byte: u8) -> Option<()> {
        if self.peek()? != byte {
            return None;
        }
        self.at += 1;
        Some(())
    }

    /// Take `,` or `close`. Returns whether another element follows.
    #[inline]
    pub fn more(&mut self, close: u8) -> Option<bool> {
        self.blank();
        let byte = self.peek()?;
        if byte != b',' && byte != close {
            return None;
        }
        self.at += 1;
        Some(byte == b',')
    }

    /// Take `close` if the open object or list is empty. Returns whether it is.
    #[inline]
    pub fn closes(&mut self, close: u8) -> bool {
        self.blank();
        self.take(close).is_some()
    }

    /// The content of a string without escapes.
    #[inline]
    pub fn string(&mut self) -> Option<&'a [u8]> {
        self.expect(b'"')?;
        let start = self.at;
        while let Some(byte) = self.peek() {
            match byte {
                b'"' => {
                    let found = &self.text[start..self.at];
                    self.at += 1;
                    return Some(found);
                }
                b'\\' | 0..=0x1f | 0x7f.. => return None,
                _ => self.at += 1,
            }
        }
        None
    }

    /// A key and the colon after it.
    #[inline]
    pub fn key(&mut self) -> Option<&'a [u8]> {
        let found = self.string()?;
        self.expect(b':')?;
        Some(found)
    }

    /// Read an object that has members: `take` gets each key, and reads the value.
    #[inline]
    pub fn members(&mut self, take: impl FnMut(&mut Self, &'a [u8]) -> Option<()>) -> Option<()> {
        self.expect(b'{')?;
        self.members_of_open(take)
    }

    /// Read the members of an object whose `{` was taken.
    #[inline]
    pub fn members_of_open(
        &mut self,
        mut take: impl FnMut(&mut Self, &'a [u8]) -> Option<()>,
    ) -> Option<()> {
        loop {
            let key = self.key()?;
            take(self, key)?;
            if !self.more(b'}')? {
                return Some(());
            }
        }
    }

    pub fn slice_from(&self, start: usize) -> &'a [u8] {
        &self.text[start..self.at]
    }

    #[inline]
    pub fn next_is(&mut self, byte: u8) -> bool {
        self.blank();
        self.peek() == Some(byte)
    }

    /// The first byte of the next token, which is not taken.
    #[inline]
    pub fn next(&mut self) -> Option<u8> {
        self.blank();
        self.peek()
    }

    /// Whether the next word is true; None if it is not false either.
    pub fn boolean(&mut self) -> Option<bool> {
        if self.next()? == b't' {
            return self.word(b"true").map(|_| true);
        }
        self.word(b"false").map(|_| false)
    }

    fn digits(&mut self) -> Option<()> {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        (self.at > start).then_some(())
    }

    /// The text of a number.
    #[inline]
    pub fn number(&mut self) -> Option<&'a [u8]> {
        self.blank();
        let start = self.at;
        let _ = self.take(b'-');
        if self.take(b'0').is_none() {
            self.digits()?;
        }
        if self.take(b'.').is_some() {
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        Some(self.slice_from(start))
    }

    fn word(&mut self, word: &[u8]) -> Option<()> {
        let end = self.at + word.len();
        if self.text.get(self.at..end)? != word {
            return None;
        }
        self.at = end;
        Some(())
    }

    /// Skip a value of any type. Returns its text.
    pub fn skip(&mut self) -> Option<&'a [u8]> {
        self.blank();
        let start = self.at;
        self.value(0)?;
        Some(self.slice_from(start))
    }

    fn value(&mut self, depth: u32) -> Option<()> {
        if depth > MAX_DEPTH {
            return None;
        }
        self.blank();
        match self.peek()? {
            b'{' => {
                self.at += 1;
                if self.closes(b'}') {
                    return Some(());
                }
                loop {
                    self.key()?;
                    self.value(depth + 1)?;
                    if !self.more(b'}')? {
                        return Some(());
                    }
                }
            }
            b'[' => {
                self.at += 1;
                if self.closes(b']') {
                    return Some(());
                }
                loop {
                    self.value(depth + 1)?;
                    if !self.more(b']')? {
                        return Some(());
                    }
                }
            }
            b'"' => self.string().map(|_| ()),
            b't' => self.word(b"true"),
            b'f' => self.word(b"false"),
            b'n' => self.word(b"null"),
            _ => self.number().map(|_| ()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Scanner;

    fn is_plain(text: &[u8]) -> bool {
        let mut scanner = Scanner::new(text);
        scanner.skip().and_then(|_| scanner.at_end()).is_some()
    }

    #[test]
    fn only_plain_json_is_read() {
        for good in [&b"{}"[..], b"[1, -0.5e+3, \"x\", true, null, {\"a\": []}]", b" 0 "] {
            assert!(is_plain(good), "{good:?}");
        }
        for bad in [
            &b""[..],
            b"[1,]",
            b"{,}",
            b"01",
            b"1.",
            b".5",
            b"+1",
            b"\"\\n\"",
            b"\"\xc3\xa9\"",
            b"NaN",
            b"{\"a\"}",
            b"[1 2]",
            b"tru",
            b"\"x",
            b"1e",
            b"-",
        ] {
            assert!(!is_plain(bad), "{bad:?}");
        }
        assert!(!is_plain("[".repeat(100).as_bytes()));
    }
}

//! A strict scanner of JSON of limited depth. Text that it refuses need not be an error: the scanner
//! returns None, and Python decides.

use std::borrow::Cow;

use crate::events::strings;

pub struct Scanner<'a> {
    text: &'a [u8],
    pub at: usize,
    /// The binary data that follow the JSON, as far as they are not taken yet.
    binary: &'a [u8],
}

/// Deeper JSON is left to Python.
const MAX_DEPTH: u32 = 32;

impl<'a> Scanner<'a> {
    pub fn new(text: &'a [u8]) -> Self {
        Scanner { text, at: 0, binary: b"" }
    }

    /// A scanner of JSON that binary data follow.
    pub fn with_binary(text: &'a [u8], binary: &'a [u8]) -> Self {
        Scanner { text, at: 0, binary }
    }

    /// Take so many bytes of the binary data.
    pub fn take_binary(&mut self, size: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.binary.split_at_checked(size)?;
        self.binary = rest;
        Some(taken)
    }

    /// Whether all binary data were taken.
    pub fn has_taken_all(&self) -> Option<()> {
        self.binary.is_empty().then_some(())
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

    /// The text of a string: as it is written if it has no escapes.
    #[inline]
    pub fn string(&mut self) -> Option<Cow<'a, [u8]>> {
        let (written, has_escapes) = self.written_string()?;
        if has_escapes {
            return Some(Cow::Owned(strings::unescape(written)?));
        }
        Some(Cow::Borrowed(written))
    }

    /// A string as it is written, without its quotes, and whether it has escapes.
    #[inline]
    fn written_string(&mut self) -> Option<(&'a [u8], bool)> {
        self.expect(b'"')?;
        let start = self.at;
        let (mut is_ascii, mut has_escapes) = (true, false);
        loop {
            self.at += strings::plain_length(&self.text[self.at..]);
            match self.peek()? {
                b'"' => break,
                b'\\' => {
                    has_escapes = true;
                    self.at += strings::escape(&self.text[self.at..])?.1;
                }
                0..=0x1f => return None,
                byte => {
                    is_ascii = is_ascii && byte.is_ascii();
                    self.at += 1;
                }
            }
        }
        let written = self.slice_from(start);
        self.at += 1;
        if !is_ascii {
            std::str::from_utf8(written).ok()?;
        }
        Some((written, has_escapes))
    }

    /// The text of a key, and the colon after it.
    #[inline]
    pub fn key(&mut self) -> Option<Cow<'a, [u8]>> {
        let found = self.string()?;
        self.expect(b':')?;
        Some(found)
    }

    /// Read an object that has members: `take` gets each key, and reads the value.
    #[inline]
    pub fn members(&mut self, take: impl FnMut(&mut Self, &[u8]) -> Option<()>) -> Option<()> {
        self.expect(b'{')?;
        self.members_of_open(take)
    }

    /// Read the members of an object whose `{` was taken.
    #[inline]
    pub fn members_of_open(
        &mut self,
        mut take: impl FnMut(&mut Self, &[u8]) -> Option<()>,
    ) -> Option<()> {
        loop {
            let key = self.key()?;
            take(self, &key)?;
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
                    self.written_string()?;
                    self.expect(b':')?;
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
            b'"' => self.written_string().map(|_| ()),
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

    fn is_json(text: &[u8]) -> bool {
        let mut scanner = Scanner::new(text);
        scanner.skip().and_then(|_| scanner.at_end()).is_some()
    }

    #[test]
    fn only_strict_json_is_read() {
        for good in [
            &b"{}"[..],
            b"[1, -0.5e+3, \"x\", true, null, {\"a\": []}]",
            b" 0 ",
            b"\"\\n\\u00e9\\ud83d\\ude00\"",
            "\"\u{e9}\u{20ac}\u{1f600}\u{7f}\"".as_bytes(),
            b"{\"a name\\tof many letters\": \"\\\"\\\\\\/\"}",
        ] {
            assert!(is_json(good), "{good:?}");
        }
        for bad in [
            &b""[..],
            b"[1,]",
            b"{,}",
            b"01",
            b"1.",
            b".5",
            b"+1",
            b"NaN",
            b"{\"a\"}",
            b"[1 2]",
            b"tru",
            b"\"x",
            b"\"x\\\"",
            b"1e",
            b"-",
            b"\"\\x\"",
            b"\"\\u12\"",
            b"\"\\ud800\"",
            b"\"\\ude00\"",
            b"\"\\ud800\\u0041\"",
            b"\"a line\nbreak\"",
            b"\"\xc3\"",
            b"\"\xed\xa0\x80\"",
            b"\"\xc0\x80\"",
            b"\"\xff\"",
            b"{\"\xff\": 1}",
        ] {
            assert!(!is_json(bad), "{bad:?}");
        }
        assert!(!is_json("[".repeat(100).as_bytes()));
    }

    #[test]
    fn equal_texts_are_equal_however_they_are_written() {
        let text = |written: &'static [u8]| Scanner::new(written).string().unwrap();
        assert_eq!(text(b"\"na\\u0069ve\""), text(b"\"naive\""));
        assert_eq!(&*text(b"\"\\u00e9\\n\\ud83d\\ude00\""), "\u{e9}\n\u{1f600}".as_bytes());
        assert!(matches!(text(b"\"naive\""), std::borrow::Cow::Borrowed(_)));
    }
}

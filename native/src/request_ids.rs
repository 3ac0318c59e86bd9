//! Packs request ids as `requests/ids.py` does.

/// The longest id that is packed, in bytes.
const MAX_BYTES: usize = 64;
const UUID: usize = MAX_BYTES + 1;
const DIGITS: usize = UUID + 29;
const KEY: usize = 16;
const DASHES: [usize; 4] = [8, 13, 18, 23];

/// A request id, and its packed form if it is not too long.
pub struct Id<'a> {
    pub text: &'a [u8],
    packed: [u8; MAX_BYTES + 1],
    length: usize,
}

impl<'a> Id<'a> {
    pub fn new(text: &'a [u8]) -> Self {
        let mut id = Id { text, packed: [0; MAX_BYTES + 1], length: 0 };
        let length = text.len();
        if length > MAX_BYTES {
            return id;
        }
        if length >= 36 && id.pack_digits(length - 36, true) {
            id.packed[0] = (UUID + length - 36) as u8;
        } else if length >= 32 && id.pack_digits(length - 32, false) {
            id.packed[0] = (DIGITS + length - 32) as u8;
        } else {
            id.packed[0] = length as u8;
            id.packed[1..=length].copy_from_slice(text);
            id.length = 1 + length;
        }
        id
    }

    /// The packed form, None if the id is too long.
    pub fn packed(&self) -> Option<&[u8]> {
        (self.length != 0).then(|| &self.packed[..self.length])
    }

    /// Pack a prefix of this length and the digits behind it; false if they are not those of a UUID, or
    /// of 32 hexadecimal digits.
    fn pack_digits(&mut self, prefix: usize, dashed: bool) -> bool {
        let text = &self.text[prefix..];
        if dashed && DASHES.iter().any(|&at| text[at] != b'-') {
            return false;
        }
        let mut at = 0;
        for byte in &mut self.packed[1 + prefix..1 + prefix + KEY] {
            if dashed && DASHES.contains(&at) {
                at += 1;
            }
            let (Some(high), Some(low)) = (digit(text[at]), digit(text[at + 1])) else {
                return false;
            };
            *byte = high << 4 | low;
            at += 2;
        }
        self.packed[1..=prefix].copy_from_slice(&self.text[..prefix]);
        self.length = 1 + prefix + KEY;
        true
    }
}

fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    }
}

/// The length of a packed id, by its first byte.
pub fn packed_length(first: u8) -> usize {
    match usize::from(first) {
        length @ 0..UUID => 1 + length,
        first @ UUID..DIGITS => 1 + KEY + first - UUID,
        first => 1 + KEY + first - DIGITS,
    }
}

/// The request id of a packed form, None if it is no text.
pub fn unpack(packed: &[u8]) -> Option<String> {
    let first = usize::from(packed[0]);
    let mut text = packed[1..].to_vec();
    if first >= UUID {
        let digits = text.split_off(text.len() - KEY);
        for (number, byte) in digits.iter().enumerate() {
            if first < DIGITS && [4, 6, 8, 10].contains(&number) {
                text.push(b'-');
            }
            text.extend_from_slice(format!("{byte:02x}").as_bytes());
        }
    }
    String::from_utf8(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_any_form_can_be_unpacked() {
        let uuid = "0a1b2c3d-0000-4000-8000-00000000000f";
        for (text, length) in [
            (uuid.to_string(), 17),
            (format!("req-{uuid}"), 21),
            (uuid.replace('-', ""), 17),
            (uuid.to_uppercase(), 37),
            ("0a1b2c3d-0000-4000-8000-0000000000-f".to_string(), 37),
            ("r1".to_string(), 3),
            (String::new(), 1),
            ("x".repeat(64), 65),
        ] {
            let id = Id::new(text.as_bytes());
            let packed = id.packed().unwrap();
            assert_eq!(packed.len(), length, "{text}");
            assert_eq!(packed_length(packed[0]), length, "{text}");
            assert_eq!(unpack(packed).unwrap(), text);
        }
        assert!(Id::new("x".repeat(65).as_bytes()).packed().is_none());
    }
}

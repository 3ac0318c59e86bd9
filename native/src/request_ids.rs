//! Packs request ids as `requests/ids.py` does.

/// The longest id that is packed, in bytes.
const MAX_BYTES: usize = 64;
const UUID: usize = MAX_BYTES + 1;
const DIGITS: usize = UUID + 29;
/// The form of an id of so many hexadecimal digits is `HEX` and their number, that of an id of so many
/// characters of base64 is `BASE64` and their number.
const HEX: usize = 127;
const BASE64: usize = HEX + 31;
const KEY: usize = 16;
const DASHES: [usize; 4] = [8, 13, 18, 23];
/// Where the digits of a UUID stand, and where their bytes do.
const GROUPS: [(usize, usize); 5] = [(0, 8), (9, 13), (14, 18), (19, 23), (24, 36)];
/// Shorter ids do not get shorter as base64.
const SHORT: usize = 4;

/// What no digit has as its value.
const NONE: u8 = 255;
/// The values of hexadecimal digits and of the characters of base64 for URLs.
const HEX_VALUES: [u8; 256] = values(b"0123456789abcdef");
const BASE64_DIGITS: &[u8; 64] =
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const BASE64_VALUES: [u8; 256] = values(BASE64_DIGITS);

const fn values(digits: &[u8]) -> [u8; 256] {
    let mut values = [NONE; 256];
    let mut at = 0;
    while at < digits.len() {
        values[digits[at] as usize] = at as u8;
        at += 1;
    }
    values
}

/// A request id, with its packed form if it is not too long.
pub struct Id<'a> {
    pub text: &'a [u8],
    packed: [u8; MAX_BYTES + 1],
    length: usize,
    hash: u32,
}

impl<'a> Id<'a> {
    pub fn new(text: &'a [u8]) -> Self {
        let mut id = Id { text, packed: [0; MAX_BYTES + 1], length: 0, hash: 0 };
        let length = text.len();
        if length > MAX_BYTES {
            return id;
        }
        let packed = &mut id.packed;
        let (form, size) = if let Some(prefix) = pack_key(text, packed, 36, dashed) {
            (UUID + prefix, prefix + KEY)
        } else if let Some(prefix) = pack_key(text, packed, 32, hex) {
            (DIGITS + prefix, prefix + KEY)
        } else if (1..32).contains(&length) && hex(text, &mut packed[1..=length.div_ceil(2)]) {
            (HEX + length, length.div_ceil(2))
        } else if length >= SHORT && base64(text, &mut packed[1..]) {
            (BASE64 + length, base64_bytes(length))
        } else {
            packed[1..=length].copy_from_slice(text);
            (length, length)
        };
        packed[0] = form as u8;
        id.length = 1 + size;
        id.hash = hash(&id.packed[..id.length]);
        id
    }

    /// The packed form, None if the id is too long.
    pub fn packed(&self) -> Option<&[u8]> {
        (self.length != 0).then(|| &self.packed[..self.length])
    }

    /// The hash of the packed form.
    pub fn hash(&self) -> u32 {
        self.hash
    }
}

/// The hash of a packed id.
pub fn hash(packed: &[u8]) -> u32 {
    crc32fast::hash(packed)
}

/// Pack a prefix and the digits of this length behind it. Returns the length of the prefix, None if the
/// text does not end with such digits.
fn pack_key(
    text: &[u8],
    packed: &mut [u8],
    length: usize,
    pack: fn(&[u8], &mut [u8]) -> bool,
) -> Option<usize> {
    let prefix = text.len().checked_sub(length)?;
    if !pack(&text[prefix..], &mut packed[1 + prefix..1 + prefix + KEY]) {
        return None;
    }
    packed[1..=prefix].copy_from_slice(&text[..prefix]);
    Some(prefix)
}

/// Pack the digits of a UUID; false if it is none.
fn dashed(text: &[u8], packed: &mut [u8]) -> bool {
    let mut at = 0;
    DASHES.iter().all(|&at| text[at] == b'-')
        && GROUPS.iter().all(|&(start, end)| {
            let bytes = at..at + (end - start) / 2;
            at = bytes.end;
            hex(&text[start..end], &mut packed[bytes])
        })
}

/// Pack hexadecimal digits, the first one alone if their number is odd; false if other characters are
/// among them.
fn hex(text: &[u8], packed: &mut [u8]) -> bool {
    let (first, pairs) = text.split_at(text.len() % 2);
    let mut seen = 0;
    let (single, rest) = packed.split_at_mut(first.len());
    for (byte, digit) in single.iter_mut().zip(first) {
        *byte = HEX_VALUES[usize::from(*digit)];
        seen |= *byte;
    }
    for (byte, pair) in rest.iter_mut().zip(pairs.chunks_exact(2)) {
        let (high, low) = (HEX_VALUES[usize::from(pair[0])], HEX_VALUES[usize::from(pair[1])]);
        seen |= high | low;
        *byte = high << 4 | low;
    }
    seen != NONE
}

/// The bytes of so many characters of base64.
fn base64_bytes(length: usize) -> usize {
    (length * 6).div_ceil(8)
}

/// Pack characters of base64; false if others are among them.
fn base64(text: &[u8], packed: &mut [u8]) -> bool {
    let mut seen = 0;
    for (part, bytes) in text.chunks(4).zip(packed.chunks_exact_mut(3)) {
        let mut number = 0;
        for at in 0..4 {
            let value = part.get(at).map_or(0, |&digit| BASE64_VALUES[usize::from(digit)]);
            seen |= value;
            number = number << 6 | u32::from(value & 63);
        }
        bytes.copy_from_slice(&number.to_be_bytes()[1..]);
    }
    seen != NONE
}

/// The length of a packed id, by its first byte.
pub fn packed_length(first: u8) -> usize {
    1 + match usize::from(first) {
        length @ 0..UUID => length,
        first @ UUID..DIGITS => KEY + first - UUID,
        first @ DIGITS..HEX => KEY + first - DIGITS,
        first @ HEX..=BASE64 => (first - HEX).div_ceil(2),
        first => base64_bytes(first - BASE64),
    }
}

/// The request id of a packed form, None if it is no text.
pub fn unpack(packed: &[u8]) -> Option<String> {
    let mut text = Vec::new();
    unpack_into(packed[0], &packed[1..], &mut text);
    String::from_utf8(text).ok()
}

/// Append the request id of a packed form, of which `rest` is all but the first byte.
pub fn unpack_into(first: u8, rest: &[u8], text: &mut Vec<u8>) {
    let first = usize::from(first);
    if first > BASE64 {
        let end = text.len() + first - BASE64;
        for part in rest.chunks(3) {
            let byte = |at| part.get(at).copied().unwrap_or(0);
            let number = u32::from_be_bytes([0, byte(0), byte(1), byte(2)]);
            text.extend([18, 12, 6, 0].map(|shift| BASE64_DIGITS[(number >> shift & 63) as usize]));
        }
        text.truncate(end);
    } else if first > HEX {
        let odd = (first - HEX) % 2;
        text.extend(rest.iter().flat_map(|&byte| hex_digits(byte)).skip(odd));
    } else if first >= UUID {
        let (prefix, digits) = rest.split_at(rest.len() - KEY);
        text.extend_from_slice(prefix);
        for (number, &byte) in digits.iter().enumerate() {
            if first < DIGITS && [4, 6, 8, 10].contains(&number) {
                text.push(b'-');
            }
            text.extend_from_slice(&hex_digits(byte));
        }
    } else {
        text.extend_from_slice(rest);
    }
}

fn hex_digits(byte: u8) -> [u8; 2] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]
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
            (uuid.to_uppercase(), 28),
            ("0a1b2c3d-0000-4000-8000-0000000000-f".to_string(), 28),
            ("65a1b2c3d4e5f60718293a4b".to_string(), 13),
            ("1000000042".to_string(), 6),
            ("7".to_string(), 2),
            ("0a1".to_string(), 3),
            ("r1".to_string(), 3),
            ("order-17".to_string(), 7),
            ("order.17".to_string(), 9),
            ("an-id-of-thirty-letters_ABCXYZ".to_string(), 24),
            (String::new(), 1),
            ("x".repeat(64), 49),
            (" ".repeat(64), 65),
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

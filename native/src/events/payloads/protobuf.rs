//! The wire format of protobuf, read strictly: what is unusual is left to Python.

/// The value of a field by its wire type.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    Varint(u64),
    Fixed64([u8; 8]),
    Bytes(&'a [u8]),
    Fixed32([u8; 4]),
}

/// Call `read` with the number and the value of each field of a message. None if the bytes are no
/// message, if they contain a group, or if `read` returns None.
pub fn fields<'a>(
    mut bytes: &'a [u8],
    mut read: impl FnMut(u32, Value<'a>) -> Option<()>,
) -> Option<()> {
    while !bytes.is_empty() {
        let tag = u32::try_from(varint(&mut bytes)?).ok()?;
        let value = match tag & 7 {
            0 => Value::Varint(varint(&mut bytes)?),
            1 => Value::Fixed64(take(&mut bytes, 8)?.try_into().ok()?),
            2 => {
                let size = u32::try_from(varint(&mut bytes)?).ok()?;
                Value::Bytes(take(&mut bytes, size as usize)?)
            }
            5 => Value::Fixed32(take(&mut bytes, 4)?.try_into().ok()?),
            _ => return None,
        };
        if tag < 8 {
            return None; // there is no field 0
        }
        read(tag >> 3, value)?;
    }
    Some(())
}

fn take<'a>(bytes: &mut &'a [u8], size: usize) -> Option<&'a [u8]> {
    let (head, rest) = bytes.split_at_checked(size)?;
    *bytes = rest;
    Some(head)
}

/// Read a varint in its shortest form.
fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut found = 0;
    for position in 0..10 {
        let byte = *bytes.get(position)?;
        found |= u64::from(byte & 0x7f) << (7 * position);
        if byte < 0x80 {
            let is_shortest = byte > 0 || position == 0;
            if !is_shortest || (position == 9 && byte > 1) {
                return None;
            }
            *bytes = &bytes[position + 1..];
            return Some(found);
        }
    }
    None
}

impl<'a> Value<'a> {
    /// The bytes of a message, or of a field of bytes.
    pub fn bytes(self) -> Option<&'a [u8]> {
        match self {
            Value::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// The bytes of a text.
    pub fn text(self) -> Option<&'a [u8]> {
        let bytes = self.bytes()?;
        std::str::from_utf8(bytes).is_ok().then_some(bytes)
    }

    /// A boolean as 0 or 1.
    pub fn boolean(self) -> Option<f64> {
        match self {
            Value::Varint(found @ (0 | 1)) => Some(found as f64),
            _ => None,
        }
    }

    /// A finite double.
    pub fn double(self) -> Option<f64> {
        match self {
            Value::Fixed64(bytes) => finite(f64::from_le_bytes(bytes)),
            _ => None,
        }
    }

    /// Append the finite doubles of a repeated field: one, or several packed.
    pub fn doubles(self, found: &mut Vec<f64>) -> Option<()> {
        let Value::Bytes(bytes) = self else {
            found.push(self.double()?);
            return Some(());
        };
        chunks(bytes, f64::from_le_bytes, found)
    }

    /// Append the finite floats of a repeated field.
    pub fn floats(self, found: &mut Vec<f64>) -> Option<()> {
        let bytes = match &self {
            Value::Bytes(bytes) => bytes,
            Value::Fixed32(bytes) => &bytes[..],
            _ => return None,
        };
        chunks(bytes, |bytes| f64::from(f32::from_le_bytes(bytes)), found)
    }

    /// Call `add` with each varint of a repeated field.
    pub fn varints(self, mut add: impl FnMut(u64) -> Option<()>) -> Option<()> {
        match self {
            Value::Varint(found) => add(found),
            Value::Bytes(mut bytes) => {
                while !bytes.is_empty() {
                    add(varint(&mut bytes)?)?;
                }
                Some(())
            }
            _ => None,
        }
    }
}

pub fn finite(number: f64) -> Option<f64> {
    number.is_finite().then_some(number)
}

/// Append the finite numbers that stand in bytes one behind the other.
pub fn chunks<const SIZE: usize>(
    bytes: &[u8],
    number: impl Fn([u8; SIZE]) -> f64,
    found: &mut Vec<f64>,
) -> Option<()> {
    let parts = bytes.chunks_exact(SIZE);
    if !parts.remainder().is_empty() {
        return None;
    }
    for part in parts {
        found.push(finite(number(part.try_into().ok()?))?);
    }
    Some(())
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// A field whose value is of bytes.
    pub fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
        [&[number << 3 | 2, bytes.len() as u8], bytes].concat()
    }

    fn read(bytes: &[u8]) -> Option<Vec<(u32, Value<'_>)>> {
        let mut found = Vec::new();
        fields(bytes, |number, value| {
            found.push((number, value));
            Some(())
        })?;
        Some(found)
    }

    #[test]
    fn fields_are_read_by_their_wire_types() {
        let bytes =
            b"\x08\x96\x01\x12\x01a\x1d\x00\x00\x80\x3f\x21\x00\x00\x00\x00\x00\x00\xf0\x3f";
        let expected = [
            (1, Value::Varint(150)),
            (2, Value::Bytes(b"a")),
            (3, Value::Fixed32(1f32.to_le_bytes())),
            (4, Value::Fixed64(1f64.to_le_bytes())),
        ];
        assert_eq!(read(bytes).unwrap(), expected);
        for end in [1, 2, 4, 5, 8, 12, 19] {
            assert_eq!(read(&bytes[..end]), None, "{end}");
        }
    }

    #[test]
    fn what_is_unusual_is_left() {
        for bytes in [
            &b"\x0b\x0c"[..],                                    // a group
            b"\x0e",                                             // no wire type
            b"\x00\x01",                                         // field 0
            b"\x08\x81\x00",                                     // not the shortest form
            b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02",     // more than 64 bits
            b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", // more than 10 bytes
            b"\xff\xff\xff\xff\xff\x01\x00",                     // a tag of more than 32 bits
            b"\x0a\xff\xff\xff\xff\xff\x01",                     // a size of more than 32 bits
        ] {
            assert_eq!(read(bytes), None, "{bytes:?}");
        }
        assert_eq!(Value::Bytes(b"\xff").text(), None);
        assert_eq!(Value::Varint(2).boolean(), None);
        assert_eq!(Value::Fixed64(f64::NAN.to_le_bytes()).double(), None);
    }

    #[test]
    fn repeated_fields_are_packed_or_not() {
        let (one, mut found) = (1f64.to_le_bytes(), Vec::new());
        Value::Fixed64(one).doubles(&mut found).unwrap();
        Value::Bytes(&[one, one].concat()).doubles(&mut found).unwrap();
        Value::Fixed32(1f32.to_le_bytes()).floats(&mut found).unwrap();
        assert_eq!(found, [1.0; 4]);
        assert_eq!(Value::Bytes(&one[..7]).doubles(&mut found), None);
        assert_eq!(Value::Varint(1).doubles(&mut found), None);
    }
}

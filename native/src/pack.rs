//! Writes MessagePack in the shortest form of each value, as `msgspec` does: the bytes on the log must
//! be the same.

pub fn list(to: &mut Vec<u8>, length: usize) {
    match length {
        0..=15 => to.push(0x90 | length as u8),
        16..=0xffff => tagged(to, 0xdc, &(length as u16).to_be_bytes()),
        _ => tagged(to, 0xdd, &(length as u32).to_be_bytes()),
    }
}

pub fn text(to: &mut Vec<u8>, text: &str) {
    match text.len() {
        length @ 0..=31 => to.push(0xa0 | length as u8),
        length @ 32..=0xff => tagged(to, 0xd9, &[length as u8]),
        length @ 0x100..=0xffff => tagged(to, 0xda, &(length as u16).to_be_bytes()),
        length => tagged(to, 0xdb, &(length as u32).to_be_bytes()),
    }
    to.extend_from_slice(text.as_bytes());
}

#[inline]
pub fn integer(to: &mut Vec<u8>, number: i64) {
    match number {
        0..=0x7f => to.push(number as u8),
        0x80..=0xff => tagged(to, 0xcc, &[number as u8]),
        0x100..=0xffff => tagged(to, 0xcd, &(number as u16).to_be_bytes()),
        0x1_0000..=0xffff_ffff => tagged(to, 0xce, &(number as u32).to_be_bytes()),
        0x1_0000_0000.. => tagged(to, 0xcf, &number.to_be_bytes()),
        -0x20..=-1 => to.push(number as u8),
        -0x80..=-0x21 => tagged(to, 0xd0, &[number as u8]),
        -0x8000..=-0x81 => tagged(to, 0xd1, &(number as i16).to_be_bytes()),
        -0x8000_0000..=-0x8001 => tagged(to, 0xd2, &(number as i32).to_be_bytes()),
        _ => tagged(to, 0xd3, &number.to_be_bytes()),
    }
}

/// An integer, or nil.
pub fn optional(to: &mut Vec<u8>, number: Option<i64>) {
    match number {
        Some(number) => integer(to, number),
        None => nil(to),
    }
}

/// A number that need not fit into an `i64`.
pub fn natural(to: &mut Vec<u8>, number: u64) {
    match i64::try_from(number) {
        Ok(number) => integer(to, number),
        Err(_) => tagged(to, 0xcf, &number.to_be_bytes()),
    }
}

/// The values of an item, at most 255 bytes; nil if there are none.
pub fn values(to: &mut Vec<u8>, values: &[u8]) {
    if values.is_empty() {
        return nil(to);
    }
    binary(to, values);
}

/// Bytes, at most 255.
pub fn binary(to: &mut Vec<u8>, bytes: &[u8]) {
    tagged(to, 0xc4, &[bytes.len() as u8]);
    to.extend_from_slice(bytes);
}

/// Bytes, however many.
pub fn binary_of_any_length(to: &mut Vec<u8>, bytes: &[u8]) {
    match bytes.len() {
        length @ 0..=0xff => tagged(to, 0xc4, &[length as u8]),
        length @ 0x100..=0xffff => tagged(to, 0xc5, &(length as u16).to_be_bytes()),
        length => tagged(to, 0xc6, &(length as u32).to_be_bytes()),
    }
    to.extend_from_slice(bytes);
}

pub fn nil(to: &mut Vec<u8>) {
    to.push(0xc0);
}

#[inline]
fn tagged<const N: usize>(to: &mut Vec<u8>, tag: u8, bytes: &[u8; N]) {
    // One check of the capacity for both.
    to.reserve(1 + N);
    to.push(tag);
    to.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_take_the_shortest_form() {
        for (number, bytes) in [
            (0, &[0][..]),
            (127, &[127]),
            (128, &[0xcc, 128]),
            (256, &[0xcd, 1, 0]),
            (1 << 16, &[0xce, 0, 1, 0, 0]),
            (1 << 32, &[0xcf, 0, 0, 0, 1, 0, 0, 0, 0]),
            (-1, &[0xff]),
            (-32, &[0xe0]),
            (-33, &[0xd0, 0xdf]),
            (-129, &[0xd1, 0xff, 0x7f]),
            (-32769, &[0xd2, 0xff, 0xff, 0x7f, 0xff]),
            (i64::MIN, &[0xd3, 0x80, 0, 0, 0, 0, 0, 0, 0]),
        ] {
            let mut packed = Vec::new();
            integer(&mut packed, number);
            assert_eq!(packed, bytes, "{number}");
        }
    }
}

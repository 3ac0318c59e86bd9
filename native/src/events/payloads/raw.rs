//! Tensors in the binary form of the Open Inference Protocol: little-endian values, one behind the other.

use crate::events::payloads::output::Data;
use crate::events::payloads::protobuf::{chunks, Value};
use crate::events::payloads::rows::INTEGER_LIMIT;

/// An integer that is exact as a double.
pub fn exact(integer: i64) -> Option<f64> {
    let number = integer as f64;
    (number.abs() < INTEGER_LIMIT).then_some(number)
}

/// The values of raw contents, which are little-endian.
pub fn unpack<'a>(datatype: &[u8], raw: &'a [u8]) -> Option<Data<'a>> {
    let mut found = Vec::new();
    let numbers = &mut found;
    match datatype {
        b"BYTES" => return texts(raw).map(Data::Texts),
        b"BOOL" => {
            if raw.iter().any(|byte| *byte > 1) {
                return None;
            }
            return Some(Data::Booleans(raw.iter().map(|&byte| f64::from(byte)).collect()));
        }
        b"FP64" => chunks(raw, f64::from_le_bytes, numbers),
        b"FP32" => chunks(raw, |part| f64::from(f32::from_le_bytes(part)), numbers),
        b"FP16" => chunks(raw, |part| half(u16::from_le_bytes(part)), numbers),
        b"BF16" => chunks(raw, |part| bfloat16(u16::from_le_bytes(part)), numbers),
        b"INT8" => chunks(raw, |part| f64::from(i8::from_le_bytes(part)), numbers),
        b"INT16" => chunks(raw, |part| f64::from(i16::from_le_bytes(part)), numbers),
        b"INT32" => chunks(raw, |part| f64::from(i32::from_le_bytes(part)), numbers),
        b"UINT8" => chunks(raw, |[byte]| f64::from(byte), numbers),
        b"UINT16" => chunks(raw, |part| f64::from(u16::from_le_bytes(part)), numbers),
        b"UINT32" => chunks(raw, |part| f64::from(u32::from_le_bytes(part)), numbers),
        // An integer that is not exact is no finite number here, and left to Python.
        b"INT64" => {
            chunks(raw, |part| exact(i64::from_le_bytes(part)).unwrap_or(f64::NAN), numbers)
        }
        b"UINT64" => {
            let number = |part| i64::try_from(u64::from_le_bytes(part)).ok().and_then(exact);
            chunks(raw, |part| number(part).unwrap_or(f64::NAN), numbers)
        }
        _ => None,
    }?;
    Some(Data::Numbers(found))
}

/// The texts of a BYTES tensor, each of which follows its length in four bytes.
fn texts(mut raw: &[u8]) -> Option<Vec<&[u8]>> {
    let mut found = Vec::new();
    while !raw.is_empty() {
        let (size, rest) = raw.split_first_chunk::<4>()?;
        let (text, rest) = rest.split_at_checked(u32::from_le_bytes(*size) as usize)?;
        found.push(Value::Bytes(text).text()?);
        raw = rest;
    }
    Some(found)
}

/// The 16-bit float with these bits.
pub fn half(bits: u16) -> f64 {
    let (exponent, fraction) = (bits >> 10 & 0x1f, f64::from(bits & 0x3ff));
    let size = match exponent {
        0 => fraction * 2f64.powi(-24),
        0x1f => f64::NAN, // or infinite
        _ => (1024.0 + fraction) * 2f64.powi(i32::from(exponent) - 25),
    };
    if bits >> 15 == 1 {
        -size
    } else {
        size
    }
}

/// The bfloat16 with these bits: the upper half of a 32-bit float.
pub fn bfloat16(bits: u16) -> f64 {
    f64::from(f32::from_bits(u32::from(bits) << 16))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_floats_are_exact() {
        for (bits, number) in [(0x3c00, 1.0), (0x3800, 0.5), (0xc000, -2.0), (1, 2f64.powi(-24))] {
            assert_eq!(half(bits), number);
        }
        assert_eq!((half(0x7bff), half(0x0400)), (65504.0, 2f64.powi(-14)));
        assert!(!half(0x7c00).is_finite() && !half(0x7c01).is_finite());
        assert_eq!((bfloat16(0x3e80), bfloat16(0x3f40)), (0.25, 0.75));
    }
}

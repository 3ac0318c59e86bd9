//! Answers of the Open Inference Protocol as protobuf messages: typed or raw contents.

use crate::events::payloads::content::{Content, Once};
use crate::events::payloads::inference::choose;
use crate::events::payloads::output::{add_to_key, push, Data, Output};
use crate::events::payloads::protobuf::{chunks, fields, Value};
use crate::events::payloads::rows::INTEGER_LIMIT;
use crate::events::payloads::tensors;

/// Longer parameters hardly ever repeat.
const MAX_PARAMETERS: usize = 512;

/// Read a `ModelInferResponse`.
pub fn read(bytes: &[u8], content: &mut Content) -> Option<()> {
    let (mut seen, mut outputs, mut raw) = (Once::default(), Vec::new(), Vec::new());
    fields(bytes, |number, value| match number {
        3 => {
            seen.first(1)?;
            value.text().map(|_| ())
        }
        4 => parameter(b'P', value, content),
        5 => push(&mut outputs, output(value.bytes()?, content)?),
        6 => {
            raw.push(value.bytes()?);
            Some(())
        }
        _ => Some(()),
    })?;
    if !raw.is_empty() {
        if raw.len() != outputs.len() {
            return None;
        }
        for (output, raw) in outputs.iter_mut().zip(raw) {
            if !output.data.is_empty() {
                return None;
            }
            output.data = unpack(&output.datatype, raw)?;
        }
    }
    for output in &outputs {
        add_to_key(output, content)?;
    }
    choose(&outputs, content)
}

/// Append a parameter to the key: it can say what the texts are.
fn parameter(tag: u8, value: Value, content: &mut Content) -> Option<()> {
    let text = value.bytes()?;
    if text.len() > MAX_PARAMETERS {
        return None;
    }
    content.put(tag, text)
}

fn output<'a>(bytes: &'a [u8], content: &mut Content) -> Option<Output<'a>> {
    let (mut seen, mut found, mut sizes) = (Once::default(), Output::default(), Vec::new());
    found.data = Data::Numbers(Vec::new());
    content.key.push(b'o');
    fields(bytes, |number, value| match number {
        1 => {
            seen.first(1)?;
            found.name = value.text()?.into();
            Some(())
        }
        2 => {
            seen.first(2)?;
            found.datatype = value.text()?.into();
            Some(())
        }
        3 => value.varints(|size| tensors::add_size(&mut sizes, size)),
        4 => parameter(b'p', value, content),
        5 => {
            seen.first(4)?;
            found.data = contents(value.bytes()?)?;
            Some(())
        }
        _ => Some(()),
    })?;
    found.shape = (!sizes.is_empty()).then_some(sizes);
    if found.datatype.is_empty() && matches!(found.data, Data::Texts(_)) {
        found.datatype = b"BYTES".into();
    }
    Some(found)
}

/// The typed contents of an output, of one type.
fn contents(bytes: &[u8]) -> Option<Data<'_>> {
    let (mut found, mut texts, mut one) = (Vec::new(), Vec::new(), None);
    fields(bytes, |number, value| {
        // Of contents of several types Python knows which count.
        if *one.get_or_insert(number) != number {
            return None;
        }
        match number {
            1 => value.varints(|bits| {
                found.push(Value::Varint(bits).boolean()?);
                Some(())
            }),
            2 => value.varints(|bits| {
                found.push(f64::from(i32::try_from(bits as i64).ok()?));
                Some(())
            }),
            3 => value.varints(|bits| {
                found.push(exact(bits as i64)?);
                Some(())
            }),
            4 => value.varints(|bits| {
                found.push(f64::from(u32::try_from(bits).ok()?));
                Some(())
            }),
            5 => value.varints(|bits| {
                found.push(exact(i64::try_from(bits).ok()?)?);
                Some(())
            }),
            6 => value.floats(&mut found),
            7 => value.doubles(&mut found),
            8 => {
                texts.push(value.text()?);
                Some(())
            }
            _ => None,
        }
    })?;
    Some(match one {
        Some(1) => Data::Booleans(found),
        Some(8) => Data::Texts(texts),
        _ => Data::Numbers(found),
    })
}

/// An integer that is exact as a double.
fn exact(integer: i64) -> Option<f64> {
    let number = integer as f64;
    (number.abs() < INTEGER_LIMIT).then_some(number)
}

/// The values of raw contents, which are little-endian.
fn unpack<'a>(datatype: &[u8], raw: &'a [u8]) -> Option<Data<'a>> {
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
fn half(bits: u16) -> f64 {
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
fn bfloat16(bits: u16) -> f64 {
    f64::from(f32::from_bits(u32::from(bits) << 16))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::payloads::content::tests::{begun, no_rules};
    use crate::events::payloads::protobuf::tests::field;

    fn rows_of(parts: &[Vec<u8>]) -> Option<usize> {
        let mut content = begun(no_rules(), false);
        read(&parts.concat(), &mut content)?;
        Some(content.rows.len())
    }

    fn output_of(datatype: &str, shape: &[u8], contents: &[u8]) -> Vec<u8> {
        let parts = [
            field(1, b"o"),
            field(2, datatype.as_bytes()),
            field(3, shape),
            if contents.is_empty() { Vec::new() } else { field(5, contents) },
        ];
        field(5, &parts.concat())
    }

    #[test]
    fn contents_are_typed_or_raw() {
        let doubles: Vec<u8> = [0.1f64, 0.9].iter().flat_map(|one| one.to_le_bytes()).collect();
        let floats: Vec<u8> = [0.1f32, 0.9].iter().flat_map(|one| one.to_le_bytes()).collect();
        let typed = output_of("FP64", &[1, 2], &field(7, &doubles));
        assert_eq!(rows_of(&[field(1, b"model"), typed.clone()]), Some(1));
        assert_eq!(rows_of(&[output_of("FP32", &[1, 2], &[]), field(6, &floats)]), Some(1));
        assert_eq!(rows_of(&[output_of("INT64", &[2], &field(3, &[1, 2]))]), Some(2));
        assert_eq!(rows_of(&[output_of("BOOL", &[], &field(1, &[1, 0]))]), Some(2));
        assert_eq!(rows_of(&[output_of("", &[1], &field(8, b"cat"))]), Some(1));
        let texts = field(6, b"\x03\0\0\0cat\x03\0\0\0dog");
        assert_eq!(rows_of(&[output_of("BYTES", &[2, 1], &[]), texts]), Some(2));
        for other in [
            vec![],
            vec![typed.clone(), field(6, &doubles)],
            vec![typed.clone(), typed.clone()],
            vec![output_of("FP32", &[1, 2], &[]), field(6, &floats[..7])],
            vec![output_of("FP32", &[1, 2], &[]), field(6, &floats), field(6, &floats)],
            vec![output_of("", &[1, 2], &[]), field(6, &floats)],
            vec![output_of("BOOL", &[1, 2], &field(1, &[1, 0]))],
            vec![output_of("BOOL", &[2], &field(1, &[1, 2]))],
            vec![output_of("FP64", &[1], &field(8, b"cat"))],
            vec![output_of("BYTES", &[1], &[]), field(6, b"\x04\0\0\0cat")],
            vec![output_of("FP64", &[], &[])],
            vec![field(3, b"\xff"), typed],
        ] {
            assert_eq!(rows_of(&other), None, "{other:?}");
        }
    }

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

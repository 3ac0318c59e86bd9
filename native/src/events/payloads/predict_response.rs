//! TensorFlow's answers as protobuf messages, and its tensors, which Seldon's messages may hold too.

use crate::events::payloads::content::{Content, Once};
use crate::events::payloads::inference::typed;
use crate::events::payloads::output::{Data, Output};
use crate::events::payloads::protobuf::{fields, Value};
use crate::events::payloads::raw::{bfloat16, exact, half, unpack};
use crate::events::payloads::tensors;

/// The datatypes of the Open Inference Protocol by TensorFlow's numbers; empty where there is none.
const DATATYPES: [&[u8]; 24] = [
    b"", b"FP32", b"FP64", b"INT32", b"UINT8", b"INT16", b"INT8", b"", b"", b"INT64", b"BOOL", b"",
    b"", b"", b"BF16", b"", b"", b"UINT16", b"", b"FP16", b"", b"", b"UINT32", b"UINT64",
];
/// The fields of a tensor that hold its values.
const VALUES: [u32; 9] = [5, 6, 7, 8, 10, 11, 13, 16, 17];
const HALF_VALUES: u32 = 13;
const BOOLEANS: u32 = 11;
/// A tensor of more values is left to Python, which refuses it.
const MAX_VALUES: usize = 1 << 20;

/// Read a `PredictResponse` with one output; several are left to Python.
pub fn read(bytes: &[u8], content: &mut Content) -> Option<()> {
    let mut seen = Once::default();
    fields(bytes, |number, value| match number {
        1 => {
            seen.first(1)?;
            output(value.bytes()?, content)
        }
        _ => Some(()),
    })?;
    seen.has(1)
}

/// Read an entry of the outputs: a name and a tensor.
fn output(bytes: &[u8], content: &mut Content) -> Option<()> {
    let (mut name, mut tensor) = (None, None);
    fields(bytes, |number, value| match number {
        1 => name.replace(value.text()?).is_none().then_some(()),
        2 => tensor.replace(value.bytes()?).is_none().then_some(()),
        _ => Some(()),
    })?;
    let name = name.unwrap_or_default();
    if content.rules.output_name.as_deref().is_some_and(|wanted| *wanted != *name) {
        return None;
    }
    content.put(b'C', name)?;
    self::tensor(tensor?, content)
}

/// Read a `TensorProto`: its values are packed, or stand in one of several fields.
pub fn tensor(bytes: &[u8], content: &mut Content) -> Option<()> {
    let (mut seen, mut datatype, mut shape, mut packed) =
        (Once::default(), 0, Vec::new(), &b""[..]);
    let (mut numbers, mut texts, mut field) = (Vec::new(), Vec::new(), None);
    fields(bytes, |number, value| {
        // Of values in several fields Python knows which count.
        if VALUES.contains(&number) && *field.get_or_insert(number) != number {
            return None;
        }
        match number {
            1 => {
                seen.first(1)?;
                let Value::Varint(found) = value else { return None };
                datatype = usize::try_from(found).ok()?;
                Some(())
            }
            2 => {
                seen.first(2)?;
                sizes(value.bytes()?, &mut shape)
            }
            4 => {
                seen.first(4)?;
                packed = value.bytes()?;
                Some(())
            }
            8 => {
                texts.push(value.text()?);
                Some(())
            }
            _ => values(number, value, &mut numbers),
        }
    })?;
    // Without dimensions it is a scalar, which is one row.
    let shape = if shape.is_empty() { vec![1] } else { shape };
    content.key.extend_from_slice(&[b'F', datatype as u8, field.unwrap_or(0) as u8]);
    content.key.push(shape.len() as u8);
    for size in &shape[1..] {
        content.key.extend_from_slice(&(*size as u32).to_le_bytes());
    }
    let name = DATATYPES.get(datatype).copied().filter(|name| !name.is_empty());
    if !packed.is_empty() {
        if field.is_some() {
            return None;
        }
        let data = unpack(name?, packed)?;
        return typed(&Output { shape: Some(shape), data, ..Output::default() }, content);
    }
    let size = shape.iter().try_fold(1usize, |product, &size| product.checked_mul(size))?;
    if size > MAX_VALUES {
        return None;
    }
    let (datatype, data) = match field? {
        8 => (&b"BYTES"[..], Data::Texts(filled(texts, size))),
        BOOLEANS => (&b""[..], Data::Booleans(filled(numbers, size))),
        HALF_VALUES => {
            let float = if name == Some(b"BF16") { bfloat16 } else { half };
            numbers.iter_mut().for_each(|bits| *bits = float(*bits as u16));
            if !numbers.iter().all(|number| number.is_finite()) {
                return None;
            }
            (&b""[..], Data::Numbers(filled(numbers, size)))
        }
        _ => (&b""[..], Data::Numbers(filled(numbers, size))),
    };
    let output =
        Output { datatype: datatype.into(), shape: Some(shape), data, ..Output::default() };
    typed(&output, content)
}

/// Append the numbers of a field to those of a tensor.
fn values(number: u32, value: Value, found: &mut Vec<f64>) -> Option<()> {
    let integer: fn(u64) -> Option<f64> = match number {
        5 => return value.floats(found),
        6 => return value.doubles(found),
        7 => |bits| Some(f64::from(i32::try_from(bits as i64).ok()?)),
        10 => |bits| exact(bits as i64),
        BOOLEANS => |bits| Value::Varint(bits).boolean(),
        HALF_VALUES => |bits| Some(f64::from(u16::try_from(bits).ok()?)),
        16 => |bits| Some(f64::from(u32::try_from(bits).ok()?)),
        17 => |bits| exact(i64::try_from(bits).ok()?),
        _ => return Some(()),
    };
    value.varints(|bits| {
        found.push(integer(bits)?);
        Some(())
    })
}

/// Append the sizes of a `TensorShapeProto`.
fn sizes(bytes: &[u8], found: &mut Vec<usize>) -> Option<()> {
    fields(bytes, |number, value| {
        if number != 2 {
            return Some(());
        }
        let mut size = 0;
        fields(value.bytes()?, |number, value| match (number, value) {
            (1, Value::Varint(found)) => {
                size = found;
                Some(())
            }
            (1, _) => None,
            _ => Some(()),
        })?;
        tensors::add_size(found, size)
    })
}

/// The values of a tensor, whose last value may stand for all that follow.
fn filled<T: Clone>(mut values: Vec<T>, size: usize) -> Vec<T> {
    if let (true, Some(last)) = (values.len() < size, values.last().cloned()) {
        values.resize(size, last);
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::payloads::content::tests::{begun, no_rules};
    use crate::events::payloads::content::Rules;
    use crate::events::payloads::protobuf::tests::field;

    fn tensor_of(datatype: u8, shape: &[u8], values: &[u8]) -> Vec<u8> {
        let sizes: Vec<u8> = shape.iter().flat_map(|&size| field(2, &[8, size])).collect();
        [&[8, datatype][..], &field(2, &sizes), values].concat()
    }

    fn rows_of(parts: &[&[u8]], rules: Rules) -> Option<usize> {
        let mut content = begun(rules, false);
        read(&parts.concat(), &mut content)?;
        Some(content.rows.len())
    }

    fn answer(tensor: &[u8]) -> Vec<u8> {
        field(1, &[field(1, b"scores"), field(2, tensor)].concat())
    }

    #[test]
    fn values_stand_in_any_field() {
        let doubles: Vec<u8> = [0.1f64, 0.9].iter().flat_map(|one| one.to_le_bytes()).collect();
        for (datatype, shape, values, count) in [
            (2, &[1, 2][..], field(6, &doubles), Some(1)),
            (2, &[2], field(4, &doubles), Some(2)),
            (2, &[4, 1], field(6, &doubles), Some(4)),
            (9, &[2], field(10, &[1, 2]), Some(2)),
            (3, &[], field(7, &[1]), Some(1)),
            (10, &[2], field(11, &[1, 0]), Some(2)),
            (10, &[1, 2], field(11, &[1, 0]), None),
            (19, &[1], field(13, &[0x80, 0x78]), Some(1)),
            (19, &[1], field(13, &[0x80, 0xf8, 1]), None),
            (7, &[2], field(8, b"cat"), Some(2)),
            (7, &[1], field(4, b"cat"), None),
            (2, &[1, 2], field(4, &doubles[..8]), None),
            (2, &[1], field(6, &doubles), None),
            (2, &[0], field(6, &doubles), None),
            (2, &[1], vec![], None),
            (2, &[2], [field(6, &doubles), field(7, &[1])].concat(), None),
            (2, &[2], [field(4, &doubles), field(6, &doubles)].concat(), None),
        ] {
            let body = answer(&tensor_of(datatype, shape, &values));
            assert_eq!(rows_of(&[&body], no_rules()), count, "{datatype} {shape:?} {values:?}");
        }
    }

    #[test]
    fn one_output_is_read() {
        let body = answer(&tensor_of(3, &[2], &field(7, &[1, 2])));
        let named = |name: &str| Rules { output_name: Some(name.as_bytes().into()), ..no_rules() };
        assert_eq!(rows_of(&[&body, &field(2, b"spec")], no_rules()), Some(2));
        assert_eq!(rows_of(&[&body], named("scores")), Some(2));
        assert_eq!(rows_of(&[&body], named("other")), None);
        assert_eq!(rows_of(&[&body, &body], no_rules()), None);
        assert_eq!(rows_of(&[&field(2, b"spec")], no_rules()), None);
        assert_eq!(rows_of(&[&field(1, &field(1, b"scores"))], no_rules()), None);
    }
}

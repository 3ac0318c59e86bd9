//! Answers of the Open Inference Protocol as protobuf messages: typed or raw contents.

use crate::events::payloads::content::{Content, Once};
use crate::events::payloads::inference::choose;
use crate::events::payloads::output::{add_to_key, push, Data, Output};
use crate::events::payloads::protobuf::{fields, Value};
use crate::events::payloads::raw::{exact, unpack};
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
}

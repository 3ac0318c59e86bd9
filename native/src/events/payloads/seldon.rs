//! Protobuf messages of Seldon: the counterpart of `protobuf.py`.

use crate::events::payloads::content::{Content, Once};
use crate::events::payloads::protobuf::{fields, Value};
use crate::events::payloads::rows::Reading;
use crate::events::payloads::{predict_response, rewards, tensors};

/// A longer status hardly ever repeats.
const MAX_STATUS: usize = 512;
/// Rows nest no deeper; `[x]` and `x` are the same row.
const MAX_DEPTH: u32 = 4;

/// Read a `SeldonMessage`, whose data stands in exactly one place.
pub fn response(bytes: &[u8], content: &mut Content) -> Option<()> {
    let mut seen = Once::default();
    fields(bytes, |number, value| match number {
        1 => {
            seen.first(1)?;
            let status = value.bytes()?;
            if status.len() > MAX_STATUS {
                return None;
            }
            content.put(b's', status)
        }
        3 => {
            seen.first(2)?;
            data(value.bytes()?, content)
        }
        5 => {
            seen.first(2)?;
            content.key.push(b'S');
            content.rows.add_text(value.text()?)
        }
        6 => {
            seen.first(2)?;
            content.key.push(b'J');
            json_data(value.bytes()?, content)
        }
        // Containers that Python reads.
        4 | 7 => None,
        _ => Some(()),
    })?;
    seen.has(2)
}

/// Read a `Feedback`: a reward, and a truth.
pub fn feedback(bytes: &[u8], content: &mut Content) -> Option<()> {
    let (mut seen, mut reward) = (Once::default(), 0.0);
    fields(bytes, |number, value| match (number, value) {
        (3, Value::Fixed32(bytes)) => {
            seen.first(1)?;
            reward = f32::from_le_bytes(bytes);
            Some(())
        }
        (4, value) => {
            seen.first(2)?;
            response(value.bytes()?, content)
        }
        (3, _) => None,
        // The request and the response stand here too.
        _ => Some(()),
    })?;
    // Protobuf omits zeros: a missing reward is 0 without a truth, and none with one.
    if seen.has(2).is_none() || reward != 0.0 {
        content.reward = Some(rewards::of_float(reward)?);
    }
    Some(())
}

/// Read the names and the rows of data.
fn data(bytes: &[u8], content: &mut Content) -> Option<()> {
    let mut seen = Once::default();
    fields(bytes, |number, value| match number {
        1 => content.put(b'd', value.text()?),
        2 => {
            seen.first(1)?;
            content.key.push(b'T');
            tensor(value.bytes()?, content)
        }
        3 => {
            seen.first(1)?;
            content.key.push(b'A');
            list(value.bytes()?, |value| row(value, content, 0))
        }
        4 => {
            seen.first(1)?;
            predict_response::tensor(value.bytes()?, content)
        }
        _ => Some(()),
    })?;
    seen.has(1)
}

fn tensor(bytes: &[u8], content: &mut Content) -> Option<()> {
    let mut sizes = Vec::new();
    let mut values = std::mem::take(&mut content.numbers);
    values.clear();
    fields(bytes, |number, value| match number {
        1 => value.varints(|size| tensors::add_size(&mut sizes, size)),
        2 => value.doubles(&mut values),
        _ => Some(()),
    })?;
    tensors::add(&values, tensors::width(&sizes, values.len())?, content)?;
    content.numbers = values;
    Some(())
}

/// Call `read` with the bytes of each `Value` of a `ListValue` that has any.
fn list<'a>(bytes: &'a [u8], mut read: impl FnMut(&'a [u8]) -> Option<()>) -> Option<()> {
    let mut is_empty = true;
    fields(bytes, |number, value| {
        is_empty = false;
        if number == 1 {
            read(value.bytes()?)
        } else {
            None
        }
    })?;
    (!is_empty).then_some(())
}

/// The only field of a `Value`, which says its kind.
fn kind(bytes: &[u8]) -> Option<(u32, Value<'_>)> {
    let mut found = None;
    fields(bytes, |number, value| match found.replace((number, value)) {
        None => Some(()),
        Some(_) => None,
    })?;
    found
}

/// Read a `Value` that is a list of rows, or one row.
fn json_data(bytes: &[u8], content: &mut Content) -> Option<()> {
    match kind(bytes)? {
        (6, value) => list(value.bytes()?, |value| row(value, content, 0)),
        _ => row(bytes, content, 0),
    }
}

/// Read a `Value` that is a row: a number, a boolean, a text, or a list of numbers or of texts.
fn row(bytes: &[u8], content: &mut Content, depth: u32) -> Option<()> {
    let rules = content.rules.clone();
    let reading = Reading { rules: &rules, is_truth: content.is_truth };
    match kind(bytes)? {
        (2, value) => content.rows.add_number(value.double()?, reading),
        (3, value) => content.rows.add_text(value.text()?),
        (4, value) => content.rows.add_number(value.boolean()?, reading),
        (6, value) if depth <= MAX_DEPTH => {
            let bytes = value.bytes()?;
            if rules.is_multilabel && bytes.is_empty() {
                return content.rows.add_text_set(&mut [&b""[..]; 0]);
            }
            let mut first = None;
            let mut count = 0;
            list(bytes, |value| {
                first = first.or(Some(value));
                count += 1;
                Some(())
            })?;
            let first = first?;
            match kind(first)? {
                (2, _) => numbers(bytes, content, reading),
                (3, _) if rules.is_multilabel => texts(bytes, content),
                _ if count == 1 => row(first, content, depth + 1),
                _ => None,
            }
        }
        _ => None,
    }
}

fn numbers(bytes: &[u8], content: &mut Content, reading: Reading) -> Option<()> {
    let mut found = std::mem::take(&mut content.numbers);
    found.clear();
    list(bytes, |value| {
        let (2, value) = kind(value)? else { return None };
        found.push(value.double()?);
        Some(())
    })?;
    content.rows.add_numbers(&found, reading)?;
    content.numbers = found;
    Some(())
}

fn texts(bytes: &[u8], content: &mut Content) -> Option<()> {
    let mut found = Vec::new();
    list(bytes, |value| {
        let (3, value) = kind(value)? else { return None };
        found.push(value.text()?);
        Some(())
    })?;
    content.rows.add_text_set(&mut found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::payloads::content::tests::{begun, no_rules};
    use crate::events::payloads::protobuf::tests::field;

    fn rows_of(bytes: &[u8]) -> Option<usize> {
        let mut content = begun(no_rules(), false);
        response(bytes, &mut content)?;
        Some(content.rows.len())
    }

    /// The number of rows, and the reward.
    fn judged(bytes: &[u8]) -> Option<(usize, Option<i64>)> {
        let mut content = begun(no_rules(), true);
        feedback(bytes, &mut content)?;
        Some((content.rows.len(), content.reward))
    }

    fn tensor_of(shape: &[u8], values: &[f64]) -> Vec<u8> {
        let values: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        field(3, &field(2, &[field(1, shape), field(2, &values)].concat()))
    }

    #[test]
    fn containers_are_read() {
        let tensor = tensor_of(&[2, 2], &[0.1, 0.9, 0.8, 0.2]);
        assert_eq!(rows_of(&tensor), Some(2));
        assert_eq!(rows_of(&[field(2, b"meta"), tensor.clone()].concat()), Some(2));
        assert_eq!(rows_of(&field(5, b"cat")), Some(1));
        let text = field(1, &field(3, b"cat"));
        assert_eq!(rows_of(&field(3, &field(3, &[text.clone(), text.clone()].concat()))), Some(2));
        assert_eq!(rows_of(&field(6, &field(6, &text))), Some(1));
        assert_eq!(rows_of(&field(6, &field(3, b"cat"))), Some(1));
        for other in [
            vec![],
            [tensor.clone(), tensor.clone()].concat(),
            [tensor.clone(), field(5, b"cat")].concat(),
            tensor_of(&[2, 2], &[0.1, 0.9]),
            tensor_of(&[1, 2], &[f64::NAN, 0.9]),
            tensor[..tensor.len() - 1].to_vec(),
            field(4, b"x"),
            field(5, b"\xff"),
            field(3, &field(1, b"name")),
            field(3, &field(3, b"")),
            field(3, &field(3, &field(1, b""))),
        ] {
            assert_eq!(rows_of(&other), None, "{other:?}");
        }
    }

    #[test]
    fn a_reward_of_zero_counts_without_a_truth() {
        let reward = |number: f32| [&[3 << 3 | 5], &number.to_le_bytes()[..]].concat();
        let truth = field(4, &field(5, b"cat"));
        assert_eq!(judged(&reward(0.1)), Some((0, Some(100_000))));
        assert_eq!(judged(&reward(0.0)), Some((0, Some(0))));
        assert_eq!(judged(&field(1, b"request")), Some((0, Some(0))));
        assert_eq!(judged(&truth), Some((1, None)));
        assert_eq!(judged(&[reward(1.0), truth].concat()), Some((1, Some(1_000_000))));
        assert_eq!(judged(&reward(f32::NAN)), None);
        assert_eq!(judged(&[reward(1.0), reward(1.0)].concat()), None);
        assert_eq!(judged(&field(4, b"")), None);
    }
}

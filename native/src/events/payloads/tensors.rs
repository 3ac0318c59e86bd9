//! Flat tensors with a shape, whose first dimension counts the rows.

use crate::events::json::Scanner;
use crate::events::payloads::content::{Content, Once};
use crate::events::payloads::row::numbers;
use crate::events::payloads::rows::Reading;

/// Python refuses more dimensions.
const MAX_DIMENSIONS: usize = 64;
/// A size has at most nine digits.
const MAX_SIZE: u64 = 1_000_000_000;

/// The sizes of a shape. None if it is not a list of natural numbers.
pub fn shape(scanner: &mut Scanner) -> Option<Vec<usize>> {
    let mut sizes = Vec::new();
    scanner.expect(b'[')?;
    if scanner.closes(b']') {
        return Some(sizes);
    }
    loop {
        let text = scanner.number()?;
        if sizes.len() >= MAX_DIMENSIONS || text.len() > 9 || !text.iter().all(u8::is_ascii_digit) {
            return None;
        }
        sizes.push(std::str::from_utf8(text).ok()?.parse().ok()?);
        if !scanner.more(b']')? {
            return Some(sizes);
        }
    }
}

/// Append a size that is written as a varint.
pub fn add_size(sizes: &mut Vec<usize>, size: u64) -> Option<()> {
    if sizes.len() >= MAX_DIMENSIONS || size >= MAX_SIZE {
        return None;
    }
    sizes.push(size as usize);
    Some(())
}

/// The numbers in a row of a tensor of this shape with so many values. None unless a row is a number or
/// a list of numbers.
pub fn width(shape: &[usize], values: usize) -> Option<usize> {
    let (&count, inner) = shape.split_first()?;
    let width = inner.last().copied().unwrap_or(1);
    let is_flat = inner.iter().rev().skip(1).all(|&size| size == 1);
    (is_flat && width > 0 && count.checked_mul(width)? == values && values > 0).then_some(width)
}

/// Add the rows of flat values.
pub fn add(values: &[f64], width: usize, content: &mut Content) -> Option<()> {
    let reading = Reading { rules: &content.rules, is_truth: content.is_truth };
    values.chunks_exact(width).try_for_each(|row| content.rows.add_numbers(row, reading))
}

/// Read a tensor of Seldon's.
pub fn read(scanner: &mut Scanner, content: &mut Content) -> Option<()> {
    let (mut seen, mut sizes) = (Once::default(), Vec::new());
    let mut values = std::mem::take(&mut content.numbers);
    values.clear();
    scanner.members(|scanner, name| match name {
        b"shape" => {
            seen.first(1)?;
            sizes = shape(scanner)?;
            Some(())
        }
        b"values" => {
            seen.first(2)?;
            scanner.expect(b'[')?;
            numbers(scanner, &mut values)
        }
        _ => scanner.skip().map(|_| ()),
    })?;
    let width = width(&sizes, values.len())?;
    add(&values, width, content)?;
    content.numbers = values;
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::payloads::content::tests::{begun, no_rules};

    fn rows(text: &str) -> Option<usize> {
        let mut content = begun(no_rules(), false);
        read(&mut Scanner::new(text.as_bytes()), &mut content)?;
        Some(content.rows.len())
    }

    #[test]
    fn the_first_dimension_counts_the_rows() {
        assert_eq!(rows(r#"{"shape":[2,2],"values":[0.1,0.9,0.8,0.2]}"#), Some(2));
        assert_eq!(rows(r#"{"values":[0.1,0.9],"shape":[2],"x":[]}"#), Some(2));
        assert_eq!(rows(r#"{"shape":[1,1,3],"values":[1,2,3]}"#), Some(1));
        for text in [
            r#"{"shape":[2,2],"values":[0.1,0.9]}"#,
            r#"{"shape":[1,2,1],"values":[0.1,0.9]}"#,
            r#"{"shape":[],"values":[0.1]}"#,
            r#"{"shape":[1.0],"values":[0.1]}"#,
            r#"{"shape":[0],"values":[]}"#,
            r#"{"values":[0.1]}"#,
            r#"{"shape":[1],"values":["NaN"]}"#,
            r#"{"shape":[1],"values":[1],"values":[2]}"#,
        ] {
            assert_eq!(rows(text), None, "{text}");
        }
    }
}

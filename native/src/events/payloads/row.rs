//! One row of data in JSON: a number, a list of numbers, a text, or an object of scores.

use crate::events::json::Scanner;
use crate::events::payloads::content::Content;
use crate::events::payloads::rows::{Reading, INTEGER, INTEGER_LIMIT, TEXT};

/// Rows nest no deeper; `[x]` and `x` are the same row.
const MAX_DEPTH: u32 = 4;
/// Objects of more scores are left to Python.
const MAX_NAMES: usize = 64;
/// Names in an object under which its label stands, and the probability of that: Python's order.
const LABELS: [&[u8]; 4] = [b"label", b"class", b"prediction", b"predicted_class"];
const CONFIDENCES: [&[u8]; 3] = [b"score", b"confidence", b"probability"];
/// Names that say something else of what stands under them (see `forms.py`).
const SPECIAL: [&[u8]; 9] = [
    b"predicted_label",
    b"predict",
    b"output_label",
    b"classes",
    b"predict_proba",
    b"probabilities",
    b"output_probability",
    b"scores",
    b"b64",
];

/// A finite number. None for an integer that may not be exact as a double.
pub fn number(scanner: &mut Scanner) -> Option<f64> {
    let text = scanner.number()?;
    if let [digit @ b'0'..=b'9'] = text {
        return Some(f64::from(digit - b'0'));
    }
    // A number is ASCII, so this cannot fail.
    let number: f64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    if number.abs() < INTEGER_LIMIT {
        return Some(number);
    }
    let is_float = text.iter().any(|byte| matches!(byte, b'.' | b'e' | b'E'));
    (is_float && number.is_finite()).then_some(number)
}

/// Read the rest of a list of finite numbers whose `[` was taken.
pub fn numbers(scanner: &mut Scanner, found: &mut Vec<f64>) -> Option<()> {
    loop {
        found.push(number(scanner)?);
        if !scanner.more(b']')? {
            return Some(());
        }
    }
}

/// Read a list of rows.
pub fn rows(scanner: &mut Scanner, content: &mut Content) -> Option<()> {
    scanner.expect(b'[')?;
    loop {
        row(scanner, content)?;
        if !scanner.more(b']')? {
            return Some(());
        }
    }
}

/// Read a row.
pub fn row(scanner: &mut Scanner, content: &mut Content) -> Option<()> {
    nested(scanner, content, 0)
}

fn nested(scanner: &mut Scanner, content: &mut Content, depth: u32) -> Option<()> {
    if depth > MAX_DEPTH {
        return None;
    }
    let rules = content.rules.clone();
    let reading = Reading { rules: &rules, is_truth: content.is_truth };
    match scanner.next()? {
        b'[' => {
            scanner.expect(b'[')?;
            if matches!(scanner.next()?, b'-' | b'0'..=b'9') {
                let mut found = std::mem::take(&mut content.numbers);
                found.clear();
                let is_read = numbers(scanner, &mut found);
                let added = is_read.and_then(|()| content.rows.add_numbers(&found, reading));
                content.numbers = found;
                return added;
            }
            if rules.is_multilabel && matches!(scanner.next()?, b'"' | b']') {
                return texts(scanner, content);
            }
            nested(scanner, content, depth + 1)?;
            scanner.expect(b']')
        }
        b'"' => content.rows.add_text(&scanner.string()?),
        b'{' => object(scanner, content, reading),
        b't' | b'f' => {
            let is_true = scanner.boolean()?;
            content.rows.add_number(f64::from(u8::from(is_true)), reading)
        }
        _ => content.rows.add_number(number(scanner)?, reading),
    }
}

/// Read the rest of a list of texts whose `[` was taken.
fn texts(scanner: &mut Scanner, content: &mut Content) -> Option<()> {
    let mut found = Vec::new();
    if !scanner.closes(b']') {
        loop {
            found.push(scanner.string()?);
            if !scanner.more(b']')? {
                break;
            }
        }
    }
    content.rows.add_text_set(&mut found)
}

/// Read a row that is an object: scores by name, or a label with its probability.
fn object(scanner: &mut Scanner, content: &mut Content, reading: Reading) -> Option<()> {
    if reading.rules.output_name.is_some() || reading.rules.is_multilabel {
        return None;
    }
    let (mut names, mut scores, mut label) = (Vec::new(), Vec::new(), None);
    scanner.expect(b'{')?;
    loop {
        let name = scanner.key()?;
        if names.len() >= MAX_NAMES || names.contains(&name) || SPECIAL.contains(&&*name) {
            return None;
        }
        if !LABELS.contains(&&*name) {
            scores.push(number(scanner)?);
        } else if label.replace(self::label(scanner)?).is_none() {
            scores.push(0.0);
        } else {
            return None; // Of several labels Python knows which one counts.
        }
        names.push(name);
        if !scanner.more(b'}')? {
            break;
        }
    }
    let Some(label) = label else {
        return (names.len() > 1)
            .then(|| content.rows.add_named_scores(&names, &scores, reading))?;
    };
    if names.len() < 2 || reading.rules.is_regression {
        return None;
    }
    let confidence = CONFIDENCES.iter().find_map(|wanted| {
        let at = names.iter().position(|name| **name == **wanted)?;
        (0.0..=1.0).contains(&scores[at]).then(|| scores[at])
    });
    content.rows.add_confident(&label, confidence, reading.is_truth)
}

/// The class of a label in an object: a text or an integer.
fn label(scanner: &mut Scanner) -> Option<Vec<u8>> {
    if scanner.next_is(b'"') {
        return Some([&[TEXT], &*scanner.string()?].concat());
    }
    let number = number(scanner)?;
    let is_integer = number.fract() == 0.0 && number.abs() < INTEGER_LIMIT;
    is_integer.then(|| [&[INTEGER][..], &(number as i64).to_le_bytes()].concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::payloads::content::tests::{begun, no_rules};

    fn classes(text: &str) -> Option<Vec<Vec<u8>>> {
        let mut content = begun(no_rules(), false);
        let mut scanner = Scanner::new(text.as_bytes());
        rows(&mut scanner, &mut content)?;
        scanner.at_end()?;
        Some(content.rows.iter().map(|(class, _)| class.to_vec()).collect())
    }

    #[test]
    fn rows_of_one_meaning_have_one_class() {
        for (text, other) in [
            ("[1,[0.1,0.9]]", "[[[1.0]] , [[-2, 0.5e1]]]"),
            ("[true]", "[1]"),
            (r#"["cat"]"#, r#"[["cat"]]"#),
            (r#"[{"a":0.1,"b":0.9}]"#, r#"[[{"a":0.2,"b":0.8}]]"#),
            (r#"[{"label":"a","score":0.9}]"#, r#"[{"score":0.8,"label":"a"}]"#),
            (r#"[{"label":1,"score":9}]"#, r#"[{"label":1.0,"more":2}]"#),
        ] {
            assert!(classes(text).is_some(), "{text}");
            assert_eq!(classes(text), classes(other), "{text}");
        }
        assert_ne!(classes("[[0.1,0.9]]"), classes("[[0.9,0.1]]"));
        assert_ne!(classes(r#"[{"a":0.1,"b":0.9}]"#), classes(r#"[{"a":1,"b":9}]"#));
    }

    #[test]
    fn other_rows_are_left() {
        for text in [
            "[]",
            "[[]]",
            "[null]",
            "[[1,true]]",
            "[[true,1]]",
            "[[[1],[2]]]",
            "[9007199254740992]",
            "[[1e400,1]]",
            r#"["0.9:1"]"#,
            r#"[{"a":1}]"#,
            r#"[{"a":1,"a":2}]"#,
            r#"[{"label":0.5,"score":0.5}]"#,
            r#"[{"label":1}]"#,
            r#"[{"label":"a","class":"b"}]"#,
            r#"[{"label":"a","scores":1}]"#,
            r#"[{"a":1,"b":"c"}]"#,
        ] {
            assert_eq!(classes(text), None, "{text}");
        }
    }
}

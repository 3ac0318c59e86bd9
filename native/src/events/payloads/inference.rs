//! Outputs of the Open Inference Protocol: the counterpart of `inference.py`.

use std::borrow::Cow;

use crate::events::json::Scanner;
use crate::events::payloads::content::{put, Content, Once};
use crate::events::payloads::output::{add_to_key, push, Data, Output};
use crate::events::payloads::raw::unpack;
use crate::events::payloads::row::{numbers, row, rows};
use crate::events::payloads::rows::{Reading, Rows};
use crate::events::payloads::tensors;

/// The names of an output of labels, and of one of probabilities beside it, in Python's order.
const LABELS: [&[u8]; 5] = [b"predict", b"label", b"output_label", b"classes", b"predicted_label"];
const PROBABILITIES: [&[u8]; 4] =
    [b"predict_proba", b"probabilities", b"output_probability", b"scores"];

/// The member of parameters that says how many bytes of binary data an output has.
const SIZE: &[u8] = b"binary_data_size";

/// Read the outputs of an answer.
pub fn read(scanner: &mut Scanner, content: &mut Content) -> Option<()> {
    scanner.expect(b'[')?;
    let mut outputs: Vec<Output> = Vec::new();
    loop {
        let found = output(scanner)?;
        add_to_key(&found, content)?;
        push(&mut outputs, found)?;
        if !scanner.more(b']')? {
            break;
        }
    }
    scanner.has_taken_all()?;
    choose(&outputs, content)
}

/// Add the rows of the output that counts.
pub fn choose(outputs: &[Output], content: &mut Content) -> Option<()> {
    let wanted = content.rules.output_name.clone();
    if let Some(wanted) = wanted {
        return match outputs.iter().find(|one| *one.name == *wanted) {
            Some(found) => values(found, content),
            None if content.is_truth => values(outputs.first()?, content),
            None => None,
        };
    }
    if let [only] = outputs {
        return values(only, content);
    }
    let find = |names: &[&[u8]]| {
        names.iter().find_map(|name| outputs.iter().find(|one| *one.name == **name))
    };
    match (find(&LABELS), find(&PROBABILITIES)) {
        (Some(label), Some(scores)) => pair(label, scores, content),
        _ if content.rules.has_scores => None,
        _ => values(outputs.first()?, content),
    }
}

fn output<'a>(scanner: &mut Scanner<'a>) -> Option<Output<'a>> {
    let (mut seen, mut found, mut size) = (Once::default(), Output::default(), None);
    scanner.members(|scanner, name| match name {
        b"name" => {
            seen.first(1)?;
            found.name = scanner.string()?;
            Some(())
        }
        b"datatype" => {
            seen.first(2)?;
            found.datatype = scanner.string()?;
            Some(())
        }
        b"shape" => {
            seen.first(4)?;
            if scanner.next_is(b'n') {
                return scanner.skip().map(|_| ());
            }
            let shape = tensors::shape(scanner)?;
            found.shape = (!shape.is_empty()).then_some(shape);
            Some(())
        }
        b"data" => {
            seen.first(8)?;
            found.data = Data::Json(scanner.skip()?);
            Some(())
        }
        b"parameters" => {
            seen.first(16)?;
            (found.parameters, size) = parameters(scanner.skip()?)?;
            Some(())
        }
        _ => scanner.skip().map(|_| ()),
    })?;
    seen.has(1 | 2)?;
    match size {
        None => seen.has(8)?,
        Some(size) => found.data = unpack(&found.datatype, scanner.take_binary(size)?)?,
    }
    Some(found)
}

/// The parameters of an output for its key, and the size of its binary data, None if it has none.
fn parameters(text: &[u8]) -> Option<(Cow<'_, [u8]>, Option<usize>)> {
    let (mut size, mut others) = (None, Vec::new());
    let mut seen = Once::default();
    let mut scanner = Scanner::new(text);
    if scanner.expect(b'{').is_none() || scanner.closes(b'}') {
        return Some((text.into(), None));
    }
    scanner.members_of_open(|scanner, name| {
        let value = scanner.skip()?;
        if name != SIZE {
            return Some(());
        }
        seen.first(1)?;
        size = binary_size(value)?;
        Some(())
    })?;
    if size.is_none() {
        return Some((text.into(), None));
    }
    // Equal parameters of another size mean the same; JSON does not begin with such a letter.
    others.push(b'B');
    Scanner::new(text).members(|scanner, name| {
        let value = scanner.skip()?;
        if name == SIZE {
            return Some(());
        }
        put(&mut others, b'p', name)?;
        put(&mut others, b'v', value)
    })?;
    Some((others.into(), size))
}

/// The size that a value says: Some(None) if it is no natural number above 0.
fn binary_size(value: &[u8]) -> Option<Option<usize>> {
    if !value.iter().all(u8::is_ascii_digit) || value == b"0" {
        return Some(None);
    }
    // More digits are no size of a record.
    (value.len() < 10).then(|| std::str::from_utf8(value).ok()?.parse().ok())
}

/// Add the rows of an output.
fn values(output: &Output, content: &mut Content) -> Option<()> {
    let Data::Json(data) = output.data else { return typed(output, content) };
    let mut scanner = Scanner::new(data);
    scanner.expect(b'[')?;
    let start = content.rows.len();
    if output.is_text() {
        loop {
            content.rows.add_text(&scanner.string()?)?;
            if !scanner.more(b']')? {
                break;
            }
        }
        let count = content.rows.len() - start;
        return match &output.shape {
            Some(shape) => (tensors::width(shape, count)? == 1).then_some(()),
            None => Some(()),
        };
    }
    let is_nested = scanner.next_is(b'[');
    match &output.shape {
        Some(shape) if is_nested && shape.len() == 2 => nested(&mut scanner, shape, content),
        None => rows_of_numbers(data, content),
        Some(shape) if is_nested => {
            rows_of_numbers(data, content)?;
            (shape[..] == [content.rows.len() - start]).then_some(())
        }
        Some(shape) => flat(&mut scanner, shape, content),
    }
}

/// Add the rows of an output whose values were read.
pub fn typed(output: &Output, content: &mut Content) -> Option<()> {
    let count = output.data.len();
    let width = match &output.shape {
        Some(shape) => tensors::width(shape, count)?,
        None if count == 0 => return None,
        None => 1,
    };
    match &output.data {
        Data::Numbers(found) if !output.is_text() => tensors::add(found, width, content),
        Data::Booleans(found) if !output.is_text() && width == 1 => {
            tensors::add(found, width, content)
        }
        Data::Texts(found) if output.is_text() && width == 1 => {
            found.iter().try_for_each(|text| content.rows.add_text(text))
        }
        _ => None,
    }
}

/// Add a row for each value.
fn rows_of_numbers(data: &[u8], content: &mut Content) -> Option<()> {
    // A text is a label only where the datatype says so, and objects are of no datatype.
    if data.iter().any(|byte| matches!(byte, b'"' | b'{')) {
        return None;
    }
    rows(&mut Scanner::new(data), content)
}

/// Add the rows of a list that is nested like its shape of two dimensions.
fn nested(scanner: &mut Scanner, shape: &[usize], content: &mut Content) -> Option<()> {
    let rules = content.rules.clone();
    let reading = Reading { rules: &rules, is_truth: content.is_truth };
    let mut found = std::mem::take(&mut content.numbers);
    let mut count = 0;
    loop {
        scanner.expect(b'[')?;
        found.clear();
        numbers(scanner, &mut found)?;
        if found.len() != shape[1] {
            return None;
        }
        content.rows.add_numbers(&found, reading)?;
        count += 1;
        if !scanner.more(b']')? {
            break;
        }
    }
    content.numbers = found;
    (count == shape[0]).then_some(())
}

/// Add the rows of a flat list of numbers, or of true and false where each is a row.
fn flat(scanner: &mut Scanner, shape: &[usize], content: &mut Content) -> Option<()> {
    if matches!(scanner.next()?, b't' | b'f') {
        let start = content.rows.len();
        loop {
            if !matches!(scanner.next()?, b't' | b'f') {
                return None;
            }
            row(scanner, content)?;
            if !scanner.more(b']')? {
                break;
            }
        }
        let width = tensors::width(shape, content.rows.len() - start)?;
        return (width == 1).then_some(());
    }
    let mut found = std::mem::take(&mut content.numbers);
    found.clear();
    numbers(scanner, &mut found)?;
    tensors::add(&found, tensors::width(shape, found.len())?, content)?;
    content.numbers = found;
    Some(())
}

/// Add the rows of an output of labels with the probabilities of another.
fn pair(label: &Output, scores: &Output, content: &mut Content) -> Option<()> {
    let Some([count, width]) = scores.shape.as_deref() else { return None };
    let is_other = content.rules.is_regression || content.rules.is_multilabel;
    if is_other || scores.is_text() || *width < 2 {
        return None;
    }
    values(label, content)?;
    let labels = std::mem::take(&mut content.rows);
    if labels.len() != *count {
        return None;
    }
    let data = match &scores.data {
        Data::Json(data) => *data,
        Data::Numbers(found) if found.len() == count * width => {
            return add_pairs(&labels, found.chunks_exact(*width), content)
        }
        _ => return None,
    };
    let mut scanner = Scanner::new(data);
    let mut found = Vec::new();
    scanner.expect(b'[')?;
    if scanner.next_is(b'[') {
        loop {
            let start = found.len();
            scanner.expect(b'[')?;
            numbers(&mut scanner, &mut found)?;
            if found.len() - start != *width {
                return None;
            }
            if !scanner.more(b']')? {
                break;
            }
        }
    } else {
        numbers(&mut scanner, &mut found)?;
    }
    if found.len() != count * width {
        return None;
    }
    add_pairs(&labels, found.chunks_exact(*width), content)
}

fn add_pairs<'a>(
    labels: &Rows,
    scores: impl Iterator<Item = &'a [f64]>,
    content: &mut Content,
) -> Option<()> {
    let is_truth = content.is_truth;
    labels
        .iter()
        .zip(scores)
        .try_for_each(|((label, _), scores)| content.rows.add_labelled(label, scores, is_truth))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::payloads::content::tests::{begun, no_rules};
    use crate::events::payloads::content::Rules;

    type Found = (Vec<u8>, Vec<(Vec<u8>, Vec<u8>)>);

    fn read_by(text: &str, rules: Rules, is_truth: bool) -> Option<Found> {
        let mut content = begun(rules, is_truth);
        read(&mut Scanner::new(text.as_bytes()), &mut content)?;
        let rows = content.rows.iter().map(|(class, values)| (class.to_vec(), values.to_vec()));
        let rows = rows.collect();
        Some((content.key, rows))
    }

    fn plain(text: &str) -> Option<Found> {
        read_by(text, no_rules(), false)
    }

    const TWO: &str = r#"[{"name":"p","datatype":"FP32","shape":[2,2],"data":[0.1,0.9,3,2]},
        {"name":"q","datatype":"BYTES","shape":[1],"data":["x"]}]"#;

    #[test]
    fn the_key_has_the_names_of_all() {
        let found = plain(TWO).unwrap();
        assert_eq!(found.1.len(), 2);
        assert_ne!(found.0, plain(&TWO.replace("\"q\"", "\"r\"")).unwrap().0);
        let nested = TWO.replace("[0.1,0.9,3,2]", "[[0.1,0.9],[3,2]]");
        assert_eq!(found, plain(&nested).unwrap());
        for (part, odd) in [
            ("\"shape\":[2,2]", "\"shape\":[2,1]"),
            ("\"datatype\":\"FP32\",", ""),
            ("\"q\"", "\"p\""),
            ("0.1", "\"a\""),
            ("[0.1,0.9,3,2]", "[[0.1,0.9],[3]]"),
        ] {
            assert_eq!(plain(&TWO.replace(part, odd)), None, "{odd}");
        }
    }

    #[test]
    fn binary_data_follow_the_json() {
        let read_binary = |text: &str, binary: &[u8]| -> Option<Found> {
            let mut content = begun(no_rules(), false);
            read(&mut Scanner::with_binary(text.as_bytes(), binary), &mut content)?;
            let rows = content.rows.iter();
            Some((content.key.clone(), rows.map(|(c, v)| (c.to_vec(), v.to_vec())).collect()))
        };
        let head =
            r#"[{"name":"p","datatype":"FP32","shape":[1,2],"parameters":{"binary_data_size":8}}]"#;
        let floats: Vec<u8> = [0.25f32, 0.75].iter().flat_map(|one| one.to_le_bytes()).collect();
        let found = read_binary(head, &floats).unwrap();
        assert_eq!(found.1[0].1, [0, 0x40, 0xff, 0xbf]);
        let two = head.replace("[1,2]", "[2,2]").replace(":8", ":16");
        let both = read_binary(&two, &[&floats[..], &floats].concat()).unwrap();
        assert_eq!((both.0, both.1.len()), (found.0.clone(), 2));
        let more = head.replace("{\"binary", "{\"content_type\":\"np\",\"binary");
        assert_ne!(read_binary(&more, &floats).unwrap().0, found.0);
        for other in [
            head.replace(":8", ":7"),
            head.replace(":8", ":9"),
            head.replace(":8", ":0"),
            head.replace(":8", ":8.0"),
            head.replace(":8", ":8000000000"),
            head.replace(":8", ":8,\"binary_data_size\":8"),
            head.replace("[1,2]", "[1,3]"),
        ] {
            assert_eq!(read_binary(&other, &floats), None, "{other}");
        }
        assert_eq!(read_binary(head, b""), None);
    }

    #[test]
    fn the_models_file_names_an_output() {
        let named = |name: &str| Rules { output_name: Some(name.as_bytes().into()), ..no_rules() };
        assert_eq!(read_by(TWO, named("q"), false).unwrap().1[0].0, b"tx");
        assert_eq!(read_by(TWO, named("r"), false), None);
        assert_eq!(read_by(TWO, named("r"), true).unwrap().1.len(), 2);
        assert_eq!(read_by(TWO, Rules { has_scores: true, ..no_rules() }, false), None);
    }

    #[test]
    fn labels_go_with_their_probabilities() {
        let pair = TWO.replace("\"p\"", "\"probabilities\"").replace("\"q\"", "\"label\"");
        assert_eq!(plain(&pair), None);
        let pair = pair.replace("[1],\"data\":[\"x\"]", "[2,1],\"data\":[\"x\",\"y\"]");
        let rows = plain(&pair).unwrap().1;
        assert_eq!(rows[0].0, b"l\x02\0\0\0tx");
        assert_eq!(rows[1], (b"l\0\0\0\0ty".to_vec(), vec![]));
        let numbers = pair.replace("BYTES", "INT64").replace("\"x\",\"y\"", "1,2");
        assert_eq!(plain(&numbers).unwrap().1[1].0[..], *b"l\0\0\0\0i\x02\0\0\0\0\0\0\0");
        let flat = plain(&numbers.replace("[2,1]", "[2]"));
        assert_eq!(plain(&numbers).unwrap().1, flat.unwrap().1);
    }

    #[test]
    fn without_a_shape_each_value_is_a_row() {
        for (shape, data, count) in [
            ("[]", "[1,2,3]", Some(3)),
            ("null", "[[1,2],[3,1]]", Some(2)),
            ("[2]", "[[1,2],[3,1]]", Some(2)),
            ("[3]", "[[1,2],[3,1]]", None),
            ("[2]", "[true,false]", Some(2)),
            ("[1,2]", "[true,false]", None),
            ("[]", "[\"a\"]", None),
            ("[0]", "[]", None),
        ] {
            let text =
                format!(r#"[{{"name":"o","datatype":"INT8","shape":{shape},"data":{data}}}]"#);
            assert_eq!(plain(&text).map(|found| found.1.len()), count, "{text}");
        }
    }
}

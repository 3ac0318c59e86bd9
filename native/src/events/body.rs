//! Messages of any protocol in JSON, and feedback.

use crate::events::json::Scanner;
use crate::events::payloads::content::{Content, Once};
use crate::events::payloads::row::{row, rows};
use crate::events::payloads::{columns, inference, rewards, tensors};

/// Statuses and parameters that are longer hardly ever repeat.
const MAX_PARAMETERS: usize = 512;
const DATA: u32 = 1;

/// Read a response.
pub fn response(scanner: &mut Scanner, content: &mut Content) -> Option<()> {
    scanner.expect(b'{')?;
    message(scanner, content)?.has(DATA)
}

/// Read a message whose `{` was taken, with data in at most one place. Returns whether it has any.
fn message(scanner: &mut Scanner, content: &mut Content) -> Option<Once> {
    let mut seen = Once::default();
    scanner.members_of_open(|scanner, name| match name {
        b"data" => {
            seen.first(DATA)?;
            data(scanner, content)
        }
        b"strData" => {
            seen.first(DATA)?;
            content.key.push(b'S');
            content.rows.add_text(&scanner.string()?)
        }
        b"jsonData" => {
            seen.first(DATA)?;
            content.key.push(b'J');
            rows_or_row(scanner, content)
        }
        b"predictions" => {
            seen.first(DATA)?;
            content.key.push(b'P');
            rows_or_columns(scanner, content)
        }
        b"outputs" => {
            seen.first(DATA)?;
            content.key.push(b'O');
            outputs(scanner, content)
        }
        b"status" | b"parameters" => {
            seen.first(if name == b"status" { 2 } else { 4 })?;
            let text = scanner.skip()?;
            if text.len() > MAX_PARAMETERS {
                return None;
            }
            content.put(name[0], text)
        }
        // Containers that Python reads, or that count only beside no other. Any member that is not named
        // here is skipped.
        b"binData" | b"customData" | b"result" | b"results" => None,
        _ => scanner.skip().map(|_| ()),
    })?;
    Some(seen)
}

fn rows_or_row(scanner: &mut Scanner, content: &mut Content) -> Option<()> {
    if scanner.next_is(b'[') {
        return rows(scanner, content);
    }
    row(scanner, content)
}

fn rows_or_columns(scanner: &mut Scanner, content: &mut Content) -> Option<()> {
    if scanner.next_is(b'{') {
        return columns::read(scanner, content);
    }
    rows(scanner, content)
}

/// Read outputs of the Open Inference Protocol, or TensorFlow's.
fn outputs(scanner: &mut Scanner, content: &mut Content) -> Option<()> {
    let start = scanner.at;
    let are_objects = scanner.expect(b'[').is_some() && scanner.next_is(b'{');
    scanner.at = start;
    if are_objects {
        return inference::read(scanner, content);
    }
    rows_or_columns(scanner, content)
}

/// Read a feedback: a reward, and a truth.
pub fn feedback(scanner: &mut Scanner, content: &mut Content) -> Option<()> {
    let mut seen = Once::default();
    scanner.members(|scanner, name| match name {
        b"reward" => {
            seen.first(1)?;
            reward(scanner, content)
        }
        b"truth" => {
            seen.first(2)?;
            truth(scanner, content)
        }
        // Seldon's API has the request and the response here too.
        _ => scanner.skip().map(|_| ()),
    })?;
    says_something(content)
}

/// None for a feedback with neither truth nor reward, which Python counts.
pub fn says_something(content: &Content) -> Option<()> {
    (content.rows.len() > 0 || content.reward.is_some()).then_some(())
}

/// Read a reward.
pub fn reward(scanner: &mut Scanner, content: &mut Content) -> Option<()> {
    content.reward = rewards::read(scanner)?;
    Some(())
}

/// Read a truth: a message with data, or without; or one value, or a list of one value a row.
pub fn truth(scanner: &mut Scanner, content: &mut Content) -> Option<()> {
    if scanner.next_is(b'n') {
        return scanner.skip().map(|_| ());
    }
    if !scanner.next_is(b'{') {
        content.key.push(b'T');
        return rows_or_row(scanner, content);
    }
    scanner.expect(b'{')?;
    if scanner.closes(b'}') {
        return Some(());
    }
    message(scanner, content).map(|_| ())
}

/// Read the names and the rows of Seldon's data.
pub fn data(scanner: &mut Scanner, content: &mut Content) -> Option<()> {
    let mut seen = Once::default();
    scanner.members(|scanner, name| match name {
        b"names" => {
            seen.first(1)?;
            content.put(b'd', scanner.skip()?)
        }
        b"ndarray" => {
            seen.first(2)?;
            content.key.push(b'A');
            rows(scanner, content)
        }
        b"tensor" => {
            seen.first(2)?;
            content.key.push(b'T');
            tensors::read(scanner, content)
        }
        b"tftensor" => None,
        _ => scanner.skip().map(|_| ()),
    })?;
    seen.has(2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::payloads::content::tests::{begun, no_rules};

    type Read = fn(&mut Scanner, &mut Content) -> Option<()>;
    /// The key, and the class and values of each row.
    type Found = (Vec<u8>, Vec<(Vec<u8>, Vec<u8>)>);

    fn read_as(text: &str, is_truth: bool, read: Read) -> Option<Found> {
        let mut content = begun(no_rules(), is_truth);
        let mut scanner = Scanner::new(text.as_bytes());
        read(&mut scanner, &mut content)?;
        scanner.at_end()?;
        let rows = content.rows.iter().map(|(class, values)| (class.to_vec(), values.to_vec()));
        let rows = rows.collect();
        Some((content.key, rows))
    }

    fn response_of(text: &str) -> Option<Found> {
        read_as(text, false, response)
    }

    fn feedback_of(text: &str) -> Option<Found> {
        read_as(text, true, feedback)
    }

    #[test]
    fn probabilities_stand_beside_the_class() {
        let values = |text: &str| response_of(text).unwrap().1.remove(0).1;
        assert_eq!(values(r#"{"data":{"ndarray":[[0.25,0.75]]}}"#), [0, 0x40, 0xff, 0xbf]);
        assert!(values(r#"{"data":{"ndarray":[[0.25,0.85]]}}"#).is_empty());
        assert!(values(r#"{"data":{"ndarray":[["a"]]}}"#).is_empty());
    }

    #[test]
    fn equal_content_has_equal_keys() {
        let one =
            response_of(r#"{"data":{"names":["a","b"],"ndarray":[[0.1,0.9]]},"meta":{}}"#).unwrap();
        let other = response_of(r#"{"data":{"names":["a","b"],"ndarray":[[0.2,0.8]]}}"#).unwrap();
        assert_eq!(one.0, other.0);
        assert_eq!(one.1[0].0, other.1[0].0);
        for (text, count) in [
            (r#"{"data":{"names":["a","b"],"tensor":{"shape":[1,2],"values":[0.1,0.9]}}}"#, 1),
            (r#"{"data":{"ndarray":[[0.1,0.9]]}}"#, 1),
            (r#"{"jsonData":[[0.1,0.9],[0.1,0.9]]}"#, 2),
            (r#"{"predictions":[[0.1,0.9]]}"#, 1),
            (r#"{"predictions":{"a":[[0.1,0.9]]}}"#, 1),
            (r#"{"outputs":[[0.1,0.9]],"status":{"code":200}}"#, 1),
            (r#"{"outputs":[{"name":"o","datatype":"FP32","shape":[1,2],"data":[0.1,0.9]}]}"#, 1),
        ] {
            let found = response_of(text).unwrap();
            assert_ne!(found.0, one.0, "{text}");
            assert_eq!(found.1.len(), count);
            assert_eq!(found.1[0].0, one.1[0].0, "{text}");
        }
    }

    #[test]
    fn the_rest_of_a_feedback_is_skipped() {
        let short = r#"{"reward":1,"truth":{"data":{"ndarray":[1]}}}"#;
        let long = r#"{"request":{"data":{"ndarray":[[1]]}},"response":{"meta":{"puid":"x"}},
            "reward":0.5,"truth":{"data":{"ndarray":[1]}}}"#;
        assert_eq!(feedback_of(short), feedback_of(long));
        assert_ne!(feedback_of(short), feedback_of(r#"{"reward":1}"#));
        assert!(feedback_of(r#"{"reward":true,"truth":{}}"#).unwrap().1.is_empty());
        assert!(feedback_of(r#"{"reward":1,"truth":{"data":{"ndarray":[null]}}}"#).is_none());
        assert!(feedback_of(r#"{"reward":1,"reward":1}"#).is_none());
        let message = feedback_of(r#"{"truth":{"data":{"ndarray":["cat"]}}}"#).unwrap();
        for (text, rows) in [(r#"{"truth":"cat"}"#, 1), (r#"{"truth":["cat","dog"]}"#, 2)] {
            let plain = feedback_of(text).unwrap();
            assert_ne!(plain.0, message.0);
            assert_eq!((plain.1.len(), &plain.1[0]), (rows, &message.1[0]));
        }
        assert!(feedback_of(r#"{"truth":[]}"#).is_none());
        assert!(feedback_of(r#"{"reward":null,"truth":null}"#).is_none());
        assert!(feedback_of("{}").is_none());
    }

    #[test]
    fn other_bodies_have_no_key() {
        for text in [
            r#"{"data":{"ndarray":[]}}"#,
            r#"{"data":{"ndarray":[[1,2]]},"data":{"ndarray":[[1,2]]}}"#,
            r#"{"data":{"ndarray":[[1,2]],"tensor":{"shape":[1],"values":[1]}}}"#,
            r#"{"data":{"tensor":{}}}"#,
            r#"{"data":{"names":["a"]}}"#,
            r#"{"meta":{}}"#,
            r#"{}"#,
            r#"{"data":{"ndarray":[[1,2]]},"strData":"x"}"#,
            r#"{"strData":null}"#,
            r#"{"predictions":{"a":[1],"b":[2]}}"#,
        ] {
            assert_eq!(response_of(text), None, "{text}");
        }
    }
}

//! Answers of TensorFlow Serving: rows, or one column of rows under its name.

use crate::events::json::Scanner;
use crate::events::payloads::content::Content;
use crate::events::payloads::row::rows;

/// Read an object with one column; several are left to Python.
pub fn read(scanner: &mut Scanner, content: &mut Content) -> Option<()> {
    scanner.expect(b'{')?;
    let name = scanner.key()?;
    let is_wanted = content.rules.output_name.as_deref().is_none_or(|wanted| *wanted == *name);
    // A column of this name holds bytes.
    if *name == *b"b64" || !(is_wanted || content.is_truth) {
        return None;
    }
    content.put(b'C', &name)?;
    rows(scanner, content)?;
    scanner.expect(b'}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::payloads::content::tests::{begun, no_rules};
    use crate::events::payloads::content::Rules;

    fn rows_of(text: &str, output_name: Option<&str>, is_truth: bool) -> Option<usize> {
        let output_name = output_name.map(|name| name.as_bytes().into());
        let mut content = begun(Rules { output_name, ..no_rules() }, is_truth);
        read(&mut Scanner::new(text.as_bytes()), &mut content)?;
        Some(content.rows.len())
    }

    #[test]
    fn one_column_is_read() {
        let text = r#"{"scores":[[0.1,0.9],[0.8,0.2]]}"#;
        assert_eq!(rows_of(text, None, false), Some(2));
        assert_eq!(rows_of(text, Some("scores"), false), Some(2));
        assert_eq!(rows_of(text, Some("other"), false), None);
        assert_eq!(rows_of(text, Some("other"), true), Some(2));
        for text in ["{}", r#"{"a":1}"#, r#"{"a":[1],"b":[2]}"#, r#"{"b64":["x"]}"#] {
            assert_eq!(rows_of(text, None, false), None, "{text}");
        }
    }
}

//! Text of strangers that people will read: names of layers and classes, notes of a plan.
//!
//! A terminal obeys what it is shown: escape sequences erase lines, hide text, set titles. So such
//! text loses its control characters where it enters, and once more where it leaves for a terminal.

use std::borrow::Cow;

use serde_json::Value;

/// Whether a terminal or a reader's eye takes `c` for something else than a character: control
/// characters of both sets, line and paragraph separators, and marks that turn the direction of
/// what follows (Boucher and Anderson, *Trojan Source: Invisible Vulnerabilities*, USENIX Security
/// 2023).
pub fn is_control(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// `text` without control characters.
pub fn printable(text: &str) -> Cow<'_, str> {
    match text.contains(is_control) {
        false => Cow::Borrowed(text),
        true => Cow::Owned(text.chars().filter(|&c| !is_control(c)).collect()),
    }
}

/// Takes control characters out of every string of `value`, names of fields included.
pub fn make_printable(value: &mut Value) {
    match value {
        Value::String(text) => {
            if let Cow::Owned(stripped) = printable(text) {
                *text = stripped;
            }
        }
        Value::Array(items) => items.iter_mut().for_each(make_printable),
        Value::Object(fields) => {
            if fields.keys().any(|name| name.contains(is_control)) {
                let old = std::mem::take(fields);
                fields.extend(old.into_iter().map(|(name, value)| (printable(&name).into_owned(), value)));
            }
            fields.values_mut().for_each(make_printable);
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_and_turns_are_taken_out_and_nothing_else() {
        assert!(matches!(printable("Katze, кошка, 猫 (µ ≤ 3)"), Cow::Borrowed(_)));
        assert_eq!(printable("\u{1b}[2K\rclass 7\u{1b}[8m\n\u{9b}1m\u{7f}"), "[2Kclass 7[8m1m");
        assert_eq!(printable("a\u{202e}b\u{2066}c\u{2028}d"), "abcd");
        let mut value = serde_json::json!({"a\n": ["\u{1b}x", {"b": "\t"}], "c": 1.5});
        make_printable(&mut value);
        assert_eq!(value, serde_json::json!({"a": ["x", {"b": ""}], "c": 1.5}));
    }
}

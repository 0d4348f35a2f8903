//! Standard output: text for people, or one JSON object. Text of files goes out without control
//! characters: a terminal would obey them.

use std::io::{self, Write};
use std::path::Path;

use anyhow::{Context, Result};
use fhec_ir::printable::is_control;
use serde::Serialize;

use fhec_roles::files::is_standard_output;

/// Where a command's result goes.
#[derive(Clone, Copy, Debug)]
pub struct Output {
    json: bool,
    /// Standard output has something else to carry.
    aside: bool,
}

impl Output {
    /// JSON if `json`, else text.
    pub fn new(json: bool) -> Self {
        Output { json, aside: false }
    }

    /// The same beside a file that the command writes: on standard error where the file is standard
    /// output.
    pub fn beside(json: bool, file: &Path) -> Self {
        Output { json, aside: is_standard_output(file) }
    }

    /// Prints `text` unless the result is JSON.
    pub fn text(self, text: &str) -> Result<()> {
        if self.json { Ok(()) } else { self.write(&shown(text)) }
    }

    /// Prints `value` as one JSON object if the result is JSON.
    pub fn json(self, value: &impl Serialize) -> Result<()> {
        if !self.json {
            return Ok(());
        }
        let text = serde_json::to_string_pretty(value).context("cannot write the result as JSON")?;
        self.write(&(escaped(&text) + "\n"))
    }

    fn write(self, text: &str) -> Result<()> {
        if self.aside { write_to(io::stderr().lock(), text) } else { write_to(io::stdout().lock(), text) }
    }
}

/// Writes to standard output. A reader that has gone away (`fhec inspect | head`) is no error.
pub fn print(text: &str) -> Result<()> {
    write_to(io::stdout().lock(), &shown(text))
}

/// The same of bytes that no file has a part in.
pub fn verbatim(bytes: &[u8]) -> Result<()> {
    write_bytes(io::stdout().lock(), bytes)
}

fn write_to(out: impl Write, text: &str) -> Result<()> {
    write_bytes(out, text.as_bytes())
}

fn write_bytes(mut out: impl Write, bytes: &[u8]) -> Result<()> {
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result.context("cannot write to standard output"),
    }
}

/// `text` without control characters but line breaks.
pub fn shown(text: &str) -> String {
    text.chars().filter(|&c| c == '\n' || !is_control(c)).collect()
}

/// JSON with control characters that it would allow in strings as escapes: of those, only line
/// breaks stand outside of strings.
fn escaped(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for c in json.chars() {
        match c {
            '\n' => text.push(c),
            c if is_control(c) => text.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => text.push(c),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminals_get_no_orders() {
        assert_eq!(shown("a\u{1b}[2K\r\u{9b}b\nc\u{202e}"), "a[2Kb\nc");
        let json = serde_json::to_string_pretty(&["\u{9b}1m\u{7f}\u{202e}\n"]).unwrap();
        assert_eq!(escaped(&json), "[\n  \"\\u009b1m\\u007f\\u202e\\n\"\n]");
        let read: Vec<String> = serde_json::from_str(&escaped(&json)).unwrap();
        assert_eq!(read, ["\u{9b}1m\u{7f}\u{202e}\n"]);
    }
}

//! Standard output: text for people, or one JSON object.

use std::io::{self, Write};

use anyhow::{Context, Result};
use serde::Serialize;

/// Where a command's result goes.
#[derive(Clone, Copy, Debug)]
pub struct Output {
    json: bool,
}

impl Output {
    /// JSON if `json`, else text.
    pub fn new(json: bool) -> Self {
        Output { json }
    }

    /// Prints `text` unless the result is JSON.
    pub fn text(self, text: &str) -> Result<()> {
        if self.json { Ok(()) } else { print(text) }
    }

    /// Prints `value` as one JSON object if the result is JSON.
    pub fn json(self, value: &impl Serialize) -> Result<()> {
        if !self.json {
            return Ok(());
        }
        print(&(serde_json::to_string_pretty(value).context("cannot write the result as JSON")? + "\n"))
    }
}

/// Writes to standard output. A reader that has gone away (`fhec inspect | head`) is no error.
pub fn print(text: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result.context("cannot write to standard output"),
    }
}

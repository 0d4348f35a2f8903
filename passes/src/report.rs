//! What a pass says about its work.

use std::{collections::BTreeMap, time::Duration};

use serde::Serialize;

/// Counts and notes of one pass; the pipeline adds time and program sizes.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Report {
    /// Name of the pass.
    pub pass: &'static str,
    /// How often what was done: rules fired, ops replaced.
    pub counts: BTreeMap<String, usize>,
    /// Decisions and warnings that a reader of the plan should see, in order.
    pub notes: Vec<String>,
    /// Ops before.
    pub ops_before: usize,
    /// Ops after.
    pub ops_after: usize,
    /// Wall-clock time. Not part of what must be equal between runs.
    #[serde(skip)]
    pub time: Duration,
}

impl Report {
    /// An empty report.
    pub fn new(pass: &'static str) -> Report {
        Report { pass, ..Report::default() }
    }

    /// Adds to a count; zero is not recorded.
    pub fn count(&mut self, what: &str, times: usize) {
        if times > 0 {
            *self.counts.entry(what.to_string()).or_default() += times;
        }
    }

    /// Adds a note.
    pub fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }
}

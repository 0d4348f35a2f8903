//! What a pass leaves, and what it says about its work.

use std::{collections::BTreeMap, time::Duration};

use fhec_ir::{
    entity::Value,
    func::{Func, Stage},
};
use serde::Serialize;

/// What a pass leaves.
#[derive(Clone, Debug)]
pub struct Passed<S: Stage> {
    /// The program.
    pub func: Func<S>,
    /// What was done.
    pub report: Report,
    /// What values of the program before are now. Empty where the pass does not say, or where the
    /// stages differ.
    pub values: BTreeMap<Value, Value>,
}

impl<S: Stage> Passed<S> {
    /// What a pass leaves that does not say what values are now.
    pub fn new(func: Func<S>, report: Report) -> Passed<S> {
        Passed { func, report, values: BTreeMap::new() }
    }
}

/// Counts and notes of one pass; the pipeline adds time and program sizes.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Report {
    /// Name of the pass.
    pub pass: &'static str,
    /// What was done, in words; empty where counts and notes say it.
    pub summary: String,
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

    /// A report of a few words.
    pub fn of(pass: &'static str, summary: String) -> Report {
        Report { pass, summary, ..Report::default() }
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

    /// The summary, or else counts and notes, or else how many ops there were and are.
    pub fn in_words(&self) -> String {
        if !self.summary.is_empty() {
            return self.summary.clone();
        }
        let counts = self.counts.iter().map(|(what, times)| format!("{what} {times}"));
        let all: Vec<String> = counts.chain(self.notes.iter().cloned()).collect();
        match all.is_empty() {
            true => format!("{} -> {} ops", self.ops_before, self.ops_after),
            false => all.join("; "),
        }
    }
}

//! Where the time of a compile went: steps as the library logs them, as JSON.

use std::io::Write;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use anyhow::Result;
use fhec_roles::files::{self, Access};
use serde::Serialize;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

/// Steps so far. There is one log of a process, so there is one list.
static STEPS: Mutex<Vec<Step>> = Mutex::new(Vec::new());

/// A step that has ended.
#[derive(Clone, Debug, Serialize)]
struct Step {
    step: String,
    seconds: f64,
    /// Seconds since logging began.
    ended: f64,
}

#[derive(Serialize)]
struct Report {
    /// Of the whole command.
    seconds: f64,
    /// In the order in which they ended. Steps of several threads run side by side.
    steps: Vec<Step>,
}

/// Keeps the events with a `step` and its `seconds`.
pub struct Timings {
    start: Instant,
}

impl Timings {
    /// From now on.
    pub fn new() -> Self {
        Timings { start: Instant::now() }
    }
}

impl<S: Subscriber> Layer<S> for Timings {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        if let Fields { step: Some(step), seconds: Some(seconds) } = fields {
            let ended = self.start.elapsed().as_secs_f64();
            STEPS.lock().unwrap_or_else(PoisonError::into_inner).push(Step { step, seconds, ended });
        }
    }
}

#[derive(Default)]
struct Fields {
    step: Option<String>,
    seconds: Option<f64>,
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        if field.name() == "seconds" {
            self.seconds = Some(value);
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "step" {
            self.step = Some(value.to_string());
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn std::fmt::Debug) {}
}

/// Writes the steps so far, for a command that began at `start`.
pub fn write(path: &Path, start: Instant) -> Result<()> {
    let steps = STEPS.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let text = serde_json::to_vec_pretty(&Report { seconds: start.elapsed().as_secs_f64(), steps })?;
    files::write_atomically(path, Access::Ordinary, |out: &mut dyn Write| out.write_all(&text))?;
    Ok(())
}

//! Which layer of a job runs: its owner is told, operators have its seconds and its span.

use std::time::{Duration, Instant};

use fhec_runtime::exec::Observer;
use tracing::Span;

use super::catalogue::Model;
use super::jobs::Job;
use super::spans;

/// Owners are told no more often.
const TELL_EVERY: Duration = Duration::from_millis(50);

/// Watches an evaluation.
pub(super) struct LayerWatch<'a> {
    job: &'a Job,
    model: &'a Model,
    told: Instant,
    /// The span of the evaluation.
    turn: &'a Span,
    /// The layer that runs, since when, and its span.
    runs: Option<(usize, Instant, Span)>,
    /// By layer.
    seconds: Vec<f64>,
}

impl<'a> LayerWatch<'a> {
    pub(super) fn new(job: &'a Job, model: &'a Model, turn: &'a Span) -> Self {
        let seconds = vec![0.0; model.layers.names.len()];
        LayerWatch { job, model, told: Instant::now(), turn, runs: None, seconds }
    }

    /// A layer ends where an op of another one begins, or none does.
    pub(super) fn enter(&mut self, layer: Option<usize>) {
        if self.runs.as_ref().map(|(layer, ..)| *layer) == layer {
            return;
        }
        // Its span ends before the next one begins.
        if let Some((layer, begun, _)) = self.runs.take() {
            self.seconds[layer] += begun.elapsed().as_secs_f64();
        }
        let names = &self.model.layers.names;
        self.runs = layer.map(|layer| (layer, Instant::now(), spans::layer(self.turn, &names[layer])));
    }

    /// Seconds that layers took, those that have ended.
    pub(super) fn seconds(&self) -> &[f64] {
        &self.seconds
    }
}

impl Observer for LayerWatch<'_> {
    fn op_started(&mut self, index: usize) {
        let layer = self.model.layers.of_op.get(index).copied();
        self.enter(layer);
        if self.told.elapsed() >= TELL_EVERY || index == 0 {
            self.told = Instant::now();
            self.job.reached(index, layer);
        }
    }
}

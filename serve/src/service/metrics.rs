//! What operators watch, in the text format of Prometheus. Nothing tells of a principal.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use super::bucket::Counts;
use super::catalogue::Model;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Request {
    /// As it stands in the router, so without names of jobs and keys.
    route: String,
    method: String,
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfModel {
    model: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfLayer {
    model: String,
    layer: String,
}

/// All counters.
pub(super) struct Metrics {
    registry: Registry,
    requests: Family<Request, Counter>,
    jobs: Family<Outcome, Counter>,
    resumed: Counter,
    seconds: Family<OfModel, Histogram>,
    layer_seconds: Family<OfLayer, Counter<f64, AtomicU64>>,
    layer_predicted: Family<OfLayer, Gauge<f64, AtomicU64>>,
    uploaded: Counter,
    loads: Counter,
    queued: Gauge,
    running: Gauge,
    resident: Gauge,
    resident_sets: Gauge,
}

/// What is so at the moment.
pub(super) struct Now {
    /// Jobs that wait.
    pub(super) queued: usize,
    /// Jobs that are evaluated.
    pub(super) running: usize,
    /// Bytes of keys in memory.
    pub(super) resident_bytes: u64,
    /// Sets of them.
    pub(super) resident_sets: usize,
}

impl Metrics {
    pub(super) fn new() -> Self {
        let mut registry = Registry::with_prefix("fhec");
        let metrics = Metrics {
            registry: Registry::default(),
            requests: Family::default(),
            jobs: Family::default(),
            resumed: Counter::default(),
            seconds: Family::new_with_constructor(|| Histogram::new(exponential_buckets(0.01, 2.0, 18))),
            layer_seconds: Family::default(),
            layer_predicted: Family::default(),
            uploaded: Counter::default(),
            loads: Counter::default(),
            queued: Gauge::default(),
            running: Gauge::default(),
            resident: Gauge::default(),
            resident_sets: Gauge::default(),
        };
        registry.register("requests", "Requests by route and status", metrics.requests.clone());
        registry.register("jobs_left", "Jobs that lanes have left, by outcome", metrics.jobs.clone());
        let help = "Evaluations that went on from a checkpoint";
        registry.register("jobs_resumed", help, metrics.resumed.clone());
        let help = "Time of evaluations that gave an answer";
        registry.register_with_unit("evaluation", help, Unit::Seconds, metrics.seconds.clone());
        let help = "Time of these evaluations, by layer";
        registry.register_with_unit("layer", help, Unit::Seconds, metrics.layer_seconds.clone());
        let help = "Time of a layer in one evaluation, as the plan predicts it";
        let predicted = metrics.layer_predicted.clone();
        registry.register_with_unit("layer_predicted", help, Unit::Seconds, predicted);
        let help = "Bytes of key files that have arrived";
        registry.register_with_unit("keys_uploaded", help, Unit::Bytes, metrics.uploaded.clone());
        registry.register("key_loads", "Key files that were read for a job", metrics.loads.clone());
        registry.register("jobs_queued", "Jobs that wait for a lane", metrics.queued.clone());
        registry.register("jobs_running", "Jobs that are evaluated", metrics.running.clone());
        registry.register_with_unit("keys_resident", "Keys in memory", Unit::Bytes, metrics.resident.clone());
        registry.register("key_sets_resident", "Sets of keys in memory", metrics.resident_sets.clone());
        Metrics { registry, ..metrics }
    }

    /// Those of a bucket, which counts by itself.
    pub(super) fn add_bucket(&mut self, counts: &Counts) {
        let registry = &mut self.registry;
        let help = "Sets of keys that were copied to the bucket";
        registry.register("bucket_stores", help, counts.stored.clone());
        let help = "Sets of keys that came from the bucket to the disk";
        registry.register("bucket_fetches", help, counts.fetched.clone());
        let help = "Requests to the bucket that failed";
        registry.register("bucket_failures", help, counts.failures.clone());
        let help = "Sets of keys that are not in the bucket yet";
        registry.register("bucket_waiting", help, counts.waiting.clone());
    }

    pub(super) fn answered(&self, route: &str, method: &str, status: u16) {
        let request = Request { route: route.into(), method: method.into(), status };
        self.requests.get_or_create(&request).inc();
    }

    pub(super) fn job_left(&self, outcome: &'static str) {
        self.jobs.get_or_create(&Outcome { outcome }).inc();
    }

    pub(super) fn job_resumed(&self) {
        self.resumed.inc();
    }

    pub(super) fn evaluated(&self, model: &str, seconds: f64) {
        self.seconds.get_or_create(&OfModel { model: model.into() }).observe(seconds);
    }

    /// An evaluation has taken so long, by layer.
    pub(super) fn layers(&self, model: &Model, seconds: &[f64]) {
        for (layer, seconds) in model.layers.names.iter().zip(seconds) {
            let layer = OfLayer { model: model.name.clone(), layer: layer.clone() };
            self.layer_seconds.get_or_create(&layer).inc_by(*seconds);
        }
    }

    /// These models are served now; others are not any more.
    pub(super) fn predicted(&self, models: &[Arc<Model>]) {
        self.layer_predicted.clear();
        for model in models {
            for row in &model.program().plan.layers {
                let layer = OfLayer { model: model.name.clone(), layer: row.name.clone() };
                self.layer_predicted.get_or_create(&layer).set(row.seconds);
            }
        }
    }

    pub(super) fn uploaded(&self, bytes: u64) {
        self.uploaded.inc_by(bytes);
    }

    pub(super) fn keys_loaded(&self) {
        self.loads.inc();
    }

    /// The text.
    pub(super) fn text(&self, now: &Now) -> String {
        self.queued.set(now.queued as i64);
        self.running.set(now.running as i64);
        self.resident.set(now.resident_bytes as i64);
        self.resident_sets.set(now.resident_sets as i64);
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = text::encode(&mut text, &self.registry);
        text
    }
}

//! What operators watch, in the text format of Prometheus. Nothing tells of a principal.

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

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

/// All counters.
pub(super) struct Metrics {
    registry: Registry,
    requests: Family<Request, Counter>,
    jobs: Family<Outcome, Counter>,
    resumed: Counter,
    seconds: Family<OfModel, Histogram>,
    uploaded: Counter,
    loads: Counter,
    queued: Gauge,
    running: Gauge,
    resident: Gauge,
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
            uploaded: Counter::default(),
            loads: Counter::default(),
            queued: Gauge::default(),
            running: Gauge::default(),
            resident: Gauge::default(),
        };
        registry.register("requests", "Requests by route and status", metrics.requests.clone());
        registry.register("jobs_left", "Jobs that lanes have left, by outcome", metrics.jobs.clone());
        let help = "Evaluations that went on from a checkpoint";
        registry.register("jobs_resumed", help, metrics.resumed.clone());
        let help = "Time of evaluations that gave an answer";
        registry.register_with_unit("evaluation", help, Unit::Seconds, metrics.seconds.clone());
        let help = "Bytes of key files that have arrived";
        registry.register_with_unit("keys_uploaded", help, Unit::Bytes, metrics.uploaded.clone());
        registry.register("key_loads", "Key files that were read for a job", metrics.loads.clone());
        registry.register("jobs_queued", "Jobs that wait for a lane", metrics.queued.clone());
        registry.register("jobs_running", "Jobs that are evaluated", metrics.running.clone());
        registry.register_with_unit("keys_resident", "Keys in memory", Unit::Bytes, metrics.resident.clone());
        Metrics { registry, ..metrics }
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

    pub(super) fn uploaded(&self, bytes: u64) {
        self.uploaded.inc_by(bytes);
    }

    pub(super) fn keys_loaded(&self) {
        self.loads.inc();
    }

    /// The text, with what is so at the moment.
    pub(super) fn text(&self, queued: usize, running: usize, resident_bytes: u64) -> String {
        self.queued.set(queued as i64);
        self.running.set(running as i64);
        self.resident.set(resident_bytes as i64);
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = text::encode(&mut text, &self.registry);
        text
    }
}

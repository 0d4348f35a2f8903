//! Spans: what a trace tells of requests and evaluations.
//!
//! Traces leave the machine, to whoever collects them. So this is the one place that says what is
//! in a span: models, layers, routes, sizes, times and codes. Nothing tells whose they are: no name
//! of a principal, no token, digest or job, and of a request neither path nor query.
//!
//! | span | is | in |
//! |---|---|---|
//! | `request` | a request, until its answer begins | |
//! | `check chunk` | the check of a chunk of keys | its request |
//! | `load keys` | keys that are read | the request with their last chunk, or a job's turn |
//! | `evaluation` | a turn of a job in a lane | by [`TraceContexts`], the request that sent the job |
//! | `layer` | ops of a layer that run one after the other | the turn |
//!
//! Fields named `http.` and `error.` are those of OpenTelemetry's conventions. Exporters take name,
//! kind and status of a span from those named `otel.`.

use tracing::field::Empty;
use tracing::{Span, info_span};

use crate::api::Problem;

/// Target of all spans of a service.
pub const SPANS: &str = "fhec::serve";

/// How a trace goes on where spans do not reach: from a client to the service, and from a request
/// to the evaluation of its job, which may be after a restart. Contexts are text in the form of the
/// header `traceparent` (W3C Trace Context). Whoever exports spans has these functions.
#[derive(Clone, Copy, Debug)]
pub struct TraceContexts {
    /// The context of a span; none where it is not exported.
    pub of: fn(&Span) -> Option<String>,
    /// Makes a span, which may have been entered but has no spans inside, the child of a context.
    /// Text that is none changes nothing.
    pub join: fn(&Span, &str),
}

/// Header with a client's context.
pub(super) const TRACEPARENT: &str = "traceparent";

/// A request. `route` is as it stands in the router.
pub(super) fn request(method: &str, route: &str) -> Span {
    info_span!(
        target: SPANS,
        parent: None,
        "request",
        otel.name = format!("{method} {route}"),
        otel.kind = "server",
        http.request.method = method,
        http.route = route,
        http.response.status_code = Empty,
        "error.type" = Empty,
        otel.status_code = Empty,
    )
}

/// Says how a request was answered.
pub(super) fn answered(request: &Span, status: u16, problem: Option<&Problem>) {
    request.record("http.response.status_code", i64::from(status));
    if let Some(problem) = problem {
        request.record("error.type", problem.code.name());
    }
    // What a client does wrong is no error of the service.
    if status >= 500 {
        request.record("otel.status_code", "ERROR");
    }
}

/// A turn of a job. `predicted_seconds` are the plan's.
pub(super) fn evaluation(model: &str, predicted_seconds: Option<f64>) -> Span {
    info_span!(
        target: SPANS,
        parent: None,
        "evaluation",
        fhec.model = model,
        fhec.predicted_seconds = predicted_seconds,
        fhec.seconds = Empty,
        fhec.resumed = Empty,
        fhec.outcome = Empty,
        otel.status_code = Empty,
    )
}

/// Says that a turn goes on from a checkpoint.
pub(super) fn resumed(evaluation: &Span) {
    evaluation.record("fhec.resumed", true);
}

/// Says how a turn ended: `outcome` is that of the metrics, `seconds` are there with an answer.
pub(super) fn ended(evaluation: &Span, outcome: &str, seconds: Option<f64>, failed: bool) {
    evaluation.record("fhec.outcome", outcome);
    if let Some(seconds) = seconds {
        evaluation.record("fhec.seconds", seconds);
    }
    if failed {
        evaluation.record("otel.status_code", "ERROR");
    }
}

/// Ops of a layer.
pub(super) fn layer(evaluation: &Span, layer: &str) -> Span {
    info_span!(
        target: SPANS,
        parent: evaluation,
        "layer",
        otel.name = format!("layer {layer}"),
        fhec.layer = layer,
    )
}

/// Keys of `model` that are read.
pub(super) fn keys(model: &str, bytes: u64) -> Span {
    info_span!(target: SPANS, "load keys", fhec.model = model, fhec.bytes = size(bytes))
}

/// A chunk of keys of `model` that is checked.
pub(super) fn chunk(model: &str, bytes: u64) -> Span {
    info_span!(target: SPANS, "check chunk", fhec.model = model, fhec.bytes = size(bytes))
}

/// OpenTelemetry has signed numbers alone.
fn size(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

//! Health, metrics, and what the service says of its own interface.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use utoipa::openapi::OpenApi;

use crate::api::Problem;
use crate::service::access::Principal;
use crate::service::errors::not_found;
use crate::service::metrics::Now;
use crate::service::{Service, openapi};

/// Whether the process answers
#[utoipa::path(get, path = "/v2/health/live", tag = "operations", responses((status = 200)))]
pub(crate) async fn live() -> StatusCode {
    StatusCode::OK
}

/// Whether jobs are accepted
#[utoipa::path(get, path = "/v2/health/ready", tag = "operations", responses(
    (status = 200), (status = 503, description = "the service is about to end")
))]
pub(crate) async fn ready(State(service): State<Arc<Service>>) -> StatusCode {
    if service.is_draining() { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK }
}

/// Counters for operators, in the text format of Prometheus
#[utoipa::path(get, path = "/metrics", tag = "operations", responses(
    (status = 200, body = String, content_type = "application/openmetrics-text"),
    (status = 404, body = Problem, content_type = "application/problem+json", description = "the caller is no operator")
))]
pub(crate) async fn metrics(
    State(service): State<Arc<Service>>,
    Extension(principal): Extension<Principal>,
) -> Result<Response, Problem> {
    if !principal.operator {
        return Err(not_found());
    }
    let (jobs, keys) = (&service.jobs, &service.keys);
    let text = service.metrics.text(&Now {
        queued: jobs.queued(),
        running: jobs.running(),
        resident_bytes: keys.resident_bytes(),
        resident_sets: keys.resident_sets(),
    });
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, kind)], text).into_response())
}

/// This description
#[utoipa::path(get, path = "/openapi.json", tag = "operations", responses((status = 200, body = Object)))]
pub(crate) async fn description() -> Json<OpenApi> {
    Json(openapi::description())
}

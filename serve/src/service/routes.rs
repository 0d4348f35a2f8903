//! Which request goes where.

use std::sync::Arc;

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, patch, post};
use tracing::Instrument;

use super::access::authenticate;
use super::demo::Demo;
use super::errors::{for_protocol, not_found};
use super::handlers::{inference, jobs, keys, models, operations};
use super::{Service, spans};
use crate::api::{Code, Problem};

/// All routes: method, path, and whether a principal is needed. A page (`Options::demo`) has its
/// own.
pub const ROUTES: [(&str, &str, bool); 24] = [
    ("get", "/v1/models", true),
    ("get", "/v1/models/{model}", true),
    ("get", "/v1/models/{model}/interface", true),
    ("post", "/v1/models/{model}/jobs", true),
    ("get", "/v1/keys", true),
    ("post", "/v1/keys", true),
    ("get", "/v1/keys/{keys}", true),
    ("patch", "/v1/keys/{keys}", true),
    ("delete", "/v1/keys/{keys}", true),
    ("post", "/v1/keys/{keys}/touch", true),
    ("get", "/v1/jobs", true),
    ("get", "/v1/jobs/{job}", true),
    ("delete", "/v1/jobs/{job}", true),
    ("get", "/v1/jobs/{job}/events", true),
    ("get", "/v1/jobs/{job}/answer", true),
    ("get", "/v1/jobs/{job}/receipt", true),
    ("get", "/v2", true),
    ("get", "/v2/models/{model}", true),
    ("get", "/v2/models/{model}/ready", true),
    ("post", "/v2/models/{model}/infer", true),
    ("get", "/metrics", true),
    ("get", "/v2/health/live", false),
    ("get", "/v2/health/ready", false),
    ("get", "/openapi.json", false),
];

/// The router of a service.
pub(super) fn router(service: &Arc<Service>) -> Router {
    let known = Router::new()
        .route("/v1/models", get(models::list))
        .route("/v1/models/{model}", get(models::get))
        .route("/v1/models/{model}/interface", get(models::interface))
        .route("/v1/models/{model}/jobs", post(jobs::submit))
        .route("/v1/keys", get(keys::list).post(keys::announce))
        .route("/v1/keys/{keys}", get(keys::get).merge(patch(keys::append)).merge(delete(keys::delete)))
        .route("/v1/keys/{keys}/touch", post(keys::touch))
        .route("/v1/jobs", get(jobs::list))
        .route("/v1/jobs/{job}", get(jobs::get).delete(jobs::delete))
        .route("/v1/jobs/{job}/events", get(jobs::events))
        .route("/v1/jobs/{job}/answer", get(jobs::answer))
        .route("/v1/jobs/{job}/receipt", get(jobs::receipt))
        .route("/v2", get(inference::server))
        .route("/v2/models/{model}", get(inference::metadata))
        .route("/v2/models/{model}/ready", get(inference::ready))
        .route("/v2/models/{model}/infer", post(inference::infer))
        .route("/metrics", get(operations::metrics))
        .route_layer(from_fn_with_state(Arc::clone(service), authenticate));
    let open = Router::new()
        .route("/v2/health/live", get(operations::live))
        .route("/v2/health/ready", get(operations::ready))
        .route("/openapi.json", get(operations::description));
    let page = service.demo.clone().map_or_else(Router::new, Demo::routes);
    known
        .merge(open)
        .merge(page)
        .fallback(async || not_found())
        .method_not_allowed_fallback(async || {
            Problem::new(Code::MethodNotAllowed, "see /openapi.json for what there is")
        })
        .layer(from_fn(as_problems))
        .layer(from_fn_with_state(Arc::clone(service), count))
        .with_state(Arc::clone(service))
}

/// Gives what the router and its extractors refuse by themselves the form of all other errors, and
/// errors of the Open Inference Protocol the member that its clients look for.
async fn as_problems(request: Request, next: Next) -> Response {
    let of_protocol = request.uri().path().starts_with("/v2/");
    let response = next.run(request).await;
    let status = response.status();
    if let Some(problem) = response.extensions().get::<Problem>() {
        return if of_protocol { for_protocol(problem) } else { response };
    }
    if !status.is_client_error() {
        return response;
    }
    let code = Code::ALL.iter().find(|code| code.status() == status.as_u16());
    Problem::new(code.copied().unwrap_or(Code::BadRequest), "the request cannot be read").into_response()
}

/// Counts requests by route and status, and has a span for each. Paths are neither logged nor
/// traced: they hold names of keys and jobs.
async fn count(State(service): State<Arc<Service>>, request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let route = route.unwrap_or_else(|| "none".into());
    let method = request.method().as_str().to_owned();
    // Methods that nobody knows are not counted apart: anybody can make up any number of them.
    let known = matches!(&method[..], "GET" | "POST" | "PATCH" | "DELETE" | "HEAD");
    let method = if known { method } else { "other".into() };
    let span = spans::request(&method, &route);
    let response = next.run(request).instrument(span.clone()).await;
    let status = response.status().as_u16();
    spans::answered(&span, status, response.extensions().get::<Problem>());
    tracing::debug!(target: "fhec::serve", method, route, status, "request");
    service.metrics.answered(&route, &method, status);
    response
}

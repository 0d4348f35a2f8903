//! `/v1/jobs`, and where they are sent.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use fhec_roles::exchange;
use futures_util::{Stream, stream};
use serde::Deserialize;
use tracing::Span;

use super::keys::look_up;
use super::{blocking, body, or_discard};
use crate::api::{self, Code, IDEMPOTENCY_KEY, Problem};
use crate::digest::Digest;
use crate::receipt::Receipt;
use crate::service::Service;
use crate::service::access::Principal;
use crate::service::catalogue::Model;
use crate::service::errors::not_found;
use crate::service::jobs::{Job, Record};
use crate::service::keys::{WholeKeys, key_name};

/// Longer idempotency keys are refused.
const MOST_IDEMPOTENCY_BYTES: usize = 256;
/// Later deadlines are refused: a year.
const MOST_DEADLINE_SECONDS: u64 = 366 * 24 * 3600;

/// What a job is to be evaluated with.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct Submission {
    /// Name of the keys
    keys: String,
    /// Seconds after which the answer is of no use
    #[param(minimum = 1, maximum = 31_622_400)]
    deadline: Option<u64>,
}

/// What is known of a job before its image has come.
pub(super) struct Accepted {
    pub(super) model: Arc<Model>,
    keys: Digest,
    owned: WholeKeys,
    deadline: Option<u64>,
    idempotency: Option<Digest>,
}

/// Errs where a job would be refused whatever its image is. Its keys stay from now on.
pub(super) fn accept(
    service: &Service,
    principal: &Principal,
    model: &str,
    keys: &str,
    deadline: Option<u64>,
    idempotency_key: Option<&HeaderValue>,
) -> Result<Accepted, Problem> {
    let bad = |detail: String| Problem::new(Code::BadRequest, detail);
    let model = service.catalogue.get(model).ok_or_else(not_found)?;
    let keys: Digest = keys.parse().map_err(|_| not_found())?;
    let idempotency = match idempotency_key {
        None => None,
        Some(key) if (1..=MOST_IDEMPOTENCY_BYTES).contains(&key.len()) => Some(Digest::of(key.as_bytes())),
        Some(_) => return Err(bad(format!("{IDEMPOTENCY_KEY} has 1 to {MOST_IDEMPOTENCY_BYTES} bytes"))),
    };
    if deadline.is_some_and(|seconds| !(1..=MOST_DEADLINE_SECONDS).contains(&seconds)) {
        return Err(bad(format!("a deadline is 1 to {MOST_DEADLINE_SECONDS} seconds away")));
    }
    let owned = service.keys.reserve(&(Arc::clone(&principal.name), keys))?;
    if owned.program != model.program {
        return Err(Problem::new(Code::KeyMismatch, "these keys are for another program"));
    }
    // A job that was accepted before is answered whatever the queue is like.
    if idempotency.is_none() {
        let deadline = deadline.map(|seconds| seconds as f64);
        service.jobs.check_room(&principal.name, model.least_seconds(), deadline)?;
    }
    Ok(Accepted { model, keys, owned, deadline, idempotency })
}

/// Sends an encrypted image
#[utoipa::path(post, path = "/v1/models/{model}/jobs", tag = "jobs",
    params(
        ("model" = String, Path), Submission,
        ("idempotency-key" = Option<String>, Header, description = "the same job is accepted once")
    ),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses(
        (status = 202, body = api::Job, description = "accepted"),
        (status = 200, body = api::Job, description = "accepted before, with the same idempotency key"),
        (status = 409, body = Problem, content_type = "application/problem+json"),
        (status = 422, body = Problem, content_type = "application/problem+json"),
        (status = 429, body = Problem, content_type = "application/problem+json"),
        (status = 503, body = Problem, content_type = "application/problem+json"),
        (status = 504, body = Problem, content_type = "application/problem+json")
    )
)]
pub(crate) async fn submit(
    State(service): State<Arc<Service>>,
    Extension(principal): Extension<Principal>,
    Path(model): Path<String>,
    query: Result<Query<Submission>, QueryRejection>,
    headers: HeaderMap,
    content: Body,
) -> Result<Response, Problem> {
    let query = query.map_err(|error| Problem::new(Code::BadRequest, error.body_text()));
    let accepted = async {
        let Query(Submission { keys, deadline }) = query?;
        look_up(&service, &principal, &keys).await?;
        accept(&service, &principal, &model, &keys, deadline, headers.get(IDEMPOTENCY_KEY))
    };
    let accepted = accepted.await;
    let (accepted, content) = or_discard(&service, accepted, content).await?;
    let bytes = body(&service, &principal, content, accepted.model.input_max_bytes).await?;
    blocking(move || {
        let (job, new) = take(&service, &principal, accepted, &bytes)?;
        let status = if new { StatusCode::ACCEPTED } else { StatusCode::OK };
        let location = [(header::LOCATION, format!("/v1/jobs/{}", job.id))];
        Ok((status, location, Json(job.shown())).into_response())
    })
    .await
}

/// Makes a job of an encrypted image, if it is one of the model under the right key. Whether the
/// job is new.
pub(super) fn take(
    service: &Service,
    principal: &Principal,
    accepted: Accepted,
    bytes: &[u8],
) -> Result<(Arc<Job>, bool), Problem> {
    let Accepted { model, keys, owned, deadline, idempotency } = accepted;
    let refused = |reason: String| Problem::new(Code::ImageRefused, reason);
    let ty = &model.program().interface.input.ty;
    let image = exchange::ciphertexts_from_bytes(bytes, &model.context, ty);
    let image = image.map_err(|error| refused(error.to_string()))?;
    model.server.check_image(&image).map_err(|error| refused(error.to_string()))?;
    if image.iter().any(|ciphertext| key_name(ciphertext.key()) != owned.key) {
        return Err(Problem::new(Code::KeyMismatch, "the image is encrypted under another key"));
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64;
    let record = Record {
        model: model.name.clone(),
        program: model.program,
        keys,
        image: Digest::of(bytes),
        submitted: now,
        deadline: deadline.map(|seconds| now + 1000 * seconds),
        idempotency,
        trace: service.options.trace_contexts.and_then(|contexts| (contexts.of)(&Span::current())),
    };
    // Their time to live begins again, also for the next process.
    service.keys.touch(&(Arc::clone(&principal.name), keys))?;
    service.jobs.submit(&principal.name, &model, record, owned.reserved, bytes)
}

/// The caller's jobs
#[utoipa::path(get, path = "/v1/jobs", tag = "jobs", responses((status = 200, body = api::Jobs)))]
pub(crate) async fn list(
    State(service): State<Arc<Service>>,
    Extension(principal): Extension<Principal>,
) -> Json<api::Jobs> {
    Json(api::Jobs { jobs: service.jobs.list(&principal.name) })
}

/// How far a job is
#[utoipa::path(get, path = "/v1/jobs/{job}", tag = "jobs", params(("job" = String, Path)), responses(
    (status = 200, body = api::Job), (status = 404, body = Problem, content_type = "application/problem+json")
))]
pub(crate) async fn get(
    State(service): State<Arc<Service>>,
    Extension(principal): Extension<Principal>,
    Path(job): Path<String>,
) -> Result<Json<api::Job>, Problem> {
    Ok(Json(service.jobs.get(&principal.name, &job)?.shown()))
}

/// An event of a job.
#[derive(utoipa::ToSchema)]
#[allow(dead_code, reason = "it describes what is written elsewhere")]
pub(crate) struct JobEvent {
    /// `job`
    event: String,
    /// The job, a `Job` as JSON
    data: String,
}

/// Server-sent events: the job whenever it changes, until it is finished
#[utoipa::path(get, path = "/v1/jobs/{job}/events", tag = "jobs", params(("job" = String, Path)), responses(
    (status = 200, body = JobEvent, content_type = "text/event-stream"),
    (status = 404, body = Problem, content_type = "application/problem+json"),
    (status = 503, body = Problem, content_type = "application/problem+json")
))]
pub(crate) async fn events(
    State(service): State<Arc<Service>>,
    Extension(principal): Extension<Principal>,
    Path(job): Path<String>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    let job = service.jobs.get(&principal.name, &job)?;
    let many = || Problem::new(Code::Overloaded, "you have too many streams of events").retry_after(5);
    let share = service.streams.take(&principal.name).ok_or_else(many)?;
    let begin = Some((job.watch(), service.ended.subscribe(), true, share));
    let events = stream::unfold(begin, move |state| {
        let job = Arc::clone(&job);
        async move {
            let (mut changes, mut ended, first, share) = state?;
            if !first {
                tokio::select! {
                    changed = changes.changed() => changed.ok()?,
                    _ = ended.wait_for(|ended| *ended) => return None,
                }
            }
            changes.mark_unchanged();
            let shown = job.shown();
            let next = (!shown.state.is_final()).then_some((changes, ended, false, share));
            let event = Event::default().event("job").json_data(shown).unwrap_or_default();
            Some((Ok(event), next))
        }
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(Duration::from_secs(5))))
}

fn bytes(content: Vec<u8>) -> Response {
    ([(header::CONTENT_TYPE, "application/octet-stream")], content).into_response()
}

fn finished(job: Arc<Job>) -> impl Future<Output = Result<Vec<u8>, Problem>> {
    blocking(move || job.answer())
}

/// The encrypted answer
#[utoipa::path(get, path = "/v1/jobs/{job}/answer", tag = "jobs", params(("job" = String, Path)), responses(
    (status = 200, body = Vec<u8>, content_type = "application/octet-stream"),
    (status = 409, body = Problem, content_type = "application/problem+json")
))]
pub(crate) async fn answer(
    State(service): State<Arc<Service>>,
    Extension(principal): Extension<Principal>,
    Path(job): Path<String>,
) -> Result<Response, Problem> {
    Ok(bytes(finished(service.jobs.get(&principal.name, &job)?).await?))
}

/// What the answer was computed of
#[utoipa::path(get, path = "/v1/jobs/{job}/receipt", tag = "jobs", params(("job" = String, Path)), responses(
    (status = 200, body = Receipt), (status = 409, body = Problem, content_type = "application/problem+json")
))]
pub(crate) async fn receipt(
    State(service): State<Arc<Service>>,
    Extension(principal): Extension<Principal>,
    Path(job): Path<String>,
) -> Result<Json<Receipt>, Problem> {
    let job = service.jobs.get(&principal.name, &job)?;
    Ok(Json(blocking(move || job.receipt()).await?))
}

/// Cancels a job that is not finished, deletes one that is
#[utoipa::path(delete, path = "/v1/jobs/{job}", tag = "jobs", params(("job" = String, Path)), responses(
    (status = 204), (status = 404, body = Problem, content_type = "application/problem+json")
))]
pub(crate) async fn delete(
    State(service): State<Arc<Service>>,
    Extension(principal): Extension<Principal>,
    Path(job): Path<String>,
) -> Result<StatusCode, Problem> {
    blocking(move || service.jobs.delete(&principal.name, &job)).await?;
    Ok(StatusCode::NO_CONTENT)
}

//! `/v1/models`.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};

use super::keys::refresh;
use crate::api::{Model, Models, Problem};
use crate::service::Service;
use crate::service::access::Principal;
use crate::service::catalogue;
use crate::service::errors::not_found;

fn shown(service: &Service, principal: &Principal, model: &catalogue::Model) -> Model {
    Model {
        name: model.name.clone(),
        program: model.program,
        security_bits: model.security_bits,
        interface_bytes: model.interface.len() as u64,
        key_file_max_bytes: model.key_file_max_bytes,
        key_memory_bytes: model.key_memory_bytes,
        input_max_bytes: model.input_max_bytes,
        answer_max_bytes: model.answer_max_bytes,
        keys: service.keys.whole_of(&principal.name, &model.program),
        predicted_seconds: model.program().plan.predicted_seconds,
        expected_seconds: model.expected_seconds(),
        queued: service.jobs.queued(),
        wait_seconds: service.jobs.wait_seconds(&principal.name),
    }
}

/// All models
#[utoipa::path(get, path = "/v1/models", tag = "models", responses(
    (status = 200, body = Models), (status = 401, body = Problem, content_type = "application/problem+json")
))]
pub(crate) async fn list(
    State(service): State<Arc<Service>>,
    Extension(principal): Extension<Principal>,
) -> Result<Json<Models>, Problem> {
    refresh(&service, &principal).await?;
    let models = service.catalogue.all().iter().map(|model| shown(&service, &principal, model)).collect();
    Ok(Json(Models { models }))
}

/// One model: sizes, the caller's keys, predicted time, length of the queue
#[utoipa::path(get, path = "/v1/models/{model}", tag = "models", params(("model" = String, Path)), responses(
    (status = 200, body = Model), (status = 404, body = Problem, content_type = "application/problem+json")
))]
pub(crate) async fn get(
    State(service): State<Arc<Service>>,
    Extension(principal): Extension<Principal>,
    Path(model): Path<String>,
) -> Result<Json<Model>, Problem> {
    let model = service.catalogue.get(&model).ok_or_else(not_found)?;
    refresh(&service, &principal).await?;
    Ok(Json(shown(&service, &principal, &model)))
}

/// The client's part of the program: no weights, no layers
#[utoipa::path(get, path = "/v1/models/{model}/interface", tag = "models", params(("model" = String, Path)),
    responses(
        (status = 200, body = Vec<u8>, content_type = "application/octet-stream"), (status = 304),
        (status = 404, body = Problem, content_type = "application/problem+json")
    )
)]
pub(crate) async fn interface(
    State(service): State<Arc<Service>>,
    Path(model): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let model = service.catalogue.get(&model).ok_or_else(not_found)?;
    let tag = format!("\"{}\"", model.interface_digest);
    if headers.get(header::IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == tag.as_bytes()) {
        return Ok(StatusCode::NOT_MODIFIED.into_response());
    }
    let kind = (header::CONTENT_TYPE, "application/octet-stream".to_string());
    Ok(([kind, (header::ETAG, tag)], model.interface.clone()).into_response())
}

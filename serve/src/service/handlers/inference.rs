//! The Open Inference Protocol, version 2, for clients that speak it: a ciphertext is a tensor of
//! one element of bytes, sent by the extension for binary data.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::jobs::{accept, take};
use super::keys::look_up;
use super::{blocking, body, or_discard};
use crate::api::{Code, IDEMPOTENCY_KEY, JobState, Problem};
use crate::service::Service;
use crate::service::access::Principal;
use crate::service::errors::not_found;
use crate::service::jobs::Job;

/// Header with the length of the JSON before binary data.
const JSON_LENGTH: &str = "inference-header-content-length";
const INPUT: &str = "ciphertext";
const OUTPUT: &str = "answer";
const BYTES: &str = "BYTES";
/// An element of bytes has its length before it.
const LENGTH: usize = 4;
/// More than the JSON of any request has.
const MAX_JSON_BYTES: usize = 1 << 14;

/// What the server is.
#[derive(Serialize, ToSchema)]
pub(crate) struct ServerMetadata {
    name: &'static str,
    version: &'static str,
    extensions: [&'static str; 1],
}

/// What a model is.
#[derive(Serialize, ToSchema)]
pub(crate) struct ModelMetadata {
    name: String,
    /// Digest of the program.
    versions: [String; 1],
    platform: &'static str,
    inputs: [TensorMetadata; 1],
    outputs: [TensorMetadata; 1],
}

/// A tensor of one element of bytes.
#[derive(Serialize, ToSchema)]
pub(crate) struct TensorMetadata {
    name: &'static str,
    datatype: &'static str,
    shape: [u64; 1],
}

fn tensor(name: &'static str) -> TensorMetadata {
    TensorMetadata { name, datatype: BYTES, shape: [1] }
}

#[derive(Deserialize)]
struct Request {
    id: Option<String>,
    parameters: Parameters,
    inputs: Vec<Tensor>,
}

#[derive(Deserialize)]
struct Parameters {
    /// Name of the keys.
    keys: String,
    /// Seconds.
    deadline: Option<u64>,
}

#[derive(Deserialize)]
struct Tensor {
    name: String,
    datatype: String,
    shape: Vec<u64>,
    #[serde(default)]
    parameters: Binary,
}

#[derive(Default, Deserialize, Serialize)]
struct Binary {
    binary_data_size: Option<usize>,
}

#[derive(Serialize)]
struct Answer {
    model_name: String,
    model_version: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    outputs: [Output; 1],
}

#[derive(Serialize)]
struct Output {
    name: &'static str,
    datatype: &'static str,
    shape: [u64; 1],
    parameters: Binary,
}

/// Name and version of the server (Open Inference Protocol)
#[utoipa::path(get, path = "/v2", tag = "inference", responses((status = 200, body = ServerMetadata)))]
pub(crate) async fn server() -> Json<ServerMetadata> {
    let version = env!("CARGO_PKG_VERSION");
    Json(ServerMetadata { name: "fhec", version, extensions: ["binary_tensor_data"] })
}

/// Tensors of a model (Open Inference Protocol)
#[utoipa::path(get, path = "/v2/models/{model}", tag = "inference", params(("model" = String, Path)), responses(
    (status = 200, body = ModelMetadata), (status = 404, body = Problem, content_type = "application/problem+json")
))]
pub(crate) async fn metadata(
    State(service): State<Arc<Service>>,
    Path(model): Path<String>,
) -> Result<Json<ModelMetadata>, Problem> {
    let model = service.catalogue.get(&model).ok_or_else(not_found)?;
    Ok(Json(ModelMetadata {
        name: model.name.clone(),
        versions: [model.program.to_string()],
        platform: "fhec_ckks",
        inputs: [tensor(INPUT)],
        outputs: [tensor(OUTPUT)],
    }))
}

/// Whether a model takes images (Open Inference Protocol)
#[utoipa::path(get, path = "/v2/models/{model}/ready", tag = "inference", params(("model" = String, Path)),
    responses((status = 200), (status = 404, body = Problem, content_type = "application/problem+json"))
)]
pub(crate) async fn ready(
    State(service): State<Arc<Service>>,
    Path(model): Path<String>,
) -> Result<StatusCode, Problem> {
    service.catalogue.get(&model).ok_or_else(not_found)?;
    Ok(if service.is_draining() { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK })
}

/// A job whose client waits at the other end of a connection: without it, it is cancelled.
struct Awaited {
    service: Arc<Service>,
    job: Arc<Job>,
}

impl Drop for Awaited {
    fn drop(&mut self) {
        let (service, job) = (Arc::clone(&self.service), Arc::clone(&self.job));
        // Cancelled if it is not finished, and then deleted: nobody else knows of it.
        let taken_back = std::thread::Builder::new().spawn(move || {
            let _ = service.jobs.delete(&job.principal, &job.id);
            let _ = service.jobs.delete(&job.principal, &job.id);
        });
        if let Err(error) = taken_back {
            // It ends by itself, and goes with time.
            tracing::warn!(target: "fhec::serve", "a job is not cancelled: {error}");
        }
    }
}

/// Evaluates an encrypted image while the client waits (Open Inference Protocol)
#[utoipa::path(post, path = "/v2/models/{model}/infer", tag = "inference",
    params(
        ("model" = String, Path),
        ("inference-header-content-length" = usize, Header, description = "length of the JSON before the ciphertext")
    ),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses(
        (status = 200, body = Vec<u8>, content_type = "application/octet-stream"),
        (status = 400, body = Problem, content_type = "application/problem+json")
    )
)]
pub(crate) async fn infer(
    State(service): State<Arc<Service>>,
    Extension(principal): Extension<Principal>,
    Path(model): Path<String>,
    headers: HeaderMap,
    content: Body,
) -> Result<Response, Problem> {
    let bad = |detail: &str| Problem::new(Code::BadRequest, detail);
    let json_length = headers.get(JSON_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    let json_length = json_length.filter(|&length| length <= MAX_JSON_BYTES);
    // Such a job is its connection's, and goes with it.
    let once = || bad("a job that is waited for has no idempotency key: send it without, or to /v1");
    let known = service.catalogue.get(&model).ok_or_else(not_found);
    let known = if headers.contains_key(IDEMPOTENCY_KEY) { known.and(Err(once())) } else { known };
    let binary = || bad("send the ciphertext as binary data, with inference-header-content-length");
    let checked = known.and_then(|known| Ok((known, json_length.ok_or_else(binary)?)));
    let ((known, json_length), content) = or_discard(&service, checked, content).await?;
    let limit = known.input_max_bytes + (json_length + LENGTH) as u64;
    let bytes = body(&service, &principal, content, limit).await?;
    let (json, data) = bytes.split_at_checked(json_length).ok_or_else(|| bad("the body is cut off"))?;
    let request: Request =
        serde_json::from_slice(json).map_err(|error| bad(&format!("the JSON: {error}")))?;
    let [Tensor { name, datatype, shape, parameters }] = &request.inputs[..] else {
        return Err(bad("there is one input"));
    };
    if (&name[..], &datatype[..], &shape[..], parameters.binary_data_size)
        != (INPUT, BYTES, &[1], Some(data.len()))
    {
        return Err(bad("the input is `ciphertext`, of datatype BYTES and shape [1], with all binary data"));
    }
    let element = data.split_first_chunk::<LENGTH>();
    let element = element.filter(|(length, rest)| u32::from_le_bytes(**length) as usize == rest.len());
    let image = element
        .map(|(_, rest)| bytes.slice_ref(rest))
        .ok_or_else(|| bad("an element has its length first"))?;

    let Parameters { keys, deadline } = &request.parameters;
    look_up(&service, &principal, keys).await?;
    let accepted = accept(&service, &principal, &model, keys, *deadline, None)?;
    let taking = Arc::clone(&service);
    // Made where the job is: the caller may go away at any moment.
    let awaited = blocking(move || {
        // The body has done its part when the job is there.
        let _bytes = bytes;
        let (job, _) = take(&taking, &principal, accepted, &image)?;
        Ok(Awaited { service: taking, job })
    });
    let awaited = awaited.await?;
    let job = Arc::clone(&awaited.job);
    let mut changes = job.watch();
    let mut ended = service.ended.subscribe();
    let draining =
        || Problem::new(Code::Draining, "the service is about to end; send it again").retry_after(5);
    tokio::select! {
        finished = changes.wait_for(|progress| progress.state.is_final()) => drop(finished),
        _ = ended.wait_for(|ended| *ended) => return Err(draining()),
    }
    let shown = job.shown();
    if shown.state != JobState::Done {
        let cancelled = || Problem::new(Code::NoAnswer, "the job was cancelled");
        return Err(shown.problem.unwrap_or_else(cancelled));
    }
    let answer = blocking(move || job.answer()).await?;
    drop(awaited);
    let size = answer.len() + LENGTH;
    let parameters = Binary { binary_data_size: Some(size) };
    let json = serde_json::to_vec(&Answer {
        model_name: known.name.clone(),
        model_version: known.program.to_string(),
        id: request.id,
        outputs: [Output { name: OUTPUT, datatype: BYTES, shape: [1], parameters }],
    });
    let json = json.map_err(super::super::errors::internal)?;
    let headers = [
        (header::CONTENT_TYPE.as_str(), "application/octet-stream".to_string()),
        (JSON_LENGTH, json.len().to_string()),
    ];
    let length = (answer.len() as u32).to_le_bytes();
    Ok((headers, [&json[..], &length, &answer].concat()).into_response())
}

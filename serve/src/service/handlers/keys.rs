//! `/v1/keys`.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::{Extension, Json};

use super::{blocking, body, or_discard};
use crate::api::{AnnounceKeys, Code, KeyList, Keys, Problem, UPLOAD_DIGEST, UPLOAD_OFFSET};
use crate::digest::Digest;
use crate::service::Service;
use crate::service::access::Principal;
use crate::service::errors::not_found;
use crate::service::keys::Name;

/// More than any announcement has.
const MAX_JSON_BYTES: u64 = 4096;

fn name(principal: &Principal, keys: &str) -> Result<Name, Problem> {
    // What is no digest names nothing.
    Ok((Arc::clone(&principal.name), keys.parse().map_err(|_| not_found())?))
}

/// The name of a principal's keys, which are known from now on if they are in the bucket.
pub(super) async fn look_up(
    service: &Arc<Service>,
    principal: &Principal,
    keys: &str,
) -> Result<Name, Problem> {
    let name = name(principal, keys)?;
    if service.keys.knows(&name) {
        return Ok(name);
    }
    let service = Arc::clone(service);
    blocking(move || service.keys.look_up(&name).map(|()| name)).await
}

/// The same for all keys of a principal. Where the bucket is away, what is known is enough.
pub(super) async fn refresh(service: &Arc<Service>, principal: &Principal) -> Result<(), Problem> {
    if service.keys.is_fresh(&principal.name) {
        return Ok(());
    }
    let (service, name) = (Arc::clone(service), Arc::clone(&principal.name));
    blocking(move || {
        service.keys.refresh(&name);
        Ok(())
    })
    .await
}

/// The caller's keys
#[utoipa::path(get, path = "/v1/keys", tag = "keys", responses((status = 200, body = KeyList)))]
pub(crate) async fn list(
    State(service): State<Arc<Service>>,
    Extension(principal): Extension<Principal>,
) -> Result<Json<KeyList>, Problem> {
    refresh(&service, &principal).await?;
    Ok(Json(KeyList { keys: service.keys.list(&principal.name) }))
}

/// Announces a key file; says where its upload is if it was announced before
#[utoipa::path(post, path = "/v1/keys", tag = "keys", request_body = AnnounceKeys, responses(
    (status = 200, body = Keys), (status = 201, body = Keys),
    (status = 507, body = Problem, content_type = "application/problem+json")
))]
pub(crate) async fn announce(
    State(service): State<Arc<Service>>,
    Extension(principal): Extension<Principal>,
    content: Body,
) -> Result<(StatusCode, Json<Keys>), Problem> {
    let bytes = body(&service, &principal, content, MAX_JSON_BYTES).await?;
    let announced: AnnounceKeys = serde_json::from_slice(&bytes)
        .map_err(|error| Problem::new(Code::BadRequest, format!("the announcement: {error}")))?;
    if service.is_draining() {
        return Err(Problem::new(Code::Draining, "the server is about to end").retry_after(5));
    }
    let name = (Arc::clone(&principal.name), announced.keys);
    blocking(move || {
        let model = service.catalogue.get(&announced.model).ok_or_else(not_found)?;
        let (keys, new) = service.keys.announce(&name, &model, announced.length, &service.options)?;
        Ok((if new { StatusCode::CREATED } else { StatusCode::OK }, Json(keys)))
    })
    .await
}

/// Where an upload is, or that the keys are whole
#[utoipa::path(get, path = "/v1/keys/{keys}", tag = "keys", params(("keys" = String, Path)), responses(
    (status = 200, body = Keys), (status = 404, body = Problem, content_type = "application/problem+json")
))]
pub(crate) async fn get(
    State(service): State<Arc<Service>>,
    Extension(principal): Extension<Principal>,
    Path(keys): Path<String>,
) -> Result<Json<Keys>, Problem> {
    let name = look_up(&service, &principal, &keys).await?;
    Ok(Json(service.keys.get(&name)?))
}

/// Name of the keys, offset and digest of a chunk.
fn chunk(
    service: &Service,
    principal: &Principal,
    keys: &str,
    headers: &HeaderMap,
) -> Result<(Name, u64, Digest), Problem> {
    let name = name(principal, keys)?;
    service.keys.get(&name)?;
    let bad = |header: &str, what: &str| Problem::new(Code::BadRequest, format!("{header} has to be {what}"));
    let text = |header: &str| headers.get(header).and_then(|value| value.to_str().ok());
    let offset = text(UPLOAD_OFFSET).and_then(|offset| offset.parse::<u64>().ok());
    let offset = offset.ok_or_else(|| bad(UPLOAD_OFFSET, "a number of bytes"))?;
    let digest = text(UPLOAD_DIGEST).and_then(|digest| digest.parse::<Digest>().ok());
    let digest = digest.ok_or_else(|| bad(UPLOAD_DIGEST, "the BLAKE3 of the chunk in hexadecimal digits"))?;
    Ok((name, offset, digest))
}

/// A chunk of the key file; the last one makes the keys whole, after they were checked
#[utoipa::path(patch, path = "/v1/keys/{keys}", tag = "keys",
    params(
        ("keys" = String, Path),
        ("upload-offset" = u64, Header, description = "where the chunk begins"),
        ("upload-digest" = String, Header, description = "BLAKE3 of the chunk")
    ),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses(
        (status = 200, body = Keys),
        (status = 409, body = Problem, content_type = "application/problem+json"),
        (status = 422, body = Problem, content_type = "application/problem+json")
    )
)]
pub(crate) async fn append(
    State(service): State<Arc<Service>>,
    Extension(principal): Extension<Principal>,
    Path(keys): Path<String>,
    headers: HeaderMap,
    content: Body,
) -> Result<Json<Keys>, Problem> {
    // Before bytes are taken for it.
    let chunk = chunk(&service, &principal, &keys, &headers);
    let ((name, offset, digest), content) = or_discard(&service, chunk, content).await?;
    let bytes = body(&service, &principal, content, service.options.chunk_bytes).await?;
    if bytes.is_empty() {
        return Err(Problem::new(Code::BadRequest, "a chunk has at least one byte"));
    }
    blocking(move || {
        if Digest::of(&bytes) != digest {
            return Err(Problem::new(
                Code::WrongDigest,
                "the chunk is not what its digest says: send it again",
            ));
        }
        let keys = service.keys.append(&name, &service.catalogue, offset, &bytes)?;
        service.metrics.uploaded(bytes.len() as u64);
        Ok(Json(keys))
    })
    .await
}

/// Starts the keys' time to live again
#[utoipa::path(post, path = "/v1/keys/{keys}/touch", tag = "keys", params(("keys" = String, Path)), responses(
    (status = 204), (status = 404, body = Problem, content_type = "application/problem+json")
))]
pub(crate) async fn touch(
    State(service): State<Arc<Service>>,
    Extension(principal): Extension<Principal>,
    Path(keys): Path<String>,
) -> Result<StatusCode, Problem> {
    let name = name(&principal, &keys)?;
    blocking(move || service.keys.touch(&name)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Deletes keys that no unfinished job uses
#[utoipa::path(delete, path = "/v1/keys/{keys}", tag = "keys", params(("keys" = String, Path)), responses(
    (status = 204), (status = 404, body = Problem, content_type = "application/problem+json"),
    (status = 409, body = Problem, content_type = "application/problem+json")
))]
pub(crate) async fn delete(
    State(service): State<Arc<Service>>,
    Extension(principal): Extension<Principal>,
    Path(keys): Path<String>,
) -> Result<StatusCode, Problem> {
    let name = name(&principal, &keys)?;
    blocking(move || service.keys.delete(&name)).await?;
    Ok(StatusCode::NO_CONTENT)
}

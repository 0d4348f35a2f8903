//! Why a service does not start, and how problems become responses.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use fhec_roles::RoleError;
use fhec_roles::files::FileError;
use serde::Serialize;
use thiserror::Error;

use super::bucket::BucketError;
use crate::api::{Code, Problem};
use crate::receipt::KeyError;
use crate::tokens::TokenError;

/// Why a service does not start.
#[derive(Debug, Error)]
#[allow(missing_docs)]
pub enum ServiceError {
    #[error(
        "`{0}` is no name of a model: up to 64 letters, digits, `.`, `-` and `_`, the first one a letter or digit"
    )]
    ModelName(String),
    #[error("two models are called {0}: give one of the files another name")]
    SameName(String),
    #[error("model {name} cannot be served: {source}")]
    Model { name: String, source: RoleError },
    #[error("there is no model to serve")]
    NoModel,
    #[error(
        "--no-auth is for a loopback address alone, and {0} is none: name a file of tokens (--tokens), or listen at 127.0.0.1"
    )]
    OpenDoors(SocketAddr),
    #[error(
        "--no-auth is for programs on this machine, and a proxy (--behind-proxy) speaks for others: name a file of tokens (--tokens)"
    )]
    OpenProxy,
    #[error(
        "tokens would go over {0} in the clear: give --tls-cert and --tls-key, or say --behind-proxy where a proxy does TLS"
    )]
    Plain(SocketAddr),
    #[error(
        "without a file of tokens clients need certificates: --client-ca names the authority that signs them"
    )]
    NoAuthority,
    #[error("{what} has to be at least {least}")]
    TooLittle { what: &'static str, least: u64 },
    #[error(transparent)]
    Tokens(#[from] TokenError),
    #[error(transparent)]
    Bucket(#[from] BucketError),
    #[error("a budget for keys on disk (--key-disk) needs a bucket that has the others: --key-bucket")]
    DiskWithoutBucket,
    #[error(transparent)]
    ReceiptKey(#[from] KeyError),
    #[error("{}: {reason}", .path.display())]
    Tls { path: PathBuf, reason: String },
    #[error("another service has the state in {}: stop it, or name another folder", .0.display())]
    StateBusy(PathBuf),
    #[error("the state in {} cannot be used: {source}", .path.display())]
    State { path: PathBuf, source: io::Error },
    #[error("the page in {} cannot be served: {reason}", .path.display())]
    Demo { path: PathBuf, reason: String },
    #[error(transparent)]
    File(#[from] FileError),
    #[error("cannot listen at {address}: {source}")]
    Listen { address: SocketAddr, source: io::Error },
    #[error("cannot start threads: {0}")]
    Threads(io::Error),
    #[error("cannot start worker threads: {0}")]
    Pool(#[from] rayon::ThreadPoolBuildError),
}

/// Media type of errors (RFC 9457).
pub(super) const PROBLEM: &str = "application/problem+json";

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = response_of(&self, &self);
        response.extensions_mut().insert(self);
        response
    }
}

/// The same for clients of the Open Inference Protocol, which look for a member `error`.
pub(super) fn for_protocol(problem: &Problem) -> Response {
    #[derive(Serialize)]
    struct WithError<'a> {
        #[serde(flatten)]
        problem: &'a Problem,
        error: &'a str,
    }
    response_of(problem, &WithError { problem, error: &problem.detail })
}

/// A response with `json`, which says what `problem` is.
fn response_of(problem: &Problem, json: &impl Serialize) -> Response {
    let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = (status, Json(json)).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM));
    if let Some(seconds) = problem.retry_after {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    if problem.code == Code::Unauthorized {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}

/// What a caller is told of a failure of the server: the log has the rest.
pub(super) fn internal(error: impl std::fmt::Display) -> Problem {
    tracing::error!(target: "fhec::serve", "{error}");
    Problem::new(Code::Internal, "the server could not do this; its log says why").retry_after(5)
}

/// The same of a file that cannot be written: a full disk is a problem of its own.
pub(super) fn of_disk(error: io::Error) -> Problem {
    if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
        tracing::error!(target: "fhec::serve", "the disk is full");
        return Problem::new(Code::NoRoom, "the server's disk is full").retry_after(60);
    }
    internal(error)
}

/// There is no such thing, or it is somebody else's: both look the same.
pub(super) fn not_found() -> Problem {
    Problem::new(Code::NotFound, "there is nothing of this name that belongs to you")
}

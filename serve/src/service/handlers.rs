//! What requests do.

pub(super) mod inference;
pub(super) mod jobs;
pub(super) mod keys;
pub(super) mod models;
pub(super) mod operations;

use std::ops::Deref;
use std::time::Duration;

use axum::body::{Body, Bytes};
use http_body_util::BodyExt;
use hyper::body::Body as _;
use tracing::Span;

use super::Service;
use super::access::Principal;
use super::errors::internal;
use super::shares::Share;
use crate::api::{Code, Problem};

/// Of a request that is refused so much is taken all the same: a client that is still sending would
/// not see why it is refused.
const TAKEN: u64 = 8 << 20;

/// Lets a body of moderate size come to its end, and forgets it.
pub(super) async fn discard(mut body: Body, patience: Duration) {
    if body.size_hint().lower() > TAKEN {
        return;
    }
    let take = async {
        let mut taken = 0;
        while let Some(Ok(frame)) = body.frame().await {
            taken += frame.data_ref().map_or(0, Bytes::len) as u64;
            if taken > TAKEN {
                return;
            }
        }
    };
    let _ = tokio::time::timeout(patience, take).await;
}

/// `checked`, once the body of a request that is refused has come.
async fn or_discard<T>(
    service: &Service,
    checked: Result<T, Problem>,
    content: Body,
) -> Result<(T, Body), Problem> {
    match checked {
        Ok(checked) => Ok((checked, content)),
        Err(problem) => {
            discard(content, service.options.patience).await;
            Err(problem)
        }
    }
}

/// A body. It counts as one until this is dropped, so as long as its bytes are in memory.
pub(super) struct Taken {
    bytes: Bytes,
    _share: Share,
}

impl Deref for Taken {
    type Target = Bytes;

    fn deref(&self) -> &Bytes {
        &self.bytes
    }
}

/// Takes a body of at most `limit` bytes that comes in time. What its length says is compared
/// first; what comes counts.
async fn body(service: &Service, principal: &Principal, body: Body, limit: u64) -> Result<Taken, Problem> {
    let too_large = || Problem::new(Code::TooLarge, format!("up to {limit} bytes are taken here"));
    let overloaded = || Problem::new(Code::Overloaded, "too many bodies are on their way").retry_after(1);
    let fits = if body.size_hint().lower() > limit { Err(too_large()) } else { Ok(()) };
    let share = fits.and_then(|()| service.bodies.take(&principal.name).ok_or_else(overloaded));
    let (share, body) = or_discard(service, share, body).await?;
    let (patience, time) = (service.options.patience, service.options.body_time);
    let gather = async {
        let mut body = body;
        let mut bytes = Vec::new();
        loop {
            let frame = tokio::time::timeout(patience, body.frame()).await.map_err(|_| too_slow(patience))?;
            let Some(frame) = frame else { return Ok(Taken { bytes: bytes.into(), _share: share }) };
            let broken = |_| Problem::new(Code::BadRequest, "the body broke off");
            let Ok(data) = frame.map_err(broken)?.into_data() else { continue };
            if (bytes.len() + data.len()) as u64 > limit {
                return Err(too_large());
            }
            bytes.extend_from_slice(&data);
        }
    };
    tokio::time::timeout(time, gather).await.unwrap_or_else(|_| Err(too_slow(time)))
}

fn too_slow(time: Duration) -> Problem {
    Problem::new(Code::BodyTooSlow, format!("nothing came for {time:?}, or not all: send smaller parts"))
}

/// Does what may wait for the disk or compute on a thread for that, in the span of the request.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    let span = Span::current();
    let done = tokio::task::spawn_blocking(move || span.in_scope(work)).await;
    done.unwrap_or_else(|error| Err(internal(error)))
}

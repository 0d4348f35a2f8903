//! A store of one bucket in memory, for tests: as much of S3 as is used here.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::SystemTime;

use axum::Router;
use axum::body::to_bytes;
use axum::extract::{Query, Request, State};
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimePrinter;

use super::KeyBucket;

/// Objects of a page of a list.
const PAGE: usize = 2;

type Objects = BTreeMap<String, (Vec<u8>, SystemTime)>;

#[derive(Default)]
struct Inner {
    objects: Mutex<Objects>,
    is_away: AtomicBool,
    asked: AtomicUsize,
}

/// The store; gone when dropped.
pub(in crate::service) struct FakeStore {
    inner: Arc<Inner>,
    address: String,
    _runtime: tokio::runtime::Runtime,
}

impl FakeStore {
    pub(in crate::service) fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.unwrap();
        let inner = Arc::new(Inner::default());
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(answer).with_state(Arc::clone(&inner));
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let service = TowerToHyperService::new(router.clone());
                let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                tokio::spawn(connection);
            }
        });
        FakeStore { inner, address, _runtime: runtime }
    }

    /// The bucket, with names below `keys/`.
    pub(in crate::service) fn bucket(&self) -> KeyBucket {
        let variable = |name: &str| match name {
            "AWS_ACCESS_KEY_ID" => Some("id".to_string()),
            "AWS_SECRET_ACCESS_KEY" => Some("secret".to_string()),
            "AWS_ENDPOINT_URL" => Some(self.address.clone()),
            _ => None,
        };
        KeyBucket::new("s3://bucket/keys", variable).unwrap()
    }

    pub(in crate::service) fn objects(&self) -> MutexGuard<'_, Objects> {
        self.inner.objects.lock().unwrap()
    }

    /// Names of objects, without the prefix.
    pub(in crate::service) fn names(&self) -> Vec<String> {
        self.objects().keys().map(|name| name.strip_prefix("keys/").unwrap().to_string()).collect()
    }

    pub(in crate::service) fn set_away(&self, is_away: bool) {
        self.inner.is_away.store(is_away, Ordering::Relaxed);
    }

    /// Requests so far.
    pub(in crate::service) fn asked(&self) -> usize {
        self.inner.asked.load(Ordering::Relaxed)
    }
}

async fn answer(State(store): State<Arc<Inner>>, request: Request) -> Response {
    store.asked.fetch_add(1, Ordering::Relaxed);
    if store.is_away.load(Ordering::Relaxed) {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    let query = Query::<HashMap<String, String>>::try_from_uri(request.uri()).unwrap().0;
    let (method, path) = (request.method().clone(), request.uri().path().to_string());
    let error = |status: StatusCode, code: &str| {
        (status, format!("<Error><Code>{code}</Code><Key>{path}</Key></Error>")).into_response()
    };
    if !query.contains_key("X-Amz-Signature") {
        return error(StatusCode::FORBIDDEN, "AccessDenied");
    }
    let Some(name) = path.strip_prefix("/bucket/").map(str::to_string) else {
        return error(StatusCode::NOT_FOUND, "NoSuchBucket");
    };
    let range = request.headers().get(header::RANGE).map(|range| range.to_str().unwrap().to_string());
    // A length has to be said.
    let has_length = request.headers().contains_key(header::CONTENT_LENGTH);
    let body = to_bytes(request.into_body(), usize::MAX).await.unwrap();
    let mut objects = store.objects.lock().unwrap();
    match method {
        Method::GET if name.is_empty() => list(&objects, &query).into_response(),
        Method::GET => match objects.get(&name) {
            Some((bytes, _)) if range.is_some() => {
                // `bytes=FROM-TO`, and fewer where there are no more.
                let range = range.unwrap();
                let (from, to) = range.strip_prefix("bytes=").unwrap().split_once('-').unwrap();
                let (from, to) = (from.parse::<usize>().unwrap(), to.parse::<usize>().unwrap());
                match bytes.get(from..bytes.len().min(to + 1)) {
                    Some(part) if !part.is_empty() => {
                        (StatusCode::PARTIAL_CONTENT, part.to_vec()).into_response()
                    }
                    _ => error(StatusCode::RANGE_NOT_SATISFIABLE, "InvalidRange"),
                }
            }
            Some((bytes, modified)) => {
                let modified = Timestamp::try_from(*modified).unwrap();
                let modified = DateTimePrinter::new().timestamp_to_rfc9110_string(&modified).unwrap();
                ([(header::LAST_MODIFIED, modified)], bytes.clone()).into_response()
            }
            None => error(StatusCode::NOT_FOUND, "NoSuchKey"),
        },
        Method::PUT if !has_length => error(StatusCode::LENGTH_REQUIRED, "MissingContentLength"),
        Method::PUT => {
            objects.insert(name, (body.to_vec(), SystemTime::now()));
            StatusCode::OK.into_response()
        }
        Method::DELETE => {
            objects.remove(&name);
            StatusCode::NO_CONTENT.into_response()
        }
        _ => error(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed"),
    }
}

fn list(objects: &Objects, query: &HashMap<String, String>) -> String {
    let (prefix, after) = (&query["prefix"], query.get("continuation-token").cloned().unwrap_or_default());
    let left: Vec<_> =
        objects.iter().filter(|(name, _)| name.starts_with(prefix) && **name > after).collect();
    let mut text = String::from("<ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">");
    for (name, (bytes, modified)) in left.iter().take(PAGE) {
        let (modified, size) = (Timestamp::try_from(*modified).unwrap(), bytes.len());
        text += &format!(
            "<Contents><Key>{name}</Key><LastModified>{modified}</LastModified><Size>{size}</Size></Contents>"
        );
    }
    let is_truncated = left.len() > PAGE;
    text += &format!("<IsTruncated>{is_truncated}</IsTruncated>");
    if is_truncated {
        text += &format!("<NextContinuationToken>{}</NextContinuationToken>", left[PAGE - 1].0);
    }
    text + "</ListBucketResult>"
}

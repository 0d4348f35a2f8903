//! A page of the service: files of one folder, which are read when the service starts.
//!
//! What is served is a table by name, so no path of a request reaches the disk. The page may load
//! and ask nothing but the service that it is from.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path as Name, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;

use super::errors::{ServiceError, not_found};
use crate::digest::Digest;

/// What the page is called in its folder.
const INDEX: &str = "index.html";
/// All files together have no more bytes.
const MOST_BYTES: u64 = 64 << 20;
/// Folders in folders.
const MOST_DEPTH: usize = 8;

/// Endings of names, and what browsers are told of such files. Others are not served.
const KINDS: [(&str, &str); 7] = [
    ("html", "text/html; charset=utf-8"),
    ("css", "text/css; charset=utf-8"),
    ("js", "text/javascript; charset=utf-8"),
    ("wasm", "application/wasm"),
    ("json", "application/json"),
    ("png", "image/png"),
    ("svg", "image/svg+xml"),
];

/// The page loads its own files alone, and WebAssembly is all that it may compile.
const POLICY: &str = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; \
     img-src 'self' blob: data:; connect-src 'self'; worker-src 'self'; base-uri 'none'; \
     form-action 'none'; frame-ancestors 'none'";

const HEADERS: [(HeaderName, &str); 6] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (header::CACHE_CONTROL, "no-cache"),
];

struct File {
    kind: &'static str,
    tag: String,
    bytes: Bytes,
}

/// The files of a page by their names, `/` between the folders.
#[derive(Clone)]
pub(super) struct Demo(Arc<BTreeMap<String, File>>);

impl Demo {
    /// Reads the files of `folder`. Links, hidden files, and files of other kinds are left out.
    pub(super) fn read(folder: &Path) -> Result<Self, ServiceError> {
        let mut files = BTreeMap::new();
        let mut left = MOST_BYTES;
        gather(folder, "", 0, &mut files, &mut left)?;
        if !files.contains_key(INDEX) {
            return Err(wrong(folder, format!("it has no {INDEX}; `web/build.sh` builds the page")));
        }
        Ok(Demo(Arc::new(files)))
    }

    /// `/demo/` and what belongs to it; `/` leads there.
    pub(super) fn routes<S: Clone + Send + Sync + 'static>(self) -> Router<S> {
        Router::new()
            .route("/", get(async || Redirect::temporary("/demo/")))
            .route("/demo", get(async || Redirect::temporary("/demo/")))
            .route("/demo/", get(index))
            .route("/demo/{*name}", get(file))
            .with_state(self)
    }

    fn response(&self, name: &str, headers: &HeaderMap) -> Response {
        let Some(File { kind, tag, bytes }) = self.0.get(name) else { return not_found().into_response() };
        let known =
            headers.get(header::IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == tag.as_bytes());
        let own = [(header::CONTENT_TYPE, kind.to_string()), (header::ETAG, tag.clone())];
        let mut response = match known {
            true => (StatusCode::NOT_MODIFIED, own).into_response(),
            false => (own, bytes.clone()).into_response(),
        };
        for (name, value) in HEADERS {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        response
    }
}

fn wrong(path: &Path, reason: impl Into<String>) -> ServiceError {
    ServiceError::Demo { path: path.to_owned(), reason: reason.into() }
}

fn gather(
    folder: &Path,
    prefix: &str,
    depth: usize,
    files: &mut BTreeMap<String, File>,
    left: &mut u64,
) -> Result<(), ServiceError> {
    if depth > MOST_DEPTH {
        return Err(wrong(folder, format!("it is more than {MOST_DEPTH} folders deep")));
    }
    let unreadable = |path: &Path| {
        let path = path.to_owned();
        move |error: std::io::Error| wrong(&path, error.to_string())
    };
    for entry in fs::read_dir(folder).map_err(unreadable(folder))? {
        let entry = entry.map_err(unreadable(folder))?;
        let path: PathBuf = entry.path();
        let kind = entry.file_type().map_err(unreadable(&path))?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        if name.starts_with('.') {
            continue;
        }
        let full = format!("{prefix}{name}");
        if kind.is_dir() {
            gather(&path, &format!("{full}/"), depth + 1, files, left)?;
            continue;
        }
        let ending = name.rsplit_once('.').map_or("", |(_, ending)| ending);
        let Some((_, kind)) = KINDS.iter().find(|(known, _)| *known == ending).filter(|_| kind.is_file())
        else {
            continue;
        };
        let length = entry.metadata().map_err(unreadable(&path))?.len();
        *left = left
            .checked_sub(length)
            .ok_or_else(|| wrong(&path, format!("the page has more than {MOST_BYTES} bytes")))?;
        let bytes: Bytes = fs::read(&path).map_err(unreadable(&path))?.into();
        let tag = format!("\"{}\"", Digest::of(&bytes));
        files.insert(full, File { kind, tag, bytes });
    }
    Ok(())
}

async fn index(State(demo): State<Demo>, headers: HeaderMap) -> Response {
    demo.response(INDEX, &headers)
}

async fn file(State(demo): State<Demo>, Name(name): Name<String>, headers: HeaderMap) -> Response {
    demo.response(&name, &headers)
}

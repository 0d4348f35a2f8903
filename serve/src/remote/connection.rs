//! Requests over HTTP, one at a time.

use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::de::DeserializeOwned;
use ureq::http::{Request, Response, StatusCode, Uri};
use ureq::tls::{Certificate, ClientCert, PemItem, PrivateKey, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Body};

use super::RemoteError;
use crate::api::Problem;

/// More than any answer in JSON has.
const MAX_JSON_BYTES: u64 = 16 << 20;
/// More than any event has.
const MAX_EVENT_BYTES: u64 = 1 << 16;
/// The last chunk of keys is answered when they are checked. No body takes longer either way.
const ANSWER_TIME: Duration = Duration::from_secs(600);
/// A stream of events is taken up again after so long: it may be dead without a word.
const STREAM_TIME: Duration = Duration::from_secs(60);

/// Files of a client's certificate, PEM.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The certificate, and those between it and its authority.
    pub certificates: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// How a service is reached.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// The token, if the service wants one.
    pub token: Option<String>,
    /// Certificates of the authority that the server's is from, PEM; else those of Mozilla's list.
    pub authority: Option<PathBuf>,
    /// The client's own certificate.
    pub identity: Option<Identity>,
    /// Whether a token may go over the network in the clear.
    pub insecure: bool,
}

/// Bytes of bodies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// To the service.
    pub sent: u64,
    /// From it.
    pub received: u64,
}

/// A service's address and what is sent with every request.
pub struct Connection {
    base: String,
    agent: Agent,
    authorization: Option<String>,
    sent: AtomicU64,
    received: AtomicU64,
}

impl std::fmt::Debug for Connection {
    /// Without the token.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").field("base", &self.base).finish_non_exhaustive()
    }
}

fn pem(path: &std::path::Path) -> Result<Vec<u8>, RemoteError> {
    Ok(fhec_roles::files::read(path, 1 << 20)?)
}

fn certificates(path: &std::path::Path) -> Result<Vec<Certificate<'static>>, RemoteError> {
    let error = |reason: String| RemoteError::Tls { what: path.display().to_string(), reason };
    let mut found = Vec::new();
    for item in parse_pem(&pem(path)?) {
        if let PemItem::Certificate(certificate) = item.map_err(|reason| error(reason.to_string()))? {
            found.push(certificate);
        }
    }
    if found.is_empty() { Err(error("there is no certificate in it".into())) } else { Ok(found) }
}

impl Connection {
    /// To the service at `url`: `https://host[:port][/path]`, or `http://` on this machine.
    ///
    /// # Errors
    /// If it is no such address, or a token would go over the network in the clear.
    pub fn new(url: &str, settings: &Settings) -> Result<Self, RemoteError> {
        let address = |reason| RemoteError::Address { url: url.into(), reason };
        let uri: Uri = url.parse().map_err(|_| address("write http://HOST:PORT or https://HOST"))?;
        let host = uri.host().ok_or_else(|| address("write http://HOST:PORT or https://HOST"))?;
        let local = matches!(host, "localhost" | "127.0.0.1" | "[::1]");
        match uri.scheme_str() {
            Some("https") => {}
            Some("http") if local || settings.insecure || settings.token.is_none() => {}
            Some("http") => {
                return Err(address("the token would go over the network in the clear; use https"));
            }
            _ => return Err(address("it begins neither with http:// nor with https://")),
        }
        if uri.query().is_some() {
            return Err(address("it has a query"));
        }
        let mut tls = TlsConfig::builder();
        if let Some(path) = &settings.authority {
            tls = tls.root_certs(RootCerts::Specific(Arc::new(certificates(path)?)));
        }
        if let Some(Identity { certificates: own, key }) = &settings.identity {
            let error = |reason: ureq::Error| RemoteError::Tls {
                what: key.display().to_string(),
                reason: reason.to_string(),
            };
            let private = PrivateKey::from_pem(&pem(key)?).map_err(error)?;
            tls = tls.client_cert(Some(ClientCert::new_with_certs(&certificates(own)?, private)));
        }
        let mut config = Agent::config_builder();
        if local {
            // A proxy of the environment would see the token, and cannot reach this machine.
            config = config.proxy(None);
        }
        let config = config
            .http_status_as_error(false)
            .tls_config(tls.build())
            .max_redirects(0)
            .timeout_connect(Some(Duration::from_secs(10)))
            .timeout_send_body(Some(ANSWER_TIME))
            .timeout_recv_response(Some(ANSWER_TIME))
            .timeout_recv_body(Some(ANSWER_TIME))
            .max_idle_age(Duration::from_secs(5))
            .user_agent(concat!("fhec/", env!("CARGO_PKG_VERSION")))
            .build();
        Ok(Connection {
            base: url.trim_end_matches('/').into(),
            agent: config.into(),
            authorization: settings.token.as_ref().map(|token| format!("Bearer {token}")),
            sent: AtomicU64::new(0),
            received: AtomicU64::new(0),
        })
    }

    /// Bytes of bodies so far.
    pub fn traffic(&self) -> Traffic {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Traffic { sent: of(&self.sent), received: of(&self.received) }
    }

    fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
        body_time: Duration,
    ) -> Result<Response<Body>, RemoteError> {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.base));
        if let Some(authorization) = &self.authorization {
            request = request.header("authorization", authorization);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let failed = |error: ureq::Error| RemoteError::Unreachable(Box::new(error));
        let bad = |error: ureq::http::Error| failed(ureq::Error::Http(error));
        self.sent.fetch_add(body.len() as u64, Ordering::Relaxed);
        let response = if body.is_empty() && matches!(method, "GET" | "DELETE") {
            let request = request.body(()).map_err(bad)?;
            let request = self.agent.configure_request(request).timeout_recv_body(Some(body_time)).build();
            self.agent.run(request)
        } else {
            self.agent.run(request.body(body).map_err(bad)?)
        };
        let response = response.map_err(failed)?;
        if response.status().is_success() { Ok(response) } else { Err(self.problem(response)) }
    }

    /// What the service says is wrong; something in front of it says it in its own way.
    fn problem(&self, response: Response<Body>) -> RemoteError {
        let status = response.status();
        match self.read(response, MAX_JSON_BYTES) {
            Ok(bytes) => match serde_json::from_slice::<Problem>(&bytes) {
                Ok(problem) => RemoteError::Refused(Box::new(problem)),
                Err(_) if status == StatusCode::BAD_GATEWAY || status == StatusCode::SERVICE_UNAVAILABLE => {
                    RemoteError::Broken(std::io::Error::other(format!("status {status}")))
                }
                Err(_) => RemoteError::Answer(format!("status {status}")),
            },
            Err(error) => error,
        }
    }

    fn read(&self, response: Response<Body>, limit: u64) -> Result<Vec<u8>, RemoteError> {
        let mut bytes = Vec::new();
        let reader = response.into_body().into_reader();
        reader.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
        self.received.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        match bytes.len() as u64 > limit {
            true => Err(RemoteError::Answer(format!("more than {limit} bytes"))),
            false => Ok(bytes),
        }
    }

    /// Sends a request and takes an answer of at most `limit` bytes.
    pub(super) fn bytes(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
        limit: u64,
    ) -> Result<Vec<u8>, RemoteError> {
        self.read(self.send(method, path, headers, body, ANSWER_TIME)?, limit)
    }

    /// The same for an answer in JSON.
    pub(super) fn json<T: DeserializeOwned>(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<T, RemoteError> {
        let bytes = self.bytes(method, path, headers, body, MAX_JSON_BYTES)?;
        serde_json::from_slice(&bytes).map_err(|error| RemoteError::Answer(error.to_string()))
    }

    /// Hands the data of server-sent events to `event` until it says that this is enough, or the
    /// stream ends.
    pub(super) fn events(
        &self,
        path: &str,
        event: &mut dyn FnMut(&str) -> Result<bool, RemoteError>,
    ) -> Result<(), RemoteError> {
        let accept = [("accept", "text/event-stream")];
        let response = self.send("GET", path, &accept, &[], STREAM_TIME)?;
        let mut reader = BufReader::new(response.into_body().into_reader());
        let mut line = String::new();
        loop {
            line.clear();
            let bytes = (&mut reader).take(MAX_EVENT_BYTES).read_line(&mut line)?;
            self.received.fetch_add(bytes as u64, Ordering::Relaxed);
            if bytes == 0 {
                return Ok(());
            }
            if let Some(data) = line.strip_prefix("data:")
                && !event(data.trim())?
            {
                return Ok(());
            }
        }
    }
}

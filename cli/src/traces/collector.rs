//! The request that a batch of spans is. The same HTTP and TLS as in `fhec remote`: no other client
//! comes with the export.

use std::fmt;
use std::future::ready;
use std::io::Read;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{
    OTEL_EXPORTER_OTLP_TIMEOUT, OTEL_EXPORTER_OTLP_TIMEOUT_DEFAULT, OTEL_EXPORTER_OTLP_TRACES_TIMEOUT,
};
use ureq::Agent;

/// More than a collector has to say of a batch.
const MAX_ANSWER_BYTES: u64 = 1 << 20;

type Answer = Result<Response<Bytes>, HttpError>;

/// What takes spans.
pub struct Collector {
    /// For collectors on this machine, which proxies cannot reach.
    near: Agent,
    far: Agent,
    /// It took nothing the last time: that is told once.
    away: AtomicBool,
}

impl fmt::Debug for Collector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Collector").finish_non_exhaustive()
    }
}

impl Collector {
    /// With the time that the environment gives a batch.
    pub fn new() -> Self {
        let config = || {
            Agent::config_builder()
                .http_status_as_error(false)
                .max_redirects(0)
                .timeout_global(Some(timeout()))
                .user_agent(concat!("fhec/", env!("CARGO_PKG_VERSION")))
        };
        let near = config().proxy(None).build().into();
        Collector { near, far: config().build().into(), away: AtomicBool::new(false) }
    }

    fn send(&self, request: Request<Bytes>) -> Answer {
        let (parts, body) = request.into_parts();
        let local = matches!(parts.uri.host(), Some("localhost" | "127.0.0.1" | "[::1]"));
        let agent = if local { &self.near } else { &self.far };
        let (parts, body) = agent.run(Request::from_parts(parts, &body[..]))?.into_parts();
        let mut bytes = Vec::new();
        body.into_reader().take(MAX_ANSWER_BYTES).read_to_end(&mut bytes)?;
        Ok(Response::from_parts(parts, bytes.into()))
    }

    /// Says that spans are lost, and when that is over.
    fn tell(&self, answer: &Answer) {
        let lost = match answer {
            Ok(answer) if answer.status().is_success() => None,
            Ok(answer) => Some(format!("status {}", answer.status())),
            Err(error) => Some(error.to_string()),
        };
        match (self.away.swap(lost.is_some(), Ordering::Relaxed), lost) {
            (false, Some(reason)) => {
                tracing::warn!("traces are lost, the collector does not take them: {reason}");
            }
            (true, None) => tracing::info!("the collector takes traces again"),
            _ => {}
        }
    }
}

impl HttpClient for Collector {
    // Called on the thread of the SDK alone, which has nothing else to do: it may wait in here.
    fn send_bytes<'a, 'b>(
        &'a self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Answer> + Send + 'b>>
    where
        'a: 'b,
        Self: 'b,
    {
        let answer = self.send(request);
        self.tell(&answer);
        Box::pin(ready(answer))
    }
}

fn timeout() -> Duration {
    let of = |name| std::env::var(name).ok()?.parse().ok().map(Duration::from_millis);
    of(OTEL_EXPORTER_OTLP_TRACES_TIMEOUT)
        .or_else(|| of(OTEL_EXPORTER_OTLP_TIMEOUT))
        .unwrap_or(OTEL_EXPORTER_OTLP_TIMEOUT_DEFAULT)
}

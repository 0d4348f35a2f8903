//! From spans to batches. Spans that have ended wait in a queue of the SDK, whose thread sends
//! them. Where the queue is full, because the collector is slow or away, spans are dropped: nothing
//! waits.

use std::time::Duration;

use fhec_serve::service::SPANS;
use opentelemetry::trace::TracerProvider;
use opentelemetry::{Key, KeyValue};
use opentelemetry_otlp::{ExporterBuildError, Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::registry::LookupSpan;

use super::collector::Collector;
use super::endpoint;

/// What is batched has so long to leave when the service ends.
const FAREWELL: Duration = Duration::from_secs(5);

/// Spans on their way to a collector, until this is dropped.
pub struct Traces {
    provider: Option<Result<SdkTracerProvider, ExporterBuildError>>,
}

impl Traces {
    /// As the environment says. Without a collector nothing is started.
    pub fn begin() -> Self {
        Traces { provider: endpoint().map(|_| provider()) }
    }

    /// Takes the service's spans. Events are no part of traces: they are for the log, and may name
    /// whose a request is.
    pub fn layer<S: Subscriber + for<'a> LookupSpan<'a>>(&self) -> Option<impl Layer<S> + use<S>> {
        let provider = self.provider.as_ref()?.as_ref().ok()?;
        let spans = filter_fn(|metadata| metadata.is_span() && metadata.target() == SPANS);
        let layer = tracing_opentelemetry::layer()
            .with_tracer(provider.tracer(SPANS))
            .with_context_activation(false)
            .with_level(false)
            .with_location(false)
            .with_target(false)
            .with_threads(false)
            .with_tracked_inactivity(false);
        Some(layer.with_filter(spans.with_max_level_hint(LevelFilter::INFO)))
    }

    /// Says where traces go. A service runs without them where that makes no sense.
    pub fn tell(&self) {
        match (&self.provider, endpoint()) {
            (Some(Ok(_)), Some(name)) => tracing::info!("traces go where {name} says"),
            (Some(Err(error)), _) => tracing::warn!("traces go nowhere: {error}"),
            _ => {}
        }
    }
}

impl Drop for Traces {
    fn drop(&mut self) {
        if let Some(Ok(provider)) = &self.provider
            && let Err(error) = provider.shutdown_with_timeout(FAREWELL)
        {
            tracing::warn!("the last traces may be lost: {error}");
        }
    }
}

/// The SDK takes the sampler, its limits and the sizes of queue and batches from the environment.
fn provider() -> Result<SdkTracerProvider, ExporterBuildError> {
    let exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(Collector::new())
        .with_protocol(Protocol::HttpBinary)
        .build()?;
    Ok(SdkTracerProvider::builder().with_resource(resource()).with_batch_exporter(exporter).build())
}

/// Whose spans these are: `fhec`, unless the environment says it otherwise.
fn resource() -> Resource {
    const NAME: &str = "service.name";
    let of_environment = Resource::builder().build().get(&Key::from_static_str(NAME));
    let unknown = of_environment.is_none_or(|name| name.as_str().starts_with("unknown_service"));
    let resource =
        Resource::builder().with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")));
    if unknown { resource.with_service_name("fhec") } else { resource }.build()
}

//! Contexts of traces as text, in the form of the header `traceparent`.

use std::collections::HashMap;

use fhec_serve::service::TraceContexts;
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::TraceContextExt;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// Header that a context is in.
const TRACEPARENT: &str = "traceparent";

/// Traces go on by W3C Trace Context. Where nothing is exported, spans have no context.
pub const CONTEXTS: Option<TraceContexts> = Some(TraceContexts { of, join });

fn of(span: &Span) -> Option<String> {
    let mut headers = HashMap::new();
    TraceContextPropagator::new().inject_context(&span.context(), &mut headers);
    headers.remove(TRACEPARENT)
}

fn join(span: &Span, context: &str) {
    let headers = HashMap::from([(TRACEPARENT.to_owned(), context.to_owned())]);
    let context = TraceContextPropagator::new().extract(&headers);
    if context.span().span_context().is_valid() {
        // Of a span that is not exported there is nothing to join.
        let _ = span.set_parent(context);
    }
}

//! Traces of `fhec serve`: its spans, sent to a collector by OpenTelemetry where the command was
//! built with the feature `otlp` and the environment names a collector.
//!
//! | module | subject |
//! |---|---|
//! | `export` | from spans to batches, and their end |
//! | `collector` | the HTTP request that a batch is |
//! | `contexts` | traces that come from elsewhere and go on elsewhere |
//! | `absent` | the same without the feature: a word that there is no export |

#[cfg(not(feature = "otlp"))]
mod absent;
#[cfg(feature = "otlp")]
mod collector;
#[cfg(feature = "otlp")]
mod contexts;
#[cfg(feature = "otlp")]
mod export;

use std::env;

#[cfg(not(feature = "otlp"))]
pub use absent::{CONTEXTS, Traces};
#[cfg(feature = "otlp")]
pub use contexts::CONTEXTS;
#[cfg(feature = "otlp")]
pub use export::Traces;

/// Variables that name a collector: one for traces, one for all that OpenTelemetry has.
const ENDPOINTS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];

/// The variable that names a collector, if one does.
fn endpoint() -> Option<&'static str> {
    // The switch of OpenTelemetry for everything.
    let off = env::var("OTEL_SDK_DISABLED").is_ok_and(|off| off.eq_ignore_ascii_case("true"));
    let is_set = |name: &&str| env::var_os(name).is_some_and(|value| !value.is_empty());
    ENDPOINTS.into_iter().find(is_set).filter(|_| !off)
}

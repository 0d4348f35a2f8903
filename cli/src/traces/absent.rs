//! A build without export.

use fhec_serve::service::TraceContexts;
use tracing_subscriber::layer::Identity;

use super::endpoint;

/// Traces go nowhere.
pub const CONTEXTS: Option<TraceContexts> = None;

/// What would be exported.
pub struct Traces(());

impl Traces {
    /// Of the environment.
    pub fn begin() -> Self {
        Traces(())
    }

    /// Nothing takes spans.
    pub fn layer(&self) -> Option<Identity> {
        None
    }

    /// Says what is missing, where something was asked for.
    pub fn tell(&self) {
        if let Some(name) = endpoint() {
            tracing::warn!(
                "{name} is set, and this build exports no traces: build it with `--features otlp`, or unset it"
            );
        }
    }
}

//! What a service that runs reads again: its tokens and its programs.

use std::sync::Arc;

use fhec_ir::program::Program;

use super::Service;

/// Reads the programs to serve, by name; an error in words.
pub type ReadPrograms = dyn Fn() -> Result<Vec<(String, Arc<Program>)>, String> + Send + Sync;

impl Service {
    /// Tokens and programs count from now on as they are in their files. Where programs cannot be
    /// served, those of before stay, and the log says why.
    pub(super) fn reload(&self, programs: &ReadPrograms) {
        self.doors.reload();
        let replaced =
            programs().and_then(|read| self.catalogue.replace(read).map_err(|error| error.to_string()));
        let replaced = match replaced {
            Ok(replaced) => replaced,
            Err(error) => {
                tracing::error!(target: "fhec::serve", "the models stay as they were: {error}");
                return;
            }
        };
        self.keys.check_again(&self.catalogue, &replaced.new);
        let models = self.catalogue.all();
        self.metrics.predicted(&models);
        for model in &replaced.gone {
            tracing::info!(target: "fhec::serve", model, "not served any more as it was");
        }
        let names: Vec<&str> = models.iter().map(|model| &model.name[..]).collect();
        tracing::info!(target: "fhec::serve", "serving {}", names.join(", "));
    }
}

/// Reads again whenever the process gets SIGHUP.
pub(super) fn on_signal(service: Arc<Service>, programs: Arc<ReadPrograms>) {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut hangup) = signal(SignalKind::hangup()) {
            tokio::spawn(async move {
                while hangup.recv().await.is_some() {
                    let (service, programs) = (Arc::clone(&service), Arc::clone(&programs));
                    // One after the other: the last one counts.
                    let _ = tokio::task::spawn_blocking(move || service.reload(&*programs)).await;
                }
            });
        }
    }
    #[cfg(not(unix))]
    let _ = (service, programs);
}

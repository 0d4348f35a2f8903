//! Ctrl-C: an evaluation ends between two ops, with its checkpoint written where it has one. A
//! second one ends the process at once.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use fhec_runtime::exec::Control;

use super::exit::INTERRUPTED;

/// Ends evaluations when the user interrupts this process.
pub(super) fn control() -> Control {
    static FLAG: OnceLock<Arc<AtomicBool>> = OnceLock::new();
    let flag = FLAG.get_or_init(|| {
        let flag = Arc::new(AtomicBool::new(false));
        let set = Arc::clone(&flag);
        let handler = ctrlc::set_handler(move || {
            if set.swap(true, Ordering::Relaxed) {
                std::process::exit(INTERRUPTED.into());
            }
        });
        if let Err(error) = handler {
            tracing::debug!("an interrupt ends the process at once: {error}");
        }
        flag
    });
    Control::with_flag(Arc::clone(flag))
}

//! Ending a run before its program ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use crate::error::Stop;

/// What may end a run: a flag that anybody can set, and a deadline. Clones share the flag.
///
/// The executor asks between ops, and the encrypted backend between the ciphertexts of a bundle
/// where each takes long. A run of `Control::default()` ends with its program.
#[derive(Clone, Debug, Default)]
pub struct Control {
    cancelled: Arc<AtomicBool>,
    deadline: Option<Instant>,
}

impl Control {
    /// Ends a run when `flag` is set, e.g. by a signal handler.
    pub fn with_flag(flag: Arc<AtomicBool>) -> Self {
        Control { cancelled: flag, deadline: None }
    }

    /// The same, which ends a run at `deadline` as well. What is running then is ended at the next
    /// place where the run can be, which may be a bootstrap later.
    pub fn with_deadline(self, deadline: Instant) -> Self {
        Control { deadline: Some(deadline), ..self }
    }

    /// Ends every run under this control or a clone of it.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }

    /// The flag.
    pub fn flag(&self) -> &Arc<AtomicBool> {
        &self.cancelled
    }

    /// When runs are ended.
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Whether the run may go on.
    ///
    /// # Errors
    /// Why it may not. A flag counts before a deadline.
    pub fn check(&self) -> Result<(), Stop> {
        if self.cancelled.load(Ordering::Relaxed) {
            return Err(Stop::Cancelled);
        }
        match self.deadline.map(|deadline| Instant::now().checked_duration_since(deadline)) {
            Some(Some(overdue)) => Err(Stop::Deadline { overdue }),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_flag_counts_before_a_deadline() {
        let control = Control::default();
        assert_eq!(control.check(), Ok(()));
        let far = control.clone().with_deadline(Instant::now() + Duration::from_secs(3600));
        assert_eq!(far.check(), Ok(()));
        let past = control.clone().with_deadline(Instant::now());
        assert!(matches!(past.check(), Err(Stop::Deadline { .. })));
        control.cancel();
        assert!([control, far, past].iter().all(|control| control.check() == Err(Stop::Cancelled)));
    }
}

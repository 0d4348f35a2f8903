//! Watching a run.

use std::sync::atomic::{AtomicBool, Ordering};

/// Told about every op. All methods do nothing by default; `()` is the observer that is not interested.
pub trait Observer {
    /// Op `index` is about to run.
    fn op_started(&mut self, index: usize) {
        let _ = index;
    }

    /// Op `index` has run.
    fn op_finished(&mut self, index: usize, seconds: f64) {
        let _ = (index, seconds);
    }

    /// Asked before every op: whether to stop.
    fn is_cancelled(&self) -> bool {
        false
    }
}

impl Observer for () {}

/// Stops when the flag is set, e.g. by a signal handler.
impl Observer for &AtomicBool {
    fn is_cancelled(&self) -> bool {
        self.load(Ordering::Relaxed)
    }
}

/// Records how long every op took.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Trace {
    /// Seconds, by op.
    pub seconds: Vec<f64>,
}

impl Observer for Trace {
    fn op_finished(&mut self, index: usize, seconds: f64) {
        self.seconds.resize(index, 0.0);
        self.seconds.push(seconds);
    }
}

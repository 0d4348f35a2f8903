//! Watching a run.

/// Told about every op. All methods do nothing by default; `()` is the observer that is not
/// interested.
pub trait Observer {
    /// Op `index` is about to run.
    fn op_started(&mut self, index: usize) {
        let _ = index;
    }

    /// Op `index` has run.
    fn op_finished(&mut self, index: usize, seconds: f64) {
        let _ = (index, seconds);
    }
}

impl Observer for () {}

//! What ends evaluations.

use std::time::{Duration, Instant};

use pyo3::prelude::*;

use crate::errors::Kind;

/// Ends evaluations: from another thread, or after a time.
///
/// One control may be given to several evaluations, and ends all of them.
#[pyclass(frozen, module = "fhec")]
pub struct Control {
    inner: fhec::Control,
}

#[pymethods]
impl Control {
    /// `timeout`: seconds from now.
    #[new]
    #[pyo3(signature = (timeout=None))]
    fn new(timeout: Option<f64>) -> PyResult<Self> {
        let inner = fhec::Control::default();
        let Some(seconds) = timeout else { return Ok(Control { inner }) };
        let end = Duration::try_from_secs_f64(seconds).ok().and_then(|time| Instant::now().checked_add(time));
        let end =
            end.ok_or_else(|| Kind::Option.says(format!("timeout={seconds} is no number of seconds")))?;
        Ok(Control { inner: inner.with_deadline(end) })
    }

    /// Ends them at the next op.
    fn cancel(&self) {
        self.inner.cancel();
    }

    /// Whether `cancel` was called.
    #[getter]
    fn cancelled(&self) -> bool {
        self.inner.flag().load(std::sync::atomic::Ordering::Relaxed)
    }
}

impl Control {
    pub(crate) fn inner(&self) -> &fhec::Control {
        &self.inner
    }
}

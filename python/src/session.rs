//! A program with the keys of one client.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use fhec::exchange::{self, BundleError, ExchangeError};
use fhec::{Context, RoleError};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::control::Control;
use crate::errors::{Kind, of_exchange, of_role};
use crate::work::{self, Progress};

/// A program with the keys of one client. Threads may share it.
#[pyclass(frozen, module = "fhec._native")]
pub struct Session {
    inner: fhec::Session,
    context: Arc<Context>,
}

/// Why there is no answer.
enum EvaluateFailure {
    Role(RoleError),
    Exchange(ExchangeError),
}

#[pymethods]
impl Session {
    /// Runs the program on the bytes of a ciphertext file; returns those of the answer's.
    fn evaluate<'py>(
        &self,
        py: Python<'py>,
        image: Vec<u8>,
        progress: Option<Py<PyAny>>,
        control: Option<&Control>,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let progress = Progress::new(self.inner.program().schedule.ops().len(), progress);
        let counter = progress.counter();
        let control = control.map(|control| control.inner().clone()).unwrap_or_default();
        let (session, context, under) = (self.inner.clone(), Arc::clone(&self.context), control.clone());
        let evaluate = move || {
            let ty = session.program().interface.input.ty;
            let image = exchange::ciphertexts_from_bytes(&image, &context, &ty);
            let named = |error: BundleError| error.in_file(Path::new("the encrypted image"));
            let image = image.map_err(|error| EvaluateFailure::Exchange(named(error)))?;
            let mut observer = fhec::Progress(|done| counter.store(done, Ordering::Relaxed));
            let answer = session.evaluate_from(image, BTreeMap::new(), &under, &mut observer, &mut ());
            Ok(exchange::ciphertexts_to_bytes(&context, &answer.map_err(EvaluateFailure::Role)?))
        };
        let answer = work::run(py, Some(&control), progress, evaluate)?;
        let answer = answer.map_err(|error| match error {
            EvaluateFailure::Role(error) => of_role(error),
            EvaluateFailure::Exchange(error) => of_exchange(error, Kind::Ciphertext),
        })?;
        Ok(PyBytes::new(py, &answer))
    }

    /// Name of the client's secret key.
    #[getter]
    fn key_id(&self) -> String {
        self.inner.keys().id().to_string()
    }
}

impl Session {
    pub(crate) fn new(inner: fhec::Session, context: Arc<Context>) -> Self {
        Session { inner, context }
    }
}

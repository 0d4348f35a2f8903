//! A program made ready for any number of clients.

use std::sync::Arc;

use fhec::Context;
use pyo3::prelude::*;

use crate::client::require_memory;
use crate::errors::of_role;
use crate::evaluation_keys::EvaluationKeys;
use crate::program::Program;
use crate::session::Session;
use crate::work::{self, Progress};

/// A program made ready; nothing of it depends on a key.
#[pyclass(frozen, module = "fhec._native")]
pub struct Server {
    inner: fhec::Server,
    context: Arc<Context>,
}

#[pymethods]
impl Server {
    /// Encodes the matrices of bootstraps.
    #[new]
    fn new(py: Python<'_>, program: &Program, check_memory: bool) -> PyResult<Self> {
        let context = program.interface().context(py)?;
        let program = Arc::clone(program.inner());
        if check_memory {
            require_memory("an evaluation", program.plan.predicted_peak_bytes)?;
        }
        let of = Arc::clone(&context);
        let prepare = move || fhec::Server::new(&program, &of);
        let inner = work::run(py, None, Progress::none(), prepare)?.map_err(of_role)?;
        Ok(Server { inner, context })
    }

    /// A session with the keys of one client. The first one encodes weights.
    fn session(&self, py: Python<'_>, keys: &EvaluationKeys) -> PyResult<Session> {
        let (server, keys) = (self.inner.clone(), Arc::clone(keys.inner()));
        let session = work::run(py, None, Progress::none(), move || server.session(keys))?;
        Ok(Session::new(session.map_err(of_role)?, Arc::clone(&self.context)))
    }

    /// Bytes of encoded weights and matrices, which all sessions share.
    #[getter]
    fn nbytes(&self) -> usize {
        self.inner.encoded_bytes()
    }
}

//! The keys that a server needs.

use std::path::PathBuf;
use std::sync::Arc;

use fhec::{Context, ProgramKeys, exchange};
use pyo3::prelude::*;

use crate::errors::{Kind, of_exchange};
use crate::interface::Interface;
use crate::work::{self, Progress};

/// The keys that a server needs, of one client. They are public.
#[pyclass(frozen, module = "fhec")]
pub struct EvaluationKeys {
    inner: Arc<ProgramKeys>,
    context: Arc<Context>,
}

#[pymethods]
impl EvaluationKeys {
    /// Reads `evaluation.keys` of a folder and makes what it has of seeds.
    #[staticmethod]
    fn open(py: Python<'_>, interface: &Interface, folder: PathBuf) -> PyResult<Self> {
        let context = interface.context(py)?;
        let of = Arc::clone(&context);
        let read = move || {
            exchange::warn_of_secret_key(&folder);
            exchange::read_evaluation_keys(&folder, &of)
        };
        let keys = work::run(py, None, Progress::none(), read)?;
        let keys = keys.map_err(|error| of_exchange(error, Kind::Keys))?;
        Ok(EvaluationKeys { inner: Arc::new(keys), context })
    }

    /// Writes `evaluation.keys` into a folder for the server; returns its size in bytes.
    fn save(&self, py: Python<'_>, folder: PathBuf) -> PyResult<u64> {
        let (keys, context) = (Arc::clone(&self.inner), Arc::clone(&self.context));
        let write = move || exchange::write_evaluation_keys(&folder, &context, &keys);
        let written = work::run(py, None, Progress::none(), write)?;
        written.map_err(|error| of_exchange(error, Kind::Keys))
    }

    /// Name of the secret key that they belong to.
    #[getter]
    fn key_id(&self) -> String {
        self.inner.id().to_string()
    }

    /// Bytes in memory.
    #[getter]
    fn nbytes(&self) -> usize {
        self.inner.bytes()
    }

    fn __len__(&self) -> usize {
        self.inner.count()
    }

    fn __repr__(&self) -> String {
        format!("EvaluationKeys(key_id='{}', {} keys)", self.inner.id(), self.inner.count())
    }
}

impl EvaluationKeys {
    pub(crate) fn new(inner: ProgramKeys, context: &Arc<Context>) -> Self {
        EvaluationKeys { inner: Arc::new(inner), context: Arc::clone(context) }
    }

    pub(crate) fn inner(&self) -> &Arc<ProgramKeys> {
        &self.inner
    }
}

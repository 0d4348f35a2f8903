//! A compiled program.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use fhec::{RehearsalError, Simulator, reference_logits};
use numpy::PyArray2;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use rayon::prelude::*;

use crate::errors::{self, Kind};
use crate::images::{self, Images};
use crate::interface::Interface;
use crate::numbers::rows;
use crate::threads::install;
use crate::work::{self, Progress};

/// A compiled program. It holds no keys.
#[pyclass(frozen, module = "fhec._native")]
pub struct Program {
    inner: Arc<fhec::Program>,
    interface: Py<Interface>,
}

impl Program {
    pub(crate) fn new(py: Python<'_>, inner: Arc<fhec::Program>) -> PyResult<Self> {
        let interface = Py::new(py, Interface::from(inner.interface.clone()))?;
        Ok(Program { inner, interface })
    }

    pub(crate) fn inner(&self) -> &Arc<fhec::Program> {
        &self.inner
    }

    pub(crate) fn interface(&self) -> &Interface {
        self.interface.get()
    }

    /// The program as the file of a part has it.
    fn part(&self, part: &str) -> PyResult<Arc<fhec::Program>> {
        match part {
            "all" => Ok(Arc::clone(&self.inner)),
            "server" => Ok(Arc::new(fhec::Program::clone(&self.inner).without_reference())),
            _ => Err(Kind::Option.says(format!("part={part:?}: parts are 'all', 'server' and 'client'"))),
        }
    }
}

#[pymethods]
impl Program {
    /// Reads a program file.
    #[staticmethod]
    #[pyo3(signature = (path, min_security=128))]
    fn open(py: Python<'_>, path: PathBuf, min_security: u32) -> PyResult<Self> {
        let open = move || fhec::open(&path, min_security);
        let program = work::run(py, None, Progress::none(), open)?;
        Program::new(py, Arc::new(program.map_err(errors::of_open)?))
    }

    /// The same from bytes.
    #[staticmethod]
    #[pyo3(signature = (data, min_security=128))]
    fn from_bytes(py: Python<'_>, data: Vec<u8>, min_security: u32) -> PyResult<Self> {
        let read = move || fhec::Program::from_bytes(&data, min_security);
        let program = work::run(py, None, Progress::none(), read)?;
        Program::new(py, Arc::new(program.map_err(errors::of_program)?))
    }

    /// The bytes of the file of a part: `all` or `server`.
    #[pyo3(signature = (part="all"))]
    fn to_bytes<'py>(&self, py: Python<'py>, part: &str) -> PyResult<Bound<'py, PyBytes>> {
        let program = self.part(part)?;
        Ok(PyBytes::new(py, &install(py, || program.to_bytes())?))
    }

    /// Writes the file of a part and returns its size in bytes.
    #[pyo3(signature = (path, part="all"))]
    fn save(&self, py: Python<'_>, path: PathBuf, part: &str) -> PyResult<u64> {
        let program = self.part(part)?;
        install(py, || fhec::write(&program, &path))?.map_err(|error| Kind::File.of(&error))
    }

    /// What a client needs of it.
    #[getter(interface)]
    fn interface_of_python(&self, py: Python<'_>) -> Py<Interface> {
        self.interface.clone_ref(py)
    }

    /// The plan as JSON, as `fhec inspect --json` prints it.
    fn plan_json(&self) -> PyResult<String> {
        serde_json::to_string(&self.inner.plan).map_err(|error| Kind::Fhec.of(&error))
    }

    /// The plan as text: the first screen of `fhec inspect`.
    fn plan_text(&self) -> String {
        fhec::plan_summary(&self.inner.plan)
    }

    /// The first table of the plan's page.
    fn plan_summary_html(&self) -> String {
        fhec::plan_summary_page(&self.inner)
    }

    /// The plan's page, a document of its own.
    fn plan_html(&self, py: Python<'_>) -> PyResult<String> {
        install(py, || fhec::plan_page(&self.inner, None))
    }

    /// Ops of a run: what progress counts.
    #[getter]
    fn ops(&self) -> usize {
        self.inner.schedule.ops().len()
    }

    /// Whether it has the plain network; a server's file has none.
    #[getter]
    fn has_reference(&self) -> bool {
        self.inner.reference.is_some()
    }

    /// Numbers of the plain network's first output, `[images, numbers]`.
    fn plain<'py>(&self, py: Python<'py>, images: Images<'_>) -> PyResult<Bound<'py, PyArray2<f64>>> {
        let dataset = images::open(images, &self.inner.interface)?;
        let inputs = images::inputs(&dataset, &self.inner.interface)?;
        let program = Arc::clone(&self.inner);
        let plain = move || -> Result<Vec<Vec<f64>>, RehearsalError> {
            inputs.par_iter().map(|input| reference_logits(&program, input)).collect()
        };
        rows(py, work::run(py, None, Progress::none(), plain)?.map_err(errors::of_rehearsal)?)
    }

    /// Simulated numbers of the first output, those of the plain network, and the summary of
    /// `fhec simulate --json`.
    #[pyo3(signature = (images, noise=true, seed=1, progress=None))]
    fn simulate<'py>(
        &self,
        py: Python<'py>,
        images: Images<'_>,
        noise: bool,
        seed: u64,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<(Bound<'py, PyArray2<f64>>, Bound<'py, PyArray2<f64>>, String)> {
        let dataset = images::open(images, &self.inner.interface)?;
        let progress = Progress::new(dataset.len(), progress);
        let (program, counter) = (Arc::clone(&self.inner), progress.counter());
        let control = fhec::Control::default();
        let under = control.clone();
        let simulate = move || {
            let simulator = Simulator::new(&program, !noise).under(under);
            let start = std::time::Instant::now();
            let count = || {
                counter.fetch_add(1, Ordering::Relaxed);
            };
            let outcomes = fhec::simulate(&program, &simulator, &dataset, dataset.len(), seed, &count)?;
            let summary = fhec::summarise(&program, &outcomes, start.elapsed().as_secs_f64());
            Ok((outcomes, summary))
        };
        let result: Result<_, RehearsalError> = work::run(py, Some(&control), progress, simulate)?;
        let (outcomes, summary) = result.map_err(errors::of_rehearsal)?;
        let (logits, reference) = outcomes.into_iter().map(|one| (one.logits, one.reference)).unzip();
        let summary = serde_json::to_string(&summary).map_err(|error| Kind::Fhec.of(&error))?;
        Ok((rows(py, logits)?, rows(py, reference)?, summary))
    }
}

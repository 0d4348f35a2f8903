//! A service, as its client sees it.

use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fhec::{Control as Inner, exchange};
use fhec_serve::digest::Digest;
use fhec_serve::remote::{
    Connection, Home, Identity, Remote as Service, RemoteError, RemoteSession as OfService, Settings,
};
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use serde::Serialize;

use crate::control::Control;
use crate::errors::{Kind, of_remote};
use crate::interface::Interface;
use crate::work::{self, Progress};

/// A service, and what a client keeps of it in files.
#[pyclass(frozen, module = "fhec._native")]
pub struct Remote {
    inner: Service,
    home: Home,
    min_security: u32,
}

#[pymethods]
impl Remote {
    /// Nothing is asked of the service yet.
    #[new]
    fn new(
        url: &str,
        token: Option<String>,
        authority: Option<PathBuf>,
        identity: Option<(PathBuf, PathBuf)>,
        home: Option<PathBuf>,
        insecure: bool,
        patience: f64,
        min_security: u32,
    ) -> PyResult<Self> {
        let patience = Duration::try_from_secs_f64(patience)
            .map_err(|_| Kind::Option.says(format!("patience={patience} is no number of seconds")))?;
        let identity = identity.map(|(certificates, key)| Identity { certificates, key });
        let settings = Settings { token, authority, identity, insecure };
        let open = || Ok((Connection::new(url, &settings)?, Home::open(home.as_deref(), url)?));
        let (connection, home) = Python::attach(|py| open().map_err(|error| of_remote(py, error)))?;
        Ok(Remote { inner: Service::new(connection, patience), home, min_security })
    }

    /// All models, as JSON.
    fn models(&self, py: Python<'_>) -> PyResult<String> {
        self.ask(py, |service| service.models())
    }

    /// The interface of a model: the one that is here, or the service's.
    fn interface(&self, py: Python<'_>, model: String) -> PyResult<Interface> {
        let (home, least) = (self.home.clone(), self.min_security);
        let interface = self.work(py, &Inner::default(), Progress::none(), move |service| {
            home.interface(&service, &service.model(&model)?, least)
        })?;
        Ok(interface.0.into())
    }

    /// The folder for the keys of a program, and whether a secret key is there.
    fn key_folder(&self, py: Python<'_>, interface: &Interface) -> PyResult<(PathBuf, bool)> {
        let folder = self.home.keys(Digest::from(interface.inner().program));
        let folder = folder.map_err(|error| of_remote(py, error))?;
        let there = exchange::has_secret_key(&folder);
        if !there {
            Home::keys_are_new(&folder);
        }
        Ok((folder, there))
    }

    /// A session of the keys in `folder`, which are uploaded where the service lacks them.
    fn session(
        &self,
        py: Python<'_>,
        model: String,
        interface: &Interface,
        folder: PathBuf,
        progress: Option<Py<PyAny>>,
        control: Option<&Control>,
    ) -> PyResult<RemoteSession> {
        let context = interface.context(py)?;
        let progress = Progress::new(0, progress);
        let (done, total) = (progress.counter(), progress.total());
        let tell = move |there: u64, length: u64| {
            total.store(usize::try_from(length).unwrap_or(usize::MAX), Ordering::Relaxed);
            done.store(usize::try_from(there).unwrap_or(usize::MAX), Ordering::Relaxed);
        };
        let interface = Arc::clone(interface.inner());
        let session = self.work(py, &inner(control), progress, move |service| {
            let model = service.model(&model)?;
            OfService::open(&service, &model, &interface, &context, &folder, &mut { tell })
        })?;
        Ok(RemoteSession { service: self.inner.clone(), inner: session })
    }

    /// The caller's keys at the service, as JSON.
    fn keys(&self, py: Python<'_>) -> PyResult<String> {
        self.ask(py, |service| service.keys())
    }

    /// Deletes keys at the service.
    fn delete_keys(&self, py: Python<'_>, keys: String) -> PyResult<()> {
        self.work(py, &Inner::default(), Progress::none(), move |service| service.delete_keys(&keys))
    }

    /// The caller's jobs, as JSON.
    fn jobs(&self, py: Python<'_>) -> PyResult<String> {
        self.ask(py, |service| service.jobs())
    }

    /// Cancels a job that is not finished, deletes one that is.
    fn delete_job(&self, py: Python<'_>, job: String) -> PyResult<()> {
        self.work(py, &Inner::default(), Progress::none(), move |service| service.delete_job(&job))
    }

    /// Bytes of bodies that have gone to the service, and come from it.
    #[getter]
    fn traffic(&self) -> (u64, u64) {
        let traffic = self.inner.traffic();
        (traffic.sent, traffic.received)
    }
}

impl Remote {
    fn work<T: Send + 'static>(
        &self,
        py: Python<'_>,
        control: &Inner,
        progress: Progress,
        work: impl FnOnce(Service) -> Result<T, RemoteError> + Send + 'static,
    ) -> PyResult<T> {
        let service = self.inner.under(control.clone());
        let done = work::run_aside(py, control, progress, move || work(service))?;
        done.map_err(|error| of_remote(py, error))
    }

    fn ask<T: Serialize + Send + 'static>(
        &self,
        py: Python<'_>,
        question: impl FnOnce(Service) -> Result<T, RemoteError> + Send + 'static,
    ) -> PyResult<String> {
        json(&self.work(py, &Inner::default(), Progress::none(), question)?)
    }
}

/// A client's keys at a service, for one model. Threads may share it.
#[pyclass(frozen, module = "fhec._native")]
pub struct RemoteSession {
    service: Service,
    inner: OfService,
}

/// The job of a call, and whether its caller has given up.
#[derive(Default)]
struct Submitted {
    job: Option<String>,
    abandoned: bool,
}

#[pymethods]
impl RemoteSession {
    /// Has the service run the program on the bytes of a ciphertext file. Returns those of the
    /// answer's, and the receipt as JSON.
    fn evaluate<'py>(
        &self,
        py: Python<'py>,
        image: Vec<u8>,
        deadline: Option<u64>,
        progress: Option<Py<PyAny>>,
        control: Option<&Control>,
    ) -> PyResult<(Bound<'py, PyBytes>, String)> {
        let control = inner(control);
        let progress = Progress::new(0, progress);
        let (done, total) = (progress.counter(), progress.total());
        let submitted: Arc<Mutex<Submitted>> = Arc::default();
        let (of_work, session) = (Arc::clone(&submitted), self.inner.clone());
        // What is sent and not waited for is cancelled, whatever the control says by then.
        let (service, patient) = (self.service.under(control.clone()), self.service.clone());
        let outcome = work::run_aside(py, &control, progress, move || {
            session.evaluate(&service, &image, deadline, &mut |job| {
                total.store(job.ops, Ordering::Relaxed);
                done.store(job.ops_done, Ordering::Relaxed);
                let mut submitted = of_work.lock().unwrap_or_else(PoisonError::into_inner);
                if submitted.job.replace(job.id.clone()).is_none() && submitted.abandoned {
                    let _ = patient.delete_job(&job.id);
                }
            })
        });
        let outcome = match outcome {
            Ok(outcome) => outcome,
            Err(error) => {
                self.abandon(&submitted);
                return Err(error);
            }
        };
        let answered = outcome.map_err(|error| of_remote(py, error))?;
        Ok((PyBytes::new(py, &answered.answer), json(&answered.receipt)?))
    }

    /// Name of the keys at the service.
    #[getter]
    fn keys(&self) -> String {
        self.inner.keys().to_string()
    }
}

impl RemoteSession {
    /// Has the service cancel the job, if there is one; whoever submits it later does it then.
    fn abandon(&self, submitted: &Mutex<Submitted>) {
        let mut submitted = submitted.lock().unwrap_or_else(PoisonError::into_inner);
        submitted.abandoned = true;
        if let Some(job) = submitted.job.clone() {
            let service = self.service.clone();
            std::thread::spawn(move || {
                if let Err(error) = service.delete_job(&job) {
                    tracing::warn!("job {job} goes on at the service: {error}");
                }
            });
        }
    }
}

fn inner(control: Option<&Control>) -> Inner {
    control.map(|control| control.inner().clone()).unwrap_or_default()
}

fn json(value: &impl Serialize) -> PyResult<String> {
    serde_json::to_string(value).map_err(|error| Kind::Fhec.of(&error))
}

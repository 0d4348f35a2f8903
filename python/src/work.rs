//! Work that takes long, without the interpreter's lock: on the pool, or on a thread of its own
//! where it waits for others. The calling thread waits, asks for signals, tells of progress and
//! hands out what was logged.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;

use fhec::Control;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

use crate::errors::of_stop;
use crate::{logging, threads};

/// How often the calling thread looks up.
const TICK: Duration = Duration::from_millis(50);

/// Steps that work has done, and who wants to know.
pub struct Progress {
    done: Arc<AtomicUsize>,
    total: Arc<AtomicUsize>,
    told: Option<usize>,
    /// Called with the steps done and all there are.
    callback: Option<Py<PyAny>>,
}

impl Progress {
    /// Of `total` steps.
    pub fn new(total: usize, callback: Option<Py<PyAny>>) -> Self {
        Progress { done: Arc::default(), total: Arc::new(total.into()), told: None, callback }
    }

    /// Of work that tells nothing.
    pub fn none() -> Self {
        Progress::new(0, None)
    }

    /// What the work counts in.
    pub fn counter(&self) -> Arc<AtomicUsize> {
        Arc::clone(&self.done)
    }

    /// Where the work says how many steps there are, if that is not known before.
    pub fn total(&self) -> Arc<AtomicUsize> {
        Arc::clone(&self.total)
    }

    fn tell(&mut self, py: Python<'_>) -> PyResult<()> {
        let (done, total) = (self.done.load(Ordering::Relaxed), self.total.load(Ordering::Relaxed));
        if let Some(callback) = self.callback.as_ref().filter(|_| self.told != Some(done) && total > 0) {
            self.told = Some(done);
            callback.call1(py, (done, total))?;
        }
        Ok(())
    }
}

/// Who does it.
enum Doer<'a> {
    /// The pool. What has a control is ended by it, and waited for.
    Pool(Option<&'a Control>),
    /// A thread of its own, which is told by the control and left alone.
    Aside(&'a Control),
}

/// Computes `work` on the pool and returns what it yields.
///
/// # Errors
/// An exception of a signal handler, such as `KeyboardInterrupt`, or of the progress callback. With
/// a `control` the work is ended by it first. Without one it cannot be ended: it goes on in the
/// background, and its result is dropped.
pub fn run<T, F>(py: Python<'_>, control: Option<&Control>, progress: Progress, work: F) -> PyResult<T>
where
    T: Send + 'static,
    F: FnOnce() -> T + Send + 'static,
{
    wait_for(py, Doer::Pool(control), progress, work)
}

/// Does `work`, which waits for the network most of the time, on a thread of its own, so that no
/// thread of the pool waits with it.
///
/// # Errors
/// As [`run`], and where `control` says that it is over: at once, as nobody knows when the network
/// answers. `control` is cancelled, and the work's result is dropped.
pub fn run_aside<T, F>(py: Python<'_>, control: &Control, progress: Progress, work: F) -> PyResult<T>
where
    T: Send + 'static,
    F: FnOnce() -> T + Send + 'static,
{
    wait_for(py, Doer::Aside(control), progress, work)
}

fn wait_for<T, F>(py: Python<'_>, doer: Doer<'_>, mut progress: Progress, work: F) -> PyResult<T>
where
    T: Send + 'static,
    F: FnOnce() -> T + Send + 'static,
{
    logging::start();
    let (sender, mut receiver) = sync_channel(1);
    let task = move || {
        // Nobody listens any more where the caller has given up.
        let _ = sender.send(catch_unwind(AssertUnwindSafe(work)));
    };
    match doer {
        Doer::Pool(_) => threads::pool(py)?.spawn(task),
        Doer::Aside(_) => drop(std::thread::Builder::new().name("fhec-remote".into()).spawn(task)?),
    }
    let mut failure = None;
    loop {
        let received;
        (receiver, received) = py.detach(move || wait(receiver));
        logging::deliver(py);
        match received {
            Ok(Ok(result)) => {
                return match failure {
                    Some(failure) => Err(failure),
                    None => progress.tell(py).map(|()| result),
                };
            }
            Ok(Err(panic)) => resume_unwind(panic),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Err(PyRuntimeError::new_err("the work was lost")),
        }
        if failure.is_some() {
            continue;
        }
        let Err(error) = py.check_signals().and_then(|()| progress.tell(py)).and_then(|()| doer.check())
        else {
            continue;
        };
        match doer {
            Doer::Pool(None) => return Err(error),
            Doer::Pool(Some(control)) => {
                control.cancel();
                failure = Some(error);
            }
            Doer::Aside(control) => {
                control.cancel();
                return Err(error);
            }
        }
    }
}

impl Doer<'_> {
    /// Whether a control has ended what is left alone then.
    fn check(&self) -> PyResult<()> {
        match self {
            Doer::Pool(_) => Ok(()),
            Doer::Aside(control) => control.check().map_err(of_stop),
        }
    }
}

/// What work yields, or what it panicked with.
type Outcome<T> = Result<T, Box<dyn Any + Send>>;

fn wait<T>(receiver: Receiver<Outcome<T>>) -> (Receiver<Outcome<T>>, Result<Outcome<T>, RecvTimeoutError>) {
    let received = receiver.recv_timeout(TICK);
    (receiver, received)
}

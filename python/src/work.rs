//! Work that takes long: on the pool, without the interpreter's lock. The calling thread waits,
//! asks for signals, tells of progress and hands out what was logged.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;

use fhec::Control;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

use crate::{logging, threads};

/// How often the calling thread looks up.
const TICK: Duration = Duration::from_millis(50);

/// Steps that work has done, and who wants to know.
pub struct Progress {
    done: Arc<AtomicUsize>,
    total: usize,
    told: Option<usize>,
    /// Called with the steps done and all there are.
    callback: Option<Py<PyAny>>,
}

impl Progress {
    /// Of `total` steps.
    pub fn new(total: usize, callback: Option<Py<PyAny>>) -> Self {
        Progress { done: Arc::default(), total, told: None, callback }
    }

    /// Of work that tells nothing.
    pub fn none() -> Self {
        Progress::new(0, None)
    }

    /// What the work counts in.
    pub fn counter(&self) -> Arc<AtomicUsize> {
        Arc::clone(&self.done)
    }

    fn tell(&mut self, py: Python<'_>) -> PyResult<()> {
        let done = self.done.load(Ordering::Relaxed);
        if let Some(callback) = self.callback.as_ref().filter(|_| self.told != Some(done)) {
            self.told = Some(done);
            callback.call1(py, (done, self.total))?;
        }
        Ok(())
    }
}

/// Runs `work` and returns what it yields.
///
/// # Errors
/// An exception of a signal handler, such as `KeyboardInterrupt`, or of the progress callback. With
/// a `control` the work is ended by it first. Without one it cannot be ended: it goes on in the
/// background, and its result is dropped.
pub fn run<T, F>(py: Python<'_>, control: Option<&Control>, mut progress: Progress, work: F) -> PyResult<T>
where
    T: Send + 'static,
    F: FnOnce() -> T + Send + 'static,
{
    logging::start();
    let (sender, mut receiver) = sync_channel(1);
    threads::pool(py)?.spawn(move || {
        // Nobody listens any more where the caller has given up.
        let _ = sender.send(catch_unwind(AssertUnwindSafe(work)));
    });
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
        if let Err(error) = py.check_signals().and_then(|()| progress.tell(py)) {
            let Some(control) = control else { return Err(error) };
            control.cancel();
            failure = Some(error);
        }
    }
}

/// What work yields, or what it panicked with.
type Outcome<T> = Result<T, Box<dyn Any + Send>>;

fn wait<T>(receiver: Receiver<Outcome<T>>) -> (Receiver<Outcome<T>>, Result<Outcome<T>, RecvTimeoutError>) {
    let received = receiver.recv_timeout(TICK);
    (receiver, received)
}

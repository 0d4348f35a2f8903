//! A pool of threads per process. A process that was forked has the pool's data and none of its
//! threads: work given to it would wait for ever. So each process has a pool of its own.

use std::mem;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use pyo3::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::errors::Kind;

struct Pool {
    process: u32,
    threads: Arc<ThreadPool>,
}

/// Taken while the interpreter's lock is held, and given back before that is: so no other thread
/// has it when a process is forked from Python.
static POOL: Mutex<Option<Pool>> = Mutex::new(None);

/// 0: as many as the process may use, or `RAYON_NUM_THREADS`.
static THREADS: AtomicUsize = AtomicUsize::new(0);

/// The pool of this process.
pub fn pool(_py: Python<'_>) -> PyResult<Arc<ThreadPool>> {
    let mut pool = POOL.lock().unwrap_or_else(PoisonError::into_inner);
    match &*pool {
        Some(Pool { process, threads }) if *process == std::process::id() => return Ok(Arc::clone(threads)),
        _ => {}
    }
    let threads = ThreadPoolBuilder::new().num_threads(THREADS.load(Ordering::Relaxed)).build();
    let threads = Arc::new(threads.map_err(|error| Kind::Fhec.of(&error))?);
    // The parent's must not be dropped: that would wake threads that this process does not have.
    mem::forget(pool.replace(Pool { process: std::process::id(), threads: Arc::clone(&threads) }));
    Ok(threads)
}

/// Runs `work`, which is short, on the pool of this process. Whatever may use threads has to run
/// so: on a thread outside of a pool it would start rayon's own, which no forked process has.
pub fn install<T: Send>(py: Python<'_>, work: impl FnOnce() -> T + Send) -> PyResult<T> {
    let pool = pool(py)?;
    Ok(py.detach(|| pool.install(work)))
}

/// Sets how many threads this process computes with, from the next call on.
///
/// Running calls keep theirs. The default is one per core that the process may use.
#[pyfunction]
pub fn set_num_threads(_py: Python<'_>, threads: NonZeroUsize) {
    THREADS.store(threads.get(), Ordering::Relaxed);
    let mut pool = POOL.lock().unwrap_or_else(PoisonError::into_inner);
    let old = pool.take();
    if old.as_ref().is_some_and(|old| old.process != std::process::id()) {
        mem::forget(old);
    }
}

/// How many threads this process computes with.
#[pyfunction]
pub fn num_threads(py: Python<'_>) -> PyResult<usize> {
    Ok(pool(py)?.current_num_threads())
}

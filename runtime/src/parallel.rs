//! Work on all threads, without sleep in between.
//!
//! An evaluation is thousands of stretches of parallel work, a tenth of a millisecond to a few
//! milliseconds long, with little in between. Rayon's threads fall asleep in the gaps, and while
//! they wait for the last task of another one; waking one takes 15 to 80 us on a virtual machine, a
//! tenth of the time of a ResNet-20. Hence two things on top of Rayon:
//!
//! * [`awake`] runs an evaluation on one worker thread while the others look for work instead of
//!   sleeping;
//! * `for_each` hands out tasks one by one, and the thread that waits for the others' last ones
//!   looks for work as well.
//!
//! Neither changes results: tasks write disjoint memory.

use std::hint::spin_loop;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rayon::Yield;

/// Vain looks for work, about 0.1 us apart, before a thread lets others of the machine run.
const LOOKS_BEFORE_YIELDING: u32 = 64;

/// Vain looks after which a thread sleeps between two: after several milliseconds it is not in a
/// gap any more.
const LOOKS_BEFORE_SLEEPING: u32 = 1 << 16;

/// As long as waking a thread takes, about.
const NAP: Duration = Duration::from_micros(50);

/// Takes part in the work of the pool until `done`.
fn work_until(done: impl Fn() -> bool) {
    let mut looks = 0u32;
    while !done() {
        if rayon::yield_now() == Some(Yield::Executed) {
            looks = 0;
            continue;
        }
        looks = looks.saturating_add(1);
        if looks >= LOOKS_BEFORE_SLEEPING {
            std::thread::sleep(NAP);
        } else if looks.is_multiple_of(LOOKS_BEFORE_YIELDING) {
            std::thread::yield_now();
        } else {
            (0..8).for_each(|_| spin_loop());
        }
    }
}

/// Sets its flag when dropped, so also when a panic passes.
struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// The result of `evaluation`, run on a worker of the current pool, while the pool's other threads
/// stay awake for the parallel work in it. They take all of their processors' time, and naps after
/// a few milliseconds without work.
pub fn awake<R: Send>(evaluation: impl FnOnce() -> R + Send) -> R {
    if rayon::current_num_threads() == 1 && rayon::current_thread_index().is_some() {
        return evaluation();
    }
    let (evaluation, ended) = (Mutex::new(Some(evaluation)), AtomicBool::new(false));
    let results = rayon::broadcast(|worker| {
        if worker.index() > 0 {
            work_until(|| ended.load(Ordering::Acquire));
            return None;
        }
        let _ended = SetOnDrop(&ended);
        let evaluation = evaluation.lock().unwrap_or_else(PoisonError::into_inner).take();
        evaluation.map(|evaluation| evaluation())
    });
    results.into_iter().next().flatten().expect("the first worker has run the evaluation")
}

/// Counts a task as ended when dropped.
struct Busy<'a>(&'a AtomicUsize);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Release);
    }
}

/// Runs `task` on every one of `tasks`, on all threads; each takes the next one when it has ended
/// its last.
pub(crate) fn for_each<T: Send>(
    tasks: impl IntoIterator<Item = T, IntoIter: ExactSizeIterator + Send>,
    task: impl Fn(T) + Sync,
) {
    let tasks = tasks.into_iter();
    let helpers = rayon::current_num_threads().min(tasks.len()).saturating_sub(1);
    if helpers == 0 {
        return tasks.for_each(task);
    }
    let (tasks, busy) = (Mutex::new(tasks), AtomicUsize::new(0));
    let next = || {
        let mut tasks = tasks.lock().unwrap_or_else(PoisonError::into_inner);
        let next = tasks.next()?;
        busy.fetch_add(1, Ordering::Relaxed);
        Some((next, Busy(&busy)))
    };
    let work = || {
        while let Some((next, _busy)) = next() {
            task(next);
        }
    };
    let work = &work;
    rayon::in_place_scope(|scope| {
        for _ in 0..helpers {
            scope.spawn(move |_| work());
        }
        work();
        work_until(|| busy.load(Ordering::Acquire) == 0);
    });
}

/// The results of `task` of every one of `tasks`, in their order, made as by [`for_each`].
pub(crate) fn map<T: Send, R: Send>(
    tasks: impl IntoIterator<Item = T, IntoIter: ExactSizeIterator + Send>,
    task: impl Fn(T) -> R + Sync,
) -> Vec<R> {
    let tasks = tasks.into_iter();
    let mut results: Vec<Option<R>> = (0..tasks.len()).map(|_| None).collect();
    for_each(tasks.zip(&mut results), |(next, result)| *result = Some(task(next)));
    results.into_iter().map(|result| result.expect("every task has run")).collect()
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    fn on_threads<R: Send>(threads: usize, f: impl FnOnce() -> R + Send) -> R {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(f)
    }

    /// Every task runs once, also where tasks have tasks of their own, evaluations are nested, and
    /// several run at the same time.
    #[test]
    fn every_task_runs_once() {
        for threads in [1, 2, 3, 8] {
            let evaluation = || {
                let mut counts = [[0usize; 7]; 100];
                for_each(counts.iter_mut(), |counts| for_each(counts.iter_mut(), |count| *count += 1));
                counts.iter().flatten().all(|&count| count == 1)
            };
            assert!(on_threads(threads, evaluation));
            assert!(on_threads(threads, || awake(evaluation)));
            assert!(on_threads(threads, || awake(|| awake(evaluation))));
            let both = || rayon::join(|| awake(evaluation), || awake(evaluation));
            assert_eq!(on_threads(threads, both), (true, true));
        }
        // From outside of any pool.
        assert_eq!(awake(|| 7), 7);
        let sum = AtomicUsize::new(0);
        for_each(0..1000, |i| {
            sum.fetch_add(i, Ordering::Relaxed);
        });
        assert_eq!(sum.into_inner(), 999 * 500);
    }

    /// A panic comes out instead of leaving threads that wait for ever.
    #[test]
    fn panics_come_out() {
        let panicking = || for_each(0..64, |i| assert!(i != 37));
        let caught = |f: &(dyn Fn() + Sync)| catch_unwind(AssertUnwindSafe(f)).is_err();
        for threads in [1, 2, 3] {
            assert!(on_threads(threads, || caught(&panicking)));
            assert!(on_threads(threads, || caught(&|| awake(panicking))));
        }
    }
}

//! What lanes and time do with jobs: turns, ends, the end of the service.

use std::io;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use super::job::remove_inputs;
use super::register::Register;
use super::{Job, Jobs, overdue};
use crate::api::{JobState, Problem};
use crate::receipt::Receipt;

/// A job that a lane has left without an end, because of a full disk, is tried again after so long.
const LEFT_FOR: Duration = Duration::from_secs(10);

impl Jobs {
    /// The next job for a lane; waits for one. `None` when lanes are to end. For a while, jobs go
    /// first that are `ready`: those whose keys need not be read.
    pub(in crate::service) fn next(&self, ready: impl Fn(&Job) -> bool) -> Option<Arc<Job>> {
        let mut inner = self.inner();
        loop {
            if inner.closed {
                return None;
            }
            let Register { queue, jobs, held, .. } = &mut *inner;
            let is_ready = |id: &String| jobs.get(id).is_some_and(|job| ready(job));
            let id = if *held { None } else { queue.pop(is_ready) };
            if let Some(job) = id.and_then(|id| inner.jobs.get(&id).cloned()) {
                // Cancelled between its end and its way out of the queue.
                if job.state().is_final() {
                    continue;
                }
                inner.running.insert(job.id.clone());
                job.turn(JobState::Queued, JobState::Running);
                return Some(job);
            }
            inner = self.changed.wait(inner).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// A lane has an answer. Whether it counts: a job that was cancelled meanwhile has ended.
    pub(in crate::service) fn answered(
        &self,
        job: &Job,
        answer: &[u8],
        receipt: Receipt,
        seconds: f64,
    ) -> io::Result<bool> {
        let counts = job.end_with_answer(answer, receipt, seconds, |at| self.has_ended(job, at))?;
        if counts {
            self.forget_surplus(&job.principal);
        }
        Ok(counts)
    }

    /// A lane, or the deadline, says that there will be no answer.
    pub(in crate::service) fn failed(&self, job: &Job, problem: Problem) {
        match job.end_without_answer(JobState::Failed, Some(problem), |at| self.has_ended(job, at)) {
            Ok(true) => self.forget_surplus(&job.principal),
            Ok(false) => {}
            // It is tried again in a moment.
            Err(error) => tracing::error!(target: "fhec::serve", "the end of a job is not kept: {error}"),
        }
    }

    /// A lane has left a job.
    pub(in crate::service) fn left(&self, job: &Job) {
        if job.state().is_final() {
            // A checkpoint of the last moment.
            remove_inputs(&job.folder);
        }
        let mut inner = self.inner();
        inner.running.remove(&job.id);
        job.turn(JobState::Running, JobState::Queued);
        if inner.unfinished.contains_key(&job.id) {
            inner.left.insert(job.id.clone(), Instant::now());
        }
        self.changed.notify_all();
    }

    /// Lets no job begin, waits up to `grace` for those that run, and stops the others.
    pub(in crate::service) fn drain(&self, grace: Duration) {
        let mut inner = self.inner();
        inner.held = true;
        let running = |inner: &mut Register| !inner.running.is_empty();
        let waited = self.changed.wait_timeout_while(inner, grace, running);
        (inner, _) = waited.unwrap_or_else(PoisonError::into_inner);
        for job in inner.unfinished.values().filter(|job| job.state() == JobState::Running) {
            job.cancel();
        }
        drop(self.changed.wait_while(inner, running));
    }

    /// Lanes end when they have nothing to do.
    pub(in crate::service) fn close(&self) {
        self.inner().closed = true;
        self.changed.notify_all();
    }

    /// Ends jobs that are overdue in the queue, queues again what lanes have left without an end,
    /// deletes those that have been finished for `live`.
    pub(in crate::service) fn sweep(&self, live: Duration) {
        self.queue_again(LEFT_FOR);
        let is_late = |job: &&Arc<Job>| job.state() == JobState::Queued && job.is_overdue();
        let is_old = |(at, _): &(SystemTime, String)| at.elapsed().is_ok_and(|age| age > live);
        let (late, old): (Vec<Arc<Job>>, Vec<Arc<Job>>) = {
            let inner = self.inner();
            let late = inner.unfinished.values().filter(is_late).cloned().collect();
            let old = inner.finished.values();
            // In the order they ended: what is not old yet ends the search.
            let old = old.flat_map(|own| own.iter().take_while(|(key, _)| is_old(key)));
            let surplus = inner.finished.keys().flat_map(|own| inner.surplus(own, self.kept_per_principal));
            (late, old.map(|(_, job)| Arc::clone(job)).chain(surplus).collect())
        };
        for job in late {
            self.failed(&job, overdue());
        }
        self.forget_all(&old);
    }

    /// Queues what lanes have left without an end for as long as `left_for`.
    pub(super) fn queue_again(&self, left_for: Duration) {
        let mut inner = self.inner();
        if inner.held {
            return;
        }
        let ripe = inner.left.iter().filter(|(_, left)| left.elapsed() >= left_for);
        let ripe: Vec<String> = ripe.map(|(id, _)| id.clone()).collect();
        for id in ripe {
            inner.left.remove(&id);
            if let Some(job) = inner.unfinished.get(&id).cloned() {
                inner.queue.push(Arc::clone(&job.principal), id);
            }
        }
        self.changed.notify_all();
    }
}

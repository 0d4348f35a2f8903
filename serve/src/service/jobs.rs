//! Jobs: accepted once they are on disk, evaluated in turns, answered once.
//!
//! | module | subject |
//! |---|---|
//! | `admission` | which jobs are accepted |
//! | `job` | one job: its folder, how far it is, and its one end |
//! | `register` | all jobs as they are known in memory |
//! | `turns` | what lanes and time do with them |

mod admission;
mod job;
mod register;
#[cfg(test)]
mod tests;
mod turns;

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

pub(super) use job::{Job, Record};
use register::Register;

use super::Options;
use super::catalogue::{Catalogue, Model};
use super::errors::{ServiceError, internal, not_found, of_disk};
use super::folder::{self, StateFolder};
use super::keys::{KeyStore, KeyUse};
use super::spending::Spending;
use crate::api::{self, Code, JobState, Problem};

const KIND: &str = "jobs";

/// All jobs.
pub(super) struct Jobs {
    folder: StateFolder,
    inner: Mutex<Register>,
    /// Something was queued, has ended, or lanes are to end.
    changed: Condvar,
    queue: usize,
    jobs_per_principal: usize,
    kept_per_principal: usize,
    lanes: usize,
    /// Of a lane.
    threads: usize,
    spending: Spending,
}

impl Jobs {
    /// Finds what is there. What was not finished is queued again, in the order it came.
    pub(super) fn open(
        folder: &StateFolder,
        catalogue: &Catalogue,
        keys: &KeyStore,
        options: &Options,
    ) -> Result<Self, ServiceError> {
        let error = |source| ServiceError::State { path: options.state.clone(), source };
        let mut inner = Register::new();
        let mut waiting = Vec::new();
        for (principal, path, id) in folder.all(KIND).map_err(error)? {
            match Job::read(principal.as_str().into(), &path, id.clone(), catalogue) {
                Ok(job) => {
                    let job = Arc::new(job);
                    inner.jobs.insert(job.id.clone(), Arc::clone(&job));
                    if let Some(key) = job.record.idempotency {
                        inner.idempotency.insert((Arc::clone(&job.principal), key), Some(job.id.clone()));
                    }
                    match job.ended_at() {
                        Some(at) => inner.keep(job, at),
                        None => waiting.push(job),
                    }
                }
                Err(error) => {
                    tracing::warn!(target: "fhec::serve", principal, job = id, "a job that is left alone: {error}");
                }
            }
        }
        waiting.sort_by(|a, b| (a.record.submitted, &a.id).cmp(&(b.record.submitted, &b.id)));
        if !waiting.is_empty() {
            tracing::info!(target: "fhec::serve", "{} jobs go on", waiting.len());
        }
        for job in waiting {
            *inner.active.entry(Arc::clone(&job.principal)).or_default() += 1;
            inner.queue.push(Arc::clone(&job.principal), job.id.clone());
            // Where they are gone, the job's lane says so.
            let keys = keys.reserve(&(Arc::clone(&job.principal), job.record.keys)).ok();
            if let Some(keys) = keys {
                job.hold(keys.reserved);
            }
            inner.unfinished.insert(job.id.clone(), job);
        }
        Ok(Jobs {
            folder: folder.clone(),
            inner: Mutex::new(inner),
            changed: Condvar::new(),
            queue: options.queue,
            jobs_per_principal: options.jobs_per_principal,
            kept_per_principal: options.kept_per_principal,
            lanes: options.lanes,
            threads: options.threads,
            spending: Spending::new(folder, options.core_seconds_per_hour),
        })
    }

    fn inner(&self) -> MutexGuard<'_, Register> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Jobs that wait.
    pub(super) fn queued(&self) -> usize {
        self.inner().queue.len()
    }

    /// Jobs that are evaluated.
    pub(super) fn running(&self) -> usize {
        self.inner().running.len()
    }

    /// A job of `principal`.
    pub(super) fn get(&self, principal: &Arc<str>, id: &str) -> Result<Arc<Job>, Problem> {
        let inner = self.inner();
        inner.jobs.get(id).filter(|job| job.principal == *principal).cloned().ok_or_else(not_found)
    }

    /// All jobs of `principal`, in the order they came.
    pub(super) fn list(&self, principal: &Arc<str>) -> Vec<api::Job> {
        let mut own: Vec<Arc<Job>> =
            self.inner().jobs.values().filter(|job| job.principal == *principal).cloned().collect();
        own.sort_by(|a, b| (a.record.submitted, &a.id).cmp(&(b.record.submitted, &b.id)));
        own.iter().map(|job| job.shown()).collect()
    }

    /// Accepts a job: it is on disk when this returns. `true` if it is new; with the same
    /// idempotency key it is the one from before.
    pub(super) fn submit(
        &self,
        principal: &Arc<str>,
        model: &Arc<Model>,
        record: Record,
        keys: KeyUse,
        image: &[u8],
    ) -> Result<(Arc<Job>, bool), Problem> {
        let key = record.idempotency.map(|key| (Arc::clone(principal), key));
        let deadline = record.seconds_left();
        {
            let mut inner = self.inner();
            if let Some(found) = key.as_ref().and_then(|key| inner.idempotency.get(key)) {
                let busy = || Problem::new(Code::Busy, "the same job is being sent right now").retry_after(1);
                let job = found.as_ref().and_then(|id| inner.jobs.get(id)).ok_or_else(busy)?;
                let of = |record: &Record| (record.program, record.keys, record.image);
                if of(&job.record) != of(&record) {
                    let detail = "another job was sent with this idempotency key: choose a new one";
                    return Err(Problem::new(Code::IdempotencyConflict, detail));
                }
                return Ok((Arc::clone(job), false));
            }
            self.room(&inner, principal, model.least_seconds(), deadline)?;
            *inner.active.entry(Arc::clone(principal)).or_default() += 1;
            if let Some(key) = &key {
                inner.idempotency.insert(key.clone(), None);
            }
        }
        let of = self.folder.of(principal, KIND).map_err(of_disk);
        let job = of.and_then(|of| Job::create(&of, principal, model, record, keys, image));
        let mut inner = self.inner();
        match job {
            Ok(job) => {
                let job = Arc::new(job);
                if let Some(key) = key {
                    inner.idempotency.insert(key, Some(job.id.clone()));
                }
                inner.jobs.insert(job.id.clone(), Arc::clone(&job));
                inner.unfinished.insert(job.id.clone(), Arc::clone(&job));
                inner.queue.push(Arc::clone(principal), job.id.clone());
                self.changed.notify_all();
                Ok((job, true))
            }
            Err(problem) => {
                if let Some(key) = key {
                    inner.idempotency.remove(&key);
                }
                inner.release(principal);
                Err(problem)
            }
        }
    }

    /// Cancels a job that is not finished; deletes one that is.
    pub(super) fn delete(&self, principal: &Arc<str>, id: &str) -> Result<(), Problem> {
        let job = self.get(principal, id)?;
        let settle = |at| self.has_ended(&job, at);
        if job.end_without_answer(JobState::Cancelled, None, settle).map_err(of_disk)? {
            job.cancel();
            self.forget_surplus(principal);
            return Ok(());
        }
        self.forget(&job).map_err(internal)
    }

    /// A job has ended, and nobody knows it yet: it is one of the finished ones.
    fn has_ended(&self, job: &Job, at: SystemTime) {
        let mut inner = self.inner();
        inner.queue.remove(&job.principal, &job.id);
        inner.left.remove(&job.id);
        inner.release(&job.principal);
        if let Some(job) = inner.unfinished.remove(&job.id) {
            inner.keep(job, at);
        }
        self.changed.notify_all();
    }

    /// Of too many finished jobs of `principal` the oldest go.
    fn forget_surplus(&self, principal: &Arc<str>) {
        let surplus = self.inner().surplus(principal, self.kept_per_principal);
        self.forget_all(&surplus);
    }

    fn forget_all(&self, jobs: &[Arc<Job>]) {
        for job in jobs {
            if let Err(error) = self.forget(job) {
                tracing::error!(target: "fhec::serve", "an old job is not deleted: {error}");
            }
        }
    }

    fn forget(&self, job: &Job) -> io::Result<()> {
        folder::remove(&job.folder)?;
        let mut inner = self.inner();
        inner.jobs.remove(&job.id);
        if let (Some(at), Some(own)) = (job.ended_at(), inner.finished.get_mut(&job.principal)) {
            own.remove(&(at, job.id.clone()));
            if own.is_empty() {
                inner.finished.remove(&job.principal);
            }
        }
        if let Some(key) = job.record.idempotency {
            inner.idempotency.remove(&(Arc::clone(&job.principal), key));
        }
        Ok(())
    }
}

/// What a job ends with that has no time left.
pub(super) fn overdue() -> Problem {
    Problem::new(Code::DeadlineExceeded, "the deadline passed before there was an answer")
}

//! Jobs: accepted once they are on disk, evaluated in turns, answered once.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use fhec_runtime::exec::Control;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::Options;
use super::catalogue::{Catalogue, Model};
use super::errors::{ServiceError, internal, not_found, of_disk};
use super::folder::{self, StateFolder};
use super::keys::{KeyStore, KeyUse};
use super::queue::FairQueue;
use crate::api::{self, Code, JobState, Problem};
use crate::digest::Digest;
use crate::receipt::Receipt;

const KIND: &str = "jobs";
const RECORD: &str = "job.json";
const IMAGE: &str = "image.ct";
const CHECKPOINT: &str = "checkpoint";
const DONE: &str = "done.json";
const ANSWER: &str = "answer.ct";
const ENDED: &str = "ended.json";
/// A job that a lane has left without an end, because of a full disk, is tried again after so long.
const LEFT_FOR: Duration = Duration::from_secs(10);

/// What a job is of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) model: String,
    pub(super) program: Digest,
    pub(super) keys: Digest,
    pub(super) image: Digest,
    /// Milliseconds since 1970.
    pub(super) submitted: u64,
    /// Milliseconds since 1970.
    pub(super) deadline: Option<u64>,
    /// Hash of the caller's idempotency key.
    pub(super) idempotency: Option<Digest>,
}

/// Written before the answer: with it the job is done.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Done {
    receipt: Receipt,
    seconds: f64,
}

/// Why a job has no answer and will have none.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Ended {
    state: JobState,
    problem: Option<Problem>,
}

/// Where a job is.
#[derive(Clone, Debug)]
pub(super) struct Progress {
    pub(super) state: JobState,
    pub(super) ops_done: usize,
    pub(super) layer: Option<usize>,
    seconds: Option<f64>,
    problem: Option<Problem>,
    finished: Option<SystemTime>,
}

impl Progress {
    fn queued() -> Self {
        let state = JobState::Queued;
        Progress { state, ops_done: 0, layer: None, seconds: None, problem: None, finished: None }
    }
}

/// One job.
pub(super) struct Job {
    pub(super) id: String,
    pub(super) principal: Arc<str>,
    folder: PathBuf,
    pub(super) record: Record,
    /// `None` where the program is not served any more.
    pub(super) model: Option<Arc<Model>>,
    control: Control,
    /// Held while the end is written, so that there is one. Until then the keys stay.
    end: Mutex<Option<KeyUse>>,
    progress: watch::Sender<Progress>,
}

/// Milliseconds since 1970.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_millis() as u64)
}

impl Job {
    /// What its owner sees.
    pub(super) fn shown(&self) -> api::Job {
        let progress = self.progress.borrow().clone();
        let model = self.model.as_ref();
        let ops = model.map_or(0, |model| model.ops());
        let names = model.map_or(&[][..], |model| &model.layers.names);
        api::Job {
            id: self.id.clone(),
            model: self.record.model.clone(),
            state: progress.state,
            submitted: self.record.submitted / 1000,
            deadline: self.record.deadline.map(|deadline| deadline / 1000),
            ops_done: if progress.state == JobState::Done { ops } else { progress.ops_done },
            ops,
            layer: progress.layer.and_then(|layer| names.get(layer)).cloned(),
            seconds: progress.seconds,
            problem: progress.problem,
        }
    }

    /// Told of every change.
    pub(super) fn watch(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    pub(super) fn state(&self) -> JobState {
        self.progress.borrow().state
    }

    /// Says how far the evaluation is.
    pub(super) fn reached(&self, ops_done: usize, layer: Option<usize>) {
        self.progress.send_modify(|progress| {
            (progress.ops_done, progress.layer) = (ops_done, layer);
        });
    }

    pub(super) fn image_path(&self) -> PathBuf {
        self.folder.join(IMAGE)
    }

    pub(super) fn checkpoint_path(&self) -> PathBuf {
        self.folder.join(CHECKPOINT)
    }

    /// Ends the evaluation at its owner's word, at the deadline, or when the service ends.
    pub(super) fn control(&self) -> Control {
        let left = self.record.deadline.map(|deadline| Duration::from_millis(deadline.saturating_sub(now())));
        match left.and_then(|left| Instant::now().checked_add(left)) {
            Some(deadline) => self.control.clone().with_deadline(deadline),
            None => self.control.clone(),
        }
    }

    /// When it ended, if it has.
    fn ended_at(&self) -> Option<SystemTime> {
        let progress = self.progress.borrow();
        progress.state.is_final().then(|| progress.finished.unwrap_or(UNIX_EPOCH))
    }

    fn is_overdue(&self) -> bool {
        self.record.deadline.is_some_and(|deadline| now() >= deadline)
    }

    /// The answer.
    pub(super) fn answer(&self) -> Result<Vec<u8>, Problem> {
        self.require_done()?;
        fs::read(self.folder.join(ANSWER)).map_err(internal)
    }

    /// The receipt of the answer.
    pub(super) fn receipt(&self) -> Result<Receipt, Problem> {
        self.require_done()?;
        let done: Done = folder::read_json(&self.folder.join(DONE)).map_err(internal)?;
        Ok(done.receipt)
    }

    fn require_done(&self) -> Result<(), Problem> {
        match self.state() {
            JobState::Done => Ok(()),
            JobState::Queued | JobState::Running => {
                Err(Problem::new(Code::NoAnswer, "the job has no answer yet").retry_after(1))
            }
            JobState::Failed | JobState::Cancelled => {
                Err(Problem::new(Code::NoAnswer, "the job has no answer and will have none"))
            }
        }
    }

    /// Writes how the job ended with `write`, unless it has ended already. Whether it had not.
    fn end(&self, progress: Progress, write: impl FnOnce(&Path) -> io::Result<()>) -> io::Result<bool> {
        let mut keys = self.end.lock().unwrap_or_else(PoisonError::into_inner);
        if self.state().is_final() {
            return Ok(false);
        }
        write(&self.folder)?;
        remove_inputs(&self.folder);
        let finished = Some(SystemTime::now());
        self.progress.send_replace(Progress { finished, ..progress });
        *keys = None;
        Ok(true)
    }

    /// The job has failed or was cancelled.
    fn end_without_answer(&self, state: JobState, problem: Option<Problem>) -> io::Result<bool> {
        let ended = Ended { state, problem: problem.clone() };
        let progress = Progress { state, problem, ..self.progress.borrow().clone() };
        self.end(progress, |folder| folder::write_json(&folder.join(ENDED), &ended))
    }
}

/// What a finished job does not need. What stays is removed with the job.
fn remove_inputs(folder: &Path) {
    for name in [IMAGE, CHECKPOINT] {
        let _ = fs::remove_file(folder.join(name));
    }
}

struct Inner {
    jobs: HashMap<String, Arc<Job>>,
    /// Those of them that are not finished.
    unfinished: HashMap<String, Arc<Job>>,
    /// The others by principal, in the order they ended.
    finished: HashMap<Arc<str>, BTreeMap<(SystemTime, String), Arc<Job>>>,
    queue: FairQueue<Arc<str>, String>,
    /// Those that lanes work on.
    running: HashSet<String>,
    /// Those that a lane has left without an end, and when.
    left: HashMap<String, Instant>,
    /// Jobs that are not finished, and those that are about to be accepted.
    active: HashMap<Arc<str>, usize>,
    /// By principal and idempotency key: the job, or nothing yet.
    idempotency: HashMap<(Arc<str>, Digest), Option<String>>,
    /// No other job begins.
    held: bool,
    /// Lanes end.
    closed: bool,
}

impl Inner {
    fn new() -> Self {
        Inner {
            jobs: HashMap::new(),
            unfinished: HashMap::new(),
            finished: HashMap::new(),
            queue: FairQueue::new(),
            running: HashSet::new(),
            left: HashMap::new(),
            active: HashMap::new(),
            idempotency: HashMap::new(),
            held: false,
            closed: false,
        }
    }

    /// Counts one job of `principal` less that is not finished.
    fn release(&mut self, principal: &Arc<str>) {
        if let Some(active) = self.active.get_mut(principal) {
            *active -= 1;
            if *active == 0 {
                self.active.remove(principal);
            }
        }
    }

    /// Keeps a job that has ended, unless it was deleted meanwhile.
    fn keep(&mut self, job: Arc<Job>) {
        if let Some(at) = job.ended_at()
            && self.jobs.contains_key(&job.id)
        {
            let own = self.finished.entry(Arc::clone(&job.principal)).or_default();
            own.insert((at, job.id.clone()), job);
        }
    }

    /// Jobs of `principal` that have ended and are more than `most`: the oldest ones.
    fn surplus(&self, principal: &Arc<str>, most: usize) -> Vec<Arc<Job>> {
        let own = self.finished.get(principal);
        own.map_or(Vec::new(), |own| own.values().take(own.len().saturating_sub(most)).cloned().collect())
    }
}

/// All jobs.
pub(super) struct Jobs {
    folder: StateFolder,
    inner: Mutex<Inner>,
    /// Something was queued, has ended, or lanes are to end.
    changed: Condvar,
    queue: usize,
    jobs_per_principal: usize,
    kept_per_principal: usize,
    lanes: usize,
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
        let mut inner = Inner::new();
        let mut waiting = Vec::new();
        for (principal, path, id) in folder.all(KIND).map_err(error)? {
            match read(principal.as_str().into(), &path, id.clone(), catalogue) {
                Ok(job) => {
                    let job = Arc::new(job);
                    inner.jobs.insert(job.id.clone(), Arc::clone(&job));
                    if let Some(key) = job.record.idempotency {
                        inner.idempotency.insert((Arc::clone(&job.principal), key), Some(job.id.clone()));
                    }
                    match job.state().is_final() {
                        true => inner.keep(job),
                        false => waiting.push(job),
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
            *job.end.lock().unwrap_or_else(PoisonError::into_inner) = keys.map(|keys| keys.reserved);
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
        })
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
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

    /// Errs where a job of `principal` would not be accepted: before its image is read.
    pub(super) fn check_room(&self, principal: &Arc<str>, predicted_seconds: f64) -> Result<(), Problem> {
        self.room(&self.inner(), principal, predicted_seconds)
    }

    fn room(&self, inner: &Inner, principal: &Arc<str>, predicted_seconds: f64) -> Result<(), Problem> {
        let wait = |jobs: usize| {
            (predicted_seconds * jobs as f64 / self.lanes as f64).ceil().clamp(1.0, 3600.0) as u64
        };
        if inner.held {
            return Err(
                Problem::new(Code::Draining, "the server is about to end; send it again soon").retry_after(5)
            );
        }
        let own = inner.active.get(principal).copied().unwrap_or(0);
        if own >= self.jobs_per_principal {
            let detail = format!("{own} of your jobs are not finished, and no more are allowed");
            return Err(Problem::new(Code::TooManyJobs, detail).retry_after(wait(1)));
        }
        if inner.queue.len() >= self.queue {
            let detail = "the queue is full; send it again later";
            return Err(Problem::new(Code::Overloaded, detail).retry_after(wait(1 + inner.queue.len() / 4)));
        }
        Ok(())
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
        let predicted = model.program().plan.predicted_seconds;
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
            self.room(&inner, principal, predicted)?;
            *inner.active.entry(Arc::clone(principal)).or_default() += 1;
            if let Some(key) = &key {
                inner.idempotency.insert(key.clone(), None);
            }
        }
        let job = self.create(principal, model, record, keys, image);
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

    fn create(
        &self,
        principal: &Arc<str>,
        model: &Arc<Model>,
        record: Record,
        keys: KeyUse,
        image: &[u8],
    ) -> Result<Job, Problem> {
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(internal)?;
        let id: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        let of = self.folder.of(principal, KIND).map_err(of_disk)?;
        let path = folder::make_folder(&of, &id, |path| {
            folder::write(&path.join(IMAGE), image)?;
            folder::write_json(&path.join(RECORD), &record)
        });
        Ok(Job {
            id,
            principal: Arc::clone(principal),
            folder: path.map_err(of_disk)?,
            record,
            model: Some(Arc::clone(model)),
            control: Control::default(),
            end: Mutex::new(Some(keys)),
            progress: watch::Sender::new(Progress::queued()),
        })
    }

    /// Cancels a job that is not finished; deletes one that is.
    pub(super) fn delete(&self, principal: &Arc<str>, id: &str) -> Result<(), Problem> {
        let job = self.get(principal, id)?;
        if job.end_without_answer(JobState::Cancelled, None).map_err(of_disk)? {
            job.control.cancel();
            self.has_ended(&job);
            return Ok(());
        }
        self.forget(&job).map_err(internal)
    }

    /// A job has just ended: it is one of the finished ones, and the oldest of too many goes.
    fn has_ended(&self, job: &Job) {
        let surplus = {
            let mut inner = self.inner();
            inner.queue.remove(&job.principal, &job.id);
            inner.left.remove(&job.id);
            inner.release(&job.principal);
            if let Some(job) = inner.unfinished.remove(&job.id) {
                inner.keep(job);
            }
            self.changed.notify_all();
            inner.surplus(&job.principal, self.kept_per_principal)
        };
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

    /// The next job for a lane; waits for one. `None` when lanes are to end.
    pub(super) fn next(&self) -> Option<Arc<Job>> {
        let mut inner = self.inner();
        loop {
            if inner.closed {
                return None;
            }
            let id = if inner.held { None } else { inner.queue.pop() };
            if let Some(job) = id.and_then(|id| inner.jobs.get(&id).cloned()) {
                // Cancelled between its end and its way out of the queue.
                if job.state().is_final() {
                    continue;
                }
                inner.running.insert(job.id.clone());
                job.progress.send_if_modified(|progress| {
                    let begins = progress.state == JobState::Queued;
                    if begins {
                        progress.state = JobState::Running;
                    }
                    begins
                });
                return Some(job);
            }
            inner = self.changed.wait(inner).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// A lane has an answer. Whether it counts: a job that was cancelled meanwhile has ended.
    pub(super) fn answered(
        &self,
        job: &Job,
        answer: &[u8],
        receipt: Receipt,
        seconds: f64,
    ) -> io::Result<bool> {
        let done = Done { receipt, seconds };
        let progress = Progress {
            state: JobState::Done,
            seconds: Some(seconds),
            layer: None,
            ..job.progress.borrow().clone()
        };
        let counts = job.end(progress, |folder| {
            folder::write_json(&folder.join(DONE), &done)?;
            folder::write(&folder.join(ANSWER), answer)
        })?;
        if counts {
            self.has_ended(job);
        }
        Ok(counts)
    }

    /// A lane, or the deadline, says that there will be no answer.
    pub(super) fn failed(&self, job: &Job, problem: Problem) {
        match job.end_without_answer(JobState::Failed, Some(problem)) {
            Ok(true) => self.has_ended(job),
            Ok(false) => {}
            // It is tried again in a moment.
            Err(error) => tracing::error!(target: "fhec::serve", "the end of a job is not kept: {error}"),
        }
    }

    /// A lane has left a job.
    pub(super) fn left(&self, job: &Job) {
        if job.state().is_final() {
            // A checkpoint of the last moment.
            remove_inputs(&job.folder);
        }
        let mut inner = self.inner();
        inner.running.remove(&job.id);
        job.progress.send_if_modified(|progress| {
            let stopped = progress.state == JobState::Running;
            if stopped {
                progress.state = JobState::Queued;
            }
            stopped
        });
        if inner.unfinished.contains_key(&job.id) {
            inner.left.insert(job.id.clone(), Instant::now());
        }
        self.changed.notify_all();
    }

    /// Lets no job begin, waits up to `grace` for those that run, and stops the others.
    pub(super) fn drain(&self, grace: Duration) {
        let mut inner = self.inner();
        inner.held = true;
        let running = |inner: &mut Inner| !inner.running.is_empty();
        let waited = self.changed.wait_timeout_while(inner, grace, running);
        (inner, _) = waited.unwrap_or_else(PoisonError::into_inner);
        for job in inner.unfinished.values().filter(|job| job.state() == JobState::Running) {
            job.control.cancel();
        }
        drop(self.changed.wait_while(inner, running));
    }

    /// Lanes end when they have nothing to do.
    pub(super) fn close(&self) {
        self.inner().closed = true;
        self.changed.notify_all();
    }

    /// Ends jobs that are overdue in the queue, queues again what lanes have left without an end,
    /// deletes those that have been finished for `live`.
    pub(super) fn sweep(&self, live: Duration) {
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
    fn queue_again(&self, left_for: Duration) {
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

/// What a job ends with that has no time left.
pub(super) fn overdue() -> Problem {
    Problem::new(Code::DeadlineExceeded, "the deadline passed before there was an answer")
}

/// The job of a folder.
fn read(principal: Arc<str>, path: &Path, id: String, catalogue: &Catalogue) -> io::Result<Job> {
    let record: Record = folder::read_json(&path.join(RECORD))?;
    let model = catalogue.get(&record.model).filter(|model| model.program == record.program);
    let modified = |name: &str| fs::metadata(path.join(name)).and_then(|file| file.modified()).ok();
    let mut progress = Progress::queued();
    if path.join(ANSWER).is_file() {
        let done: Done = folder::read_json(&path.join(DONE))?;
        progress.state = JobState::Done;
        (progress.seconds, progress.finished) = (Some(done.seconds), modified(ANSWER));
    } else if path.join(ENDED).is_file() {
        let ended: Ended = folder::read_json(&path.join(ENDED))?;
        (progress.state, progress.problem) = (ended.state, ended.problem);
        progress.finished = modified(ENDED);
    } else if !path.join(IMAGE).is_file() {
        return Err(io::Error::other("a job without its image"));
    }
    if progress.state.is_final() {
        remove_inputs(path);
    }
    Ok(Job {
        id,
        principal,
        folder: path.to_owned(),
        record,
        model: model.cloned(),
        control: Control::default(),
        end: Mutex::new(None),
        progress: watch::Sender::new(progress),
    })
}

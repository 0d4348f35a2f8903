//! One job: its folder, how far it is, and its one end.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use fhec_runtime::exec::Control;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::api::{self, Code, JobState, Problem};
use crate::digest::Digest;
use crate::receipt::Receipt;
use crate::service::catalogue::{Catalogue, Model};
use crate::service::errors::{internal, of_disk};
use crate::service::folder;
use crate::service::keys::KeyUse;

const RECORD: &str = "job.json";
const IMAGE: &str = "image.ct";
const CHECKPOINT: &str = "checkpoint";
const DONE: &str = "done.json";
const ANSWER: &str = "answer.ct";
const ENDED: &str = "ended.json";

/// What a job is of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::service) struct Record {
    pub(in crate::service) model: String,
    pub(in crate::service) program: Digest,
    pub(in crate::service) keys: Digest,
    pub(in crate::service) image: Digest,
    /// Milliseconds since 1970.
    pub(in crate::service) submitted: u64,
    /// Milliseconds since 1970.
    pub(in crate::service) deadline: Option<u64>,
    /// Hash of the caller's idempotency key.
    pub(in crate::service) idempotency: Option<Digest>,
    /// Trace context of the request that sent it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::service) trace: Option<String>,
}

impl Record {
    /// Seconds until the deadline; 0 after it.
    pub(super) fn seconds_left(&self) -> Option<f64> {
        self.deadline.map(|deadline| deadline.saturating_sub(now()) as f64 / 1000.0)
    }
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
pub(in crate::service) struct Progress {
    pub(in crate::service) state: JobState,
    pub(in crate::service) ops_done: usize,
    pub(in crate::service) layer: Option<usize>,
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
pub(in crate::service) struct Job {
    pub(in crate::service) id: String,
    pub(in crate::service) principal: Arc<str>,
    pub(super) folder: PathBuf,
    pub(in crate::service) record: Record,
    /// `None` where the program is not served any more.
    pub(in crate::service) model: Option<Arc<Model>>,
    control: Control,
    /// Held until the end is written and told, so that there is one. Keys stay while there is none.
    end: Mutex<Option<KeyUse>>,
    progress: watch::Sender<Progress>,
}

/// Milliseconds since 1970.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_millis() as u64)
}

impl Job {
    /// A new job, which appears in the folder `of` at once with its image.
    pub(super) fn create(
        of: &Path,
        principal: &Arc<str>,
        model: &Arc<Model>,
        record: Record,
        keys: KeyUse,
        image: &[u8],
    ) -> Result<Self, Problem> {
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(internal)?;
        let id: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        let path = folder::make_folder(of, &id, |path| {
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

    /// The job of a folder.
    pub(super) fn read(
        principal: Arc<str>,
        path: &Path,
        id: String,
        catalogue: &Catalogue,
    ) -> io::Result<Self> {
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
            model,
            control: Control::default(),
            end: Mutex::new(None),
            progress: watch::Sender::new(progress),
        })
    }

    /// What its owner sees.
    pub(in crate::service) fn shown(&self) -> api::Job {
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
    pub(in crate::service) fn watch(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    pub(in crate::service) fn state(&self) -> JobState {
        self.progress.borrow().state
    }

    /// Says how far the evaluation is.
    pub(in crate::service) fn reached(&self, ops_done: usize, layer: Option<usize>) {
        self.progress.send_modify(|progress| {
            (progress.ops_done, progress.layer) = (ops_done, layer);
        });
    }

    pub(in crate::service) fn image_path(&self) -> PathBuf {
        self.folder.join(IMAGE)
    }

    pub(in crate::service) fn checkpoint_path(&self) -> PathBuf {
        self.folder.join(CHECKPOINT)
    }

    /// Ends the evaluation at its owner's word, at the deadline, or when the service ends.
    pub(in crate::service) fn control(&self) -> Control {
        let left = self.record.seconds_left().map(Duration::from_secs_f64);
        match left.and_then(|left| Instant::now().checked_add(left)) {
            Some(deadline) => self.control.clone().with_deadline(deadline),
            None => self.control.clone(),
        }
    }

    /// Stops an evaluation that runs.
    pub(super) fn cancel(&self) {
        self.control.cancel();
    }

    /// A lane begins with it, or has left it: `from` becomes `to`, and any other state stays.
    pub(super) fn turn(&self, from: JobState, to: JobState) {
        self.progress.send_if_modified(|progress| {
            let turns = progress.state == from;
            if turns {
                progress.state = to;
            }
            turns
        });
    }

    /// Keeps its keys until it ends.
    pub(super) fn hold(&self, keys: KeyUse) {
        *self.end.lock().unwrap_or_else(PoisonError::into_inner) = Some(keys);
    }

    /// When it ended, if it has.
    pub(super) fn ended_at(&self) -> Option<SystemTime> {
        let progress = self.progress.borrow();
        progress.state.is_final().then(|| progress.finished.unwrap_or(UNIX_EPOCH))
    }

    /// Seconds that lanes need for what is left of it, as far as is known.
    pub(super) fn seconds_left(&self) -> f64 {
        let Some(model) = &self.model else { return 0.0 };
        let done = self.progress.borrow().ops_done as f64 / model.ops().max(1) as f64;
        model.expected_seconds() * (1.0 - done).max(0.0)
    }

    pub(super) fn is_overdue(&self) -> bool {
        self.record.deadline.is_some_and(|deadline| now() >= deadline)
    }

    /// The answer.
    pub(in crate::service) fn answer(&self) -> Result<Vec<u8>, Problem> {
        self.require_done()?;
        fs::read(self.folder.join(ANSWER)).map_err(internal)
    }

    /// The receipt of the answer.
    pub(in crate::service) fn receipt(&self) -> Result<Receipt, Problem> {
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
    ///
    /// Its owner is told last: whoever sees the end can delete the keys and submit another job.
    /// `settle` gives back what the job holds beside its keys; it gets the time of the end.
    fn end(
        &self,
        progress: Progress,
        write: impl FnOnce(&Path) -> io::Result<()>,
        settle: impl FnOnce(SystemTime),
    ) -> io::Result<bool> {
        let mut keys = self.end.lock().unwrap_or_else(PoisonError::into_inner);
        if self.state().is_final() {
            return Ok(false);
        }
        write(&self.folder)?;
        remove_inputs(&self.folder);
        let finished = SystemTime::now();
        *keys = None;
        settle(finished);
        self.progress.send_replace(Progress { finished: Some(finished), ..progress });
        Ok(true)
    }

    /// It has an answer, if it has not ended already. Whether it had not.
    pub(super) fn end_with_answer(
        &self,
        answer: &[u8],
        receipt: Receipt,
        seconds: f64,
        settle: impl FnOnce(SystemTime),
    ) -> io::Result<bool> {
        let done = Done { receipt, seconds };
        let progress = Progress {
            state: JobState::Done,
            seconds: Some(seconds),
            layer: None,
            ..self.progress.borrow().clone()
        };
        let write = |folder: &Path| {
            folder::write_json(&folder.join(DONE), &done)?;
            folder::write(&folder.join(ANSWER), answer)
        };
        self.end(progress, write, settle)
    }

    /// The job has failed or was cancelled. Whether it had not ended already.
    pub(super) fn end_without_answer(
        &self,
        state: JobState,
        problem: Option<Problem>,
        settle: impl FnOnce(SystemTime),
    ) -> io::Result<bool> {
        let ended = Ended { state, problem: problem.clone() };
        let progress = Progress { state, problem, ..self.progress.borrow().clone() };
        self.end(progress, |folder| folder::write_json(&folder.join(ENDED), &ended), settle)
    }
}

/// What a finished job does not need. What stays is removed with the job.
pub(super) fn remove_inputs(folder: &Path) {
    for name in [IMAGE, CHECKPOINT] {
        let _ = fs::remove_file(folder.join(name));
    }
}

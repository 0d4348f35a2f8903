//! The client of a service: it knows interfaces and never a model's weights.
//!
//! | module | subject |
//! |---|---|
//! | `connection` | requests, TLS, streams of events |
//! | `home` | what a client keeps of services on its disk |
//! | `session` | a client's keys at a service: image in, answer out |

mod connection;
mod home;
mod session;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use fhec_ir::program::ProgramError;
use fhec_roles::files::FileError;
use fhec_runtime::error::Stop;
use fhec_runtime::exec::Control;
use thiserror::Error;

pub use connection::{Connection, Identity, Settings, Traffic};
pub use home::Home;
pub use session::{Answered, RemoteSession};

use crate::api::{self, AnnounceKeys, Code, IDEMPOTENCY_KEY, Job, KeyState, Keys, Model, Problem};
use crate::api::{UPLOAD_DIGEST, UPLOAD_OFFSET};
use crate::digest::Digest;
use crate::receipt::{Part, Receipt};

/// Why the service did not do what was asked for.
#[derive(Debug, Error)]
#[allow(missing_docs)]
pub enum RemoteError {
    #[error("`{url}` is no address of a service: {reason}")]
    Address { url: String, reason: &'static str },
    #[error("{what} cannot be used for TLS: {reason}")]
    Tls { what: String, reason: String },
    #[error("the service cannot be reached: {0}")]
    Unreachable(Box<ureq::Error>),
    #[error("{} ({})", .0.detail, .0.code.name())]
    Refused(Box<Problem>),
    #[error("the service answered what this client does not understand: {0}")]
    Answer(String),
    #[error("the connection broke off: {0}")]
    Broken(#[from] io::Error),
    #[error("the upload has not got on for {} s: the service asks for the same bytes again and again", .0.as_secs())]
    Stuck(Duration),
    #[error("the interface of {model} is refused: {source}")]
    Interface { model: String, source: ProgramError },
    #[error("the service said program {said} and sent another one's interface: do not use it")]
    OtherProgram { said: Digest },
    #[error("the service says that this answer is of another {0}: it is not used")]
    OtherReceipt(&'static str),
    #[error("the job was cancelled")]
    Cancelled,
    #[error("ended from here: {0}")]
    Stopped(Stop),
    #[error("the service has another program under the name {model} by now: open it again")]
    Replaced { model: String },
    #[error(transparent)]
    File(#[from] FileError),
    #[error("the folder {} cannot be used: {source}", .path.display())]
    Home { path: PathBuf, source: io::Error },
    #[error("this system names no folder for configurations: say which with --home")]
    NoHome,
}

impl RemoteError {
    /// Whether it may be different in a moment, and how long to wait.
    fn is_passing(&self) -> Option<Duration> {
        match self {
            RemoteError::Unreachable(error) => match **error {
                ureq::Error::Io(_) | ureq::Error::Timeout(_) | ureq::Error::ConnectionFailed => {
                    Some(Duration::ZERO)
                }
                _ => None,
            },
            RemoteError::Broken(_) => Some(Duration::ZERO),
            RemoteError::Refused(problem) => match problem.code {
                Code::Busy | Code::Draining | Code::Overloaded | Code::TooManyJobs | Code::BodyTooSlow => {
                    Some(Duration::from_secs(problem.retry_after.unwrap_or(1)).min(LONGEST_WAIT))
                }
                _ => None,
            },
            _ => None,
        }
    }
}

/// How often a broken connection is tried again at first; later less often.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// Nothing is waited for longer at a time, whatever the service asks for.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 3600);

/// For how long something has not got on.
struct Trial {
    patience: Duration,
    since: Instant,
    pause: Duration,
}

impl Trial {
    fn new(patience: Duration) -> Self {
        Trial { patience, since: Instant::now(), pause: FIRST_PAUSE }
    }

    /// It gets on: all of the patience is left again.
    fn gets_on(&mut self) {
        (self.since, self.pause) = (Instant::now(), FIRST_PAUSE);
    }

    /// Waits until another try is worth it; gives `error` back where none is.
    fn wait(&mut self, error: RemoteError) -> Result<(), RemoteError> {
        let wait = match error.is_passing() {
            Some(asked) if self.allows(asked.max(self.pause)) => asked.max(self.pause),
            _ => return Err(error),
        };
        tracing::debug!(target: "fhec::remote", "again in {wait:?}: {error}");
        self.sleep(wait);
        Ok(())
    }

    fn allows(&self, wait: Duration) -> bool {
        self.since.elapsed().saturating_add(wait) < self.patience
    }

    fn sleep(&mut self, wait: Duration) {
        std::thread::sleep(wait);
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
    }
}

/// A service, as its client sees it. What is safe to repeat is repeated while the service cannot be
/// reached or has too much to do.
#[derive(Clone, Debug)]
pub struct Remote {
    connection: Arc<Connection>,
    patience: Duration,
    control: Control,
}

impl Remote {
    /// A service that is waited for up to `patience`.
    pub fn new(connection: Connection, patience: Duration) -> Self {
        Remote { connection: Arc::new(connection), patience, control: Control::default() }
    }

    /// The same service, over the same connection. `control` ends what is asked of it: between two
    /// tries, two chunks of an upload, or two events of a job. What the service does goes on.
    pub fn under(&self, control: Control) -> Self {
        Remote { control, ..self.clone() }
    }

    /// Does `work` until it succeeds, or fails for good, or has not got on for the patience.
    fn persist_while_it_gets_on<T>(
        &self,
        mut work: impl FnMut(&mut Trial) -> Result<T, RemoteError>,
    ) -> Result<T, RemoteError> {
        let mut trial = Trial::new(self.patience);
        loop {
            self.control.check().map_err(RemoteError::Stopped)?;
            match work(&mut trial) {
                Ok(done) => return Ok(done),
                Err(error) => trial.wait(error)?,
            }
        }
    }

    /// Does `work` until it succeeds, or fails for good, or has failed for the patience.
    fn persist<T>(&self, mut work: impl FnMut() -> Result<T, RemoteError>) -> Result<T, RemoteError> {
        self.persist_while_it_gets_on(|_| work())
    }

    /// Bytes of bodies that have gone each way.
    pub fn traffic(&self) -> Traffic {
        self.connection.traffic()
    }

    fn get<T: serde::de::DeserializeOwned>(&self, path: &str) -> Result<T, RemoteError> {
        self.persist(|| self.connection.json("GET", path, &[], &[]))
    }

    /// All models.
    pub fn models(&self) -> Result<Vec<Model>, RemoteError> {
        Ok(self.get::<api::Models>("/v1/models")?.models)
    }

    /// One model.
    pub fn model(&self, name: &str) -> Result<Model, RemoteError> {
        self.get(&format!("/v1/models/{}", escaped(name)))
    }

    /// The interface file of a model, of up to 64 MiB. Whoever reads it checks it.
    pub fn interface(&self, model: &Model) -> Result<Vec<u8>, RemoteError> {
        let path = format!("/v1/models/{}/interface", escaped(&model.name));
        let limit = model.interface_bytes.min(home::MAX_INTERFACE_BYTES);
        self.persist(|| self.connection.bytes("GET", &path, &[], &[], limit))
    }

    /// The caller's keys.
    pub fn keys(&self) -> Result<Vec<Keys>, RemoteError> {
        Ok(self.get::<api::KeyList>("/v1/keys")?.keys)
    }

    /// Deletes keys.
    pub fn delete_keys(&self, keys: &str) -> Result<(), RemoteError> {
        let path = format!("/v1/keys/{}", escaped(keys));
        self.persist(|| self.connection.bytes("DELETE", &path, &[], &[], 0)).map(drop)
    }

    /// Uploads the key file at `path`, whose digest is `keys`, or what is missing of it. `progress`
    /// is told how many bytes are there. Ends with an error where no more bytes are there after all
    /// of the patience.
    pub fn upload(
        &self,
        model: &str,
        path: &Path,
        keys: Digest,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Keys, RemoteError> {
        let in_file = |source| FileError::Read { path: path.to_owned(), source };
        let mut file = File::open(path).map_err(in_file)?;
        let length = file.metadata().map_err(in_file)?.len();
        let announcement = AnnounceKeys { model: model.into(), keys, length };
        let announcement = serde_json::to_vec(&announcement).unwrap_or_default();
        let announce = || {
            let json = [("content-type", "application/json")];
            self.connection.json::<Keys>("POST", "/v1/keys", &json, &announcement)
        };
        let mut there = self.persist(announce)?;
        let mut chunk = Vec::new();
        let mut trial = Trial::new(self.patience);
        // A service that goes back and forth does not get on.
        let mut furthest = there.offset;
        let mut most = usize::try_from(there.chunk_bytes).unwrap_or(usize::MAX).clamp(1, MOST_CHUNK);
        while there.state == KeyState::Uploading {
            if there.offset >= length {
                return Err(RemoteError::Answer(format!(
                    "the upload is at byte {} of {length}",
                    there.offset
                )));
            }
            self.control.check().map_err(RemoteError::Stopped)?;
            progress(there.offset, length);
            if there.offset > furthest {
                furthest = there.offset;
                trial.gets_on();
            }
            let size = (length - there.offset.min(length)).min(most as u64) as usize;
            chunk.resize(size, 0);
            file.seek(SeekFrom::Start(there.offset)).map_err(in_file)?;
            file.read_exact(&mut chunk).map_err(in_file)?;
            let (offset, digest) = (there.offset.to_string(), Digest::of(&chunk).to_string());
            let headers = [
                ("content-type", "application/octet-stream"),
                (UPLOAD_OFFSET, &offset[..]),
                (UPLOAD_DIGEST, &digest[..]),
            ];
            let path = format!("/v1/keys/{keys}");
            match self.connection.json::<Keys>("PATCH", &path, &headers, &chunk) {
                Ok(now) if now.state == KeyState::Whole || now.offset > there.offset => there = now,
                Ok(now) => {
                    self.go_round(&mut trial)?;
                    there = now;
                }
                Err(RemoteError::Refused(problem)) if problem.code == Code::WrongOffset => {
                    self.go_round(&mut trial)?;
                    there = self.persist(announce)?;
                }
                Err(error) => {
                    trial.wait(error)?;
                    // A slow line gets smaller chunks, a broken one costs less.
                    most = (most / 2).max(LEAST_CHUNK);
                    there = self.persist(announce)?;
                }
            }
        }
        progress(length, length);
        Ok(there)
    }

    /// Before an upload goes on that has not got on.
    fn go_round(&self, trial: &mut Trial) -> Result<(), RemoteError> {
        match trial.allows(FIRST_PAUSE) {
            true => trial.sleep(FIRST_PAUSE),
            false => return Err(RemoteError::Stuck(self.patience)),
        }
        Ok(())
    }

    /// Sends an encrypted image. Sent twice, it is one job.
    pub fn submit(
        &self,
        model: &str,
        keys: Digest,
        image: &[u8],
        deadline: Option<u64>,
        idempotency_key: &str,
    ) -> Result<Job, RemoteError> {
        let deadline = deadline.map_or(String::new(), |seconds| format!("&deadline={seconds}"));
        let path = format!("/v1/models/{}/jobs?keys={keys}{deadline}", escaped(model));
        let headers = [("content-type", "application/octet-stream"), (IDEMPOTENCY_KEY, idempotency_key)];
        self.persist(|| self.connection.json("POST", &path, &headers, image))
    }

    /// Waits until a job is finished, however long it takes: patience ends where nothing has been
    /// heard of it for so long. `progress` is told of every change.
    pub fn wait(&self, id: &str, progress: &mut dyn FnMut(&Job)) -> Result<Job, RemoteError> {
        let path = format!("/v1/jobs/{}/events", escaped(id));
        let mut last = None;
        self.persist_while_it_gets_on(|trial| {
            self.connection.events(&path, &mut |text| {
                let job: Job =
                    serde_json::from_str(text).map_err(|error| RemoteError::Answer(error.to_string()))?;
                self.control.check().map_err(RemoteError::Stopped)?;
                trial.gets_on();
                progress(&job);
                let finished = job.state.is_final();
                last = Some(job);
                Ok(!finished)
            })?;
            // A stream that ends before the job does is taken up again.
            match last.take() {
                Some(job) if job.state.is_final() => Ok(job),
                _ => Err(RemoteError::Broken(io::ErrorKind::UnexpectedEof.into())),
            }
        })
    }

    /// The answer of a job of at most `limit` bytes, whose receipt fits what was sent.
    pub fn answer(
        &self,
        job: &Job,
        program: Digest,
        keys: Digest,
        image: Digest,
        limit: u64,
    ) -> Result<(Vec<u8>, Receipt), RemoteError> {
        match (&job.state, &job.problem) {
            (api::JobState::Failed, Some(problem)) => {
                return Err(RemoteError::Refused(Box::new(problem.clone())));
            }
            (api::JobState::Cancelled, _) => return Err(RemoteError::Cancelled),
            _ => {}
        }
        let path = format!("/v1/jobs/{}", escaped(&job.id));
        let answer =
            self.persist(|| self.connection.bytes("GET", &format!("{path}/answer"), &[], &[], limit))?;
        let receipt: Receipt = self.get(&format!("{path}/receipt"))?;
        let parts = [
            (Part::Program, program, "program"),
            (Part::Keys, keys, "set of keys"),
            (Part::Image, image, "image"),
            (Part::Answer, Digest::of(&answer), "answer"),
        ];
        match parts.into_iter().find(|(part, digest, _)| !receipt.names(*part, *digest)) {
            Some((_, _, what)) => Err(RemoteError::OtherReceipt(what)),
            None => Ok((answer, receipt)),
        }
    }

    /// The caller's jobs.
    pub fn jobs(&self) -> Result<Vec<Job>, RemoteError> {
        Ok(self.get::<api::Jobs>("/v1/jobs")?.jobs)
    }

    /// Cancels a job that is not finished, deletes one that is.
    pub fn delete_job(&self, id: &str) -> Result<(), RemoteError> {
        let path = format!("/v1/jobs/{}", escaped(id));
        self.persist(|| self.connection.bytes("DELETE", &path, &[], &[], 0)).map(drop)
    }
}

/// Chunks are between these sizes, whatever the service says.
const LEAST_CHUNK: usize = 64 << 10;
const MOST_CHUNK: usize = 64 << 20;

/// `name` as one part of a path.
fn escaped(name: &str) -> String {
    let plain = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'-' | b'_');
    let part = |c: u8| if plain(c) { (c as char).to_string() } else { format!("%{c:02X}") };
    name.bytes().map(part).collect()
}

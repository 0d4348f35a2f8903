//! Objects in a store that speaks S3. What is kept there outlives the machine.
//!
//! rusty-s3 signs requests, ureq sends them. Whoever calls waits for the answer, for a limited
//! time: never a thread of the reactor.

#[cfg(test)]
pub(super) mod fake;
mod place;

use std::fs::File;
use std::io::{self, Read, Write};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use jiff::Timestamp;
use jiff::fmt::rfc2822;
pub use place::{BucketError, KeyBucket};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use rusty_s3::S3Action;
use rusty_s3::actions::ListObjectsV2;
use thiserror::Error;
use ureq::http::{Method, Request, Response, StatusCode, header};
use ureq::{Agent, AsSendBody, Body};

use crate::digest::Digest;

/// A connection, and a request without a large body, has so long.
const SMALL_TIME: Duration = Duration::from_secs(5);
/// A large body may come no slower than so many bytes a second.
const LEAST_RATE: u64 = 1 << 20;
/// Files are fetched in parts of so many bytes, each of which is tried so often.
const PART_BYTES: u64 = 16 << 20;
const TRIES: u32 = 3;
/// After a failure of the store nobody asks it for so long: requests do not wait for one that is
/// away.
const PAUSE: Duration = Duration::from_secs(15);
/// Failures are told no more often.
const TELL_EVERY: Duration = Duration::from_secs(60);
/// More than a page of a list has.
const MAX_PAGE_BYTES: u64 = 8 << 20;
/// More pages than any list has.
const MAX_PAGES: usize = 10_000;
/// More than any small object, or error, has.
const MAX_SMALL_BYTES: u64 = 1 << 16;

/// Why the bucket did not do something. Does not name the object.
#[derive(Clone, Debug, Error)]
#[error("{reason}")]
pub(super) struct Failure {
    reason: String,
    /// Whether it is the store that fails, not this request.
    pub(super) is_away: bool,
}

impl Failure {
    fn away(reason: impl Into<String>) -> Self {
        Failure { reason: reason.into(), is_away: true }
    }

    fn refused(reason: impl Into<String>) -> Self {
        Failure { reason: reason.into(), is_away: false }
    }
}

impl From<ureq::Error> for Failure {
    /// Errors that may have the address in them are not shown: it is signed, and names a principal
    /// and keys.
    fn from(error: ureq::Error) -> Self {
        match error {
            ureq::Error::Io(_)
            | ureq::Error::Timeout(_)
            | ureq::Error::HostNotFound
            | ureq::Error::ConnectionFailed
            | ureq::Error::Tls(_)
            | ureq::Error::Rustls(_) => Failure::away(error.to_string()),
            _ => Failure::away("the request failed"),
        }
    }
}

/// An object of a list.
#[derive(Clone, Debug)]
pub(super) struct Object {
    /// Without the prefix of the bucket.
    pub(super) name: String,
    pub(super) modified: SystemTime,
}

/// What operators watch.
#[derive(Clone, Debug, Default)]
pub(super) struct Counts {
    pub(super) stored: Counter,
    pub(super) fetched: Counter,
    pub(super) failures: Counter,
    /// Sets of keys that are not in the bucket yet.
    pub(super) waiting: Gauge,
}

#[derive(Default)]
struct Health {
    /// Nothing is asked before.
    away_until: Option<Instant>,
    /// When a failure was told last.
    told: Option<Instant>,
}

/// A bucket.
pub(super) struct Bucket {
    at: KeyBucket,
    agent: Agent,
    health: Mutex<Health>,
    pause: Duration,
    is_ending: AtomicBool,
    pub(super) counts: Counts,
}

impl Bucket {
    pub(super) fn new(at: KeyBucket) -> Self {
        if !at.is_encrypted() && !at.is_local() {
            tracing::warn!(target: "fhec::serve", "requests to the bucket go over the network in the clear");
        }
        let mut config = Agent::config_builder();
        if at.is_local() {
            // A proxy of the environment cannot reach this machine.
            config = config.proxy(None);
        }
        let config = config
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_connect(Some(SMALL_TIME))
            .max_idle_age(Duration::from_secs(5))
            .user_agent(concat!("fhec/", env!("CARGO_PKG_VERSION")));
        let (health, counts) = (Mutex::default(), Counts::default());
        let (agent, is_ending) = (config.build().into(), AtomicBool::new(false));
        Bucket { at, agent, health, pause: PAUSE, is_ending, counts }
    }

    /// A store that was away is asked again after `pause`.
    #[cfg(test)]
    pub(super) fn set_pause(&mut self, pause: Duration) {
        self.pause = pause;
    }

    /// Tells this bucket, and the place in it, from others.
    pub(super) fn place(&self) -> String {
        self.at.place()
    }

    fn health(&self) -> MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does `work`, unless the store was away a moment ago.
    fn ask<T>(&self, work: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
        if self.health().away_until.is_some_and(|until| Instant::now() < until) {
            return Err(Failure::away("it was away a moment ago"));
        }
        let done = work();
        let mut health = self.health();
        match &done {
            Ok(_) => {
                if health.away_until.take().is_some() {
                    health.told = None;
                    tracing::info!(target: "fhec::serve", "the bucket of keys is back");
                }
            }
            Err(failure) => {
                self.counts.failures.inc();
                if failure.is_away {
                    health.away_until = Some(Instant::now() + self.pause);
                }
                if health.told.is_none_or(|told| told.elapsed() >= TELL_EVERY) {
                    health.told = Some(Instant::now());
                    tracing::warn!(target: "fhec::serve", "the bucket of keys fails: {failure}");
                }
            }
        }
        done
    }

    fn object(&self, name: &str) -> String {
        format!("{}{name}", self.at.prefix)
    }

    /// Sends a request; nothing where there is no such object.
    fn send<'a>(
        &self,
        method: Method,
        action: &impl S3Action<'a>,
        body: impl AsSendBody,
        range: Option<&Range<u64>>,
        time: Duration,
    ) -> Result<Option<Response<Body>>, Failure> {
        // Clocks differ by minutes.
        let address = action.sign(time + Duration::from_secs(600));
        let mut request = Request::builder().method(method).uri(address.as_str());
        if let Some(range) = range {
            request = request.header(header::RANGE, format!("bytes={}-{}", range.start, range.end - 1));
        }
        let request = request.body(body).map_err(|_| Failure::refused("the request cannot be made"))?;
        let request = self.agent.configure_request(request).timeout_global(Some(time)).build();
        let response = self.agent.run(request)?;
        let status = response.status();
        if status.is_success() {
            return Ok(Some(response));
        }
        let code = code_of(&small(response).unwrap_or_default());
        match status {
            StatusCode::NOT_FOUND if code == "NoSuchKey" => Ok(None),
            StatusCode::RANGE_NOT_SATISFIABLE => Ok(None),
            status if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
                Err(Failure::away(format!("status {} {code}", status.as_u16())))
            }
            status => Err(Failure::refused(format!("status {} {code}", status.as_u16()))),
        }
    }

    fn put_in(&self, name: &str, body: impl AsSendBody, time: Duration) -> Result<(), Failure> {
        let name = self.object(name);
        let action = self.at.bucket.put_object(Some(&self.at.credentials), &name);
        let missing = || Failure::refused("there is no such bucket");
        self.ask(|| self.send(Method::PUT, &action, body, None, time)?.map(drop).ok_or_else(missing))
    }

    /// Keeps a small object.
    pub(super) fn put(&self, name: &str, bytes: &[u8]) -> Result<(), Failure> {
        self.put_in(name, bytes, SMALL_TIME)
    }

    /// Keeps a file of `length` bytes.
    pub(super) fn put_file(&self, name: &str, file: &File, length: u64) -> Result<(), Failure> {
        self.put_in(name, file, time_for(length))
    }

    /// A small object, and when it was written last.
    pub(super) fn get(&self, name: &str) -> Result<Option<(Vec<u8>, SystemTime)>, Failure> {
        let name = self.object(name);
        let action = self.at.bucket.get_object(Some(&self.at.credentials), &name);
        self.ask(|| {
            let answer = self.send(Method::GET, &action, (), None, SMALL_TIME)?;
            let Some(response) = answer else { return Ok(None) };
            let modified = response.headers().get(header::LAST_MODIFIED).and_then(|at| at.to_str().ok());
            let modified = modified.and_then(|at| rfc2822::parse(at).ok());
            let modified = modified.map_or_else(SystemTime::now, |at| at.timestamp().into());
            Ok(Some((small(response)?, modified)))
        })
    }

    /// Writes the first `length` bytes of an object to `file`, and says their digest; nothing where
    /// there are fewer. The outer error is the bucket's, the inner one the file's.
    pub(super) fn fetch(
        &self,
        name: &str,
        file: &mut File,
        length: u64,
    ) -> Result<io::Result<Option<Digest>>, Failure> {
        let name = self.object(name);
        self.ask(|| {
            let (mut hasher, mut at) = (blake3::Hasher::new(), 0);
            while at < length {
                if self.is_ending.load(Ordering::Relaxed) {
                    return Err(Failure::refused("the service is about to end"));
                }
                let end = length.min(at + PART_BYTES);
                let Some(part) = self.part(&name, at..end)? else { return Ok(Ok(None)) };
                hasher.update(&part);
                if let Err(error) = file.write_all(&part) {
                    return Ok(Err(error));
                }
                at = end;
            }
            Ok(Ok(Some(Digest::of_hasher(&hasher))))
        })
    }

    /// Bytes of an object. What takes minutes as a whole is asked for in parts: a connection that
    /// breaks off, or is dead without a word, costs a part.
    fn part(&self, name: &str, range: Range<u64>) -> Result<Option<Vec<u8>>, Failure> {
        let action = self.at.bucket.get_object(Some(&self.at.credentials), name);
        let length = range.end - range.start;
        let get = || {
            let answer = self.send(Method::GET, &action, (), Some(&range), time_for(length))?;
            let Some(response) = answer else { return Ok(None) };
            if response.status() != StatusCode::PARTIAL_CONTENT {
                return Err(Failure::refused("it does not answer with parts of objects"));
            }
            let bytes = read(response, length)?;
            Ok((bytes.len() as u64 == length).then_some(bytes))
        };
        for _ in 1..TRIES {
            match get() {
                Err(failure) if failure.is_away => std::thread::sleep(self.pause / 20),
                done => return done,
            }
        }
        get()
    }

    /// What is being fetched is not waited for any longer.
    pub(super) fn end_fetches(&self) {
        self.is_ending.store(true, Ordering::Relaxed);
    }

    /// Deletes an object, or finds that it is not there.
    pub(super) fn delete(&self, name: &str) -> Result<(), Failure> {
        let name = self.object(name);
        let action = self.at.bucket.delete_object(Some(&self.at.credentials), &name);
        self.ask(|| self.send(Method::DELETE, &action, (), None, SMALL_TIME).map(drop))
    }

    /// All objects whose names begin with `beginning`.
    pub(super) fn list(&self, beginning: &str) -> Result<Vec<Object>, Failure> {
        let beginning = self.object(beginning);
        let (mut found, mut next) = (Vec::new(), None::<String>);
        for _ in 0..MAX_PAGES {
            let mut action = self.at.bucket.list_objects_v2(Some(&self.at.credentials));
            action.with_prefix(beginning.as_str());
            if let Some(next) = next.take() {
                action.with_continuation_token(next);
            }
            let page = self.ask(|| {
                let response = self.send(Method::GET, &action, (), None, SMALL_TIME)?;
                let response = response.ok_or_else(|| Failure::refused("there is no such bucket"))?;
                let text = String::from_utf8(read(response, MAX_PAGE_BYTES)?);
                let page = text.ok().and_then(|text| ListObjectsV2::parse_response(&text).ok());
                page.ok_or_else(|| Failure::refused("its list cannot be read"))
            })?;
            for object in page.contents {
                let Some(name) = object.key.strip_prefix(&self.at.prefix) else { continue };
                let modified = object.last_modified.and_then(|at| at.parse::<Timestamp>().ok());
                // What has no time is not old.
                let modified = modified.map_or_else(SystemTime::now, SystemTime::from);
                found.push(Object { name: name.into(), modified });
            }
            next = page.next_continuation_token;
            if next.is_none() {
                return Ok(found);
            }
        }
        Err(Failure::refused("its list has no end"))
    }
}

fn time_for(bytes: u64) -> Duration {
    3 * SMALL_TIME + Duration::from_secs(bytes / LEAST_RATE)
}

fn read(response: Response<Body>, most: u64) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let reader = response.into_body().into_reader();
    let read = reader.take(most + 1).read_to_end(&mut bytes);
    read.map_err(|error| Failure::away(error.to_string()))?;
    if bytes.len() as u64 > most { Err(Failure::refused("its answer is too long")) } else { Ok(bytes) }
}

fn small(response: Response<Body>) -> Result<Vec<u8>, Failure> {
    read(response, MAX_SMALL_BYTES)
}

/// The code of an error in XML. The rest of it names objects.
fn code_of(error: &[u8]) -> String {
    let error = String::from_utf8_lossy(error);
    let code = error.split_once("<Code>").and_then(|(_, rest)| rest.split_once("</Code>"));
    let code = code.map_or("", |(code, _)| code);
    code.chars().filter(char::is_ascii_alphanumeric).take(64).collect()
}

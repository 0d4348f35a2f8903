//! All jobs of a service as it knows them in memory: by name, in the queue, running, ended.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use super::Job;
use crate::digest::Digest;
use crate::service::queue::FairQueue;

pub(super) struct Register {
    pub(super) jobs: HashMap<String, Arc<Job>>,
    /// Those of them that are not finished.
    pub(super) unfinished: HashMap<String, Arc<Job>>,
    /// The others by principal, in the order they ended.
    pub(super) finished: HashMap<Arc<str>, BTreeMap<(SystemTime, String), Arc<Job>>>,
    pub(super) queue: FairQueue<Arc<str>, String>,
    /// Those that lanes work on.
    pub(super) running: HashSet<String>,
    /// Those that a lane has left without an end, and when.
    pub(super) left: HashMap<String, Instant>,
    /// Jobs that are not finished, and those that are about to be accepted.
    pub(super) active: HashMap<Arc<str>, usize>,
    /// By principal and idempotency key: the job, or nothing yet.
    pub(super) idempotency: HashMap<(Arc<str>, Digest), Option<String>>,
    /// No other job begins.
    pub(super) held: bool,
    /// Lanes end.
    pub(super) closed: bool,
}

impl Register {
    pub(super) fn new() -> Self {
        Register {
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
    pub(super) fn release(&mut self, principal: &Arc<str>) {
        if let Some(active) = self.active.get_mut(principal) {
            *active -= 1;
            if *active == 0 {
                self.active.remove(principal);
            }
        }
    }

    /// Keeps a job that has ended `at` this time, unless it was deleted meanwhile.
    pub(super) fn keep(&mut self, job: Arc<Job>, at: SystemTime) {
        if self.jobs.contains_key(&job.id) {
            let own = self.finished.entry(Arc::clone(&job.principal)).or_default();
            own.insert((at, job.id.clone()), job);
        }
    }

    /// Jobs of `principal` that have ended and are more than `most`: the oldest ones.
    pub(super) fn surplus(&self, principal: &Arc<str>, most: usize) -> Vec<Arc<Job>> {
        let own = self.finished.get(principal);
        own.map_or(Vec::new(), |own| own.values().take(own.len().saturating_sub(most)).cloned().collect())
    }
}

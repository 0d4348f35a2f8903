//! Which jobs are accepted: by the queue, the caller's quotas, and whether an answer would come in
//! time.

use std::sync::Arc;

use super::register::Register;
use super::{Job, Jobs};
use crate::api::{Code, Problem};

/// No caller is told to wait longer.
const LONGEST_WAIT: f64 = 3600.0;

fn whole_seconds(wait: f64) -> u64 {
    wait.ceil().clamp(1.0, LONGEST_WAIT) as u64
}

impl Jobs {
    /// Errs where a job of `principal` would not be accepted: before its image is read. An
    /// evaluation takes `takes` seconds; `deadline` is in seconds from now.
    pub(in crate::service) fn check_room(
        &self,
        principal: &Arc<str>,
        takes: f64,
        deadline: Option<f64>,
    ) -> Result<(), Problem> {
        self.room(&self.inner(), principal, takes, deadline)
    }

    /// Seconds until a lane begins with a job that `principal` sends now, as far as is known.
    pub(in crate::service) fn wait_seconds(&self, principal: &Arc<str>) -> f64 {
        self.wait(&self.inner(), principal)
    }

    fn wait(&self, inner: &Register, principal: &Arc<str>) -> f64 {
        let before = inner.queue.before(principal);
        if inner.running.len() + before.len() < self.lanes {
            return 0.0;
        }
        let jobs = inner.running.iter().chain(before).filter_map(|id| inner.jobs.get(id));
        jobs.map(|job| job.seconds_left()).sum::<f64>() / self.lanes as f64
    }

    pub(super) fn room(
        &self,
        inner: &Register,
        principal: &Arc<str>,
        takes: f64,
        deadline: Option<f64>,
    ) -> Result<(), Problem> {
        if inner.held {
            return Err(
                Problem::new(Code::Draining, "the server is about to end; send it again soon").retry_after(5)
            );
        }
        let after = |jobs: usize| whole_seconds(takes * jobs as f64 / self.lanes as f64);
        let own = inner.active.get(principal).copied().unwrap_or(0);
        if own >= self.jobs_per_principal {
            let detail = format!("{own} of your jobs are not finished, and no more are allowed");
            return Err(Problem::new(Code::TooManyJobs, detail).retry_after(after(1)));
        }
        let unfinished = inner.unfinished.values().filter(|job| job.principal == *principal);
        let unfinished: f64 = unfinished.map(|job| job.seconds_left()).sum();
        self.spending.check(principal, unfinished * self.threads as f64)?;
        if inner.queue.len() >= self.queue {
            let detail = "the queue is full; send it again later";
            return Err(Problem::new(Code::Overloaded, detail).retry_after(after(1 + inner.queue.len() / 4)));
        }
        let Some(deadline) = deadline else { return Ok(()) };
        if takes > deadline {
            let detail = format!("an evaluation takes about {takes:.1} s: allow more time");
            return Err(Problem::new(Code::DeadlineExceeded, detail));
        }
        let wait = self.wait(inner, principal);
        if wait + takes > deadline {
            let detail = format!(
                "an answer is expected in about {:.1} s, after the deadline: allow more time, or send it again later",
                wait + takes
            );
            let retry = whole_seconds(wait + takes - deadline);
            return Err(Problem::new(Code::Overloaded, detail).retry_after(retry));
        }
        Ok(())
    }

    /// A lane has worked for a job.
    pub(in crate::service) fn spend(&self, job: &Job, seconds: f64) {
        self.spending.spend(&job.principal, seconds * self.threads as f64);
    }
}

//! Lanes: threads that evaluate, each with a pool of its own, so that an evaluation never waits for
//! another one's threads, and the reactor never for an evaluation.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use fhec_ir::entity::Value;
use fhec_roles::checkpoint::{Checkpoints, Identity};
use fhec_roles::{RoleError, exchange, files};
use fhec_runtime::exec::{ExecError, Witness};
use fhec_runtime::rlwe::Ciphertext;
use rayon::{ThreadPool, ThreadPoolBuilder};
use tracing::Span;

use super::errors::{ServiceError, internal};
use super::jobs::{Job, overdue};
use super::layers::LayerWatch;
use super::{Service, spans};
use crate::api::{Code, Problem};
use crate::digest::Digest;
use crate::receipt::{self, Receipt};

/// Starts all lanes.
pub(super) fn start(service: &Arc<Service>) -> Result<Vec<JoinHandle<()>>, ServiceError> {
    let lane = |index: usize| {
        let pool = ThreadPoolBuilder::new()
            .num_threads(service.options.threads)
            .thread_name(move |thread| format!("lane-{index}-{thread}"))
            .build()?;
        let service = Arc::clone(service);
        let named = std::thread::Builder::new().name(format!("lane-{index}"));
        named.spawn(move || work(&service, &pool)).map_err(ServiceError::Threads)
    };
    (0..service.options.lanes).map(lane).collect()
}

fn work(service: &Service, pool: &ThreadPool) {
    let ready = |job: &Job| service.keys.is_resident(&(Arc::clone(&job.principal), job.record.keys));
    while let Some(job) = service.jobs.next(ready) {
        let mut time = LaneTime { service, job: &job, begun: Some(Instant::now()) };
        let predicted = job.model.as_ref().map(|model| model.program().plan.predicted_seconds);
        let span = spans::evaluation(&job.record.model, predicted);
        if let (Some(contexts), Some(trace)) = (service.options.trace_contexts, &job.record.trace) {
            (contexts.join)(&span, trace);
        }
        let turn = || pool.install(|| span.in_scope(|| evaluate(service, &job, &span, &mut time)));
        let outcome = catch_unwind(AssertUnwindSafe(turn));
        time.count();
        let outcome = outcome.unwrap_or_else(|_| Err(Stopped::Failed(internal("an evaluation panicked"))));
        let (name, seconds, failed) = match outcome {
            Ok(seconds) => {
                service.metrics.evaluated(&job.record.model, seconds);
                ("done", Some(seconds), false)
            }
            Err(Stopped::Failed(problem)) => {
                let name = problem.code.name();
                service.jobs.failed(&job, problem);
                (name, None, true)
            }
            Err(Stopped::Left) => ("left", None, false),
        };
        spans::ended(&span, name, seconds, failed);
        drop(span);
        service.metrics.job_left(name);
        tracing::info!(target: "fhec::serve", job = job.id, model = job.record.model, outcome = name, "job");
        service.jobs.left(&job);
    }
}

/// Time of a lane that a job has used and that is not counted yet.
struct LaneTime<'a> {
    service: &'a Service,
    job: &'a Job,
    begun: Option<Instant>,
}

impl LaneTime<'_> {
    /// Counts it, once. That is before the job's end is told: whoever sees the end is told the same
    /// of the quota from then on.
    fn count(&mut self) {
        if let Some(begun) = self.begun.take() {
            self.service.jobs.spend(self.job, begun.elapsed().as_secs_f64());
        }
    }
}

/// Why an evaluation has no answer.
enum Stopped {
    /// There will be none.
    Failed(Problem),
    /// It was cancelled, or goes on later: after a restart, or when the disk has room.
    Left,
}

impl From<Problem> for Stopped {
    fn from(problem: Problem) -> Self {
        Stopped::Failed(problem)
    }
}

/// Checkpoints but the one at the end of the program: the answer is kept right after it.
struct UntilEnd<'a, 'c> {
    checkpoints: &'a mut Checkpoints<'c>,
    ops: usize,
}

impl Witness<Vec<Ciphertext>> for UntilEnd<'_, '_> {
    fn reached(&mut self, next: usize, live: &[(Value, &Vec<Ciphertext>)]) {
        if next < self.ops {
            self.checkpoints.reached(next, live);
        }
    }

    fn stopped(&mut self, next: usize, live: &[(Value, &Vec<Ciphertext>)]) {
        self.checkpoints.stopped(next, live);
    }

    fn keeps(&self) -> bool {
        self.checkpoints.keeps()
    }
}

/// Evaluates a job and keeps its answer. Returns the seconds of evaluation. `turn` is the span.
fn evaluate(service: &Service, job: &Job, turn: &Span, time: &mut LaneTime<'_>) -> Result<f64, Stopped> {
    let gone = || Problem::new(Code::ModelGone, "the program of this job is not served any more");
    let model = job.model.as_ref().ok_or_else(gone)?;
    let (context, program) = (&model.context, model.program());
    let bytes = files::read(&job.image_path(), model.input_max_bytes);
    let Ok(bytes) = bytes else {
        // Removed by whoever has cancelled the job just now, or the disk is broken.
        return Err(if job.state().is_final() { Stopped::Left } else { internal("an image is gone").into() });
    };
    let image = exchange::ciphertexts_from_bytes(&bytes, context, &program.interface.input.ty);
    let image = image.map_err(|error| Problem::new(Code::ImageRefused, error.to_string()))?;
    let name = (Arc::clone(&job.principal), job.record.keys);
    let keys = match service.keys.load(&name, model, || service.metrics.keys_loaded()) {
        Ok(keys) => keys,
        // The bucket comes back, or the disk has room again: the job is not lost for that.
        Err(Problem { code: Code::StoreAway | Code::NoRoom, .. }) => return Err(Stopped::Left),
        Err(problem) => return Err(problem.into()),
    };
    let identity = Identity::new(program.interface.program, keys.id(), context, &image);
    let session = model.server.session(keys).map_err(|error| refused(&error))?;
    let interval = service.options.checkpoint_interval;
    let mut checkpoints =
        Checkpoints::new(job.checkpoint_path(), context, identity, &program.schedule, interval);
    let known = match checkpoints.resume(&program.schedule) {
        Ok(None) => Default::default(),
        Ok(Some(checkpoint)) => {
            service.metrics.job_resumed();
            spans::resumed(turn);
            job.reached(checkpoint.next, model.layers.of_op.get(checkpoint.next).copied());
            checkpoint.values
        }
        Err(error) => {
            // Nothing but time is lost.
            tracing::warn!(target: "fhec::serve", job = job.id, "begins afresh: {error}");
            let _ = std::fs::remove_file(job.checkpoint_path());
            Default::default()
        }
    };
    let mut layers = LayerWatch::new(job, model, turn);
    let mut until_end = UntilEnd { checkpoints: &mut checkpoints, ops: model.ops() };
    let answer = session.evaluate_from(image, known, &job.control(), &mut layers, &mut until_end);
    layers.enter(None);
    let answer = match answer {
        Ok(answer) => answer,
        Err(RoleError::Exec(ExecError::Cancelled { .. })) => return Err(Stopped::Left),
        Err(RoleError::Exec(ExecError::DeadlineExceeded { .. })) => return Err(overdue().into()),
        Err(error) => return Err(refused(&error).into()),
    };
    service.metrics.layers(model, layers.seconds());
    let seconds = checkpoints.seconds();
    model.took(seconds);
    let answer = exchange::ciphertexts_to_bytes(context, &answer);
    let receipt = Receipt {
        version: receipt::VERSION,
        model: job.record.model.clone(),
        program: model.program,
        keys: job.record.keys,
        image: job.record.image,
        answer: Digest::of(&answer),
        signature: None,
    };
    let receipt = match &service.receipt_key {
        Some(key) => receipt.signed(key),
        None => receipt,
    };
    time.count();
    match service.jobs.answered(job, &answer, receipt, seconds) {
        Ok(true) => Ok(seconds),
        Ok(false) => Err(Stopped::Left),
        Err(error) => {
            // An answer that has no room now has some later: the job is not lost for that.
            super::errors::of_disk(error);
            Err(Stopped::Left)
        }
    }
}

fn refused(error: &RoleError) -> Problem {
    Problem::new(Code::EvaluationFailed, error.to_string())
}

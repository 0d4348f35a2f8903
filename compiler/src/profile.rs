//! A run op by op: recording it, and the trace file it becomes.
//!
//! The file is in the Trace Event Format of Chrome's tracing, which <https://ui.perfetto.dev> and
//! `chrome://tracing` open: one complete event (`ph` is `X`) per op and image with the prediction
//! in its arguments, and a counter of memory.

use std::path::Path;
use std::time::Instant;

use fhec_ir::plan::Plan;
use fhec_runtime::exec::Observer;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::memory::{peak_rss_bytes, rss_bytes};
use fhec_ir::program::Program;
use fhec_roles::files::{self, Access, FileError};

/// Largest trace file read: 256 MiB, about a million events.
const MAX_TRACE_BYTES: u64 = 256 << 20;

/// An op that has run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OpTime {
    /// Which image, counted from 0 within the recording.
    pub image: usize,
    /// Index of the op in the program.
    pub op: usize,
    /// Seconds from the start of the recording to that of the op.
    pub start: f64,
    /// Seconds it took; 0 if it ran together with the op before, whose time is that of both.
    pub seconds: f64,
    /// Resident memory of the process after it, where the system tells.
    pub rss_bytes: Option<u64>,
    /// Largest resident memory so far.
    pub peak_rss_bytes: Option<u64>,
}

/// Records runs; give [`Recorder::image`] to each of them.
#[derive(Debug)]
pub struct Recorder {
    start: Instant,
    images: usize,
    ops: Vec<OpTime>,
}

impl Default for Recorder {
    fn default() -> Self {
        Recorder { start: Instant::now(), images: 0, ops: Vec::new() }
    }
}

impl Recorder {
    /// The observer of the next image; `progress` is told the number of ops done.
    pub fn image<F: FnMut(usize)>(&mut self, progress: F) -> ImageRecorder<'_, F> {
        self.images += 1;
        ImageRecorder { recorder: self, op_start: 0.0, progress }
    }

    /// What was recorded.
    pub fn finish(self) -> Vec<OpTime> {
        self.ops
    }
}

/// Records one run.
#[derive(Debug)]
pub struct ImageRecorder<'a, F> {
    recorder: &'a mut Recorder,
    op_start: f64,
    progress: F,
}

impl<F: FnMut(usize)> Observer for ImageRecorder<'_, F> {
    fn op_started(&mut self, _index: usize) {
        self.op_start = self.recorder.start.elapsed().as_secs_f64();
    }

    fn op_finished(&mut self, index: usize, seconds: f64) {
        let recorder = &mut *self.recorder;
        recorder.ops.push(OpTime {
            image: recorder.images - 1,
            op: index,
            start: self.op_start,
            seconds,
            rss_bytes: rss_bytes(),
            peak_rss_bytes: peak_rss_bytes(),
        });
        (self.progress)(index + 1);
    }
}

/// Measured seconds of one inference per layer of `plan`, the mean over the recorded images.
pub fn layer_seconds(plan: &Plan, ops: &[OpTime]) -> Vec<f64> {
    let images = ops.iter().map(|op| op.image + 1).max().unwrap_or(1) as f64;
    let mut seconds = vec![0.0; plan.layers.len()];
    for time in ops {
        if let Some(sum) = plan.ops.get(time.op).and_then(|op| seconds.get_mut(op.layer)) {
            *sum += time.seconds / images;
        }
    }
    seconds
}

/// Why a trace cannot be used.
#[derive(Debug, Error)]
#[allow(missing_docs)]
pub enum TraceError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error("{path} is no trace of `fhec run --profile`: {reason}")]
    Malformed { path: String, reason: String },
    #[error("{path} is the trace of another program; record one of this program with `fhec run --profile`")]
    OtherProgram { path: String },
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct TraceFile {
    display_time_unit: String,
    other_data: About,
    trace_events: Vec<Event>,
}

/// Which program a trace is of.
#[derive(Serialize, Deserialize)]
struct About {
    network: String,
    /// Digest of the scheduled program's text.
    program: String,
    threads: usize,
}

/// An event; times are microseconds.
#[derive(Serialize, Deserialize)]
struct Event {
    name: String,
    ph: String,
    pid: u32,
    #[serde(default)]
    tid: usize,
    #[serde(default)]
    ts: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    dur: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cat: Option<String>,
    args: Arguments,
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Arguments {
    Op(OpArguments),
    Memory { resident_bytes: u64, peak_bytes: u64 },
    Name { name: String },
}

#[derive(Serialize, Deserialize)]
struct OpArguments {
    op: usize,
    layer: String,
    level_in: u32,
    level_out: u32,
    ciphertexts: usize,
    predicted_seconds: f64,
    /// Ran together with the op before, whose duration is that of both.
    fused: bool,
}

/// Writes `ops`, a recording of `program`, as a trace.
pub fn write_trace(path: &Path, program: &Program, ops: &[OpTime]) -> Result<(), FileError> {
    let plan = &program.plan;
    let named = |name: &str, tid: usize, value: String| Event {
        name: name.into(),
        ph: "M".into(),
        pid: 1,
        tid,
        ts: 0.0,
        dur: None,
        cat: None,
        args: Arguments::Name { name: value },
    };
    let images = ops.iter().map(|op| op.image + 1).max().unwrap_or(0);
    let mut events = vec![named("process_name", 0, format!("fhec run {}", plan.network))];
    events.extend((0..images).map(|image| named("thread_name", image + 1, format!("image {image}"))));
    for time in ops {
        let row = &plan.ops[time.op];
        let end = (time.start + time.seconds) * 1e6;
        events.push(Event {
            name: row.op.clone(),
            ph: "X".into(),
            pid: 1,
            tid: time.image + 1,
            ts: time.start * 1e6,
            dur: Some(time.seconds * 1e6),
            cat: Some("op".into()),
            args: Arguments::Op(OpArguments {
                op: time.op,
                layer: plan.layers.get(row.layer).map(|layer| layer.name.clone()).unwrap_or_default(),
                level_in: row.level_in,
                level_out: row.level_out,
                ciphertexts: row.ciphertexts,
                predicted_seconds: row.seconds,
                fused: time.seconds == 0.0,
            }),
        });
        if let (Some(resident_bytes), Some(peak_bytes)) = (time.rss_bytes, time.peak_rss_bytes) {
            events.push(Event {
                name: "memory".into(),
                ph: "C".into(),
                pid: 1,
                tid: 0,
                ts: end,
                dur: None,
                cat: None,
                args: Arguments::Memory { resident_bytes, peak_bytes },
            });
        }
    }
    let file = TraceFile {
        display_time_unit: "ms".into(),
        other_data: About {
            network: plan.network.clone(),
            program: program.interface.program.to_string(),
            threads: rayon::current_num_threads(),
        },
        trace_events: events,
    };
    files::write_atomically(path, Access::Ordinary, |out| Ok(serde_json::to_writer(out, &file)?)).map(drop)
}

/// Reads a trace of `program` that [`write_trace`] wrote.
pub fn read_trace(path: &Path, program: &Program) -> Result<Vec<OpTime>, TraceError> {
    let bytes = files::read(path, MAX_TRACE_BYTES)?;
    let name = path.display().to_string();
    let malformed = |reason: String| TraceError::Malformed { path: name.clone(), reason };
    let file: TraceFile = serde_json::from_slice(&bytes).map_err(|error| malformed(error.to_string()))?;
    if file.other_data.program != program.interface.program.to_string() {
        return Err(TraceError::OtherProgram { path: name });
    }
    let mut ops: Vec<OpTime> = Vec::new();
    for event in &file.trace_events {
        match (&event.args, event.dur) {
            (Arguments::Op(args), Some(dur)) if event.ph == "X" => {
                let sound = |time: f64| time.is_finite() && time >= 0.0;
                if args.op >= program.plan.ops.len() || event.tid == 0 || !sound(event.ts) || !sound(dur) {
                    return Err(malformed(format!("an event of op {} makes no sense", args.op)));
                }
                ops.push(OpTime {
                    image: event.tid - 1,
                    op: args.op,
                    start: event.ts / 1e6,
                    seconds: dur / 1e6,
                    rss_bytes: None,
                    peak_rss_bytes: None,
                });
            }
            (&Arguments::Memory { resident_bytes, peak_bytes }, _) => {
                if let Some(last) = ops.last_mut() {
                    last.rss_bytes = Some(resident_bytes);
                    last.peak_rss_bytes = Some(peak_bytes);
                }
            }
            _ => {}
        }
    }
    match ops.is_empty() {
        true => Err(malformed("it has no ops".into())),
        false => Ok(ops),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fhec_ir::plan::{LayerRow, OpRow};

    #[test]
    fn layers_get_the_mean_over_images() {
        let op = |layer| OpRow { layer, ..OpRow::default() };
        let plan = Plan {
            layers: vec![LayerRow::default(), LayerRow::default()],
            ops: vec![op(0), op(1), op(0)],
            ..Plan::default()
        };
        let time = |image, op, seconds| OpTime {
            image,
            op,
            start: 0.0,
            seconds,
            rss_bytes: None,
            peak_rss_bytes: None,
        };
        let times = [
            time(0, 0, 1.0),
            time(0, 1, 2.0),
            time(0, 2, 4.0),
            time(1, 0, 3.0),
            time(1, 1, 2.0),
            time(1, 2, 0.0),
        ];
        assert_eq!(layer_seconds(&plan, &times), [4.0, 2.0]);
    }

    #[test]
    fn a_recorder_tells_images_apart_and_reports_progress() {
        let mut recorder = Recorder::default();
        let mut done = 0;
        for _ in 0..2 {
            let mut image = recorder.image(|ops| done = ops);
            image.op_started(0);
            image.op_finished(0, 0.25);
        }
        let ops = recorder.finish();
        assert_eq!((ops[0].image, ops[1].image, done), (0, 1, 1));
        assert!(ops[1].start >= ops[0].start && ops[0].seconds == 0.25);
    }
}

//! From a network as imported to a scheduled program with its plan: the passes on networks
//! ([`crate::pipeline::nn`]), then the search for parameters ([`crate::search`]).

mod alternatives;
mod attempt;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use fhec_ir::ckks::Ckks;
use fhec_ir::func::Func;
use fhec_ir::nn::Nn;
use fhec_ir::packed::Packed;
use fhec_ir::params::Params;
use fhec_ir::plan::{Agreement, OutputRow, Plan};

use self::attempt::{Attempt, Attempts};
use crate::error::PassError;
use crate::nn::activations::Activations;
use crate::nn::approximate::ReluMethod;
use crate::nn::calibrate::{Range, Source};
use crate::nn::drop_softmax::without_arg_max;
use crate::nn::fit_network::Fitting;
use crate::nn::softmax::{TEMPERATURE, append_softmax};
use crate::options::{CompileOptions, Knowledge, Relu};
use crate::pipeline::{After, NnResult, Snapshot, StageName};
use crate::report::Report;
use crate::search::relu_precision;

/// Programs of more ops than this have no others made beside them, and are simulated on few images:
/// it takes as long as the whole compile.
pub const MANY_OPS: usize = 2_000;

/// What a compile yields.
#[derive(Clone, Debug)]
pub struct Compiled {
    /// The network as it was asked for, with the softmax that the options add to it.
    pub network: Func<Nn>,
    /// The network with its exact activations, simplified: what the program is measured against.
    pub reference: Func<Nn>,
    /// The network of linear ops and polynomials.
    pub nn: Arc<Func<Nn>>,
    /// The same on slot vectors.
    pub packed: Arc<Func<Packed>>,
    /// The scheduled program.
    pub program: Func<Ckks>,
    /// Its parameters.
    pub params: Params,
    /// What was decided and predicted.
    pub plan: Plan,
    /// Fitted polynomials of the activations, if there are any.
    pub activations: Option<Activations>,
    /// Reports of the passes on networks.
    pub reports: Vec<Report>,
}

impl Compiled {
    /// The program as it was at the end of `stage`.
    pub fn at(&self, stage: StageName) -> Snapshot {
        match stage {
            StageName::Nn => Snapshot::Nn(self.nn.clone()),
            StageName::Packed => Snapshot::Packed(self.packed.clone()),
            StageName::Ckks => Snapshot::Ckks(Arc::new(self.program.clone())),
        }
    }
}

/// Compiles `network`. `after` is shown the program after every pass, by the pass's name: of
/// parameters that are searched, the passes of the best ones; where ReLUs become less precise
/// because levels are short, the passes on networks once for each precision; where other fits are
/// taken than those first made, the passes of the search once more.
///
/// # Errors
/// [`PassError::Option`] for options that contradict each other or the network,
/// [`PassError::Params`] if no parameters keep what they ask for, and those of the passes.
pub fn compile(
    network: &Func<Nn>,
    known: &Knowledge<'_>,
    options: &CompileOptions,
    after: &mut After<'_>,
) -> Result<Compiled, PassError> {
    options.check()?;
    let (mut network, mut known) = (without_arg_max(network), known.clone());
    let ranges;
    if options.has_softmax() {
        let [logits, operand] = softmax(&mut network)?;
        if let Source::Table { ranges: given, input } = known.source {
            ranges = with_operand(given, &logits, operand);
            known.source = Source::Table { ranges: &ranges, input };
        }
    }
    let mut nn = options.nn(&known);
    let mut schedule = options.search()?;
    schedule.params.agreement_asked = matches!(options.relu, Relu::Agreement(_));
    let mut lowered_from = None;
    let attempts =
        Attempts { network: &network, source: &known.source, noise: known.noise, options, search: &schedule };
    let attempt = match options.searches_relu_precision(&nn) {
        false => attempts.attempt(&nn, after)?,
        true => {
            let (result, bits) = relu_precision::search(|bits| {
                nn.approximate.relu = ReluMethod::Alpha(bits);
                attempts.attempt(&nn, after)
            })?;
            lowered_from = Some(bits).filter(|&bits| bits < relu_precision::PREFERRED);
            result
        }
    };
    let (attempt, fits) = match nn.fit.fitting {
        Fitting::Agreement(target) => alternatives::best_of(&attempts, attempt, target, after)?,
        _ => (attempt, Vec::new()),
    };
    let expected = fits.iter().find(|row| row.chosen).map(|row| row.agreement);
    let Attempt { result, judgement, scheduled, note } = attempt;
    let NnResult { reference, func, ranges, activations, reports, .. } = result;
    let security = options.security().bits();
    let start = Instant::now();
    let mut plan = crate::plan::plan(&scheduled, &network, security, &options.costs, ranges, &reports)?;
    tracing::debug!(step = "plan", seconds = start.elapsed().as_secs_f64(), "plan made");
    plan.agreement = activations.as_ref().map(|fitted| Agreement { expected, ..fitted.agreement() });
    plan.fits = fits;
    plan.outputs = judgement.rows();
    let poor: Vec<String> = plan.outputs.iter().filter(|row| row.is_poor()).map(poor).collect();
    plan.notes.extend(note.into_iter().chain(poor));
    if let Some(bits) = lowered_from {
        let preferred = relu_precision::PREFERRED;
        plan.notes.push(format!(
            "ReLU has {bits} bits of precision instead of {preferred}: more levels do not fit"
        ));
    }
    if matches!(known.source, Source::Intervals(_)) && !matches!(nn.fit.fitting, Fitting::Known(_)) {
        plan.notes.push(not_measured(&plan));
    }
    let (packed, program, params) = (scheduled.packed, scheduled.program, scheduled.params);
    Ok(Compiled {
        network,
        reference,
        nn: Arc::new(func),
        packed,
        program,
        params,
        plan,
        activations,
        reports,
    })
}

/// That an output is far from that of the plain network.
fn poor(row: &OutputRow) -> String {
    format!(
        "output `{}` is far from that of the plain network: {} of signal to error on {} sample images that nothing was fitted to; more \
         --calibration inputs, or more levels per activation (--relu-depth), make it better",
        row.name,
        row.in_words(),
        row.judged_images
    )
}

/// Ends the network with a softmax: the names of its logits and of the softmax's operand.
fn softmax(network: &mut Func<Nn>) -> Result<[String; 2], PassError> {
    let (logits, operand) =
        append_softmax(network).map_err(|reason| PassError::Option { option: "encrypt-softmax", reason })?;
    Ok([logits, operand])
}

/// The range of a softmax's operand follows from that of the logits.
fn with_operand(given: &BTreeMap<String, Range>, logits: &str, operand: String) -> BTreeMap<String, Range> {
    let mut ranges = given.clone();
    if let Some(&Range { min, max }) = given.get(logits) {
        ranges.insert(operand, Range::new(min / TEMPERATURE, max / TEMPERATURE));
    }
    ranges
}

/// That nobody knows which values occur.
fn not_measured(plan: &Plan) -> String {
    // Only what is approximated has a row.
    let cost = match plan.ranges.is_empty() {
        true => "which costs precision",
        false => "so activations are approximated on much larger domains than needed",
    };
    format!(
        "no sample images: ranges are by interval arithmetic, sound but wide, {cost}; give some by --calibration FILE, a few hundred are \
         enough"
    )
}

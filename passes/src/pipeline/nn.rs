//! The passes on networks.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use fhec_ir::{
    entity::Value,
    fact::{STORED_ORDERS, STORED_VALUES},
    func::{Func, OpData, StageOp},
    layer_values::{StoredOrder, StoredValue},
    nn::Nn,
    plan::RangeRow,
    verify::verify,
};

use crate::{
    approximation::least_squares::Form,
    error::PassError,
    lower_nn::check_lowerable,
    nn::{
        activations::Activations,
        approximate::{self, ReluMethod},
        calibrate,
        choose_degrees::degree_at,
        collect_polynomials::collect_polynomials,
        drop_idle_clips::{drop_idle_clips, saturates},
        drop_softmax::drop_softmax,
        equalize_channels::ChannelFactors,
        expand_max_pools::expand_max_pools,
        fit_network::{self, Fitted, Fitting, Outcome, Prepared, fit_network},
        move_transposes::move_transposes,
        normalize_ranges::normalize_ranges,
        scaling::{Scaling, activation_bound, is_activation, scaling},
        simplify,
        split_phases::split_phases,
    },
    report::Report,
};

use super::runner::{After, Runner};

/// Options of [`run_nn`].
#[derive(Clone, Debug, Default)]
pub struct NnOptions {
    /// Of `simplify`.
    pub simplify: simplify::Options,
    /// Of `calibrate`.
    pub calibrate: calibrate::Options,
    /// Of the fits of ReLUs, which are off by default. Where they are not, they take the place of
    /// [`approximate::Options::relu`]; a depth without sample images means the minimax polynomial
    /// of that depth.
    pub fit: fit_network::Options,
    /// Of `approximate`.
    pub approximate: approximate::Options,
    /// Evaluate a final softmax under encryption instead of leaving it to the client.
    pub encrypt_softmax: bool,
    /// Run the verifier after each pass in release builds too.
    pub verify_each: bool,
}

/// What the passes on the nn stage leave.
#[derive(Clone, Debug)]
pub struct NnResult {
    /// The network with its activations still in place, after folding: what the compiled program is
    /// measured against.
    pub reference: Func<Nn>,
    /// Linear ops and polynomials on stored values; `meta output_factor` is what outputs are
    /// multiplied with, `meta stored_values` says how named values are stored.
    pub func: Func<Nn>,
    /// Input range of each activation.
    pub ranges: Vec<RangeRow>,
    /// Fitted polynomials, if there are any.
    pub activations: Option<Activations>,
    /// What else `func` and its polynomials may be: finer and coarser.
    pub others: Vec<Alternative>,
    /// One per pass, in order.
    pub reports: Vec<Report>,
}

/// A network with other fits.
#[derive(Clone, Debug)]
pub struct Alternative {
    /// As [`NnResult::func`].
    pub func: Func<Nn>,
    /// Its polynomials.
    pub activations: Activations,
}

/// Takes a network as imported to one that `lower` understands.
///
/// `after` is shown the function after each pass, by the pass's name. What can never be lowered is
/// refused once the network is simplified, before it is run on anything.
///
/// # Errors
/// Those of the passes; [`PassError::Verify`] if one broke the program, or if `func` was malformed.
pub fn run_nn<'a>(
    func: &Func<Nn>,
    source: &calibrate::Source<'_>,
    options: &NnOptions,
    after: &'a mut After<'a>,
) -> Result<NnResult, PassError> {
    let mut runner = Runner::new(options.verify_each, after);
    let reference = folded(func, options, &mut runner)?;

    let saturating = matches!(source, calibrate::Source::Images(_)) && saturates(&reference);
    let func = if saturating {
        let ranges =
            runner.analysis(&reference, |func| calibrate::calibrate(func, source, &options.calibrate))?;
        runner.pass(&reference, |func| drop_idle_clips(func, &ranges))?
    } else {
        reference.clone()
    };

    let start = Instant::now();
    let prepared = fit_network(&func, source, &options.calibrate, &options.fit)?;
    let mut approximation = options.approximate.clone();
    let mut others = Vec::new();
    let (exact, ranges, factors, channels, activations) = match prepared {
        Outcome::Fitted(prepared) => {
            let Prepared { func, ranges, factors, channels, fitted, others: more, reports } = *prepared;
            runner.together(reports, start, &func);
            approximation.relu = ReluMethod::Fitted { fits: fitted.fits, otherwise: WITHOUT_FIT };
            others = more;
            (Arc::new(func), ranges, factors, channels, Some(fitted.activations))
        }
        unfitted => {
            if let Outcome::GivenUp(report) = unfitted {
                runner.together(vec![report], start, &func);
            } else if let Fitting::Depth(depth) = options.fit.fitting {
                approximation.relu = ReluMethod::Even(even_degree(depth)?);
            }
            let ranges =
                runner.analysis(&func, |func| calibrate::calibrate(func, source, &options.calibrate))?;
            let factors = scaling(&func, &ranges, &[]);
            let channels = vec![Vec::new(); func.value_count()];
            (func, ranges, factors, channels, None)
        }
    };

    let ready = Ready { exact: &exact, ranges: &ranges, factors: &factors, channels: &channels };
    let func = ready.approximated(&approximation, &mut runner)?;
    let other = |fitted: Fitted| {
        let relu = ReluMethod::Fitted { fits: fitted.fits, otherwise: WITHOUT_FIT };
        let approximation = approximate::Options { relu, ..options.approximate.clone() };
        let mut unseen = |_: &'static str, _| ();
        let mut runner = Runner::new(options.verify_each, &mut unseen);
        let func = ready.approximated(&approximation, &mut runner)?;
        Ok(Alternative { func, activations: fitted.activations })
    };
    let others = others.into_iter().map(other).collect::<Result<Vec<_>, PassError>>()?;
    let ranges = range_rows(&exact, &ranges, &approximation.relu, source);
    let reference = Arc::unwrap_or_clone(reference);
    Ok(NnResult { reference, func, ranges, activations, others, reports: runner.finish() })
}

/// A network whose activations may become polynomials.
struct Ready<'a> {
    exact: &'a Arc<Func<Nn>>,
    ranges: &'a calibrate::Ranges,
    factors: &'a Scaling,
    channels: &'a ChannelFactors,
}

impl Ready<'_> {
    /// The network of linear ops and polynomials on stored values.
    fn approximated(
        &self,
        approximation: &approximate::Options,
        runner: &mut Runner<'_>,
    ) -> Result<Func<Nn>, PassError> {
        let mut factors = self.factors.clone();
        let func = runner.pass(self.exact, |func| {
            let (passed, scaling) = approximate::approximate(func, self.ranges, self.factors, approximation)?;
            factors = scaling;
            Ok(passed)
        })?;
        let orders: Vec<StoredOrder> = func.fact(STORED_ORDERS).unwrap_or_default().unwrap_or_default();
        let stored = stored_values(&func, &factors, self.exact, self.channels, &orders);
        let mut func = Arc::unwrap_or_clone(runner.pass(&func, |func| normalize_ranges(func, &factors))?);
        func.set_fact(STORED_VALUES, &stored);
        func.remove_fact(STORED_ORDERS);
        Ok(func)
    }
}

/// The network with its activations still in place, folded as far as it goes: what a look at a
/// network needs, without anything being run.
///
/// # Errors
/// As [`run_nn`].
pub fn fold_nn(func: &Func<Nn>, options: &NnOptions) -> Result<Arc<Func<Nn>>, PassError> {
    let mut after = |_: &'static str, _| ();
    folded(func, options, &mut Runner::new(options.verify_each, &mut after))
}

fn folded(func: &Func<Nn>, options: &NnOptions, runner: &mut Runner<'_>) -> Result<Arc<Func<Nn>>, PassError> {
    verify(func).map_err(|errors| PassError::Verify { pass: "input", errors })?;
    let dropped = match options.encrypt_softmax {
        true => Arc::new(func.clone()),
        false => runner.pass(func, |func| Ok(drop_softmax(func)))?,
    };
    let moved = runner.pass(&dropped, move_transposes)?;
    let func = runner.pass(&moved, collect_polynomials)?;
    let func = runner.pass(&func, expand_max_pools)?;
    let simplified = runner.pass(&func, |func| simplify::simplify(func, &options.simplify))?;
    let folded = runner.pass(&simplified, split_phases)?;
    // Calibration and fits take minutes: what cannot be lowered is said before.
    check_lowerable(&folded)?;
    Ok(folded)
}

/// Degree of ReLUs that cannot be fitted: those of tensors without channels.
const WITHOUT_FIT: usize = 126;

/// The largest even degree at `depth`.
fn even_degree(depth: u32) -> Result<usize, PassError> {
    match depth {
        2..=9 => Ok(degree_at(depth, Form::EvenAndLinear)),
        _ => Err(PassError::Option { option: "relu-depth", reason: format!("{depth} is not from 2 to 9") }),
    }
}

/// How values with a name are stored: divided by the factors of `func`, and by those that channels
/// of `exact` were divided by before, in the order that `orders` says.
fn stored_values(
    func: &Func<Nn>,
    factors: &Scaling,
    exact: &Func<Nn>,
    channels: &ChannelFactors,
    orders: &[StoredOrder],
) -> Vec<StoredValue> {
    let named = |func: &Func<Nn>| -> Vec<(String, Value)> {
        let named = |data: &OpData<Nn>| Some((func.value_name(data.result)?.to_string(), data.result));
        func.ops().iter().filter_map(named).collect()
    };
    let exact: BTreeMap<String, Value> = named(exact).into_iter().collect();
    let stored = |(name, value): (String, Value)| {
        let channels = exact.get(&name).map_or(&[][..], |value| &channels[value.index()]);
        let channels = channels.iter().map(|&factor| f64::from(factor)).collect();
        let order = orders.iter().find(|order| order.name == name);
        let permutation = order.map(|order| order.permutation.clone());
        StoredValue { name, factor: factors.factor(value), channels, permutation }
    };
    named(func).into_iter().map(stored).collect()
}

/// What each activation's polynomial is made for.
fn range_rows(
    func: &Func<Nn>,
    ranges: &calibrate::Ranges,
    relu: &ReluMethod,
    source: &calibrate::Source<'_>,
) -> Vec<RangeRow> {
    let fitted = |value: Value| matches!(relu, ReluMethod::Fitted { fits, .. } if fits.contains_key(&value));
    let source = match source {
        calibrate::Source::Images(images) => format!("{} images", images.len()),
        calibrate::Source::Table { .. } => "file".to_string(),
        calibrate::Source::Intervals(_) => "interval arithmetic".to_string(),
    };
    let activations = func.ops().iter().filter(|data| is_activation(&data.op));
    let row = |data: &OpData<Nn>| {
        let x = data.op.operands()[0];
        let range = ranges.range(x);
        RangeRow {
            value: func.value_name(x).map_or_else(|| x.to_string(), str::to_string),
            min: range.min,
            max: range.max,
            bound: activation_bound(&data.op, x, ranges, fitted(data.result)),
            source: source.clone(),
            activation: data.op.mnemonic().to_string(),
        }
    };
    activations.map(row).collect()
}

//! `passes/src/nn`: on networks.
//!
//! Directives of these passes:
//!
//! | directive | meaning |
//! |---|---|
//! | `images: N` | ranges come from N random inputs in [-1, 1) (the default is 16) |
//! | `intervals: LOW HIGH` | ranges come from interval arithmetic |
//! | `margin: M` | of `calibrate`; the default here is 1 |
//! | `degrees: A B ..` | of `fit-activations`, one per activation; the result is the network with the fits in place |
//! | `least: F` | of `equalize-channels`: the smallest factor (default 1/16) |
//! | `relu: alpha A`, `relu: degrees A B ..`, `relu: even N`, `relu: shallowest A`, `smooth: error E`, `smooth: degree N` | of `approximate` |
//! | `tolerance: T` | largest difference of results, relative to the largest result (default 1e-5) |

use std::str::FromStr;

use fhec_ir::entity::Value;
use fhec_ir::fact::{INPUT_FACTORS, OUTPUT_ENDINGS, OUTPUT_FACTOR};
use fhec_ir::func::Func;
use fhec_ir::interp;
use fhec_ir::nn::Nn;
use fhec_ir::program::{Ending, Lists};
use fhec_ir::tensor::Tensor;
use fhec_passes::nn::approximate::{self, ReluMethod, SmoothMethod, approximate};
use fhec_passes::nn::calibrate::{self, Range, Ranges, Source, calibrate};
use fhec_passes::nn::collect_polynomials::collect_polynomials;
use fhec_passes::nn::drop_softmax::drop_softmax;
use fhec_passes::nn::equalize_channels::{Tail, channel_bounds, channel_factors, equalize_channels};
use fhec_passes::nn::fit_activations::{self, fit_activations, fitted_activations};
use fhec_passes::nn::move_transposes::move_transposes;
use fhec_passes::nn::normalize_ranges::{normalize_ranges, stored_inputs};
use fhec_passes::nn::scaling::{Scaling, scaling};
use fhec_passes::nn::simplify::{self, simplify};
use fhec_passes::report::{Passed, Report};

use crate::random::Random;
use crate::runner::{Case, Failure, Outcome};

pub(super) fn softmax_dropped(case: &Case) -> Result<Outcome, Failure> {
    let before = case.program()?;
    let after = drop_softmax(&before);
    let endings = after.func.fact(OUTPUT_ENDINGS).map_err(|error| Failure::Broken(format!("{error:?}")))?;
    let endings = endings.unwrap_or_else(|| vec![Ending::Nothing; before.outputs().len()]);
    let pairs = results(&before, &after.func)?;
    for ([old, new], ending) in pairs.iter().zip(endings.iter().cycle()) {
        let numbers = |tensor: &Tensor| tensor.data().iter().map(|&x| f64::from(x)).collect::<Vec<f64>>();
        let (old, finished) = (numbers(old), ending.finish(&numbers(new)));
        // Where each place named a class, so does the largest number of its list.
        if let (Ending::Softmax(Lists::Along(classes), _) | Ending::ArgMax(Lists::Along(classes)), true) =
            (ending, old.len() < finished.len())
        {
            let named = (0..classes.stride).map(|place| {
                let list: Vec<f64> = finished[place..].iter().step_by(classes.stride).copied().collect();
                (0..list.len()).fold(0, |best, i| if list[i] > list[best] { i } else { best }) as f64
            });
            if finished.len() != classes.length * classes.stride || !named.eq(old.iter().copied()) {
                return Err(Failure::Broken("the largest number of a place moved".into()));
            }
            continue;
        }
        // What named a class is what the class is largest of.
        if let ([class], [_, _, ..]) = (&old[..], &finished[..]) {
            if *class as usize != largest(new) {
                return Err(Failure::Broken("the largest output moved".into()));
            }
            continue;
        }
        let close = |(old, new): (&f64, &f64)| (old - new).abs() <= 1e-5 * old.abs().max(1.0);
        if old.len() != finished.len() || !old.iter().zip(&finished).all(close) {
            return Err(Failure::Broken(format!("{finished:?} is left to the client, it was {old:?}")));
        }
    }
    outcome(&after)
}

pub(super) fn moved(case: &Case) -> Result<Outcome, Failure> {
    let before = case.program()?;
    let after = move_transposes(&before).map_err(Failure::refused)?;
    compared(case, &before, &after)
}

pub(super) fn collected(case: &Case) -> Result<Outcome, Failure> {
    let before = case.program()?;
    let after = collect_polynomials(&before).map_err(Failure::refused)?;
    compared(case, &before, &after)
}

pub(super) fn simplified(case: &Case) -> Result<Outcome, Failure> {
    let before = case.program()?;
    let after = simplify(&before, &simplify::Options::default()).map_err(Failure::refused)?;
    if let Some(note) = after.report.notes.iter().find(|note| note.starts_with("stopped before")) {
        return Err(Failure::Broken(format!("rules must run out in small programs: {note}")));
    }
    compared(case, &before, &after)
}

/// The result is a range per value, which is noted, too.
pub(super) fn calibrated(case: &Case) -> Result<Outcome, Failure> {
    let func = case.program()?;
    let (ranges, report) = ranges(case, &func)?;
    let values = (0..func.value_count()).map(Value::new);
    let line = |value: Value| {
        let Range { min, max } = ranges.range(value);
        format!("{value} in [{min}, {max}], bound {}", ranges.bound(value))
    };
    let lines: Vec<String> = values.map(line).collect();
    let mut outcome = Outcome::text(lines.clone());
    outcome.notes = [report.notes, lines].concat();
    Ok(outcome)
}

pub(super) fn equalized(case: &Case) -> Result<Outcome, Failure> {
    let before = case.program()?;
    let bounds =
        channel_bounds(&before, &images(case, &before)?, Tail::default()).map_err(Failure::refused)?;
    let factors = channel_factors(&before, &bounds, case.number("least")?.unwrap_or(1.0 / 16.0));
    let after = equalize_channels(&before, &factors).map_err(Failure::refused)?;
    compared(case, &before, &after)
}

pub(super) fn fitted(case: &Case) -> Result<Outcome, Failure> {
    let before = case.program()?;
    let degrees: Vec<usize> = numbers("degrees", case.one("degrees").unwrap_or_default())?;
    let (ranges, _) = ranges(case, &before)?;
    let factors = scaling(&before, &ranges, &fitted_activations(&before));
    let options = fit_activations::Options::default();
    let fits = fit_activations(&before, &images(case, &before)?, &factors, &degrees, &options);
    let relu = ReluMethod::Fitted { fits: fits.map_err(Failure::refused)?, otherwise: 126 };
    let options = approximate::Options { relu, ..approximate::Options::default() };
    let (after, _) = approximate(&before, &ranges, &factors, &options).map_err(Failure::refused)?;
    compared(case, &before, &after)
}

pub(super) fn approximated(case: &Case) -> Result<Outcome, Failure> {
    let before = case.program()?;
    let (after, _) = with_polynomials(case, &before)?;
    compared(case, &before, &after)
}

/// With activations: what they become, on stored values.
pub(super) fn normalized(case: &Case) -> Result<Outcome, Failure> {
    let before = case.program()?;
    let (approximated, scaling) = with_polynomials(case, &before)?;
    let after = normalize_ranges(&approximated.func, &scaling).map_err(Failure::refused)?;
    compared(case, &before, &after)
}

/// Numbers in a directive, between spaces.
fn numbers<T: FromStr>(key: &str, text: &str) -> Result<Vec<T>, Failure> {
    let number = |word: &str| {
        word.parse().map_err(|_| Failure::Broken(format!("`{key}: {text}`: `{word}` is no number")))
    };
    text.split_whitespace().map(number).collect()
}

fn ranges(case: &Case, func: &Func<Nn>) -> Result<(Ranges, Report), Failure> {
    let margin = case.number("margin")?.unwrap_or(1.0);
    let options = calibrate::Options { margin, ..calibrate::Options::default() };
    let found = match case.one("intervals") {
        Some(ends) => {
            let [low, high] = numbers::<f64>("intervals", ends)?[..] else {
                return Err(Failure::Broken("expected `intervals: LOW HIGH`".into()));
            };
            calibrate(func, &Source::Intervals(Range::new(low, high)), &options)
        }
        None => calibrate(func, &Source::Images(&images(case, func)?), &options),
    };
    found.map_err(Failure::refused)
}

fn images(case: &Case, func: &Func<Nn>) -> Result<Vec<Vec<Tensor>>, Failure> {
    let mut random = Random::new(1);
    let count: usize = case.number("images")?.unwrap_or(16);
    Ok((0..count).map(|_| inputs(&mut random, func)).collect())
}

fn inputs(random: &mut Random, func: &Func<Nn>) -> Vec<Tensor> {
    let tensor = |&input| Tensor::from_fn(func.ty(input).shape.as_slice(), |_| random.single());
    func.inputs().iter().map(tensor).collect()
}

fn with_polynomials(case: &Case, func: &Func<Nn>) -> Result<(Passed<Nn>, Scaling), Failure> {
    let mut options = approximate::Options::default();
    if let Some(text) = case.one("relu") {
        let (method, rest) = text.split_once(' ').unwrap_or((text, ""));
        let one = || numbers::<f64>("relu", rest).map(|all| all.first().copied().unwrap_or(f64::NAN));
        options.relu = match method {
            "alpha" => ReluMethod::Alpha(one()?),
            "shallowest" => ReluMethod::Shallowest(one()?),
            "even" => ReluMethod::Even(one()? as usize),
            "degrees" => ReluMethod::Degrees(numbers("relu", rest)?),
            other => return Err(Failure::Broken(format!("there is no method `{other}`"))),
        };
    }
    if let Some(text) = case.one("smooth") {
        options.smooth = match text.split_once(' ') {
            Some(("error", error)) => SmoothMethod::Error(numbers("smooth", error)?[0]),
            Some(("degree", degree)) => SmoothMethod::Degree(numbers("smooth", degree)?[0]),
            _ => return Err(Failure::Broken(format!("there is no method `{text}`"))),
        };
    }
    let (ranges, _) = ranges(case, func)?;
    approximate(func, &ranges, &scaling(func, &ranges, &[]), &options).map_err(Failure::refused)
}

fn outcome(after: &Passed<Nn>) -> Result<Outcome, Failure> {
    let mut outcome = Outcome::of(&after.func)?;
    outcome.notes = after.report.notes.clone();
    Ok(outcome)
}

/// The outcome `after`, which computes what `before` does: outputs are multiplied with their
/// factor.
fn compared(case: &Case, before: &Func<Nn>, after: &Passed<Nn>) -> Result<Outcome, Failure> {
    let outcome = outcome(after)?;
    let factor = match after.func.has_fact(OUTPUT_FACTOR) {
        true => after.func.fact(OUTPUT_FACTOR).map_err(|error| Failure::Broken(format!("{error:?}")))?,
        false => 1.0,
    };
    let tolerance = case.number("tolerance")?.unwrap_or(1e-5);
    for [old, new] in results(before, &after.func)? {
        let scale = old.data().iter().fold(0.0f64, |m, v| m.max(f64::from(v.abs())));
        let differences =
            old.data().iter().zip(new.data()).map(|(a, b)| (f64::from(*a) - f64::from(*b) * factor).abs());
        let difference = differences.fold(0.0, |m, d| if d.is_nan() { f64::INFINITY } else { d.max(m) });
        if old.shape() != new.shape() || difference > tolerance * scale {
            return Err(Failure::Broken(format!(
                "results differ by {difference:e}, the largest is {scale:e}\n{}",
                outcome.printed
            )));
        }
    }
    Ok(outcome)
}

/// Outputs of both on the inputs that ranges were measured on: beyond them nothing is promised.
fn results(before: &Func<Nn>, after: &Func<Nn>) -> Result<Vec<[Tensor; 2]>, Failure> {
    let mut random = Random::new(1);
    let mut pairs = Vec::new();
    for _ in 0..4 {
        let inputs = inputs(&mut random, before);
        let run = |func, inputs: &[Tensor]| {
            interp::nn::run(func, inputs).map_err(|e| Failure::Broken(e.to_string()))
        };
        let stored = match after.has_fact(INPUT_FACTORS) {
            true => stored_inputs(after, &inputs).map_err(|error| Failure::Broken(format!("{error:?}")))?,
            false => inputs.clone(),
        };
        let both = run(before, &inputs)?.into_iter().zip(run(after, &stored)?);
        pairs.extend(both.map(|(old, new)| [old, new]));
    }
    Ok(pairs)
}

fn largest(tensor: &Tensor) -> usize {
    let data = tensor.data();
    (0..data.len()).max_by(|&i, &j| data[i].total_cmp(&data[j])).unwrap_or(0)
}

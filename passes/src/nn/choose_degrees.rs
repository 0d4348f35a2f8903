//! The degrees of fitted activations that cost least for the agreement asked for.
//!
//! Depth is what counts: a level less per activation is worth more than any number of products. So
//! first the least depth is found at which polynomials of one degree for all activations agree
//! often enough with the exact network, from a first one on by as many levels as its error says;
//! then, from the first activation to the last, each one's depth is lowered as long as the
//! agreement holds. Every candidate is fitted anew from the lowered activation on, and judged on
//! images that nothing is fitted to. In networks of more than [`STRETCHES`] activations neighbours
//! are lowered together: as many candidates then, each longer, so that the time grows with the
//! depth and not with its square.

use std::collections::BTreeMap;

use fhec_ir::{func::Func, nn::Nn, tensor::Tensor};

use super::{
    agreement::Agreement,
    fit_activations::{Fits, Options, Walk, fitted_activations},
    scaling::Scaling,
};
use crate::{approximation::least_squares::Form, error::PassError};

/// Depths that are tried.
pub const DEPTHS: std::ops::RangeInclusive<u32> = 3..=8;

/// The depth that is tried first: from there on it can be told how many more are needed.
const FIRST_DEPTH: u32 = 5;

/// By what a level more divides the changes to expect: 2.1 to 2.8 in those of docs/coverage.md.
const PER_LEVEL: f64 = 2.4;

/// Stretches of neighbouring activations that are lowered one after the other.
pub const STRETCHES: usize = 10;

/// Fits and how they were judged.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    /// Depth per activation, in the order of [`fitted_activations`].
    pub depths: Vec<u32>,
    /// The polynomials.
    pub fits: Fits,
    /// On the judged images.
    pub agreement: Agreement,
}

/// The largest degree of `form` at `depth`: `ceil(log2(degree + 1))` levels.
pub fn degree_at(depth: u32, form: Form) -> usize {
    match form {
        Form::Full => (1 << depth) - 1,
        Form::EvenAndLinear => (1 << depth) - 2,
    }
}

/// Fits polynomials of one depth (2 to 9) to all activations.
pub fn uniform_depth(
    func: &Func<Nn>,
    images: &[Vec<Tensor>],
    judged: &[Vec<Tensor>],
    scaling: &Scaling,
    depth: u32,
    options: &Options,
) -> Result<Choice, PassError> {
    if !(2..=9).contains(&depth) {
        return Err(PassError::Option {
            option: "relu-depth",
            reason: format!("{depth} is not from 2 to 9"),
        });
    }
    let walk = Walk::new(func, images, judged, scaling, options)?;
    let depths = vec![depth; walk.left()];
    finish(walk, depths, options)
}

/// The cheapest choice whose agreement, on the judged images and as expected on others, is at least
/// `target` (0 to 1) with no image diverged; if none is, the one with the fewest changes of class
/// to expect, and of several the one with the least differences.
///
/// # Errors
/// [`PassError::LeavesDomain`] if values leave their domains at every degree.
pub fn choose_degrees(
    func: &Func<Nn>,
    images: &[Vec<Tensor>],
    judged: &[Vec<Tensor>],
    scaling: &Scaling,
    target: f64,
    options: &Options,
) -> Result<Choice, PassError> {
    if !(0.0..=1.0).contains(&target) {
        let reason = format!("{} % is not between 0 and 100", target * 100.0);
        return Err(PassError::Option { option: "agreement", reason });
    }
    if judged.is_empty() {
        let reason = "there is no image to judge by".to_string();
        return Err(PassError::Option { option: "calibration", reason });
    }
    let reached = |agreement: &Agreement| agreement.reaches(target);
    let mut walk = Walk::new(func, images, judged, scaling, options)?;
    let count = fitted_activations(func).len();
    let mut tried: BTreeMap<u32, Result<Choice, PassError>> = BTreeMap::new();
    let mut depth = FIRST_DEPTH;
    loop {
        let choice = match finish(walk.clone(), vec![depth; count], options) {
            // So coarse that values leave their domains.
            error @ Err(PassError::LeavesDomain { .. }) => error,
            other => Ok(other?),
        };
        let agreement = choice.as_ref().ok().map(|choice| choice.agreement);
        tracing::debug!(depth, ?agreement, "fits of one depth");
        let enough = agreement.as_ref().is_some_and(reached);
        tried.insert(depth, choice);
        let next = if enough { depth - 1 } else { depth + steps(agreement, target) };
        depth = next.clamp(*DEPTHS.start(), *DEPTHS.end());
        // What is enough has been found from both sides, or there is nothing beyond.
        if tried.contains_key(&depth) {
            break;
        }
    }
    let is_enough = |choice: &&Choice| reached(&choice.agreement);
    let least = tried.values().flatten().find(is_enough);
    // Where no depth agrees, more precise is better all the same.
    let faults = |choice: &&Choice| (choice.agreement.expected_changes, choice.agreement.mean_difference);
    let order = |a: &(f64, f64), b: &(f64, f64)| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1));
    let best = least.or_else(|| tried.values().flatten().min_by(|a, b| order(&faults(a), &faults(b))));
    let Some(mut best) = best.cloned() else {
        let last = tried.into_values().filter_map(Result::err).next_back();
        return Err(last.expect("a depth was tried"));
    };
    if !reached(&best.agreement) {
        return Ok(best);
    }
    let stretch = count.div_ceil(STRETCHES).max(1);
    for first in (0..count).step_by(stretch) {
        let stretch = first..(first + stretch).min(count);
        // All of a stretch have one depth.
        while best.depths[first] > *DEPTHS.start() {
            let mut depths = best.depths.clone();
            depths[stretch.clone()].iter_mut().for_each(|depth| *depth -= 1);
            match finish(walk.clone(), depths, options) {
                Ok(lower) if reached(&lower.agreement) => best = lower,
                Ok(_) | Err(PassError::LeavesDomain { .. }) => break,
                Err(error) => return Err(error),
            }
        }
        tracing::debug!(first, depth = best.depths[first], agreement = ?best.agreement, "depth lowered");
        for index in stretch {
            walk.fit_next(degree_at(best.depths[index], options.form))?;
        }
    }
    Ok(best)
}

/// How many levels more are likely to be enough, where `agreement` is not: a level takes a factor
/// of [`PER_LEVEL`] from the changes to expect.
fn steps(agreement: Option<Agreement>, target: f64) -> u32 {
    let Some(agreement) = agreement.filter(|agreement| agreement.diverged == 0) else { return 1 };
    let ratio = agreement.expected_changes / (1.0 - target);
    let steps = (ratio.ln() / PER_LEVEL.ln()).ceil();
    if steps.is_finite() { steps.clamp(1.0, 8.0) as u32 } else { 1 }
}

/// Fits what is left of `depths` and judges the whole.
fn finish(mut walk: Walk<'_>, depths: Vec<u32>, options: &Options) -> Result<Choice, PassError> {
    for &depth in &depths[depths.len() - walk.left()..] {
        walk.fit_next(degree_at(depth, options.form))?;
    }
    let (fits, agreement) = walk.finish();
    Ok(Choice { depths, fits, agreement })
}

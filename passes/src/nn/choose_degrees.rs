//! The degrees of fitted activations that cost least for the agreement asked for.
//!
//! Depth is what counts: a level less per activation is worth more than any number of products. So
//! first the least depth is found at which polynomials of one depth for all activations agree often
//! enough with the exact network. Then the depths of those that count least are lowered, in the
//! order that [`DepthErrors`] says, as far as the agreement holds. Every candidate is fitted anew
//! from the first activation on, and judged on images that nothing is fitted to.

use std::collections::BTreeMap;

use fhec_ir::{func::Func, nn::Nn, tensor::Tensor};

use super::{
    agreement::Agreement,
    depth_errors::{DepthErrors, raised},
    fit_activations::{Fits, Options, Walk},
    scaling::Scaling,
};
use crate::{approximation::least_squares::Form, error::PassError};

/// Depths that are tried.
pub const DEPTHS: std::ops::RangeInclusive<u32> = 3..=9;

/// The depth that is tried first: from there on it can be told how many more are needed.
const FIRST_DEPTH: u32 = 5;

/// Images that the errors of single activations are measured with: there are many elements, and
/// only the order counts.
const PROBED: usize = 16;

/// How often depths that differ are tried.
const ATTEMPTS: usize = 6;

/// What the changes to expect may be multiplied with where no depth is enough, for what lower
/// depths save.
const ADMITTED: f64 = 1.25;

/// Fits and how they were judged.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    /// Depth per activation, in the order of
    /// [`fitted_activations`](super::fit_activations::fitted_activations).
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
    finish(walk, depths)
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
    let start = Walk::new(func, images, judged, scaling, options)?;
    let count = start.left();
    let probed = &images[..images.len().min(PROBED)];
    let errors = DepthErrors::measure(Walk::new(func, probed, &[], scaling, options)?)?;
    // Changes to expect grow with what outputs move by.
    let moved = |depths: &[u32]| errors.together(depths).sqrt();
    let mut tried: BTreeMap<u32, Result<Choice, PassError>> = BTreeMap::new();
    let mut depth = FIRST_DEPTH;
    loop {
        let choice = match finish(start.clone(), vec![depth; count]) {
            // So coarse that values leave their domains.
            error @ Err(PassError::LeavesDomain { .. }) => error,
            other => Ok(other?),
        };
        let agreement = choice.as_ref().ok().map(|choice| choice.agreement);
        tracing::debug!(depth, ?agreement, "fits of one depth");
        let next = match agreement.filter(|agreement| agreement.diverged == 0) {
            Some(agreement) if reached(&agreement) => depth - 1,
            Some(agreement) => {
                let wanted = moved(&vec![depth; count]) * (1.0 - target) / agreement.expected_changes;
                let enough = |deeper: &u32| moved(&vec![*deeper; count]) <= wanted;
                (depth + 1..*DEPTHS.end()).find(enough).unwrap_or(*DEPTHS.end())
            }
            None => depth + 1,
        };
        tried.insert(depth, choice);
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
    let Some(best) = best.cloned() else {
        let last = tried.into_values().filter_map(Result::err).next_back();
        return Err(last.expect("a depth was tried"));
    };
    let deepest = best.depths.first().copied().unwrap_or(*DEPTHS.start());
    lower(&start, best, &errors, &errors.raises(deepest), target)
}

/// Lowers the depths of `best`, which are all as deep as all `raises` make them, as far as the
/// agreement stays what is asked for, or almost what it is if that is less.
fn lower(
    start: &Walk<'_>,
    mut best: Choice,
    errors: &DepthErrors,
    raises: &[usize],
    target: f64,
) -> Result<Choice, PassError> {
    let count = best.depths.len();
    let moved = |raises: &[usize]| errors.together(&raised(count, raises)).sqrt();
    let Agreement { images, expected_changes, .. } = best.agreement;
    let enough = best.agreement.reaches(target);
    let changes = if enough { 1.0 - target } else { ADMITTED * expected_changes };
    let share = if enough { target } else { best.agreement.share() - 1.0 / images.max(1) as f64 };
    let fine = |agreement: &Agreement| {
        agreement.diverged == 0 && agreement.expected_changes <= changes && agreement.share() >= share
    };
    // Of all raises, the first so many are not enough and are enough.
    let (mut too_few, mut enough) = (0, raises.len());
    let resolution = raises.len().div_ceil(16).max(1);
    for attempt in 0..ATTEMPTS {
        if enough - too_few <= resolution {
            break;
        }
        let wanted = moved(&raises[..enough]) * changes / best.agreement.expected_changes;
        let expected = (too_few + 1..enough).find(|&raise| moved(&raises[..raise]) <= wanted);
        let next = match expected {
            Some(expected) if attempt < ATTEMPTS / 2 => expected,
            _ => usize::midpoint(too_few, enough),
        };
        let choice = match finish(start.clone(), raised(count, &raises[..next])) {
            Err(PassError::LeavesDomain { .. }) => None,
            other => Some(other?),
        };
        let agreement = choice.as_ref().map(|choice| choice.agreement);
        tracing::debug!(raises = next, ?agreement, "fits of several depths");
        match choice.filter(|choice| fine(&choice.agreement)) {
            Some(choice) => (best, enough) = (choice, next),
            None => too_few = next,
        }
    }
    Ok(best)
}

/// Fits what is left of `depths` and judges the whole.
fn finish(mut walk: Walk<'_>, depths: Vec<u32>) -> Result<Choice, PassError> {
    for &depth in &depths[depths.len() - walk.left()..] {
        walk.fit_next_at(depth)?;
    }
    let (fits, agreement) = walk.finish();
    Ok(Choice { depths, fits, agreement })
}

//! The degrees of fitted activations that cost least for the agreement asked for.
//!
//! Depth is what counts: a level less per activation is worth more than any number of products. So
//! first the least depth is found at which polynomials of one depth for all activations agree often
//! enough with the exact network. Then the depths of those that count least are lowered, in the
//! order that [`DepthErrors`] says, as far as the agreement holds. Every candidate is fitted anew
//! from the first activation on, and judged on images that nothing is fitted to.
//!
//! What agrees is looked for with a part of the images. What is found is fitted and judged with all
//! of them, and made finer if that shows that it was too coarse.

use std::collections::BTreeMap;

use fhec_ir::{func::Func, nn::Nn};

use super::{
    agreement::{Agreement, changes_by_approximations},
    depth_errors::{DepthErrors, raised},
    fit_activations::{Fits, Options, Walk},
    sample_images::SampleImages,
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

/// Images that depths are looked for with: fitted to, and judged. Changes to expect are a mean over
/// the judged ones, known to some 6 %.
const SEARCHED: [usize; 2] = [96, 160];

/// How often depths that differ are tried.
const ATTEMPTS: usize = 6;

/// How often what was found is tried with all images.
const CONFIRMED: usize = 4;

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
    /// Images that they were fitted to.
    pub fitted_images: usize,
    /// On the judged images.
    pub agreement: Agreement,
}

impl Choice {
    /// Levels of all activations together.
    pub fn levels(&self) -> u32 {
        self.depths.iter().sum()
    }
}

/// What [`choose_degrees`] found.
#[derive(Clone, Debug, PartialEq)]
pub struct Choices {
    /// The cheapest that agrees often enough.
    pub best: Choice,
    /// One that is finer and agrees often enough, which may turn out to cost no more; and coarser
    /// ones, each with fewer levels than those that agree more often. They are fitted to fewer
    /// images.
    pub others: Vec<Choice>,
}

/// The largest degree of `form` at `depth`: `ceil(log2(degree + 1))` levels.
pub fn degree_at(depth: u32, form: Form) -> usize {
    match form {
        Form::Full => (1 << depth) - 1,
        Form::EvenAndLinear => (1 << depth) - 2,
    }
}

/// Fits polynomials of one depth (2 to 9) to all activations.
///
/// # Errors
/// [`PassError::Option`] for another depth, [`PassError::LeavesDomain`] if values leave the domains
/// of the fits.
pub fn uniform_depth(
    func: &Func<Nn>,
    samples: &SampleImages,
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
    let walk = Walk::new(func, samples, scaling, options)?;
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
    samples: &SampleImages,
    scaling: &Scaling,
    target: f64,
    options: &Options,
) -> Result<Choices, PassError> {
    if !(0.0..=1.0).contains(&target) {
        let reason = format!("{} % is not between 0 and 100", target * 100.0);
        return Err(PassError::Option { option: "agreement", reason });
    }
    if samples.judged.is_empty() {
        let reason = "there is no image to judge by".to_string();
        return Err(PassError::Option { option: "calibration", reason });
    }
    let [fitted, judged] = SEARCHED;
    let some = samples.some(fitted, judged);
    let walk = |samples: &SampleImages| Walk::with_exact_values(func, samples, scaling, options);
    let errors = DepthErrors::measure(walk(&samples.some(PROBED, 0))?)?;
    let search = Search { walk: walk(&some)?, errors };
    let asked = Limits { changes: changes_by_approximations(target), share: target };
    // Of few images one is much.
    let about = match some.len() < samples.len() {
        true => asked.with_images_less(1, some.judged.len()),
        false => asked,
    };
    let mut tried = search.of_one_depth(about)?;
    let enough = tried.iter().find(|choice| about.admit(&choice.agreement));
    let best = enough.or_else(|| tried.iter().min_by(|a, b| a.faults().total_cmp(&b.faults())));
    let best = best.cloned().expect("it is an error if no depth can be fitted");
    let deepest = best.depths.first().copied().unwrap_or(*DEPTHS.start());
    let (about, limits) = match about.admit(&best.agreement) {
        true => (about, asked),
        // What lower depths save is worth a little where no depth is enough.
        false => {
            let Agreement { images, expected_changes, .. } = best.agreement;
            let almost = Limits { changes: ADMITTED * expected_changes, share: best.agreement.share() };
            (almost.with_images_less(1, images), almost.with_images_less(2, images))
        }
    };
    let mut raises = search.errors.raises(*DEPTHS.start(), deepest);
    let (enough, more) = search.lower(&best, &raises, about)?;
    tried.extend(more);
    raises.extend(search.errors.raises(deepest, (deepest + 1).min(*DEPTHS.end())));

    let all = match some.len() < samples.len() {
        true => Search { walk: Walk::new(func, samples, scaling, options)?, ..search },
        false => search,
    };
    let best = all.confirmed(&raises, enough, limits)?;
    let finer = |choice: &&Choice| choice.levels() > best.levels() && limits.admit(&choice.agreement);
    let finer = tried.iter().filter(finer).min_by_key(|choice| choice.levels());
    let mut others: Vec<Choice> = finer.cloned().into_iter().collect();
    tried.sort_by(|a, b| b.levels().cmp(&a.levels()).then(a.faults().total_cmp(&b.faults())));
    let mut changes = best.agreement.expected_changes;
    for coarser in tried.into_iter().filter(|choice| choice.levels() < best.levels()) {
        if coarser.agreement.expected_changes > changes && coarser.agreement.diverged == 0 {
            changes = coarser.agreement.expected_changes;
            others.push(coarser);
        }
    }
    Ok(Choices { best, others })
}

/// What an approximation is to keep.
#[derive(Clone, Copy, Debug)]
struct Limits {
    /// The largest share of other images that may be expected to change their class.
    changes: f64,
    /// The least share of judged images that agree.
    share: f64,
}

impl Limits {
    /// The same if `less` of so many images need not agree.
    fn with_images_less(self, less: usize, images: usize) -> Self {
        Limits { share: self.share - less as f64 / images.max(1) as f64, ..self }
    }

    fn admit(&self, agreement: &Agreement) -> bool {
        let Limits { changes, share } = *self;
        agreement.diverged == 0 && agreement.expected_changes <= changes && agreement.share() >= share
    }
}

/// Where depths are looked for.
struct Search<'a> {
    /// Before the first activation.
    walk: Walk<'a>,
    errors: DepthErrors,
}

impl Search<'_> {
    /// What outputs move by with these raises: changes to expect grow with it.
    fn moved(&self, raises: &[usize]) -> f64 {
        self.errors.together(&raised(self.walk.left(), raises)).sqrt()
    }

    /// What the least depths become with these raises; `None` if values leave their domains.
    fn finished(&self, raises: &[usize]) -> Result<Option<Choice>, PassError> {
        match finish(self.walk.clone(), raised(self.walk.left(), raises)) {
            Err(PassError::LeavesDomain { .. }) => Ok(None),
            other => other.map(Some),
        }
    }

    /// Choices of one depth for all, around the least that is enough, by depth.
    fn of_one_depth(&self, limits: Limits) -> Result<Vec<Choice>, PassError> {
        let count = self.walk.left();
        let moved = |depth: u32| self.errors.together(&vec![depth; count]).sqrt();
        let mut tried: BTreeMap<u32, Result<Choice, PassError>> = BTreeMap::new();
        let mut depth = FIRST_DEPTH;
        while !tried.contains_key(&depth) {
            let choice = match finish(self.walk.clone(), vec![depth; count]) {
                // So coarse that values leave their domains.
                error @ Err(PassError::LeavesDomain { .. }) => error,
                other => Ok(other?),
            };
            let agreement = choice.as_ref().ok().map(|choice| choice.agreement);
            tracing::debug!(depth, ?agreement, "fits of one depth");
            let next = match agreement.filter(|agreement| agreement.diverged == 0) {
                Some(agreement) if limits.admit(&agreement) => depth - 1,
                Some(agreement) => {
                    let wanted = moved(depth) * limits.changes / agreement.expected_changes;
                    let enough = |deeper: &u32| moved(*deeper) <= wanted;
                    (depth + 1..*DEPTHS.end()).find(enough).unwrap_or(*DEPTHS.end())
                }
                None => depth + 1,
            };
            tried.insert(depth, choice);
            // What is enough has been found from both sides, or there is nothing beyond.
            depth = next.clamp(*DEPTHS.start(), *DEPTHS.end());
        }
        let (fitted, failed): (Vec<_>, Vec<_>) = tried.into_values().partition(Result::is_ok);
        match failed.into_iter().next_back() {
            Some(Err(error)) if fitted.is_empty() => Err(error),
            _ => Ok(fitted.into_iter().flatten().collect()),
        }
    }

    /// How many of `raises`, all of which make `best`, keep within `limits`; and the choices that
    /// were tried.
    fn lower(
        &self,
        best: &Choice,
        raises: &[usize],
        limits: Limits,
    ) -> Result<(usize, Vec<Choice>), PassError> {
        let mut tried = Vec::new();
        let mut expected_changes = best.agreement.expected_changes;
        // Of all raises, the first so many are not enough and are enough.
        let (mut too_few, mut enough) = (0, raises.len());
        let resolution = raises.len().div_ceil(16).max(1);
        for attempt in 0..ATTEMPTS {
            if enough - too_few <= resolution {
                break;
            }
            let wanted = self.moved(&raises[..enough]) * limits.changes / expected_changes;
            let expected = (too_few + 1..enough).find(|&raise| self.moved(&raises[..raise]) <= wanted);
            let next = match expected {
                Some(expected) if attempt < ATTEMPTS / 2 => expected,
                _ => usize::midpoint(too_few, enough),
            };
            let choice = self.finished(&raises[..next])?;
            let agreement = choice.as_ref().map(|choice| choice.agreement);
            tracing::debug!(raises = next, ?agreement, "fits of several depths");
            match agreement.filter(|agreement| limits.admit(agreement)) {
                Some(agreement) => (expected_changes, enough) = (agreement.expected_changes, next),
                None => too_few = next,
            }
            tried.extend(choice);
        }
        Ok((enough, tried))
    }

    /// The first of the choices with `enough` and more of `raises` that keeps within `limits`, or
    /// of those tried the one with the fewest changes of class to expect.
    ///
    /// # Errors
    /// [`PassError::LeavesDomain`] if values leave their domains in all of them.
    fn confirmed(&self, raises: &[usize], enough: usize, limits: Limits) -> Result<Choice, PassError> {
        let mut tried: Vec<Choice> = Vec::new();
        let mut failed = None;
        let mut next = enough;
        for _ in 0..CONFIRMED {
            let mut missing = f64::INFINITY;
            match finish(self.walk.clone(), raised(self.walk.left(), &raises[..next])) {
                Err(error @ PassError::LeavesDomain { .. }) => failed = Some(error),
                other => {
                    let choice = other?;
                    tracing::debug!(raises = next, agreement = ?choice.agreement, "fits with all images");
                    if limits.admit(&choice.agreement) {
                        return Ok(choice);
                    }
                    missing = choice.agreement.expected_changes / limits.changes;
                    tried.push(choice);
                }
            }
            if next == raises.len() {
                break;
            }
            let wanted = self.moved(&raises[..next]) / missing;
            let more = (next + 1..raises.len()).find(|&raise| self.moved(&raises[..raise]) <= wanted);
            next = more.unwrap_or(raises.len());
        }
        let best = tried.into_iter().min_by(|a, b| a.faults().total_cmp(&b.faults()));
        best.ok_or_else(|| failed.expect("it failed if nothing was tried"))
    }
}

impl Choice {
    /// What is wrong with it, to compare by.
    fn faults(&self) -> Faults {
        Faults(self.agreement.expected_changes, self.agreement.mean_difference)
    }
}

/// Where no depth agrees, more precise is better all the same.
struct Faults(f64, f64);

impl Faults {
    fn total_cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0).then(self.1.total_cmp(&other.1))
    }
}

/// Fits what is left of `depths` and judges the whole.
fn finish(mut walk: Walk<'_>, depths: Vec<u32>) -> Result<Choice, PassError> {
    for &depth in &depths[depths.len() - walk.left()..] {
        walk.fit_next_at(depth)?;
    }
    let fitted_images = walk.fitted_images();
    let (fits, agreement) = walk.finish();
    Ok(Choice { depths, fits, fitted_images, agreement })
}

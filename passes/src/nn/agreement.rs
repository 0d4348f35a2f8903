//! How often two networks say the same.
//!
//! What an approximation is judged by: the share of images on which the largest output is at the
//! same place, on images that nothing was fitted to. Where outputs are no list of classes but
//! numbers (pictures, one value), an image agrees if no output is off by more than [`CLOSE`] of the
//! largest.
//!
//! Sample images are often from the training set, where a network is surer of itself than
//! elsewhere: hardly any of them is near a change of class, whatever the approximation. So what is
//! to be expected of other images is predicted as well: an image changes its class if the
//! difference of its two largest outputs is less than what the approximation takes from it. With a
//! density of such differences near 0 of `1 / m`, `m` the median of the sample, and errors of
//! either sign, the share is `mean |error of the difference| / (2 m)`. An exponential distribution
//! has a density of `0.7 / m` there, a uniform one `0.5 / m`, and the ResNet-20 in
//! docs/benchmarks.md `0.43 / m` on test images, whose median is 0.9 times the sample's.
//!
//! Encryption adds its noise. Errors of both kinds are independent, so their squares add up, and
//! the noise may take what approximations leave of what is admitted.

use fhec_ir::{
    func::Func,
    interp,
    nn::Nn,
    tensor::{Tensor, is_class_list},
};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::error::PassError;

/// Two networks on the same images.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Agreement {
    /// Images looked at.
    pub images: usize,
    /// Those on which the largest output is the same.
    pub agreeing: usize,
    /// Those on which an output of the second network is not finite, or larger than [`DIVERGED`]
    /// times the first's largest on any image: an activation left its polynomial's domain. They do
    /// not agree.
    pub diverged: usize,
    /// The largest difference of outputs, diverged images left out.
    pub largest_difference: f64,
    /// The mean absolute difference of outputs, diverged images left out.
    pub mean_difference: f64,
    /// The share of other images that may change their class, from 0 to 1; see the [module](self).
    pub expected_changes: f64,
    /// How far numbers of the first network are apart: the median difference of the two largest
    /// outputs; the largest output where they are no classes; 0 if there is none.
    pub spread: f64,
}

/// See [`Agreement::diverged`].
pub const DIVERGED: f64 = 4.0;

impl Agreement {
    /// The share of images that agree, from 0 to 1.
    pub fn share(&self) -> f64 {
        self.agreeing as f64 / self.images.max(1) as f64
    }

    /// Whether at least `target` (0 to 1) of these images agree, as many of others are expected to,
    /// and none diverged.
    pub fn reaches(&self, target: f64) -> bool {
        self.share().min(1.0 - self.expected_changes) >= target && self.diverged == 0
    }

    /// The error that encryption may add to the worst of `count` outputs, in their units, where a
    /// share of `target` images is to agree: what changes as many classes as approximations leave
    /// of what is admitted, by the rule of the [module](self), and at least a quarter of it; half as
    /// many as approximations do where these change more than that; a quarter of [`CLOSE`] where
    /// outputs are no classes. `None` if nothing is known.
    pub fn tolerated_error(&self, target: f64, outputs: Outputs, count: usize) -> Option<f64> {
        let error = match outputs {
            Outputs::Values => NOISE * CLOSE * self.spread,
            Outputs::Classes => {
                let (admitted, approximated) = (1.0 - target, self.expected_changes);
                let changes = match approximated > admitted {
                    true => BESIDE_COARSE * approximated,
                    false => (admitted.powi(2) - approximated.powi(2)).sqrt().max(NOISE * admitted),
                };
                let deviation = moved_where(changes, self.spread) / MEAN_DIFFERENCE;
                deviation * (2.0 * (2.0 * count.max(1) as f64).ln()).sqrt()
            }
        };
        Some(error).filter(|error| error.is_finite() && *error > 0.0)
    }

    /// Of networks whose outputs are classes: what is to be expected of other images. `None` if
    /// nothing is known.
    pub fn class_changes(&self, outputs: Outputs) -> Option<ClassChanges> {
        let known = outputs == Outputs::Classes && self.spread > 0.0 && self.spread.is_finite();
        known.then_some(ClassChanges { approximated: self.expected_changes, spread: self.spread })
    }
}

/// What of the admitted changes is left to the noise of encryption at least.
const NOISE: f64 = 0.25;

/// What noise may change beside approximations that change more than is admitted: an eighth more,
/// squares added up.
const BESIDE_COARSE: f64 = 0.5;

/// The share of other images that change their class where the difference of their two largest
/// outputs, `spread` in the median, moves by `moved` on average; see the [module](self).
fn share_that_changes(moved: f64, spread: f64) -> f64 {
    let share = moved / (2.0 * spread);
    // What is no number changes all.
    if share < 1.0 { share } else { 1.0 }
}

/// How far the difference is moved where this share changes.
fn moved_where(share: f64, spread: f64) -> f64 {
    2.0 * spread * share
}

/// The difference of two outputs with errors of deviation 1 has an error of `2 / sqrt(pi)` on
/// average.
const MEAN_DIFFERENCE: f64 = std::f64::consts::FRAC_2_SQRT_PI;

/// The share of other images that approximations may change, where `target` of them are to keep
/// their class, from 0 to 1, with the noise of encryption.
pub fn changes_by_approximations(target: f64) -> f64 {
    (1.0 - target) * (1.0 - NOISE * NOISE).sqrt()
}

/// What to expect of the classes of other images; see the [module](self).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClassChanges {
    /// The share that approximations may change, from 0 to 1.
    pub approximated: f64,
    /// The median difference of the two largest outputs.
    pub spread: f64,
}

impl ClassChanges {
    /// The share that may change, from 0 to 1, if noise of this deviation is added to every output.
    pub fn with_noise(&self, deviation: f64) -> f64 {
        self.approximated.hypot(share_that_changes(MEAN_DIFFERENCE * deviation, self.spread)).min(1.0)
    }

    /// The deviation of independent errors of all outputs that move the difference of two of them
    /// by `moved` on average.
    pub fn deviation_that_moves(moved: f64) -> f64 {
        moved / MEAN_DIFFERENCE
    }

    /// Whether both are what they are said to be: a file may say anything.
    pub(crate) fn is_sound(&self) -> bool {
        (0.0..=1.0).contains(&self.approximated) && self.spread > 0.0 && self.spread.is_finite()
    }
}

/// The first output of `func` on every image.
pub fn outputs(func: &Func<Nn>, images: &[Vec<Tensor>]) -> Result<Vec<Vec<f32>>, PassError> {
    let one = |image: &Vec<Tensor>| -> Result<Vec<f32>, PassError> {
        let first = interp::nn::run(func, image)?.into_iter().next();
        Ok(first.map_or_else(Vec::new, |output| output.data().to_vec()))
    };
    images.par_iter().map(one).collect()
}

/// What the outputs of a network are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outputs {
    /// A number per class; the largest counts.
    Classes,
    /// Numbers that all count.
    Values,
}

impl Outputs {
    /// What the first output of `func` is, by its shape.
    pub fn of(func: &Func<Nn>) -> Self {
        let shape = func.outputs().first().map(|&output| func.ty(output).shape.as_slice());
        match shape {
            Some(shape) if is_class_list(shape) => Outputs::Classes,
            _ => Outputs::Values,
        }
    }
}

/// How far numbers may be off, relative to the largest of all images.
pub const CLOSE: f64 = 1.0 / 128.0;

/// Compares outputs image by image; both lists are of [`outputs`] on the same images.
pub fn compare(exact: &[Vec<f32>], approximated: &[Vec<f32>], outputs: Outputs) -> Agreement {
    let largest = exact.iter().flatten().fold(0.0f64, |largest, v| largest.max(f64::from(v.abs())));
    let mut agreement = Agreement { images: exact.len(), ..Agreement::default() };
    let (mut sum, mut count) = (0.0, 0usize);
    let (mut gaps, mut moved) = (Vec::with_capacity(exact.len()), 0.0);
    for (exact, found) in exact.iter().zip(approximated) {
        if found.iter().any(|v| v.is_nan() || f64::from(v.abs()) > DIVERGED * largest) {
            agreement.diverged += 1;
            continue;
        }
        let furthest = exact.iter().zip(found).fold(0.0f64, |m, (a, b)| m.max(f64::from((a - b).abs())));
        agreement.agreeing += usize::from(match outputs {
            Outputs::Classes => class(exact) == class(found),
            Outputs::Values => furthest <= CLOSE * largest,
        });
        if outputs == Outputs::Classes
            && let Some((first, second)) = largest_two(exact)
        {
            let gap = |outputs: &[f32]| f64::from(outputs[first]) - f64::from(outputs[second]);
            gaps.push(gap(exact));
            moved += (gap(found) - gap(exact)).abs();
        }
        for (a, b) in exact.iter().zip(found) {
            let difference = f64::from((a - b).abs());
            agreement.largest_difference = agreement.largest_difference.max(difference);
            sum += difference;
            count += 1;
        }
    }
    agreement.mean_difference = sum / count.max(1) as f64;
    if outputs == Outputs::Values {
        agreement.expected_changes = 1.0 - agreement.share();
        agreement.spread = largest;
        return agreement;
    }
    gaps.sort_by(f64::total_cmp);
    if let Some(&median) = gaps.get(gaps.len() / 2) {
        agreement.spread = median;
        let mean = moved / gaps.len() as f64;
        agreement.expected_changes = share_that_changes(mean, median);
    }
    agreement
}

/// Where the two largest numbers are; `None` if there are fewer.
fn largest_two(outputs: &[f32]) -> Option<(usize, usize)> {
    let first = class(outputs);
    let others = (0..outputs.len()).filter(|&i| i != first);
    let second = others.max_by(|&i, &j| outputs[i].total_cmp(&outputs[j]).then(j.cmp(&i)))?;
    Some((first, second))
}

/// Where the largest number is, the first of equals.
pub fn class<T: PartialOrd>(outputs: &[T]) -> usize {
    (0..outputs.len()).fold(0, |best, i| if outputs[i] > outputs[best] { i } else { best })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_counted_once() {
        let exact = vec![vec![1.0, 2.0], vec![3.0, 1.0], vec![0.0, 1.0], vec![0.0, 1.0]];
        let found = vec![vec![1.5, 2.0], vec![1.0, 1.5], vec![f32::NAN, 1.0], vec![0.0, 100.0]];
        let agreement = compare(&exact, &found, Outputs::Classes);
        assert_eq!((agreement.images, agreement.agreeing, agreement.diverged), (4, 1, 2));
        assert_eq!((agreement.share(), agreement.largest_difference), (0.25, 2.0));
        assert_eq!(agreement.mean_difference, 3.0 / 4.0);
    }

    #[test]
    fn changes_are_expected_where_errors_reach_the_gap() {
        // Gaps of 1, 4 and 10 between the two largest; errors of the gap 0.1, 0.2 and 0.3, whatever
        // other outputs do.
        let exact = vec![vec![1.0, 2.0, -9.0], vec![7.0, 3.0, 0.0], vec![0.0, 0.0, 10.0]];
        let found = vec![vec![1.1, 2.0, -5.0], vec![7.1, 2.9, 0.0], vec![0.0, 0.0, 9.7]];
        let agreement = compare(&exact, &found, Outputs::Classes);
        assert!((agreement.expected_changes - 0.1 / 4.0).abs() < 1e-6);
        assert!(agreement.reaches(0.97) && !agreement.reaches(0.98));
        assert_eq!(compare(&exact, &exact, Outputs::Classes).expected_changes, 0.0);
        let other = compare(&[vec![0.0, 1.0]], &[vec![3.0, 0.0]], Outputs::Classes);
        assert_eq!(other.expected_changes, 1.0);
    }

    #[test]
    fn errors_are_tolerated_that_change_few_classes() {
        let one = Agreement { images: 100, agreeing: 100, spread: 8.0, ..Agreement::default() };
        let tolerated = |expected_changes: f64| {
            let one = Agreement { expected_changes, ..one };
            let error = one.tolerated_error(0.995, Outputs::Classes, 10).unwrap();
            let deviation = error / (2.0 * 20f64.ln()).sqrt();
            (error, deviation * 2.0 / std::f64::consts::PI.sqrt())
        };
        // 0.125 % of images change where the difference, 8 in the median, moves by 0.02: that of
        // two errors of deviation 0.0177.
        let (error, difference) = tolerated(0.005);
        assert!((difference - 0.02).abs() < 1e-12, "{difference}");
        // What approximations leave is the noise's: 0.4 % beside 0.3 %, and all of it.
        assert!((tolerated(0.003).1 - 0.064).abs() < 1e-12);
        assert!((tolerated(0.0).1 - 0.08).abs() < 1e-12);
        // Where approximations change more than was admitted, noise may change half as many.
        let coarse = Agreement { expected_changes: 0.02, ..one };
        let more = coarse.tolerated_error(0.995, Outputs::Classes, 10).unwrap();
        assert!((more / error - 8.0).abs() < 1e-12);
        assert_eq!(one.tolerated_error(0.995, Outputs::Values, 784), Some(8.0 / 512.0));
        assert_eq!(Agreement::default().tolerated_error(0.995, Outputs::Classes, 10), None);
        assert_eq!(one.tolerated_error(1.0, Outputs::Classes, 10), None);
        let exact = [vec![1.0, 3.0], vec![5.0, 0.0], vec![0.0, 3.5]];
        assert_eq!(compare(&exact, &exact, Outputs::Classes).spread, 3.5);
        assert_eq!(compare(&exact, &exact, Outputs::Values).spread, 5.0);
    }

    #[test]
    fn noise_and_approximations_together_change_what_is_admitted() {
        let changes = changes_by_approximations(0.995);
        let one = Agreement { spread: 8.0, expected_changes: changes, ..Agreement::default() };
        let error = one.tolerated_error(0.995, Outputs::Classes, 10).unwrap();
        let deviation = error / (2.0 * 20f64.ln()).sqrt();
        let expected = one.class_changes(Outputs::Classes).unwrap();
        assert!((expected.with_noise(deviation) - 0.005).abs() < 1e-12);
        assert_eq!((expected.with_noise(0.0), expected.with_noise(1e9)), (changes, 1.0));
        assert_eq!(one.class_changes(Outputs::Values), None);
        assert_eq!(Agreement::default().class_changes(Outputs::Classes), None);
    }

    #[test]
    fn numbers_agree_where_all_of_them_are_close() {
        let exact = vec![vec![128.0, 0.0], vec![0.0, 64.0], vec![1.0, 2.0]];
        let found = vec![vec![127.5, 0.5], vec![0.0, 65.5], vec![2.0, 1.0]];
        let agreement = compare(&exact, &found, Outputs::Values);
        assert_eq!((agreement.images, agreement.agreeing, agreement.diverged), (3, 2, 0));
        assert_eq!(agreement.expected_changes, 1.0 - 2.0 / 3.0);
        assert_eq!(compare(&exact, &found, Outputs::Classes).agreeing, 2);
    }
}

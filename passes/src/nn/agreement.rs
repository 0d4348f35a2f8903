//! How often two networks say the same.
//!
//! What an approximation is judged by: the share of images on which the largest output is at the same place, on images that
//! nothing was fitted to.

use fhec_ir::{func::Func, interp, nn::Nn, tensor::Tensor};
use rayon::prelude::*;

use crate::error::PassError;

/// Two networks on the same images.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Agreement {
    /// Images looked at.
    pub images: usize,
    /// Those on which the largest output is the same.
    pub agreeing: usize,
    /// Those on which an output of the second network is not finite, or larger than [`DIVERGED`] times the first's largest on any
    /// image: an activation left its polynomial's domain. They do not agree.
    pub diverged: usize,
    /// The largest difference of outputs, diverged images left out.
    pub largest_difference: f64,
    /// The mean absolute difference of outputs, diverged images left out.
    pub mean_difference: f64,
}

/// See [`Agreement::diverged`].
pub const DIVERGED: f64 = 4.0;

impl Agreement {
    /// The share of images that agree, from 0 to 1.
    pub fn share(&self) -> f64 {
        self.agreeing as f64 / self.images.max(1) as f64
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

/// Compares outputs image by image; both lists are of [`outputs`] on the same images.
pub fn compare(exact: &[Vec<f32>], approximated: &[Vec<f32>]) -> Agreement {
    let largest = exact.iter().flatten().fold(0.0f64, |largest, v| largest.max(f64::from(v.abs())));
    let mut agreement = Agreement { images: exact.len(), ..Agreement::default() };
    let (mut sum, mut count) = (0.0, 0usize);
    for (exact, found) in exact.iter().zip(approximated) {
        if found.iter().any(|v| v.is_nan() || f64::from(v.abs()) > DIVERGED * largest) {
            agreement.diverged += 1;
            continue;
        }
        agreement.agreeing += usize::from(class(exact) == class(found));
        for (a, b) in exact.iter().zip(found) {
            let difference = f64::from((a - b).abs());
            agreement.largest_difference = agreement.largest_difference.max(difference);
            sum += difference;
            count += 1;
        }
    }
    agreement.mean_difference = sum / count.max(1) as f64;
    agreement
}

/// Where the largest number is, the first of equals.
pub fn class(outputs: &[f32]) -> usize {
    (0..outputs.len()).fold(0, |best, i| if outputs[i] > outputs[best] { i } else { best })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_counted_once() {
        let exact = vec![vec![1.0, 2.0], vec![3.0, 1.0], vec![0.0, 1.0], vec![0.0, 1.0]];
        let found = vec![vec![1.5, 2.0], vec![1.0, 1.5], vec![f32::NAN, 1.0], vec![0.0, 100.0]];
        let agreement = compare(&exact, &found);
        assert_eq!((agreement.images, agreement.agreeing, agreement.diverged), (4, 1, 2));
        assert_eq!((agreement.share(), agreement.largest_difference), (0.25, 2.0));
        assert_eq!(agreement.mean_difference, 3.0 / 4.0);
    }
}

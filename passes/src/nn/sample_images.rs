//! Sample images, and what each is for: some are fitted to, by the others fits are judged.

use fhec_ir::{
    func::Func,
    interp::{self, InterpError},
    nn::Nn,
    tensor::Tensor,
};

use super::agreement::outputs;
use crate::error::PassError;

/// Images that fits are made and judged with; ranges are measured on all there are. A few hundred
/// give the same polynomials.
const MAX_IMAGES: usize = 2_000;

/// Whether polynomials are fitted to the sample image with this index; by the others they are
/// judged. Two of five are, so that an agreement of 99.5 % can be told from one of 99 % with a
/// thousand images.
pub fn is_fitted_to(index: usize) -> bool {
    index % 5 < 2
}

/// Images of one network, each a list of its inputs.
#[derive(Clone, Debug, Default)]
pub struct SampleImages {
    /// Those that polynomials are fitted to.
    pub fitted: Vec<Vec<Tensor>>,
    /// Those that they are judged by.
    pub judged: Vec<Vec<Tensor>>,
    /// The exact network's first output on each of [`judged`](Self::judged).
    pub answers: Vec<Vec<f32>>,
}

impl SampleImages {
    /// Each of `images` in its part; a single one has to do for both.
    ///
    /// # Errors
    /// If an image is none of `func`'s.
    pub fn new(func: &Func<Nn>, images: &[Vec<Tensor>]) -> Result<Self, PassError> {
        let part = |is_fitted: bool| -> Vec<Vec<Tensor>> {
            let taken = images.iter().take(MAX_IMAGES).enumerate();
            let own = taken.filter(|(index, _)| is_fitted_to(*index) == is_fitted);
            own.map(|(_, image)| image.clone()).collect()
        };
        let (fitted, mut judged) = (part(true), part(false));
        if judged.is_empty() {
            judged.clone_from(&fitted);
        }
        fitted.iter().chain(&judged).try_for_each(|image| check(func, image))?;
        let answers = outputs(func, &judged)?;
        Ok(SampleImages { fitted, judged, answers })
    }

    /// Images to fit to, none to judge by.
    ///
    /// # Errors
    /// As [`SampleImages::new`].
    pub fn to_fit(func: &Func<Nn>, images: &[Vec<Tensor>]) -> Result<Self, PassError> {
        images.iter().try_for_each(|image| check(func, image))?;
        Ok(SampleImages { fitted: images.to_vec(), ..SampleImages::default() })
    }

    /// So many of each part at most, evenly spaced: files are often sorted by class.
    pub fn some(&self, fitted: usize, judged: usize) -> Self {
        SampleImages {
            fitted: spaced(&self.fitted, fitted),
            judged: spaced(&self.judged, judged),
            answers: spaced(&self.answers, judged),
        }
    }

    /// How many there are of both parts.
    pub fn len(&self) -> usize {
        self.fitted.len() + self.judged.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// At most `most` of `all`, evenly spaced.
fn spaced<T: Clone>(all: &[T], most: usize) -> Vec<T> {
    let count = most.min(all.len());
    (0..count).map(|i| all[i * all.len() / count].clone()).collect()
}

fn check(func: &Func<Nn>, image: &[Tensor]) -> Result<(), InterpError> {
    interp::nn::check_ops(func)?;
    if image.len() != func.inputs().len() {
        let (expected, found) = (func.inputs().len(), image.len());
        return Err(InterpError::InputCount { expected, found });
    }
    for (tensor, &input) in image.iter().zip(func.inputs()) {
        let (expected, found) = (func.ty(input).shape.clone(), tensor.shape().to_vec());
        if expected != found {
            return Err(InterpError::InputShape { input, expected, found });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_images_are_evenly_spaced() {
        assert_eq!(spaced(&[0, 1, 2, 3, 4, 5, 6, 7], 3), [0, 2, 5]);
        assert_eq!(spaced(&[0, 1, 2], 5), [0, 1, 2]);
        assert!(spaced(&[0; 0], 5).is_empty() && spaced(&[1, 2], 0).is_empty());
    }
}

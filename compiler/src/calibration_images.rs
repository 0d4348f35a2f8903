//! The images that a compile measures and fits with, out of all that a file or folder has.
//!
//! They are kept in memory as the numbers that the network takes, because fits go over them many
//! times. So there is a limit: a few thousand say all there is to know of ranges, and fits take
//! fewer still. The pixels of the file, a fourth of that, are read whole before
//! ([`MAX_BYTES`](crate::data::MAX_BYTES)).

use fhec_ir::func::Func;
use fhec_ir::nn::Nn;
use fhec_ir::program::Preprocess;
use fhec_ir::tensor::Tensor;

use crate::build::{Cause, CompileError};
use crate::data::{DataError, Dataset, ImageShape};
use crate::program::check_network;

/// Images that are taken at most, and what their numbers may take in memory, in bytes.
const MOST: usize = 10_000;
const MOST_BYTES: usize = 2 << 30;

/// Images of a network, each a list of its inputs.
#[derive(Clone, Debug)]
pub(crate) struct CalibrationImages {
    pub images: Vec<Vec<Tensor>>,
    /// What the plan is to say of them.
    pub note: Option<String>,
}

impl CalibrationImages {
    /// Those of the data set that `open` finds for inputs of a shape, preprocessed; where there are
    /// too many, as many as may be, evenly spaced. `limits` are those of each input.
    ///
    /// # Errors
    /// [`CompileError`] if there is no such data set, or an image is none of the network's.
    pub fn read(
        model: &str,
        network: &Func<Nn>,
        limits: &[Option<[i64; 2]>],
        preprocess: &Preprocess,
        open: impl FnOnce(ImageShape) -> Result<Dataset, DataError>,
    ) -> Result<Self, CompileError> {
        let unusable = |source: Cause| CompileError::Network { model: model.into(), source };
        let dataset = open(check_network(network, preprocess).map_err(|error| unusable(error.into()))?)?;
        let shape = &network.ty(network.inputs()[0]).shape;
        // Of several inputs, whose numbers are one row, limits are not looked at.
        let limits = match *limits {
            [limits] => limits,
            _ => None,
        };
        let image = |index| {
            let numbers = dataset.input(index, preprocess)?;
            if let Some([low, high]) = limits
                && let Some(&number) = numbers.iter().find(|&&x| !(low as f32..=high as f32).contains(&x))
            {
                return Err(CompileError::InputLimits { model: model.into(), index, number, low, high });
            }
            let image = Tensor::new(shape.clone(), numbers);
            Ok(vec![image.map_err(|error| unusable(error.into()))?])
        };
        let (all, each) = (dataset.len(), shape.iter().product::<usize>() * size_of::<f32>());
        let taken = taken(all, each);
        let images = (0..taken).map(|index| image(index * all / taken)).collect::<Result<_, _>>()?;
        let note = (taken < all).then(|| {
            format!("of {all} sample images {taken} were used, evenly spaced: as many as a compile keeps in memory")
        });
        Ok(CalibrationImages { images, note })
    }
}

/// How many of `all` images of so many bytes each are taken: all of a few.
fn taken(all: usize, bytes: usize) -> usize {
    all.min(MOST).min((MOST_BYTES / bytes.max(1)).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_are_taken_as_fit_the_memory() {
        let picture = 3 * 224 * 224 * 4;
        assert_eq!((taken(1000, picture), taken(50_000, picture)), (1000, 3566));
        assert_eq!((taken(60_000, 784 * 4), taken(0, 784), taken(3, usize::MAX)), (10_000, 0, 1));
    }
}

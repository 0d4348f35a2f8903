//! Images from Python: arrays, or a file.

use std::path::PathBuf;

use fhec::{DataError, Dataset, ImageArray, ImageShape, Preprocess};
use numpy::{PyReadonlyArrayDyn, PyUntypedArrayMethods};
use pyo3::prelude::*;

use crate::errors::Kind;

/// What `fhec._arrays` makes of what users give. Arrays are C-contiguous.
#[derive(FromPyObject)]
pub enum Images<'py> {
    /// Pixels, to be normalised.
    Pixels(PyReadonlyArrayDyn<'py, u8>),
    /// Network input.
    Values(PyReadonlyArrayDyn<'py, f32>),
    /// A picture, a NumPy file or a data set.
    File(PathBuf),
}

/// The same without Python.
pub enum Source {
    /// Numbers.
    Array(ImageArray),
    /// A file.
    File(PathBuf),
}

impl Images<'_> {
    /// Copies arrays.
    pub fn source(self) -> PyResult<Source> {
        let contiguous = |_| Kind::Data.says("arrays of images must be contiguous: numpy.ascontiguousarray");
        Ok(match self {
            Images::Pixels(array) => {
                let pixels = array.as_slice().map_err(contiguous)?.to_vec();
                Source::Array(ImageArray::pixels(array.shape().to_vec(), pixels))
            }
            Images::Values(array) => {
                let values = array.as_slice().map_err(contiguous)?.to_vec();
                Source::Array(ImageArray::values(array.shape().to_vec(), values))
            }
            Images::File(path) => Source::File(path),
        })
    }
}

impl Source {
    /// Images of `shape`, pictures made to fit as `preprocess` says.
    pub fn open(&self, shape: ImageShape, preprocess: &Preprocess) -> Result<Dataset, DataError> {
        match self {
            Source::Array(array) => Dataset::from_array(array, shape),
            Source::File(path) => Dataset::open_for(path, shape, preprocess),
        }
    }
}

/// What a program's first input is, one image after the other.
pub fn inputs(dataset: &Dataset, interface: &fhec::Interface) -> PyResult<Vec<Vec<f32>>> {
    let input = |index| dataset.input(index, &interface.preprocess);
    let inputs: Result<_, _> = (0..dataset.len()).map(input).collect();
    inputs.map_err(|error| Kind::Data.of(&error))
}

/// Images of the shape that a program takes.
pub fn open(images: Images<'_>, interface: &fhec::Interface) -> PyResult<Dataset> {
    let shape = interface.image_shape().ok_or_else(|| {
        Kind::Data
            .says(format!("the program takes no images: its input has shape {:?}", interface.input.shape))
    })?;
    images.source()?.open(shape, &interface.preprocess).map_err(|error| Kind::Data.of(&error))
}

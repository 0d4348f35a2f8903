//! Why a compiled program cannot be opened, rehearsed or looked into.

use std::path::PathBuf;

use fhec_ir::interp::InterpError;
use fhec_ir::layer_values::LayerValuesError;
use fhec_ir::program::{PreprocessError, ProgramError};
use fhec_ir::tensor::ShapeMismatch;
use fhec_roles::RoleError;
use fhec_roles::files::FileError;
use thiserror::Error;

use crate::data::DataError;

/// Why a file is no program that can be used.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The file: it cannot be read or written, or is too large.
    #[error(transparent)]
    File(#[from] FileError),
    /// The program: damaged, of another version, not secure enough. The cause says what to do.
    #[error("cannot load {}", path.display())]
    Program {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: ProgramError,
    },
    /// The program takes no images.
    #[error(
        "the network's input has shape {shape:?}; one image [1, channels, height, width] is expected, a series [1, channels, length] or features \
         [1, features]"
    )]
    NoImage {
        /// Shape of its input.
        shape: Vec<usize>,
    },
    /// The images: they cannot be read, or are of another shape than the program's input.
    #[error(transparent)]
    Images(#[from] DataError),
}

/// Why an imported network cannot be run on images.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum NetworkError {
    /// It has several inputs, or none.
    #[error("the network has {inputs} inputs; only networks with one image as input are run")]
    Inputs {
        /// Number of inputs.
        inputs: usize,
    },
    /// Its input is no image.
    #[error(
        "the network's input has shape {shape:?}; one image [1, channels, height, width] is expected, a series [1, channels, length] or features \
         [1, features]: fix another batch or open dimensions with --input-shape"
    )]
    Shape {
        /// Shape of its input.
        shape: Vec<usize>,
    },
    /// It has no output.
    #[error("the network has no output")]
    NoOutput,
    /// The normalisation has other channels.
    #[error("the normalisation does not fit the network's input")]
    Normalisation(#[from] PreprocessError),
}

/// Why a rehearsal of a program, or a look into a run, failed.
#[derive(Debug, Error)]
pub enum RehearsalError {
    /// The program does not take what it was given.
    #[error(transparent)]
    Role(#[from] RoleError),
    /// The program lacks a part: it was made for a server.
    #[error(transparent)]
    Program(#[from] ProgramError),
    /// The program does not say how it stores its layers.
    #[error(transparent)]
    Layers(#[from] LayerValuesError),
    /// The images: they cannot be normalised.
    #[error(transparent)]
    Normalisation(#[from] PreprocessError),
    /// An image has another size than the plain network's input.
    #[error("an image does not fit the plain network: {0}")]
    Image(#[from] ShapeMismatch),
    /// The plain network cannot be run.
    #[error("the plain network cannot be run: {0}")]
    Network(#[from] InterpError),
    /// A layer of an encrypted run cannot be decrypted.
    #[error("cannot decrypt the layer {layer}")]
    Decrypt {
        /// Its name.
        layer: String,
        /// Why.
        source: RoleError,
    },
}

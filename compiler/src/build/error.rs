//! Why a model is not compiled: whose fault it is, and what to do.

use std::error::Error;
use std::path::PathBuf;

use fhec_passes::ckks::choose_params::ChooseParamsError;
use fhec_passes::error::PassError;
use thiserror::Error as ThisError;

use crate::data::{DataError, PreprocessError, PreprocessFileError};
use crate::gates::{GateError, out_of_memory};
use crate::onnx::ImportError;
use fhec_roles::files::FileError;

/// An error of another part that has no type of its own.
pub type Cause = Box<dyn Error + Send + Sync>;

/// Why a model is not compiled.
#[derive(Debug, ThisError)]
pub enum CompileError {
    /// The model: it cannot be read, or has an operator that fhec does not know. Export it again,
    /// as the cause says.
    #[error("cannot import {model}")]
    Import {
        /// The model's file.
        model: String,
        /// What is wrong.
        source: Box<ImportError>,
    },
    /// The model or what it is run on: its inputs and outputs are no image and one answer, or the
    /// normalisation has other channels.
    #[error("cannot run the network in {model}")]
    Network {
        /// The model's file.
        model: String,
        /// What is wrong.
        source: Cause,
    },
    /// Sample images: they cannot be read, or are of another shape than the network's input.
    #[error(transparent)]
    Images(#[from] DataError),
    /// A sample image: the model says that it takes integers of another size.
    #[error(
        "sample {index} holds {number}, and {model} says that its input takes integers of {low} to {high}; give floats of that range, or pixels \
         that their normalisation brings there: --scale 1 --mean 128 --std 1 takes pixels of 0 to 255 to -128 to 127"
    )]
    InputLimits {
        /// The model.
        model: String,
        /// Of the sample.
        index: usize,
        /// The first number beyond them.
        number: f32,
        /// The least.
        low: i64,
        /// The largest.
        high: i64,
    },
    /// The normalisation: it does not fit the sample images.
    #[error(transparent)]
    Normalisation(#[from] PreprocessError),
    /// A file with a normalisation cannot be read.
    #[error(transparent)]
    NormalisationFile(#[from] PreprocessFileError),
    /// A file of ranges or activations cannot be read, or one of results not written.
    #[error(transparent)]
    File(#[from] FileError),
    /// A file of activation ranges holds something else. Measure them again, or give sample images.
    #[error("cannot read the ranges in {}", path.display())]
    Ranges {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: RangesError,
    },
    /// A file of fitted activations holds something else. `fhec calibrate` makes it anew.
    #[error("cannot read the fitted activations in {}", path.display())]
    Activations {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// The network cannot be compiled with these options: the cause says what of both to change.
    #[error("cannot compile {model}")]
    Compile {
        /// The model.
        model: String,
        /// What is wrong.
        source: Box<PassError>,
    },
    /// Activations cannot be fitted to the sample images: the cause says what to change.
    #[error("cannot fit the activations of {model}")]
    Fit {
        /// The model's file.
        model: String,
        /// What is wrong.
        source: Box<PassError>,
    },
    /// What was asked for: no plan keeps within the memory. The cause names the least that would
    /// do.
    #[error("cannot compile {model}")]
    Memory {
        /// The model.
        model: String,
        /// The nearest plan.
        source: GateError,
    },
    /// What was asked for: the plan is beyond a limit. The message names the nearest one within.
    #[error(transparent)]
    Limits(#[from] GateError),
    /// What was asked for: fits are made for an agreement or a depth.
    #[error("fits are made for an agreement or a depth")]
    NothingToFit,
    /// fhec: what it made itself is broken. Please report it with the model.
    #[error("cannot compile {model}: {what}; this is an error of fhec")]
    Broken {
        /// The model.
        model: String,
        /// What is broken.
        what: &'static str,
        /// How.
        source: Cause,
    },
}

impl CompileError {
    /// What passes say about `model`.
    pub(crate) fn of_passes(model: String, error: PassError) -> Self {
        match error {
            PassError::Params(ChooseParamsError::Memory { ram, nearest, .. }) => {
                CompileError::Memory { model, source: out_of_memory(ram, &nearest) }
            }
            error => CompileError::Compile { model, source: Box::new(error) },
        }
    }
}

/// Why text is no list of ranges.
#[derive(Debug, ThisError)]
pub enum RangesError {
    /// It is no text.
    #[error("it is not text")]
    Encoding(#[from] std::string::FromUtf8Error),
    /// It is no list of `{"tensor": .., "min": .., "max": ..}`.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    /// A range is empty or endless.
    #[error("{tensor}: [{min}, {max}] is no range")]
    Range {
        /// Whose range.
        tensor: String,
        /// Its lower end.
        min: f64,
        /// Its upper end.
        max: f64,
    },
}

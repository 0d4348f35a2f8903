//! The network that comes with the program: `fhec run` without an argument needs no file at all.

use crate::data::{Preprocess, PreprocessError};

/// The MNIST CNN of `models/`, as ONNX.
pub const MODEL: &[u8] = include_bytes!("../../models/mnist_cnn.onnx");
/// Its name in messages.
pub const NAME: &str = "mnist_cnn";
/// Ranges of its activation inputs over the 60,000 MNIST training images.
pub const CALIBRATION: &str = include_str!("../../models/mnist_cnn.calibration.json");
const PREPROCESS: &str = include_str!("../../models/mnist_cnn.toml");
/// A digit to classify, of our own drawing.
pub const DIGIT: &[u8] = include_bytes!("../../models/digits/digit_7_a.png");
/// What [`DIGIT`] is called in messages.
pub const DIGIT_NAME: &str = "models/digits/digit_7_a.png";

/// Normalisation of the embedded network.
pub fn preprocess() -> Result<Preprocess, PreprocessError> {
    Preprocess::parse(PREPROCESS, "models/mnist_cnn.toml")
}

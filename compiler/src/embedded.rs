//! The networks that come with the program: `fhec run` without a file needs no other file at all.

use crate::data::{Preprocess, PreprocessFileError, preprocess};

/// Which network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
pub enum Example {
    /// ResNet-20 on 32x32 pictures of ten classes (CIFAR-10), with bootstrapping
    #[default]
    Resnet20,
    /// A small CNN on handwritten digits, without bootstrapping
    Mnist,
}

/// A network of `models/` with what a compile and a first run need.
#[derive(Clone, Copy, Debug)]
pub struct Embedded {
    /// Its name in messages.
    pub name: &'static str,
    /// ONNX.
    pub model: &'static [u8],
    /// Ranges of its values over training images, as JSON.
    pub calibration: &'static str,
    /// Polynomials fitted to its ReLUs, as JSON.
    pub activations: Option<&'static str>,
    preprocess: &'static str,
    /// A picture to classify, of our own making.
    pub picture: &'static [u8],
    /// What [`Self::picture`] is called in messages.
    pub picture_name: &'static str,
}

const RESNET20: Embedded = Embedded {
    name: "resnet20",
    model: include_bytes!("../../models/resnet20.onnx"),
    calibration: include_str!("../../models/resnet20.calibration.json"),
    activations: Some(include_str!("../../models/resnet20.activations.json")),
    preprocess: include_str!("../../models/resnet20.toml"),
    picture: include_bytes!("../../models/scenes/bird.png"),
    picture_name: "models/scenes/bird.png",
};

const MNIST: Embedded = Embedded {
    name: "mnist_cnn",
    model: include_bytes!("../../models/mnist_cnn.onnx"),
    calibration: include_str!("../../models/mnist_cnn.calibration.json"),
    activations: None,
    preprocess: include_str!("../../models/mnist_cnn.toml"),
    picture: include_bytes!("../../models/digits/digit_7_a.png"),
    picture_name: "models/digits/digit_7_a.png",
};

impl Example {
    /// The network.
    pub fn network(self) -> &'static Embedded {
        match self {
            Example::Resnet20 => &RESNET20,
            Example::Mnist => &MNIST,
        }
    }
}

impl Embedded {
    /// Its normalisation.
    pub fn preprocess(&self) -> Result<Preprocess, PreprocessFileError> {
        preprocess::parse(self.preprocess, format!("models/{}.toml", self.name))
    }
}

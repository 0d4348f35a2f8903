//! The networks that come with fhec, as bytes: a first run needs no other file.
//!
//! They are the project's own, trained by the scripts beside them; `README.md` says how well they
//! classify.

/// A network with what a compile and a first run need.
#[derive(Clone, Copy, Debug)]
pub struct Network {
    /// Its name in messages.
    pub name: &'static str,
    /// ONNX.
    pub model: &'static [u8],
    /// Ranges of its values over training images, as JSON.
    pub calibration: &'static str,
    /// Polynomials fitted to its ReLUs, as JSON.
    pub activations: Option<&'static str>,
    /// Its normalisation and its class names, as TOML.
    pub preprocess: &'static str,
    /// A picture to classify, as PNG.
    pub picture: &'static [u8],
    /// What [`Self::picture`] is called in messages.
    pub picture_name: &'static str,
}

/// A ResNet-20 on 32x32 pictures of ten classes (CIFAR-10).
pub const RESNET20: Network = Network {
    name: "resnet20",
    model: include_bytes!("../resnet20.onnx"),
    calibration: include_str!("../resnet20.calibration.json"),
    activations: Some(include_str!("../resnet20.activations.json")),
    preprocess: include_str!("../resnet20.toml"),
    picture: include_bytes!("../scenes/bird.png"),
    picture_name: "models/scenes/bird.png",
};

/// A small CNN on 28x28 handwritten digits (MNIST).
pub const MNIST_CNN: Network = Network {
    name: "mnist_cnn",
    model: include_bytes!("../mnist_cnn.onnx"),
    calibration: include_str!("../mnist_cnn.calibration.json"),
    activations: None,
    preprocess: include_str!("../mnist_cnn.toml"),
    picture: include_bytes!("../digits/digit_7_a.png"),
    picture_name: "models/digits/digit_7_a.png",
};

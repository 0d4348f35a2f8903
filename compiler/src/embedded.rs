//! The networks that come with the program: `fhec run` without a file needs no other file at all.

use fhec_models::{MNIST_CNN, Network, RESNET20};

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

impl Example {
    /// The network.
    pub fn network(self) -> &'static Network {
        match self {
            Example::Resnet20 => &RESNET20,
            Example::Mnist => &MNIST_CNN,
        }
    }
}

//! Images of a file, as a program takes them.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use anyhow::{Result, ensure};
use fhec_compiler::program::open_images;
use fhec_ir::program::Interface;

/// Which images.
#[derive(clap::Args, Debug)]
pub struct Selection {
    /// Inputs: PNG, JPEG, a folder of them, .npy, .npz, CSV, WAV, CIFAR records or MNIST IDX
    #[arg(long, value_name = "FILE")]
    pub input: PathBuf,
    #[command(flatten)]
    pub which: Which,
}

/// Which images of a file.
#[derive(clap::Args, Debug)]
pub struct Which {
    /// Which image of the file; for programs of a batch, the first one
    #[arg(long, value_name = "I", default_value_t = 0)]
    pub index: usize,
    /// How many images, up to those of the program's batch [default: all of them, as far as the
    /// file goes]
    #[arg(long, value_name = "N")]
    pub count: Option<NonZeroUsize>,
}

/// Images that go into one run.
pub struct Chosen {
    /// All of them, one after the other, as the network takes them.
    pub numbers: Vec<f32>,
    /// How many.
    pub count: usize,
}

impl Which {
    /// The images of `input` for a run of the program.
    pub fn of(&self, input: &std::path::Path, interface: &Interface) -> Result<Chosen> {
        let images = open_images(interface, input)?;
        ensure!(
            self.index < images.len(),
            "{} has {} images; there is no image {}",
            input.display(),
            images.len(),
            self.index
        );
        let whole = interface.batch.images.min(images.len() - self.index);
        let count = self.count.map_or(whole, NonZeroUsize::get);
        ensure!(
            count <= whole,
            "{count} images are too many: the program takes {} at a time, {} has {} from image {} on",
            interface.batch.images,
            input.display(),
            images.len() - self.index,
            self.index
        );
        let indices = self.index..self.index + count;
        let inputs: Vec<Vec<f32>> =
            indices.map(|index| images.input(index, &interface.preprocess)).collect::<Result<_, _>>()?;
        Ok(Chosen { numbers: inputs.concat(), count })
    }
}

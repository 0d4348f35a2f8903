//! What pixels become before the network sees them, as arguments.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::args::Numbers;
use fhec_compiler::data::{Preprocess, preprocess};

/// Said where nothing tells the normalisation.
pub const NONE_GIVEN: &str =
    "no normalisation given: pixels are only divided by 255 (see --mean, --std, --preprocess)";

/// Normalisation given on the command line, in a file, or beside the model.
#[derive(clap::Args, Debug)]
pub struct Normalisation {
    /// Means subtracted per channel, e.g. 0.485,0.456,0.406
    #[arg(long, value_name = "A,B,C", conflicts_with = "preprocess", requires = "std")]
    mean: Option<Numbers>,
    /// Standard deviations divided by per channel
    #[arg(long, value_name = "A,B,C", conflicts_with = "preprocess", requires = "mean")]
    std: Option<Numbers>,
    /// What pixels are divided by before the mean is subtracted [default: 255]
    #[arg(long, value_name = "S", conflicts_with = "preprocess")]
    scale: Option<f32>,
    /// TOML file with scale, mean, std and classes
    #[arg(long, value_name = "FILE.toml")]
    preprocess: Option<PathBuf>,
}

impl Normalisation {
    /// For the network in `model`; `None` if nothing says it.
    pub fn preprocess(&self, model: &Path) -> Result<Option<Preprocess>> {
        if let Some(path) = &self.preprocess {
            return Ok(Some(preprocess::open(path)?));
        }
        if self.mean.is_some() || self.scale.is_some() {
            let list = |numbers: &Option<Numbers>| {
                numbers.as_ref().map(|numbers| numbers.0.clone()).unwrap_or_default()
            };
            let (mean, std) = (list(&self.mean), list(&self.std));
            return Ok(Some(Preprocess::new(self.scale.unwrap_or(255.0), mean, std)?));
        }
        Ok(preprocess::beside(model)?)
    }
}

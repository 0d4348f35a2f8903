//! What pixels become before the network sees them, as arguments.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::args::Numbers;
use fhec_compiler::data::{InputLayout, PictureFit, Preprocess, preprocess};

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
    /// TOML file with scale, mean, std, classes, resize and crop
    #[arg(long, value_name = "FILE.toml")]
    preprocess: Option<PathBuf>,
    /// Scale pictures until their shorter side has so many pixels
    #[arg(long, value_name = "PIXELS")]
    resize: Option<u32>,
    /// Then cut a square of so many pixels from their middle
    #[arg(long, value_name = "PIXELS")]
    crop: Option<u32>,
    /// Where the network's input has its channels: before height and width, or last [default:
    /// guessed from the shape of the input]
    #[arg(long, value_name = "LAYOUT")]
    input_layout: Option<LayoutName>,
}

/// [`InputLayout`] on the command line.
#[derive(clap::ValueEnum, Clone, Copy, Debug)]
enum LayoutName {
    /// `[1, channels, height, width]`
    Nchw,
    /// `[1, height, width, channels]`
    Nhwc,
}

impl From<LayoutName> for InputLayout {
    fn from(name: LayoutName) -> Self {
        match name {
            LayoutName::Nchw => InputLayout::Nchw,
            LayoutName::Nhwc => InputLayout::Nhwc,
        }
    }
}

impl Normalisation {
    /// For the network in `model`, and whether anything says how pixels are normalised.
    pub fn preprocess(&self, model: &Path) -> Result<(Preprocess, bool)> {
        let given = self.given(model)?;
        let known = given.is_some();
        let preprocess = given.unwrap_or_default();
        let said = preprocess.picture_fit();
        let fit = PictureFit { resize: self.resize.or(said.resize), crop: self.crop.or(said.crop) };
        let preprocess = preprocess.with_picture_fit(fit)?;
        Ok(match self.input_layout {
            Some(layout) => (preprocess.with_input_layout(layout.into()), known),
            None => (preprocess, known),
        })
    }

    fn given(&self, model: &Path) -> Result<Option<Preprocess>> {
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

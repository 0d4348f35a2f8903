//! A compiled program as the commands use it: the artifact with its typed normalisation and plan.

use std::path::Path;

use anyhow::{Context, Result, bail};
use fhec_ir::artifact::Artifact;
use fhec_ir::interp;
use fhec_ir::plan::Plan;
use fhec_ir::tensor::Tensor;

use crate::data::{Dataset, ImageShape, Preprocess};
use crate::files::{self, Access};

/// Largest artifact file read: 1 GiB, far above any compiled CNN.
const MAX_ARTIFACT_BYTES: u64 = 1 << 30;

/// A compiled network.
#[derive(Clone, Debug)]
pub struct Program {
    /// Program, network and parameters.
    pub artifact: Artifact,
    /// What was decided and predicted.
    pub plan: Plan,
    /// From pixels to network input.
    pub preprocess: Preprocess,
}

impl Program {
    /// From an artifact whose JSON parts are still text.
    pub fn new(artifact: Artifact) -> Result<Self> {
        let plan = Plan::from_json(&artifact.plan_json).context("the artifact's plan cannot be read")?;
        let preprocess = serde_json::from_str(&artifact.preprocess_json)
            .context("the artifact's normalisation cannot be read")?;
        let program = Program { artifact, plan, preprocess };
        program.image_shape()?;
        Ok(program)
    }

    /// Reads an artifact file.
    pub fn open(path: &Path) -> Result<Self> {
        let bytes = files::read(path, MAX_ARTIFACT_BYTES)?;
        let artifact =
            Artifact::from_bytes(&bytes).with_context(|| format!("cannot load {}", path.display()))?;
        Program::new(artifact).with_context(|| format!("cannot load {}", path.display()))
    }

    /// Writes the artifact file and returns its size in bytes.
    pub fn write(&self, path: &Path) -> Result<u64> {
        let bytes = self.artifact.to_bytes();
        files::write_atomically(path, Access::Ordinary, |writer| writer.write_all(&bytes))?;
        Ok(bytes.len() as u64)
    }

    /// Shape of the images the network takes: channels, height, width.
    pub fn image_shape(&self) -> Result<ImageShape> {
        let network = &self.artifact.network;
        let &[input] = network.inputs() else {
            bail!(
                "the network has {} inputs; only networks with one image as input are run",
                network.inputs().len()
            )
        };
        match network.ty(input).shape[..] {
            [1, c, h, w] => Ok([c, h, w]),
            ref other => {
                bail!("the network's input has shape {other:?}, expected [1, channels, height, width]")
            }
        }
    }

    /// Opens images of the network's shape.
    pub fn open_images(&self, path: &Path) -> Result<Dataset> {
        Ok(Dataset::open(path, self.image_shape()?)?)
    }

    /// The plain network's logits: exact activations, single precision.
    pub fn reference_logits(&self, input: &[f32]) -> Result<Vec<f64>> {
        let [c, h, w] = self.image_shape()?;
        let image = Tensor::new([1, c, h, w], input)?;
        let outputs = interp::nn::run(&self.artifact.network, &[image])?;
        let logits = outputs.first().context("the network has no output")?;
        Ok(logits.data().iter().map(|&x| f64::from(x)).collect())
    }

    /// What class number `class` is called.
    pub fn class_name(&self, class: usize) -> String {
        self.preprocess.classes().get(class).cloned().unwrap_or_else(|| class.to_string())
    }
}

/// Index of the largest logit, the first one on a tie.
pub fn argmax(logits: &[f64]) -> usize {
    let better = |best: usize, index: usize| if logits[index] > logits[best] { index } else { best };
    (1..logits.len()).fold(0, better)
}

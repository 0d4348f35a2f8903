//! A compiled program as the commands use it: the artifact with its typed normalisation and plan.

use std::path::Path;

use anyhow::{Context, Result, bail};
use fhec_ir::artifact::Artifact;
use fhec_ir::batch::Batch;
use fhec_ir::func::Func;
use fhec_ir::interp;
use fhec_ir::nn::Nn;
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
    /// Images of one run.
    pub batch: Batch,
}

impl Program {
    /// From an artifact whose JSON parts are still text.
    pub fn new(artifact: Artifact) -> Result<Self> {
        let plan = Plan::from_json(&artifact.plan_json).context("the artifact's plan cannot be read")?;
        let preprocess = serde_json::from_str(&artifact.preprocess_json)
            .context("the artifact's normalisation cannot be read")?;
        check_network(&artifact.network, &preprocess)?;
        let batch = artifact.batch()?;
        Ok(Program { artifact, plan, preprocess, batch })
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
        image_shape(&self.artifact.network)
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

/// Shape of the images that `network` takes: channels, height, width.
///
/// # Errors
/// If it takes anything but one image.
pub fn image_shape(network: &Func<Nn>) -> Result<ImageShape> {
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

/// Checks that `network` can be run on images normalised by `preprocess`: one image goes in, of as many channels as there are means
/// and deviations, and one tensor comes out.
pub fn check_network(network: &Func<Nn>, preprocess: &Preprocess) -> Result<()> {
    let [channels, ..] = image_shape(network)?;
    preprocess.check_channels(channels).context("the normalisation does not fit the network's input")?;
    if let outputs @ ([] | [_, _, ..]) = network.outputs() {
        let names: Vec<String> = outputs
            .iter()
            .map(|&output| {
                network.value_name(output).map_or_else(|| output.to_string(), |name| format!("`{name}`"))
            })
            .collect();
        bail!(
            "the network has {} outputs ({}); only networks with one are run: export it with the one that is wanted",
            outputs.len(),
            names.join(", ")
        )
    }
    Ok(())
}

/// Index of the largest logit, the first one on a tie.
pub fn argmax(logits: &[f64]) -> usize {
    let better = |best: usize, index: usize| if logits[index] > logits[best] { index } else { best };
    (1..logits.len()).fold(0, better)
}

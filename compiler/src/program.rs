//! A compiled program as the commands use it: the artifact with its typed normalisation and plan.

use std::path::Path;

use anyhow::{Context, Result, bail};
use fhec_ir::artifact::Artifact;
use fhec_ir::batch::Batch;
use fhec_ir::func::Func;
use fhec_ir::interp;
use fhec_ir::nn::Nn;
use fhec_ir::noise::NoiseModel;
use fhec_ir::plan::Plan;
use fhec_ir::printable::make_printable;
use fhec_ir::tensor::Tensor;
use fhec_runtime::ring::Context as RingContext;

use crate::data::{Dataset, ImageShape, Preprocess};
use crate::files::{self, Access};
use crate::roles::{output_factor, output_type};

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
    /// From an artifact whose JSON parts are still text. Security is what parameters and keys say, not what the plan says, and
    /// strings lose their control characters.
    pub fn new(artifact: Artifact) -> Result<Self> {
        let mut plan = Plan::from_json(&artifact.plan_json).context("the artifact's plan cannot be read")?;
        plan.check(artifact.program.ops().len()).context("the artifact's plan cannot be used")?;
        plan.certify(&artifact.params, &artifact.certificate()?);
        let preprocess = serde_json::from_str(&artifact.preprocess_json).and_then(|mut value| {
            make_printable(&mut value);
            serde_json::from_value(value)
        });
        let preprocess = preprocess.context("the artifact's normalisation cannot be read")?;
        check_network(&artifact.network, &preprocess)?;
        let batch = artifact.batch()?;
        Ok(Program { artifact, plan, preprocess, batch })
    }

    /// Reads an artifact file, of a program that keeps at least `least_security` bits.
    pub fn open(path: &Path, least_security: u32) -> Result<Self> {
        let bytes = files::read(path, MAX_ARTIFACT_BYTES)?;
        let artifact = Artifact::from_bytes(&bytes, least_security)
            .with_context(|| format!("cannot load {}", path.display()))?;
        Program::new(artifact).with_context(|| format!("cannot load {}", path.display()))
    }

    /// Writes the artifact file and returns its size in bytes.
    pub fn write(&self, path: &Path) -> Result<u64> {
        let bytes = self.artifact.to_bytes();
        Ok(files::write_atomically(path, Access::Ordinary, |writer| writer.write_all(&bytes))?)
    }

    /// What the program's keys and ciphertexts are computed with.
    pub fn context(&self) -> Result<RingContext> {
        let encapsulation = self.artifact.encapsulation()?;
        Ok(RingContext::of_program(self.artifact.params.clone(), encapsulation.as_ref())?)
    }

    /// The distance between two logits that can be told apart for certain: six standard deviations of the error that was predicted, rounded
    /// up to a power of ten. The plan is not believed where it promises less than the rounding of one ciphertext.
    pub fn certain_step(&self) -> Result<f64> {
        let ty = output_type(&self.artifact)?;
        let model = NoiseModel::new(&self.artifact.params, ty.slots);
        let rounding = model.division(2, self.artifact.params.scale(ty.scale).to_f64()).sqrt();
        let stddev = self.plan.predicted_log2_error.exp2().max(rounding);
        let step = 6.0 * stddev * output_factor(&self.artifact)?.abs();
        // A plan may say anything, and rounding to infinity is no rounding.
        Ok(if step.is_finite() && step > 0.0 { 10f64.powf(step.log10().ceil()) } else { 1.0 })
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

/// `logit` as a multiple of `step`, a power of ten: no digit more than it has.
pub fn rounded(logit: f64, step: f64) -> f64 {
    let decimals = (-step.log10().round()).max(0.0) as usize;
    let rounded = (logit / step).round() * step;
    // Through text: 0.1 times an integer has digits that nobody computed.
    format!("{rounded:.decimals$}").parse().unwrap_or(rounded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logits_lose_the_digits_that_are_not_certain() {
        assert_eq!(rounded(12.345_678, 0.1), 12.3);
        assert_eq!(rounded(-0.049, 0.1), 0.0);
        assert_eq!(rounded(-12.36, 0.01), -12.36);
        assert_eq!(rounded(1234.5, 100.0), 1200.0);
        assert_eq!(rounded(3.0e-4, 1e-4), 3.0e-4);
        assert!(rounded(f64::NAN, 0.1).is_nan());
    }
}

//! Answers of the compiled program on slots with modelled noise, or exact ones.

use fhec_ir::artifact::Artifact;
use fhec_ir::layout::Layout;
use fhec_runtime::exec::clear::Clear;
use fhec_runtime::exec::noisy::{EncryptionKind, Simulation};
use fhec_runtime::exec::{self};

use crate::roles::RoleError;

/// Runs one compiled program on many images; shared by all threads.
pub struct Simulator<'a> {
    artifact: &'a Artifact,
    input: Layout,
    output: Layout,
    factor: f64,
    noisy: Option<Simulation<'a>>,
}

impl<'a> Simulator<'a> {
    /// A simulator of `artifact`'s program; `exact` leaves the noise out.
    pub fn new(artifact: &'a Artifact, exact: bool) -> Result<Self, RoleError> {
        Ok(Simulator {
            artifact,
            input: crate::roles::input_layout(artifact)?,
            output: crate::roles::output_layout(artifact)?,
            factor: crate::roles::output_factor(artifact)?,
            noisy: (!exact).then(|| Simulation::new(&artifact.program, &artifact.params)),
        })
    }

    /// The logits that decrypting the answer for `image` (preprocessed, `[c][y][x]`) would give. The same seed gives
    /// the same noise.
    pub fn logits(&self, image: &[f32], seed: u64) -> Result<Vec<f64>, RoleError> {
        if image.len() != self.input.elements() {
            return Err(RoleError::ImageSize { expected: self.input.elements(), found: image.len() });
        }
        let program = &self.artifact.program;
        let &[input] = program.inputs() else {
            return Err(RoleError::Program { what: "input", reason: "there is not exactly one".into() });
        };
        let elements: Vec<f64> = image.iter().map(|&x| f64::from(x)).collect();
        let slots = self.input.pack(&elements);
        let outputs = match &self.noisy {
            Some(simulation) => {
                let run = simulation.run(seed);
                let encrypted = run.encrypt(0, program.ty(input), slots, EncryptionKind::SecretKey);
                exec::execute(program, &run, vec![encrypted], &mut ())?
            }
            None => exec::execute(program, &Clear, vec![slots], &mut ())?,
        };
        let [output] = outputs.as_slice() else {
            return Err(RoleError::Program { what: "output", reason: "there is not exactly one".into() });
        };
        Ok(self.output.unpack(output).iter().map(|slot| slot * self.factor).collect())
    }
}

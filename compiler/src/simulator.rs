//! Answers of the compiled program on slots with modelled noise, or exact ones.

use std::collections::BTreeMap;
use std::sync::Arc;

use fhec_ir::artifact::Artifact;
use fhec_ir::batch::Batch;
use fhec_ir::entity::Value;
use fhec_ir::interp::Bundle;
use fhec_ir::layout::Layout;
use fhec_runtime::exec::clear::Clear;
use fhec_runtime::exec::noisy::{EncryptionKind, Simulation};
use fhec_runtime::exec::{self, Control, Overflow};

use crate::roles::RoleError;

/// Runs one compiled program on many images; shared by all threads.
pub struct Simulator<'a> {
    artifact: &'a Artifact,
    output: Layout,
    batch: Batch,
    factor: f64,
    clear: Clear,
    noisy: Option<Simulation>,
}

/// What a simulated run answers.
#[derive(Clone, Debug, PartialEq)]
pub struct Simulated {
    /// What decrypting the answer would give, image after image for programs of a batch.
    pub logits: Vec<f64>,
    /// Operands that were outside the range of what was done to them; empty for runs without noise, which do not look.
    pub overflows: Vec<Overflow>,
}

impl<'a> Simulator<'a> {
    /// A simulator of `artifact`'s program; `exact` leaves the noise out.
    pub fn new(artifact: &'a Artifact, exact: bool) -> Result<Self, RoleError> {
        let program = Arc::new(artifact.program.clone());
        Ok(Simulator {
            artifact,
            output: crate::roles::output_layout(artifact)?,
            batch: artifact.batch()?,
            factor: crate::roles::output_factor(artifact)?,
            noisy: (!exact).then(|| Simulation::new(&program, &artifact.params)),
            clear: Clear::new(&program),
        })
    }

    /// The logits that decrypting the answer for `image` (preprocessed, `[c][y][x]`) would give; images of a batch come one after the
    /// other. The same seed gives the same noise.
    pub fn logits(&self, image: &[f32], seed: u64) -> Result<Vec<f64>, RoleError> {
        Ok(self.answer(image, seed)?.logits)
    }

    /// [`Simulator::logits`] with what an encrypted run could not tell.
    pub fn answer(&self, image: &[f32], seed: u64) -> Result<Simulated, RoleError> {
        self.answer_from(image, seed, BTreeMap::new(), &mut |_, _| ())
    }

    /// [`Simulator::answer`] with values of the program that are `known`; ops before them are not run, all others have the noise they
    /// have otherwise. `seen` is shown every value that is computed.
    pub fn answer_from(
        &self,
        image: &[f32],
        seed: u64,
        known: BTreeMap<Value, Bundle>,
        seen: &mut dyn FnMut(Value, &Bundle),
    ) -> Result<Simulated, RoleError> {
        let slots = crate::roles::input_slots(self.artifact, image)?;
        let program = &self.artifact.program;
        let &[input] = program.inputs() else {
            return Err(RoleError::Program { what: "input", reason: "there is not exactly one".into() });
        };
        let (mut seen, control) = (exec::seen(seen), Control::default());
        let (outputs, overflows) = match &self.noisy {
            Some(simulation) => {
                let run = simulation.run(seed);
                let encrypted = run.encrypt(0, program.ty(input), slots, EncryptionKind::SecretKey);
                let outputs = exec::execute_from(&run, vec![encrypted], known, &control, &mut (), &mut seen)?;
                (outputs, run.overflows())
            }
            None => {
                let outputs =
                    exec::execute_from(&self.clear, vec![slots], known, &control, &mut (), &mut seen)?;
                (outputs, Vec::new())
            }
        };
        let [output] = outputs.as_slice() else {
            return Err(RoleError::Program { what: "output", reason: "there is not exactly one".into() });
        };
        let stored = self.batch.unpack(&self.output, output)?;
        let logits = stored.iter().map(|slot| slot * self.factor).collect();
        Ok(Simulated { logits, overflows })
    }
}

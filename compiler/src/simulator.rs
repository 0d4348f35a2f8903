//! Answers of the compiled program on slots with modelled noise, or exact ones.

use std::collections::BTreeMap;
use std::sync::Arc;

use fhec_ir::entity::Value;
use fhec_ir::interp::Bundle;
use fhec_ir::noise::EncryptionKind;
use fhec_ir::program::Program;
use fhec_runtime::exec::clear::Clear;
use fhec_runtime::exec::noisy::Simulation;
use fhec_runtime::exec::{self, Control, Overflow};

use fhec_roles::RoleError;

/// Runs one compiled program on many images; shared by all threads.
pub struct Simulator {
    program: Arc<Program>,
    clear: Clear,
    noisy: Option<Simulation>,
    control: Control,
}

/// What a simulated run answers.
#[derive(Clone, Debug, PartialEq)]
pub struct Simulated {
    /// What decrypting the answer would give: per output its numbers, image after image for
    /// programs of a batch.
    pub outputs: Vec<Vec<f64>>,
    /// Operands that were outside the range of what was done to them; empty for runs without noise,
    /// which do not look.
    pub overflows: Vec<Overflow>,
}

impl Simulated {
    /// The numbers of the first output.
    pub fn logits(&self) -> &[f64] {
        self.outputs.first().map_or(&[], Vec::as_slice)
    }
}

impl Simulator {
    /// A simulator of `program`; `exact` leaves the noise out.
    pub fn new(program: &Arc<Program>, exact: bool) -> Self {
        let schedule = Arc::new(program.schedule.clone());
        Simulator {
            program: Arc::clone(program),
            noisy: (!exact).then(|| Simulation::new(&schedule, &program.interface.params)),
            clear: Clear::new(&schedule),
            control: Control::default(),
        }
    }

    /// The same, whose runs end where `control` says so.
    #[must_use]
    pub fn under(self, control: Control) -> Self {
        Simulator { control, ..self }
    }

    /// The logits that decrypting the answer for `image` (preprocessed, `[c][y][x]`) would give;
    /// images of a batch come one after the other. The same seed gives the same noise.
    pub fn logits(&self, image: &[f32], seed: u64) -> Result<Vec<f64>, RoleError> {
        Ok(self.answer(image, seed)?.logits().to_vec())
    }

    /// [`Simulator::logits`] with what an encrypted run could not tell.
    pub fn answer(&self, image: &[f32], seed: u64) -> Result<Simulated, RoleError> {
        self.answer_from(image, seed, BTreeMap::new(), &mut |_, _| ())
    }

    /// [`Simulator::answer`] with values of the program that are `known`; ops before them are not
    /// run, all others have the noise they have otherwise. `seen` is shown every value that is
    /// computed.
    pub fn answer_from(
        &self,
        image: &[f32],
        seed: u64,
        known: BTreeMap<Value, Bundle>,
        seen: &mut dyn FnMut(Value, &Bundle),
    ) -> Result<Simulated, RoleError> {
        let interface = &self.program.interface;
        let slots = interface.pack(image)?;
        let (mut seen, control) = (exec::seen(seen), &self.control);
        let (outputs, overflows) = match &self.noisy {
            Some(simulation) => {
                let run = simulation.run(seed);
                let encrypted = run.encrypt(0, &interface.input.ty, slots, EncryptionKind::SecretKey);
                let outputs = exec::execute_from(&run, vec![encrypted], known, control, &mut (), &mut seen)?;
                (outputs, run.overflows())
            }
            None => {
                let outputs =
                    exec::execute_from(&self.clear, vec![slots], known, control, &mut (), &mut seen)?;
                (outputs, Vec::new())
            }
        };
        let ports = interface.outputs.iter().zip(&outputs);
        let outputs = ports.map(|(port, slots)| interface.unpack(port, slots)).collect::<Result<_, _>>();
        Ok(Simulated { outputs: outputs?, overflows })
    }
}

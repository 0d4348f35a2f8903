//! Which layer makes the compiled program give another class than the plain network.
//!
//! For an image whose classes differ, the program is run again with the results of its first k
//! layers replaced by what they should be, for k from all layers down to none, until the class is
//! wrong: layer k then flips it, what comes after being as compiled and what comes before without
//! fault.
//!
//! The cause is *approximation* where the program without noise gives another class than the plain
//! network; what layers should be is then what the plain network computes, and no run has noise. It
//! is *noise* where the class is right without; what layers should be is then what they are without
//! noise, and the runs have the noise of the one that went wrong, draw by draw.

use std::collections::BTreeMap;
use std::sync::Arc;

use fhec_ir::entity::Value;
use fhec_ir::interp::Bundle;
use fhec_ir::program::Program;
use serde::{Deserialize, Serialize};

use crate::error::RehearsalError;
use crate::layer_values::Layers;
use crate::program::argmax;
use crate::simulator::Simulator;

/// What flips a class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cause {
    /// An activation is not what the plain network has.
    Approximation,
    /// The noise of encryption, bootstraps included.
    Noise,
}

impl Cause {
    /// As reports have it.
    pub fn name(self) -> &'static str {
        match self {
            Cause::Approximation => "approximation",
            Cause::Noise => "noise",
        }
    }
}

/// What flips the class of one image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blame {
    /// Why.
    pub cause: Cause,
    /// The layer, by its name in the model file.
    pub layer: String,
}

/// Finds what flips classes; shared by all threads.
pub struct Blamer<'a> {
    layers: Layers<'a>,
    clear: Simulator,
    noisy: &'a Simulator,
}

impl<'a> Blamer<'a> {
    /// For `program`, which `noisy` simulates.
    pub fn new(program: &'a Arc<Program>, noisy: &'a Simulator) -> Result<Self, RehearsalError> {
        Ok(Blamer { layers: Layers::of(program)?, clear: Simulator::new(program, true), noisy })
    }

    /// What makes the simulator give `image` with `seed` another class than `expected`, that of the
    /// plain network; `None` if it does not.
    pub fn blame(&self, image: &[f32], seed: u64, expected: usize) -> Result<Option<Blame>, RehearsalError> {
        let mut seen: BTreeMap<Value, Bundle> =
            self.layers.iter().map(|layer| (layer.value, Bundle::new())).collect();
        let answer = self.clear.answer_from(image, seed, BTreeMap::new(), &mut |value, slots| {
            if let Some(kept) = seen.get_mut(&value) {
                kept.clone_from(slots);
            }
        })?;
        let (cause, simulator, faultless): (_, _, Vec<Bundle>) = if argmax(answer.logits()) != expected {
            let plain = self.layers.plain(image)?;
            let packed = self.layers.iter().zip(plain).map(|(layer, elements)| layer.pack(elements));
            (Cause::Approximation, &self.clear, packed.collect())
        } else {
            let kept = self.layers.iter().map(|layer| seen.remove(&layer.value).unwrap_or_default());
            (Cause::Noise, self.noisy, kept.collect())
        };
        let layers: Vec<_> = self.layers.iter().collect();
        // What was executed together with its rescale was not seen, and cannot be replaced.
        let known = layers.iter().map(|layer| layer.value).zip(faultless);
        let mut known: BTreeMap<Value, Bundle> = known.filter(|(_, slots)| !slots.is_empty()).collect();
        for layer in layers.iter().rev() {
            known.remove(&layer.value);
            let answer = simulator.answer_from(image, seed, known.clone(), &mut |_, _| ())?;
            if argmax(answer.logits()) != expected {
                return Ok(Some(Blame { cause, layer: layer.stored.name.clone() }));
            }
        }
        Ok(None)
    }
}

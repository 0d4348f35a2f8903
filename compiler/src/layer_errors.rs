//! Errors of an encrypted run, layer by layer: what encryption does, what was predicted of it, and
//! what approximation does.
//!
//! Whoever looks into a run needs the secret key, so this is for the owner of the key, on their own
//! machine.

use std::collections::BTreeMap;
use std::sync::Arc;

use fhec_ir::entity::Value;
use fhec_ir::interp::Bundle;
use fhec_ir::noise::EncryptionKind;
use fhec_ir::plan::log2_error;
use fhec_passes::analysis::circuit_shapes::CircuitShapes;
use fhec_passes::analysis::noise::{ValueNoise, noise};
use fhec_runtime::exec::Witness;
use fhec_runtime::rlwe::Ciphertext;
use serde::Serialize;

use crate::error::RehearsalError;
use crate::layer_values::Layers;
use crate::simulator::Simulator;
use fhec_ir::program::Program;
use fhec_roles::{Client, RoleError};

/// Bits below the layer's largest value: `-log2` of an error over it; infinite (`null` in JSON)
/// where there is no error.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Bits {
    /// Of the root mean square of all elements' errors.
    pub mean: f64,
    /// Of the largest error.
    pub worst: f64,
}

/// The errors of one layer. They are those of stored values, in which channels are scaled to be of
/// the same size.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LayerError {
    /// Its name in the model file.
    pub name: String,
    /// The largest absolute value that the plain network would store, which errors are relative to.
    pub largest: f64,
    /// Encrypted against the same program without noise.
    pub noise: Bits,
    /// Simulated with noise, against the same.
    pub simulated: Bits,
    /// What the estimate predicts for the mean of both: the plan's, but that the image is encrypted
    /// with the secret key.
    pub predicted: f64,
    /// The program without noise against the plain network.
    pub approximation: Bits,
    /// Encrypted against the plain network.
    pub total: Bits,
}

/// Decrypts the layers of runs of one program.
pub struct Inspector<'a> {
    layers: Layers<'a>,
    clear: Simulator,
    noisy: Simulator,
    /// By value of the schedule.
    predicted: Vec<ValueNoise>,
}

/// What the layers of one run held.
pub struct Seen<'a> {
    client: &'a Client,
    slots: BTreeMap<Value, Option<Result<Bundle, RoleError>>>,
}

impl Witness<Vec<Ciphertext>> for Seen<'_> {
    /// Takes note of `value` if it is a layer's.
    fn computed(&mut self, value: Value, ciphertexts: &Vec<Ciphertext>) {
        if let Some(slots) = self.slots.get_mut(&value) {
            *slots = Some(self.client.decrypt_slots(ciphertexts));
        }
    }
}

impl<'a> Inspector<'a> {
    /// For runs of `program`.
    pub fn new(program: &'a Arc<Program>) -> Result<Self, RehearsalError> {
        let (clear, noisy) = (Simulator::new(program, true), Simulator::new(program, false));
        let params = &program.interface.params;
        let mut shapes = CircuitShapes::default();
        let predicted = noise(&program.schedule, params, EncryptionKind::SecretKey, &mut shapes);
        Ok(Inspector { layers: Layers::of(program)?, clear, noisy, predicted })
    }

    /// An empty record of a run with the keys of `client`.
    pub fn seen<'c>(&self, client: &'c Client) -> Seen<'c> {
        Seen { client, slots: self.layers.iter().map(|layer| (layer.value, None)).collect() }
    }

    /// The errors of a run on `image` (preprocessed, `[c][y][x]`) in which `seen` was seen; the
    /// simulation's noise is of `seed`.
    pub fn errors(
        &self,
        image: &[f32],
        seed: u64,
        seen: Seen<'_>,
    ) -> Result<Vec<LayerError>, RehearsalError> {
        let (clear, noisy) =
            (self.simulated(&self.clear, image, seed)?, self.simulated(&self.noisy, image, seed)?);
        let plain = self.layers.plain(image)?;
        let mut encrypted = seen.slots;
        let mut errors = Vec::new();
        for (layer, plain) in self.layers.iter().zip(plain) {
            let decrypted = encrypted.remove(&layer.value).flatten();
            // What was executed together with its rescale was not seen.
            let (Some(decrypted), Some(clear), Some(noisy)) =
                (decrypted, clear.get(&layer.value), noisy.get(&layer.value))
            else {
                continue;
            };
            let name = &layer.stored.name;
            let decrypted =
                decrypted.map_err(|source| RehearsalError::Decrypt { layer: name.clone(), source })?;
            let stored = |slots: &Bundle| layer.layout.unpack(slots);
            let (encrypted, clear, noisy) = (stored(&decrypted), stored(clear), stored(noisy));
            let plain = layer.stored(plain);
            let largest = plain.iter().fold(0.0f64, |largest, x| largest.max(x.abs()));
            errors.push(LayerError {
                name: name.clone(),
                largest,
                noise: bits(&encrypted, &clear, largest),
                simulated: bits(&noisy, &clear, largest),
                predicted: largest.log2() - log2_error(self.predicted[layer.value.index()].stddev),
                approximation: bits(&clear, &plain, largest),
                total: bits(&encrypted, &plain, largest),
            });
        }
        Ok(errors)
    }

    fn simulated(
        &self,
        simulator: &Simulator,
        image: &[f32],
        seed: u64,
    ) -> Result<BTreeMap<Value, Bundle>, RoleError> {
        let mut found = BTreeMap::new();
        let wanted: Vec<Value> = self.layers.iter().map(|layer| layer.value).collect();
        simulator.answer_from(image, seed, BTreeMap::new(), &mut |value, slots| {
            if wanted.contains(&value) {
                found.insert(value, slots.clone());
            }
        })?;
        Ok(found)
    }
}

/// How far `found` is from `expected`, relative to `largest`.
fn bits(found: &[f64], expected: &[f64], largest: f64) -> Bits {
    let errors = || found.iter().zip(expected).map(|(a, b)| (a - b).abs());
    let square = errors().map(|error| error * error).sum::<f64>() / found.len().max(1) as f64;
    // A NaN must not vanish in a maximum.
    let worst =
        errors().fold(0.0, |worst: f64, error| if error > worst || error.is_nan() { error } else { worst });
    Bits { mean: (largest / square.sqrt()).log2(), worst: (largest / worst).log2() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_relative_to_the_largest_value() {
        let found = bits(&[1.0, 2.0, 3.0, 4.0], &[1.0, 2.0, 3.0, 4.25], 4.0);
        assert_eq!((found.mean, found.worst), (5.0, 4.0));
        assert_eq!(bits(&[1.0], &[1.0], 1.0).worst, f64::INFINITY);
        assert!(bits(&[f64::NAN, 1.0], &[1.0, 1.0], 1.0).worst.is_nan());
    }
}

//! Encapsulation keys as bytes; the frame is that of [`crate::rlwe::wire`].
//!
//! The header has the Hamming weight of the ephemeral secret, the level, the rotations and number
//! of special primes of the keys back, and the seeds of the uniform halves; the body has the other
//! halves, in Montgomery form: of the key to the ephemeral secret, then of the keys back in order
//! of their rotations.

use fhec_ir::bootstrap::BootstrapParams;
use rayon::prelude::*;

use super::keys::{EncapsulationKeys, PairKey, ephemeral_context, rotation_seed};
use crate::error::FormatError;
use crate::ring::{Basis, Context};
use crate::rlwe::wire::frame::{Header, Kind, check_length, damaged, open, seal, seed};
use crate::rlwe::wire::packing::{pack, packed_len, primes, unpack_polys};

const KIND: Kind = Kind::EncapsulationKeys;

/// More rotations than any first matrix has: its diagonals are a power of two of butterflies.
const MAX_ROTATIONS: usize = 1 << 10;

/// Bytes of the bodies: of the key to the ephemeral secret, of one key back over `basis`.
fn body_lens(context: &Context, small: &Context, basis: Basis) -> [usize; 2] {
    let len = |context: &Context, basis| packed_len(context, &primes(context, basis, 1));
    [len(small, small.extended_basis(0)), len(context, basis)]
}

impl EncapsulationKeys {
    /// The keys as bytes. The ephemeral secret is not among them: nobody has it any more.
    pub fn to_bytes(&self, context: &Context) -> Vec<u8> {
        let header = Header {
            level: self.level.into(),
            uniform_seed: self.uniform_seed.to_vec(),
            ephemeral_seed: self.to_ephemeral.uniform_seed.to_vec(),
            ephemeral_weight: self.hamming_weight,
            special: self.special as u32,
            rotations: self.rotations().map(|steps| steps as u32).collect(),
            ..Header::new(context, self.id)
        };
        let packed = |context: &Context, key: &PairKey| {
            pack(context, &primes(context, key.body.basis(), 1), key.body.data())
        };
        let to = packed(&self.small, &self.to_ephemeral);
        let from = self.from_ephemeral.values().map(|key| packed(context, key));
        let bodies: Vec<Vec<u8>> = [to].into_iter().chain(from).collect();
        seal(KIND, &header, &bodies.concat())
    }

    /// Reads encapsulation keys and expands their uniform halves.
    pub fn from_bytes(context: &Context, bytes: &[u8]) -> Result<Self, FormatError> {
        let (header, body) = open(context, KIND, bytes)?;
        let (id, level) = (header.key(KIND)?, header.level(context, KIND)?);
        let (uniform_seed, to_seed) = (header.uniform_seed(KIND)?, seed(KIND, &header.ephemeral_seed)?);
        let hamming_weight = header.ephemeral_weight;
        let small = ephemeral_context(context, hamming_weight)
            .map_err(|error| damaged(KIND, &format!("its ephemeral secret is impossible: {error}")))?;
        let special = header.special as usize;
        let params = context.params();
        if !(BootstrapParams::raising_special_primes(params)..=params.p().len()).contains(&special) {
            return Err(damaged(KIND, "its keys have more special primes than there are, or too few"));
        }
        let rotations: Vec<usize> = header.rotations.iter().map(|&steps| steps as usize).collect();
        let ascending = rotations.is_sorted_by(|a, b| a < b);
        let slots = context.params().slots();
        if !ascending || rotations.len() > MAX_ROTATIONS || rotations.last().is_none_or(|&last| last >= slots)
        {
            return Err(damaged(KIND, "its rotations are not some of those there are, in order"));
        }
        let basis = context.key_basis(level).with_special(special);
        let [to_len, from_len] = body_lens(context, &small, basis);
        check_length(KIND, to_len + rotations.len() * from_len, body.len())?;
        let (to_body, from_bodies) = body.split_at(to_len);
        let half = |context: &Context, basis, body| -> Result<_, FormatError> {
            Ok(unpack_polys(context, KIND, basis, 1, body)?.remove(0))
        };
        let to_ephemeral =
            PairKey::from_body(&small, to_seed, half(&small, small.extended_basis(0), to_body)?);
        let from_ephemeral = rotations.into_par_iter().zip(from_bodies.par_chunks_exact(from_len));
        let from_ephemeral = from_ephemeral.map(|(steps, body)| -> Result<_, FormatError> {
            let seed = rotation_seed(&uniform_seed, steps);
            Ok((steps, PairKey::from_body(context, seed, half(context, basis, body)?)))
        });
        let from_ephemeral = from_ephemeral.collect::<Result<_, _>>()?;
        Ok(EncapsulationKeys {
            id,
            hamming_weight,
            small,
            to_ephemeral,
            from_ephemeral,
            uniform_seed,
            level,
            special,
        })
    }

    /// Most bytes that the body can have with these parameters.
    pub(crate) fn max_body_len(context: &Context) -> usize {
        // Both primes of the small ring are primes of the large one.
        let most = packed_len(context, &primes(context, context.key_basis(context.params().top_level()), 1));
        most.saturating_mul(1 + MAX_ROTATIONS)
    }
}

//! Encapsulation keys as bytes; the frame is that of [`crate::rlwe::wire`].
//!
//! The header has the Hamming weight of the ephemeral secret, the level, and the seeds of both uniform halves; the body has
//! the other halves, in Montgomery form: of the key to the ephemeral secret, then of the key back.

use super::keys::{EncapsulationKeys, PairKey, ephemeral_context};
use crate::error::FormatError;
use crate::ring::Context;
use crate::rlwe::wire::frame::{Header, Kind, check_length, damaged, open, seal, seed};
use crate::rlwe::wire::packing::{pack, packed_len, primes, unpack_polys};

const KIND: Kind = Kind::EncapsulationKeys;

/// Bytes of the body of keys up to `level`: of both halves.
fn body_lens(context: &Context, small: &Context, level: u16) -> [usize; 2] {
    let len =
        |context: &Context, level| packed_len(context, &primes(context, context.extended_basis(level), 1));
    [len(small, 0), len(context, level)]
}

impl EncapsulationKeys {
    /// The keys as bytes. The ephemeral secret is not among them: nobody has it any more.
    pub fn to_bytes(&self, context: &Context) -> Vec<u8> {
        let header = Header {
            level: self.level.into(),
            uniform_seed: self.from_ephemeral.uniform_seed.to_vec(),
            ephemeral_seed: self.to_ephemeral.uniform_seed.to_vec(),
            ephemeral_weight: self.hamming_weight,
            ..Header::new(context, self.id)
        };
        let packed = |context: &Context, key: &PairKey| {
            pack(context, &primes(context, key.body.basis(), 1), key.body.data())
        };
        let bodies = [packed(&self.small, &self.to_ephemeral), packed(context, &self.from_ephemeral)];
        seal(KIND, &header, &bodies.concat())
    }

    /// Reads encapsulation keys and expands their uniform halves.
    pub fn from_bytes(context: &Context, bytes: &[u8]) -> Result<Self, FormatError> {
        let (header, body) = open(context, KIND, bytes)?;
        let (id, level) = (header.key(KIND)?, header.level(context, KIND)?);
        let (from_seed, to_seed) = (header.uniform_seed(KIND)?, seed(KIND, &header.ephemeral_seed)?);
        let hamming_weight = header.ephemeral_weight;
        let small = ephemeral_context(context, hamming_weight)
            .map_err(|error| damaged(KIND, &format!("its ephemeral secret is impossible: {error}")))?;
        let [to_len, from_len] = body_lens(context, &small, level);
        check_length(KIND, to_len + from_len, body.len())?;
        let (to_body, from_body) = body.split_at(to_len);
        let half = |context: &Context, level, body| -> Result<_, FormatError> {
            Ok(unpack_polys(context, KIND, context.extended_basis(level), 1, body)?.remove(0))
        };
        let to_ephemeral = PairKey::from_body(&small, to_seed, half(&small, 0, to_body)?);
        let from_ephemeral = PairKey::from_body(context, from_seed, half(context, level, from_body)?);
        Ok(EncapsulationKeys { id, hamming_weight, small, to_ephemeral, from_ephemeral, level })
    }

    /// Most bytes that the body can have with these parameters.
    pub(crate) fn max_body_len(context: &Context) -> usize {
        // Both primes of the small ring are primes of the large one.
        2 * packed_len(context, &primes(context, context.extended_basis(context.params().top_level()), 1))
    }
}

//! Plaintexts whose slots repeat with a short period, kept and transformed at the size of the
//! period.
//!
//! A message that repeats every `p` of N/2 slots is encoded by a polynomial in `Y = X^c`, `c = N /
//! 2p`: its residues are a transform of degree `2p`, each value standing at `c` places of the full
//! one. Encoding costs `1/c` of a full one, and so does the memory: diagonals of linear maps are
//! mostly such plaintexts.

use std::fmt;
use std::sync::Arc;

use fhec_ir::scale::Level;
use rayon::prelude::*;

use super::compact::CompactPlaintext;
use super::encoder::Encoder;
use super::eval::lazy::{ExtendedFactor, FACTOR_BLOCK};
use super::plaintext::Complex;
use super::subring::{Subring, Subrings};
use crate::error::EvalError;
use crate::kernels::{self, Buffer, MIN_LOG_N};
use crate::names::PlaintextScale;
use crate::ring::packed::PackedLimbs;
use crate::ring::{Basis, Context};

/// A message in Montgomery form over the extended basis, kept at the size of its period and packed:
/// a factor for sums of products.
#[derive(Clone)]
pub struct Factor {
    subring: Arc<Subring>,
    /// `[limb][evaluation]`, those of every block of the ring once: [`Subring::distinct_into`].
    residues: Arc<PackedLimbs>,
    basis: Basis,
    level: Level,
    scale: PlaintextScale,
    slots: usize,
}

impl Factor {
    /// Bytes of residues.
    pub fn bytes(&self) -> usize {
        self.residues.bytes()
    }
}

impl fmt::Debug for Factor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Factor");
        out.field("level", &self.level).field("slots", &self.slots).finish_non_exhaustive()
    }
}

/// Encodes factors at the size of their period. Clones share the tables of the embedding and of
/// subrings.
#[derive(Clone, Debug)]
pub struct FactorEncoder {
    encoder: Encoder,
    subrings: Arc<Subrings>,
}

impl FactorEncoder {
    /// An encoder of `context`.
    pub fn new(context: &Arc<Context>) -> Self {
        FactorEncoder { encoder: Encoder::new(context), subrings: Arc::default() }
    }

    /// The encoder of plain messages.
    pub fn encoder(&self) -> &Encoder {
        &self.encoder
    }

    /// Ring degree in which a message of period `period` is encoded. The smallest transform limits
    /// it from below; for all of the ring there is nothing to gain.
    fn log_degree(&self, period: usize) -> u32 {
        (period.trailing_zeros() + 1).clamp(MIN_LOG_N, self.encoder.context().params().log_n())
    }

    /// Encodes real numbers that repeat over all N/2 slots; their number is a power of two. The
    /// result is a factor at `level` at the scale given, extended and in Montgomery form. *Error*:
    /// as that of [`Encoder::encode`].
    pub fn encode(&self, values: &[f64], level: Level, scale: PlaintextScale) -> Result<Factor, EvalError> {
        self.encode_parts(values.to_vec(), vec![0.0; values.len()], level, scale)
    }

    /// [`Self::encode`] for complex numbers.
    pub fn encode_complex(
        &self,
        values: &[Complex],
        level: Level,
        scale: PlaintextScale,
    ) -> Result<Factor, EvalError> {
        let (re, im) = values.iter().map(|z| (z.re, z.im)).unzip();
        self.encode_parts(re, im, level, scale)
    }

    /// Encodes real numbers that repeat over all N/2 slots, as integers: a factor of
    /// [`CompactPlaintext`]'s kind, in 4 or 8 bytes per coefficient as `word_bytes` says, or 8
    /// where they do not fit into 4. *Error*: as that of [`Encoder::encode`].
    pub fn encode_compact(
        &self,
        values: &[f64],
        level: Level,
        scale: PlaintextScale,
        word_bytes: usize,
    ) -> Result<CompactPlaintext, EvalError> {
        let coefficients =
            self.encoder.coefficients(values.to_vec(), vec![0.0; values.len()], level, scale)?;
        let subring = self.subrings.get(self.encoder.context(), self.log_degree(values.len()));
        let slots = values.len();
        Ok(CompactPlaintext::new(subring, &coefficients, level, scale, slots, word_bytes))
    }

    fn encode_parts(
        &self,
        re: Vec<f64>,
        im: Vec<f64>,
        level: Level,
        scale: PlaintextScale,
    ) -> Result<Factor, EvalError> {
        let slots = re.len();
        let context = self.encoder.context();
        // Numbers of slots that are no power of two are refused there.
        let coefficients = self.encoder.coefficients(re, im, level, scale)?;
        let subring = self.subrings.get(context, self.log_degree(slots));
        let degree = subring.degree();
        let mut carried = Buffer::zeroed(degree);
        coefficients.write(&mut carried);
        let basis = context.key_basis(level);
        let mut residues = PackedLimbs::zeroed(context, basis, subring.distinct());
        residues.limbs_mut().into_par_iter().for_each(|(limb, bits, words)| {
            let prime = context.prime(basis, limb);
            let modulus = context.modulus(prime);
            let mut values = context.pool().take(degree);
            let mut distinct = context.pool().take(subring.distinct());
            kernels::reduce_into(context.isa(), &mut values, &carried, self.encoder.carrier(), modulus);
            subring.transform(context, prime).forward(context.isa(), &mut values);
            let factor = modulus.to_montgomery(coefficients.unit(modulus));
            kernels::mul_scalar_assign(context.isa(), &mut values, factor, modulus);
            subring.distinct_into(&mut distinct, &values);
            kernels::pack_into(words, &distinct, bits);
        });
        Ok(Factor { subring, residues: Arc::new(residues), basis, level, scale, slots })
    }
}

impl ExtendedFactor for Factor {
    fn level(&self) -> Level {
        self.level
    }

    fn basis(&self) -> Basis {
        self.basis
    }

    fn scale(&self) -> PlaintextScale {
        self.scale
    }

    fn slots(&self) -> usize {
        self.slots
    }

    fn is_extended(&self) -> bool {
        true
    }

    fn block<'s>(
        &'s self,
        context: &Context,
        basis: Basis,
        limb: usize,
        start: usize,
        scratch: &'s mut [u64],
    ) -> &'s [u64] {
        let (isa, repeat) = (context.isa(), self.subring.log_distinct_repeat());
        let (words, bits) = self.residues.limb(self.basis.limb_of(basis, limb));
        if repeat == 0 {
            kernels::unpack_into(isa, scratch, words, bits, start);
            return scratch;
        }
        let mut values = [0; FACTOR_BLOCK / 2];
        let values = &mut values[..scratch.len() >> repeat];
        kernels::unpack_into(isa, values, words, bits, start >> repeat);
        kernels::repeat_into(isa, scratch, values, repeat);
        scratch
    }
}

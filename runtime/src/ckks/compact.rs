//! Plaintexts kept as integers: what is left of a factor that has to be small rather than ready.
//!
//! Residues in evaluation order take 8 bytes per prime and coefficient of the period. The integers
//! they come from take 4 or 8 bytes whatever the number of primes, and serve every level below; one
//! transform of the size of the period per prime makes residues of them. Where a factor would be
//! read from memory as residues, that costs about as much as reading it.

use std::sync::Arc;

use fhec_ir::scale::Level;

use super::encoder::Coefficients;
use super::subring::Subring;
use crate::kernels;
use crate::names::PlaintextScale;
use crate::ring::Context;

/// The coefficients of a message that repeats with the period of a subring, as integers.
#[derive(Clone, Debug)]
pub struct CompactPlaintext {
    subring: Arc<Subring>,
    integers: Arc<Integers>,
    /// `log2` of what the integers are multiples of; above 0 only beyond 2^59.
    exponent: i32,
    level: Level,
    scale: PlaintextScale,
    slots: usize,
}

#[derive(Debug)]
enum Integers {
    Narrow(Vec<i32>),
    Wide(Vec<i64>),
}

impl CompactPlaintext {
    pub(super) fn new(
        subring: Arc<Subring>,
        coefficients: &Coefficients,
        level: Level,
        scale: PlaintextScale,
        slots: usize,
        word_bytes: usize,
    ) -> Self {
        let wide = coefficients.integers(subring.degree());
        let narrow = || wide.iter().map(|&x| i32::try_from(x)).collect::<Result<Vec<i32>, _>>();
        let integers = match word_bytes {
            4 => narrow().map_or_else(|_| None, |narrow| Some(Integers::Narrow(narrow))),
            _ => None,
        };
        let integers = Arc::new(integers.unwrap_or(Integers::Wide(wide)));
        CompactPlaintext { subring, integers, exponent: coefficients.exponent(), level, scale, slots }
    }

    /// Bytes of integers.
    pub fn bytes(&self) -> usize {
        match &*self.integers {
            Integers::Narrow(x) => size_of_val(&x[..]),
            Integers::Wide(x) => size_of_val(&x[..]),
        }
    }

    /// The highest level it can be used at.
    pub fn level(&self) -> Level {
        self.level
    }

    /// Its scale.
    pub fn scale(&self) -> PlaintextScale {
        self.scale
    }

    /// Number of slots after which it repeats.
    pub fn slots(&self) -> usize {
        self.slots
    }

    /// Number of residues that [`Self::evaluate`] makes.
    pub(crate) fn values(&self) -> usize {
        self.subring.order().map_or(self.subring.degree(), <[u32]>::len)
    }

    /// `log2` of how often each group of eight of them is repeated in the ring.
    pub(crate) fn log_repeat(&self) -> u32 {
        self.subring.log_repeat()
    }

    /// Its evaluations modulo prime number `prime`, plain residues, each group of eight once.
    pub(crate) fn evaluate(&self, context: &Context, prime: usize, out: &mut [u64]) {
        let (isa, modulus) = (context.isa(), context.modulus(prime));
        let transformed = |x: &mut [u64]| {
            match &*self.integers {
                Integers::Narrow(integers) => kernels::reduce_i32_into(isa, x, integers, modulus),
                Integers::Wide(integers) => kernels::reduce_i64_into(isa, x, integers, modulus),
            }
            self.subring.transform(context, prime).forward(isa, x);
            if self.exponent > 0 {
                let unit = modulus.pow(modulus.reduce(2), self.exponent as u64);
                kernels::mul_scalar_assign(isa, x, unit, modulus);
            }
        };
        match self.subring.order() {
            None => transformed(out),
            Some(order) => {
                let mut values = context.pool().take(self.subring.degree());
                transformed(&mut values);
                kernels::gather_into(isa, out, &values, order);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use fhec_ir::scale::Scale;

    use super::*;
    use crate::ckks::{Encoding, FactorEncoder, Form};
    use crate::testing::{context, mixed_context};

    #[test]
    fn evaluations_are_those_of_the_plaintext() {
        for context in [context(13, 4, 2), mixed_context(13)] {
            let encoder = FactorEncoder::new(&context);
            let top = context.params().top_level();
            for (slots, scale, word_bytes) in [
                (4096, PlaintextScale::Named(Scale::canonical(1)), 8),
                (1024, PlaintextScale::Ratio { from: Scale::canonical(top), to: Scale::squared(top) }, 8),
                (512, PlaintextScale::Ratio { from: Scale::canonical(top), to: Scale::squared(top) }, 4),
                (128, PlaintextScale::Named(Scale::squared(1)), 4),
                (16, PlaintextScale::Named(Scale::canonical(1)), 8),
                // Small enough for 4 bytes.
                (2048, PlaintextScale::Ratio { from: Scale::canonical(2), to: Scale::canonical(2) }, 4),
            ] {
                let size = if word_bytes == 4 && slots == 2048 { 1e6 } else { 1.0 };
                let values: Vec<f64> =
                    (0..slots).map(|i| size * ((i * 37 % 101) as f64 / 50.0 - 1.0)).collect();
                let compact = encoder.encode_compact(&values, top, scale, word_bytes).unwrap();
                let expected_bytes = if slots == 2048 { 4 } else { 8 } * (2 * slots).max(1 << 10);
                assert_eq!(compact.bytes(), expected_bytes, "{slots} slots");
                let encoding = Encoding { level: top, scale, special: true, form: Form::Residues };
                let plain = encoder.encoder().encode(&values, encoding).unwrap();
                let basis = plain.poly().basis();
                let mut out = vec![0; compact.values()];
                for limb in 0..plain.poly().limbs() {
                    compact.evaluate(&context, context.prime(basis, limb), &mut out);
                    for (group, expected) in plain.poly().limb(limb).chunks_exact(8).enumerate() {
                        let found = &out[(group >> compact.log_repeat()) * 8..][..8];
                        assert_eq!(found, expected, "{slots} slots, limb {limb}, group {group}");
                    }
                }
            }
        }
    }
}

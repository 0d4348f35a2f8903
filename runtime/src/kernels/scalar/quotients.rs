//! Quotients of basis conversions; see [`crate::kernels::rounded_quotients`].

use crate::kernels::quotients::Reciprocal;

/// The double whose last bit is worth 1: words below 2^52 become doubles by its exponent, and
/// doubles words.
pub(in crate::kernels) const ONE_ULP: f64 = (1u64 << 52) as f64;

/// See [`crate::kernels::rounded_quotients`].
pub(in crate::kernels) fn rounded_quotients(tiles: &mut [u64], columns: usize, reciprocals: &[Reciprocal]) {
    for row in tiles.chunks_exact_mut((reciprocals.len() + 1) * columns) {
        let (residues, quotients) = row.split_at_mut(reciprocals.len() * columns);
        for (i, quotient) in quotients.iter_mut().enumerate() {
            let mut sum = 0.0;
            for (residues, reciprocal) in residues.chunks_exact(columns).zip(reciprocals) {
                let (shift, reciprocal) = reciprocal.parts();
                sum += (f64::from_bits((residues[i] >> shift) | ONE_ULP.to_bits()) - ONE_ULP) * reciprocal;
            }
            // The sum is at most the number of sources: its last bits round to an integer when
            // ONE_ULP is added.
            *quotient = (sum + ONE_ULP).to_bits() & 0xffff;
        }
    }
}

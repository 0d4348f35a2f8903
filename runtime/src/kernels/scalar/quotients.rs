//! See [`crate::kernels::quotients`].

use crate::kernels::quotients::Reciprocal;

/// The double whose last bit is worth 1: words below 2^52 become doubles by its exponent, and doubles words.
pub(in crate::kernels) const ONE_ULP: f64 = (1u64 << 52) as f64;

/// [`crate::kernels::rounded_quotients`] from element `from` on.
pub(in crate::kernels) fn rounded_quotients(
    from: usize,
    out: &mut [u64],
    residues: &[&[u64]],
    reciprocals: &[Reciprocal],
) {
    for (i, out) in out.iter_mut().enumerate().skip(from) {
        let mut sum = 0.0;
        for (residues, reciprocal) in residues.iter().zip(reciprocals) {
            let (shift, reciprocal) = reciprocal.parts();
            sum += (f64::from_bits((residues[i] >> shift) | ONE_ULP.to_bits()) - ONE_ULP) * reciprocal;
        }
        // The sum is at most the number of sources: its last bits round to an integer when ONE_ULP is added.
        *out = (sum + ONE_ULP).to_bits() & 0xffff;
    }
}

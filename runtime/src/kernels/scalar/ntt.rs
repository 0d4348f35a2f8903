//! The negacyclic transform with 64-bit lazy butterflies: any prime below `2^61`.
//!
//! Cooley and Tukey's decimation in time forward and Gentleman and Sande's back, both in place,
//! with Shoup's products and values kept below `4q` (forward) and `2q` (inverse): Harvey, *Faster
//! arithmetic for number-theoretic transforms* (2014), algorithms 3 and 4; negacyclic twiddles as
//! in Longa and Naehrig, *Speeding up the number theoretic transform for faster ideal lattice-based
//! cryptography* (2016).

use crate::kernels::Modulus;
use crate::kernels::modulus::{conditional_subtract, shoup_mul_lazy};
use crate::kernels::ntt::{NttRoots, transpose_octal_blocks};

/// A multiplier and its companion for Shoup's product.
type Twiddle = (u64, u64);

/// Twiddle factors of both directions.
///
/// Entry `m + i` is `psi^bitrev(m + i)` (bits of the degree), the forward multiplier of block `i`
/// among `m`. The inverse needs its reciprocal, which is the *negative* of entry `m + (m - 1 - i)`:
/// one table serves both.
#[derive(Debug)]
pub(in crate::kernels) struct Tables {
    twiddles: Vec<Twiddle>,
    /// `1/N`, for the sums of the last inverse level.
    inverse_degree: Twiddle,
    /// `twiddles[1] / N`, for its differences.
    last_difference: Twiddle,
}

impl Tables {
    pub(in crate::kernels) fn new(m: &Modulus, roots: &NttRoots) -> Self {
        let pair = |w: u64| (w, m.shoup(w));
        let twiddles: Vec<_> = (0..roots.degree()).map(|i| pair(roots.twiddle(i))).collect();
        let inverse_degree = m.inv(roots.degree() as u64);
        Tables {
            inverse_degree: pair(inverse_degree),
            last_difference: pair(m.mul(twiddles[1].0, inverse_degree)),
            twiddles,
        }
    }

    /// Coefficients in `[0, q)`, natural order, to values in `[0, q)`, evaluation order.
    pub(in crate::kernels) fn forward(&self, a: &mut [u64], m: &Modulus) {
        let (q, degree) = (m.value(), a.len());
        let mut blocks = 1;
        while blocks < degree {
            let twiddles = &self.twiddles[blocks..2 * blocks];
            for (block, &w) in a.chunks_exact_mut(degree / blocks).zip(twiddles) {
                let (upper, lower) = block.split_at_mut(degree / blocks / 2);
                for (x, y) in upper.iter_mut().zip(lower) {
                    // x, y < 4q -> x < 2q, product < 2q, both results < 4q.
                    let u = conditional_subtract(*x, 2 * q);
                    let v = shoup_mul_lazy(*y, w.0, w.1, q);
                    *x = u + v;
                    *y = u + 2 * q - v;
                }
            }
            blocks *= 2;
        }
        for x in a.iter_mut() {
            *x = conditional_subtract(conditional_subtract(*x, 2 * q), q);
        }
        transpose_octal_blocks(a);
    }

    /// Values in `[0, q)`, evaluation order, to coefficients in `[0, q)`, natural order.
    pub(in crate::kernels) fn inverse(&self, a: &mut [u64], m: &Modulus) {
        let (q, degree) = (m.value(), a.len());
        transpose_octal_blocks(a);
        let mut blocks = degree / 2;
        while blocks > 1 {
            let twiddles = self.twiddles[blocks..2 * blocks].iter().rev();
            for (block, w) in a.chunks_exact_mut(degree / blocks).zip(twiddles) {
                let (upper, lower) = block.split_at_mut(degree / blocks / 2);
                for (x, y) in upper.iter_mut().zip(lower) {
                    // x, y < 2q; the difference is taken the other way round, for the twiddle is
                    // negated.
                    let difference = *y + 2 * q - *x;
                    *x = conditional_subtract(*x + *y, 2 * q);
                    *y = shoup_mul_lazy(difference, w.0, w.1, q);
                }
            }
            blocks /= 2;
        }
        let ((n, n_companion), (w, w_companion)) = (self.inverse_degree, self.last_difference);
        let (upper, lower) = a.split_at_mut(degree / 2);
        for (x, y) in upper.iter_mut().zip(lower) {
            let (sum, difference) = (*x + *y, *y + 2 * q - *x);
            *x = conditional_subtract(shoup_mul_lazy(sum, n, n_companion, q), q);
            *y = conditional_subtract(shoup_mul_lazy(difference, w, w_companion, q), q);
        }
    }
}

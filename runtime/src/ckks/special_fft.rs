//! The canonical embedding restricted to one slot of each conjugate pair: an FFT over the rotation
//! group.
//!
//! A polynomial `m` of degree below `2n` over the reals, folded to `n` complex coefficients `z_k =
//! m_k + i m_(k+n)`, has at the points `zeta^(5^j)` (with `zeta^n... = i`: the fold is exact there)
//! the values `sum_k z_k zeta^(5^j k)`. Both directions are the butterfly networks of Cheon, Kim,
//! Kim, Song (ePrint 2016/421) as Chen, Chillotti, Song factor them (ePrint 2018/1043, section 4):
//! the twiddles of a level depend only on its length, so one table serves all sizes.
//!
//! *Error*: a butterfly adds at most `u (4 + 1)` relative to the norm of its inputs, `u = 2^-53`
//! (product by a twiddle that is itself right to `u`: `4u`; sum: `u`). In the 2-norm, normalised so
//! that levels are isometries, errors of `log2 n` levels add: at most `5 u log2(n) |z|_2`.

use std::f64::consts::PI;

/// Twiddle factors of all levels up to a number of slots, real and imaginary parts apart.
#[derive(Clone, Debug)]
pub struct SpecialFft {
    /// Index `l`: `e^(2 pi i 5^j / 2^(l+3))` for `j < 2^l`, the level of blocks of length
    /// `2^(l+1)`.
    twiddles: Vec<(Vec<f64>, Vec<f64>)>,
}

impl SpecialFft {
    /// Tables for up to `max_slots`, a power of two.
    pub fn new(max_slots: usize) -> Self {
        assert!(max_slots.is_power_of_two(), "{max_slots} slots");
        let levels = max_slots.trailing_zeros();
        let twiddles = (0..levels).map(|level| {
            let (half, order) = (1usize << level, 8u64 << level);
            std::iter::successors(Some(1u64), |&g| Some(g * 5 % order))
                .take(half)
                .map(|g| unit(g, order))
                .unzip()
        });
        SpecialFft { twiddles: twiddles.collect() }
    }

    /// Twiddle factor `index` of level `level`, the one of blocks of length `2^(level+1)`.
    pub(crate) fn twiddle(&self, level: u32, index: usize) -> (f64, f64) {
        let (re, im) = &self.twiddles[level as usize];
        (re[index], im[index])
    }

    /// Coefficients, in natural order, to slots, in place. Both slices have the number of slots.
    pub fn forward(&self, re: &mut [f64], im: &mut [f64]) {
        bit_reverse(re);
        bit_reverse(im);
        for (level, (w_re, w_im)) in self.twiddles[..re.len().trailing_zeros() as usize].iter().enumerate() {
            let half = 1 << level;
            for (re, im) in re.chunks_exact_mut(2 * half).zip(im.chunks_exact_mut(2 * half)) {
                let ((a_re, b_re), (a_im, b_im)) = (re.split_at_mut(half), im.split_at_mut(half));
                for j in 0..half {
                    let t_re = b_re[j] * w_re[j] - b_im[j] * w_im[j];
                    let t_im = b_re[j] * w_im[j] + b_im[j] * w_re[j];
                    (b_re[j], b_im[j]) = (a_re[j] - t_re, a_im[j] - t_im);
                    (a_re[j], a_im[j]) = (a_re[j] + t_re, a_im[j] + t_im);
                }
            }
        }
    }

    /// Slots to coefficients, in place: the inverse of [`Self::forward`] times the number of slots.
    pub fn inverse_unscaled(&self, re: &mut [f64], im: &mut [f64]) {
        for (level, (w_re, w_im)) in
            self.twiddles[..re.len().trailing_zeros() as usize].iter().enumerate().rev()
        {
            let half = 1 << level;
            for (re, im) in re.chunks_exact_mut(2 * half).zip(im.chunks_exact_mut(2 * half)) {
                let ((a_re, b_re), (a_im, b_im)) = (re.split_at_mut(half), im.split_at_mut(half));
                for j in 0..half {
                    let (d_re, d_im) = (a_re[j] - b_re[j], a_im[j] - b_im[j]);
                    (a_re[j], a_im[j]) = (a_re[j] + b_re[j], a_im[j] + b_im[j]);
                    b_re[j] = d_re * w_re[j] + d_im * w_im[j];
                    b_im[j] = d_im * w_re[j] - d_re * w_im[j];
                }
            }
        }
        bit_reverse(re);
        bit_reverse(im);
    }
}

/// `e^(2 pi i k / order)`, each part right to an ulp: the angle is reduced to the first octant in
/// integers.
fn unit(k: u64, order: u64) -> (f64, f64) {
    let (octant, rest) = (k * 8 / order, k * 8 % order);
    // The angle within its octant, counted from the nearer multiple of a quarter turn.
    let (numerator, flipped) = if octant % 2 == 0 { (rest, false) } else { (order - rest, true) };
    let (sin, cos) = (2.0 * PI * (numerator as f64 / (8 * order) as f64)).sin_cos();
    let (cos, sin) = if flipped { (sin, cos) } else { (cos, sin) };
    match octant / 2 {
        0 => (cos, sin),
        1 => (-sin, cos),
        2 => (-cos, -sin),
        _ => (sin, -cos),
    }
}

fn bit_reverse(x: &mut [f64]) {
    let bits = x.len().trailing_zeros();
    if bits == 0 {
        return;
    }
    for i in 0..x.len() {
        let j = i.reverse_bits() >> (usize::BITS - bits);
        if i < j {
            x.swap(i, j);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_right_in_every_octant() {
        for k in 0..64u64 {
            let (re, im) = unit(k, 64);
            let angle = 2.0 * PI * k as f64 / 64.0;
            assert!((re - angle.cos()).abs() < 1e-15 && (im - angle.sin()).abs() < 1e-15, "{k}");
        }
        assert_eq!(unit(16, 64), (0.0, 1.0));
    }

    #[test]
    fn forward_is_evaluation_and_inverse_undoes_it() {
        for slots in [1usize, 2, 8, 64] {
            let fft = SpecialFft::new(64);
            let re: Vec<f64> = (0..slots).map(|i| ((i * 7 + 3) % 11) as f64 - 5.0).collect();
            let im: Vec<f64> = (0..slots).map(|i| ((i * 5 + 1) % 13) as f64 - 6.0).collect();
            let (mut x, mut y) = (re.clone(), im.clone());
            fft.forward(&mut x, &mut y);
            let order = 4 * slots as u64;
            let mut g = 1u64;
            for j in 0..slots {
                // The real polynomial with coefficients re, im at e^(2 pi i g / 4n).
                let (mut value_re, mut value_im) = (0.0, 0.0);
                for (k, &c) in re.iter().chain(&im).enumerate() {
                    let angle = 2.0 * PI * (g * k as u64 % order) as f64 / order as f64;
                    value_re += c * angle.cos();
                    value_im += c * angle.sin();
                }
                assert!(
                    (x[j] - value_re).abs() < 1e-11 && (y[j] - value_im).abs() < 1e-11,
                    "{slots} slots, {j}"
                );
                g = g * 5 % order;
            }
            fft.inverse_unscaled(&mut x, &mut y);
            for j in 0..slots {
                assert!(
                    (x[j] / slots as f64 - re[j]).abs() < 1e-13
                        && (y[j] / slots as f64 - im[j]).abs() < 1e-13
                );
            }
        }
    }
}

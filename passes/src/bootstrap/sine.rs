//! The polynomials of modular reduction: an even one for the scaled cosine, an odd one for the
//! arcsine.
//!
//! The argument of the cosine is `t = (I + m/rho - 1/4) / W` with integers `|I| < K`, `|m| <= 1`,
//! the message ratio `rho` and `W = K - 1/2`. So the polynomial must be right only near the points
//! `(I - 1/4) / W`: multi-interval minimax (Lee, Lee, Lee, Kim, No, ePrint 2020/552), among even
//! polynomials, which have half as many coefficients and products.

use std::f64::consts::PI;

use fhec_ir::polynomial::Polynomial;

use crate::approximation::ApproximationError;
use crate::approximation::big::Big;
use crate::approximation::chebyshev::{interpolant, polynomial};
use crate::approximation::real::Target;
use crate::approximation::remez::{Parity, Problem, minimax};

/// Messages may exceed 1 by this factor before they leave the intervals.
const MESSAGE_MARGIN: f64 = 1.25;

/// A polynomial and its largest error where it is used.
#[derive(Clone, Debug)]
pub struct Fit {
    /// Over [-1, 1].
    pub polynomial: Polynomial,
    /// Largest distance from the function on the intervals.
    pub error: f64,
}

struct ScaledCosine {
    /// `2 W / 2^r`: cos(pi frequency t).
    frequency: f64,
}

impl Target for ScaledCosine {
    fn value(&self, t: f64) -> f64 {
        (PI * self.frequency * t).cos()
    }

    fn precise(&self, t: f64, bits: usize) -> Big {
        (Big::pi(bits) * &Big::new(self.frequency, bits) * &Big::new(t, bits)).cos()
    }
}

struct Arcsine;

impl Target for Arcsine {
    fn value(&self, y: f64) -> f64 {
        y.asin()
    }

    fn precise(&self, y: f64, bits: usize) -> Big {
        // Newton on sin(x) = y from the double: each step doubles the digits.
        let y_long = Big::new(y, bits);
        let mut x = Big::new(y.asin(), bits);
        for _ in 0..5 {
            x = x.clone() - &((x.sin() - &y_long) / &x.cos());
        }
        x
    }
}

/// The intervals of `|t|`, ascending; the last reaches 1.
fn intervals(bound: u32, log_message_ratio: f64) -> Vec<(f64, f64)> {
    let width = f64::from(bound) - 0.5;
    let radius = (MESSAGE_MARGIN * (-log_message_ratio).exp2()).min(0.2);
    let mut centres: Vec<f64> = (0..bound).flat_map(|i| [f64::from(i) + 0.25, f64::from(i) + 0.75]).collect();
    // I - 1/4 for I >= 1 and I + 1/4 for -I >= 0, up to K - 1.
    centres.pop();
    let mut list: Vec<(f64, f64)> =
        centres.iter().map(|c| ((c - radius) / width, (c + radius) / width)).collect();
    if let Some(last) = list.last_mut() {
        last.1 = 1.0;
    }
    list
}

/// The even polynomial of `degree` for `cos(2 pi W t / 2^double_angles)`.
pub fn cosine(
    bound: u32,
    double_angles: u32,
    log_message_ratio: f64,
    degree: usize,
) -> Result<Fit, ApproximationError> {
    let width = f64::from(bound) - 0.5;
    let target = ScaledCosine { frequency: 2.0 * width / f64::from(1u32 << double_angles) };
    let intervals = intervals(bound, log_message_ratio);
    let problem = Problem { target: &target, intervals, parity: Parity::Even, degree };
    let fit = minimax(&problem)?;
    Ok(Fit { polynomial: fit.series, error: fit.error })
}

/// The even interpolant of `degree` for `cos(2 pi W t / 2^double_angles)` on all of [-1, 1]: right
/// between the intervals too, where nothing should be.
pub fn cosine_everywhere(bound: u32, double_angles: u32, degree: usize) -> Result<Fit, ApproximationError> {
    let width = f64::from(bound) - 0.5;
    let target = ScaledCosine { frequency: 2.0 * width / f64::from(1u32 << double_angles) };
    let full = interpolant(|t| target.value(t), [-1.0, 1.0], degree)?;
    let even = full.coefficients().iter().enumerate().map(|(k, &c)| if k % 2 == 0 { c } else { 0.0 });
    let polynomial = polynomial(even.collect(), [-1.0, 1.0])?;
    let samples = 20_000;
    let error = (0..=samples)
        .map(|i| f64::from(i) / f64::from(samples))
        .map(|t| (polynomial.eval(t) - target.value(t)).abs())
        .fold(0.0, f64::max);
    Ok(Fit { polynomial, error })
}

/// The odd polynomial of `degree` for arcsin on `|y| <= sin(2 pi / rho)`, over [-1, 1].
pub fn arcsine(log_message_ratio: f64, degree: usize) -> Result<Fit, ApproximationError> {
    let reach = (2.0 * PI * (MESSAGE_MARGIN * (-log_message_ratio).exp2()).min(0.2)).sin();
    let low = reach * 1e-6;
    let problem = Problem { target: &Arcsine, intervals: vec![(low, reach)], parity: Parity::Odd, degree };
    let fit = minimax(&problem)?;
    // The same polynomial over [-1, 1]: interpolation of as many points as it has coefficients.
    let wide = interpolant(|y| fit.series.eval(y), [-1.0, 1.0], degree)?;
    let odd = wide.coefficients().iter().enumerate().map(|(k, &c)| if k % 2 == 1 { c } else { 0.0 });
    Ok(Fit { polynomial: polynomial(odd.collect(), [-1.0, 1.0])?, error: fit.error })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// sin(2 pi u) by the polynomial and the doublings.
    fn sine(fit: &Fit, bound: u32, double_angles: u32, u: f64) -> f64 {
        let width = f64::from(bound) - 0.5;
        let start = fit.polynomial.eval((u - 0.25) / width);
        (0..double_angles).fold(start, |c, _| 2.0 * c * c - 1.0)
    }

    #[test]
    fn the_sine_is_right_at_every_integer() {
        for (bound, double_angles, ratio, degree) in [(14, 3, 9.0, 30), (16, 3, 10.0, 30), (17, 2, 9.0, 54)] {
            let fit = cosine(bound, double_angles, ratio, degree).unwrap();
            let plain = cosine_everywhere(bound, double_angles, degree).unwrap();
            eprintln!(
                "K={bound} r={double_angles} d={degree}: 2^{:.1}, everywhere 2^{:.1}",
                fit.error.log2(),
                plain.error.log2()
            );
            assert!(fit.error <= plain.error * 1.001);
            assert_eq!(fit.polynomial.domain(), [-1.0, 1.0]);
            let k = bound as i32 - 1;
            let mut worst = 0f64;
            for i in -k..=k {
                for step in -20..=20 {
                    let m = f64::from(step) / 20.0 * (-ratio).exp2();
                    let error = sine(&fit, bound, double_angles, f64::from(i) + m) - (2.0 * PI * m).sin();
                    worst = worst.max(error.abs());
                }
            }
            eprintln!("  sine error 2^{:.1}", worst.log2());
            // A doubling amplifies by 4 at most.
            assert!(worst <= fit.error * f64::from(1u32 << (2 * double_angles)) + 1e-13);
        }
    }

    #[test]
    fn the_arcsine_straightens_the_sine() {
        for (ratio, degree) in [(9.0, 3), (5.0, 5), (4.0, 7)] {
            let fit = arcsine(ratio, degree).unwrap();
            let mut worst = 0f64;
            for step in -50..=50 {
                let angle = 2.0 * PI * f64::from(step) / 50.0 * (-ratio).exp2();
                worst = worst.max((fit.polynomial.eval(angle.sin()) - angle).abs());
            }
            eprintln!("ratio 2^{ratio} degree {degree}: 2^{:.1}", worst.log2());
            assert!(worst <= fit.error * 1.01 + 1e-14);
        }
    }
}

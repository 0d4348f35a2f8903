//! |x| as a single even minimax polynomial, and the ReLU it gives.
//!
//! ReLU(x) = x / 2 + |x| / 2 takes no product with x. The error for |x| at degree n tends to 0.28 /
//! n (Bernstein's constant), half of that for ReLU: one more bit per level. Below about 2^-10 this
//! is shallower than any composition.

use fhec_ir::polynomial::Polynomial;

use super::{
    ApproximationError,
    big::Big,
    chebyshev::polynomial,
    real::Target,
    remez::{Parity, Problem, minimax},
};

/// |x| on x >= 0.
struct Absolute;

impl Target for Absolute {
    fn value(&self, x: f64) -> f64 {
        x
    }

    fn precise(&self, x: f64, bits: usize) -> Big {
        Big::new(x, bits)
    }
}

/// A polynomial for ReLU.
#[derive(Clone, Debug, PartialEq)]
pub struct EvenRelu {
    /// x/2 + p(x)/2 on [-1, 1], p even: all coefficients of odd index but the first are zero.
    pub polynomial: Polynomial,
    /// The largest |polynomial(x) - max(x, 0)| on [-1, 1].
    pub error: f64,
}

/// The best even polynomial of `degree` for |x| on [-1, 1], and its error.
pub fn absolute_value(degree: usize) -> Result<(Polynomial, f64), ApproximationError> {
    let best =
        minimax(&Problem { target: &Absolute, intervals: vec![(0.0, 1.0)], parity: Parity::Even, degree })?;
    Ok((best.series, best.error))
}

/// The best x/2 + p(x)/2 with p even of `degree` (2 or more).
pub fn relu(degree: usize) -> Result<EvenRelu, ApproximationError> {
    let (absolute, error) = absolute_value(degree)?;
    let mut coefficients: Vec<f64> = absolute.coefficients().iter().map(|c| c / 2.0).collect();
    if coefficients.len() < 2 {
        coefficients.resize(2, 0.0);
    }
    coefficients[1] = 0.5;
    Ok(EvenRelu { polynomial: polynomial(coefficients, [-1.0, 1.0])?, error: error / 2.0 })
}

/// The largest depth that [`shallowest_relu`] considers: degree 510.
const MAX_DEPTH: u32 = 9;

/// The ReLU of least degree at the least depth, at most `max_depth`, with an error of at most
/// `error`, if there is one.
pub fn shallowest_relu(error: f64, max_depth: u32) -> Result<Option<EvenRelu>, ApproximationError> {
    for depth in 2..=max_depth.min(MAX_DEPTH) {
        let (mut low, mut high) = ((1usize << (depth - 1)) - 2, (1usize << depth) - 2);
        let mut best = relu(high)?;
        if best.error > error {
            continue;
        }
        // The error falls with the degree; even degrees low < d <= high remain.
        while high - low > 2 {
            let middle = (low + high) / 4 * 2;
            let candidate = relu(middle)?;
            if candidate.error <= error {
                (high, best) = (middle, candidate);
            } else {
                low = middle;
            }
        }
        return Ok(Some(best));
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_follow_bernsteins_constant() {
        // The degree-2 case is x^2 + 1/8.
        let (p, error) = absolute_value(2).unwrap();
        assert!((error - 0.125).abs() < 1e-12);
        assert!((p.eval(0.0) - 0.125).abs() < 1e-12 && (p.eval(1.0) - 1.125).abs() < 1e-12);
        for degree in [30, 62, 126] {
            let (p, error) = absolute_value(degree).unwrap();
            assert!(p.is_even() && p.degree() == degree);
            assert!((error * degree as f64 - 0.28016949902).abs() < 0.3 / degree as f64, "{degree}: {error}");
            let relu = relu(degree).unwrap();
            let measured = (0..=40_000).fold(0.0f64, |m, i| {
                let x = f64::from(i) / 20_000.0 - 1.0;
                m.max((relu.polynomial.eval(x) - x.max(0.0)).abs())
            });
            assert!((measured / relu.error - 1.0).abs() < 1e-6, "{measured:e} against {:e}", relu.error);
        }
    }

    #[test]
    fn the_least_degree_at_the_least_depth_is_found() {
        for (bits, max_depth) in [(5.0f64, 9), (7.0, 9), (9.5, 9)] {
            let found = shallowest_relu((-bits).exp2(), max_depth).unwrap().unwrap();
            assert!(found.error <= (-bits).exp2());
            let degree = found.polynomial.degree();
            assert!(relu(degree - 2).unwrap().error > (-bits).exp2(), "degree {degree} for {bits} bits");
        }
        assert_eq!(shallowest_relu(2f64.powi(-9), 5).unwrap(), None);
    }

    #[test]
    fn high_degrees_converge() {
        let (p, error) = absolute_value(510).unwrap();
        assert!((error * 510.0 - 0.28016949902).abs() < 1e-3, "{error}");
        assert!((p.eval(0.0) - error).abs() < 1e-9 && (p.eval(-1.0) - 1.0).abs() <= error * 1.001);
    }
}

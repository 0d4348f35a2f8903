//! Activation functions of one real variable, in double precision: the one definition that the interpreter runs
//! and that approximations are fitted to and measured against.

use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_PI};

/// `1 / (1 + exp(-x))`.
pub fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// `x * sigmoid(x)`.
pub fn silu(x: f64) -> f64 {
    x * sigmoid(x)
}

/// `x/2 (1 + erf(x / sqrt 2))`. Written with `erfc`, which keeps its digits for large negative `x`.
pub fn gelu(x: f64) -> f64 {
    0.5 * x * libm::erfc(-x * FRAC_1_SQRT_2)
}

/// `x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))` (Hendrycks and Gimpel, arXiv 1606.08415, section 2).
pub fn gelu_tanh(x: f64) -> f64 {
    0.5 * x * (1.0 + (FRAC_2_PI.sqrt() * (x + 0.044715 * x * x * x)).tanh())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values() {
        // Phi(1) = 0.841344746068543, Phi(-3) = 0.001349898031630.
        assert!((gelu(1.0) - 0.841_344_746_068_543).abs() < 1e-15);
        assert!((gelu(-3.0) + 3.0 * 0.001_349_898_031_630).abs() < 1e-14);
        assert_eq!((gelu(0.0), silu(0.0), gelu_tanh(0.0), sigmoid(0.0)), (0.0, 0.0, 0.0, 0.5));
        assert!((sigmoid(2.0) - 0.880_797_077_977_882_4).abs() < 1e-15);
        assert_eq!((sigmoid(-1000.0), sigmoid(1000.0)), (0.0, 1.0));
    }

    #[test]
    fn the_two_forms_of_gelu_differ_by_less_than_their_authors_say() {
        let worst = (-800..=800).map(|i| f64::from(i) / 100.0).map(|x| (gelu(x) - gelu_tanh(x)).abs());
        let worst = worst.fold(0.0, f64::max);
        assert!(worst < 5e-4 && worst > 1e-4, "{worst}");
    }
}

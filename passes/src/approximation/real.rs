//! The arithmetic an approximation is computed in.

use fhec_ir::nn::expression::Number;

use super::big::Big;

/// A real function, in both arithmetics.
///
/// Arguments are always `f64`: points are exact, values are as precise as asked for.
pub trait Target: Sync {
    /// f(x), to about the precision of `f64`.
    fn value(&self, x: f64) -> f64;
    /// f(x) to about `bits` bits.
    fn precise(&self, x: f64, bits: usize) -> Big;
}

/// Numbers that the algorithms of this module are generic over: `f64` and [`Big`]. Formulas can be
/// evaluated in them, too.
pub trait Real: Number {
    /// The nearest `f64`.
    fn to_f64(&self) -> f64;
    /// Whether the number is exactly zero.
    fn is_zero(&self) -> bool;
    /// f(x).
    fn of(target: &dyn Target, x: f64, precision: Self::Precision) -> Self;
    /// cos(pi numerator / denominator).
    fn cos_pi(numerator: usize, denominator: usize, precision: Self::Precision) -> Self;
    /// The distance from 1 to the next number.
    fn unit(precision: Self::Precision) -> f64;
}

impl Real for f64 {
    fn to_f64(&self) -> f64 {
        *self
    }

    fn is_zero(&self) -> bool {
        *self == 0.0
    }

    fn of(target: &dyn Target, x: f64, (): ()) -> f64 {
        target.value(x)
    }

    fn cos_pi(numerator: usize, denominator: usize, (): ()) -> f64 {
        (std::f64::consts::PI * numerator as f64 / denominator as f64).cos()
    }

    fn unit((): ()) -> f64 {
        f64::EPSILON
    }
}

//! The curve that a bootstrap without an arcsine bends messages by, and its inverse.
//!
//! Of a message `m` the reduction makes `rho / (2 pi) sin(2 pi m / rho)` with `rho = q_0 / D_0`
//! ([`super::Reduction`]). Where `rho` is large that is `m` for all that matters. Where it is small
//! a polynomial that reads the result can undo the curve: it is then made for `f(arcsin)` instead
//! of `f`.

use std::f64::consts::PI;

use thiserror::Error;

/// `m -> rho / (2 pi) sin(2 pi m / rho)`, for messages of size 1 at most.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SineCurve {
    ratio: f64,
}

/// A ratio at which the sine cannot be undone.
#[derive(Clone, Copy, Debug, PartialEq, Error)]
#[error("a sine of message ratio {0} cannot be undone: messages must stay where it grows, above 4")]
pub struct SineCurveError(pub f64);

impl SineCurve {
    /// With `rho = ratio`.
    ///
    /// # Errors
    /// Unless `ratio` is a number above 4: messages of size 1 are then below the sine's maximum.
    pub fn new(ratio: f64) -> Result<Self, SineCurveError> {
        if ratio > 4.0 && ratio.is_finite() { Ok(SineCurve { ratio }) } else { Err(SineCurveError(ratio)) }
    }

    /// `rho`.
    pub fn ratio(self) -> f64 {
        self.ratio
    }

    /// What becomes of `message`.
    pub fn apply(self, message: f64) -> f64 {
        self.ratio / (2.0 * PI) * (2.0 * PI * message / self.ratio).sin()
    }

    /// The message between the sine's extrema that becomes `result`; the extremum itself beyond
    /// them.
    pub fn invert(self, result: f64) -> f64 {
        self.ratio / (2.0 * PI) * (2.0 * PI * result / self.ratio).clamp(-1.0, 1.0).asin()
    }

    /// By how much a message of size 1 is bent.
    pub fn distortion(self) -> f64 {
        1.0 - self.apply(1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_inverse_undoes_the_sine() {
        for log_ratio in 3..=10 {
            let curve = SineCurve::new(f64::from(1 << log_ratio)).unwrap();
            for step in -100..=100 {
                let m = f64::from(step) / 100.0;
                assert!((curve.invert(curve.apply(m)) - m).abs() < 1e-12);
                assert!(curve.apply(m).abs() <= m.abs());
            }
            // The first term of the series that is left out.
            let cubic = (2.0 * PI / curve.ratio()).powi(2) / 6.0;
            assert!((curve.distortion() / cubic - 1.0).abs() < 0.05, "2^{log_ratio}");
        }
        for wrong in [4.0, -8.0, f64::INFINITY, f64::NAN] {
            assert!(SineCurve::new(wrong).is_err());
        }
    }
}

//! What can go wrong while a polynomial is being fitted.

use thiserror::Error;

/// Why no polynomial was returned.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum ApproximationError {
    /// The interval is empty, reversed, or not finite; or intervals overlap or are out of order.
    #[error("[{low}, {high}] is not a usable approximation interval: {reason}")]
    InvalidInterval {
        /// Lower end as given.
        low: f64,
        /// Upper end as given.
        high: f64,
        /// The rule it breaks.
        reason: &'static str,
    },
    /// An odd problem was given an even degree, or the reverse.
    #[error("degree {degree} does not fit a polynomial that is {parity}")]
    ParityMismatch {
        /// The degree asked for.
        degree: usize,
        /// "odd" or "even".
        parity: &'static str,
    },
    /// The function to approximate is not finite somewhere in the domain.
    #[error("the function is not finite at x = {x}")]
    NotFinite {
        /// The offending point.
        x: f64,
    },
    /// The exchange did not settle.
    #[error(
        "the exchange of degree {degree} on [{low}, {high}] did not converge in {iterations} iterations: \
         the peaks of the error still differ by {spread:.2e} of the largest"
    )]
    NotConverged {
        /// Degree of the polynomial.
        degree: usize,
        /// Lower end of the domain.
        low: f64,
        /// Upper end of the domain.
        high: f64,
        /// Iterations done.
        iterations: usize,
        /// (largest - smallest) / largest peak at the end.
        spread: f64,
    },
    /// A stage of a composition maps its interval onto zero, so that the next stage has nothing to
    /// work on.
    #[error(
        "stage {stage} of the composition (degree {degree}) leaves an error of {error:.4}; below 1 is needed. \
         Use a higher degree or a wider transition"
    )]
    CompositionDiverges {
        /// Index of the stage.
        stage: usize,
        /// Its degree.
        degree: usize,
        /// Error it leaves, noise included.
        error: f64,
    },
    /// No composition within the depth reaches the precision.
    #[error("no composition of depth {max_depth} or less approximates ReLU to 2^-{alpha}")]
    NoComposition {
        /// Bits of precision asked for.
        alpha: f64,
        /// The depth searched up to.
        max_depth: usize,
    },
    /// The coefficients do not fit `f64`.
    #[error("the coefficients cannot be represented: {0}")]
    NotRepresentable(String),
    /// No degree up to the limit reaches the error.
    #[error(
        "no polynomial is near to it on the range of its operand: degree {degree} is off by {reached:.3e}, at most {wanted:.3e} \
         was asked for; normalise the operand, keep it away from where the function is steep, or train with another activation"
    )]
    ErrorUnreachable {
        /// The largest degree tried.
        degree: usize,
        /// The error it has.
        reached: f64,
        /// The error asked for.
        wanted: f64,
    },
}

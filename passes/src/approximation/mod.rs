//! Polynomial approximation of what a CKKS program cannot compute directly.
//!
//! | Module | Subject |
//! |---|---|
//! | [`chebyshev`] | series in the Chebyshev basis: evaluation, interpolation, truncation, changes of basis and domain |
//! | [`remez`] | minimax polynomials, with parity, on one interval or on several |
//! | [`composite`] | sign(x) as a composition of odd minimax polynomials, hence ReLU |
//! | [`composition_search`] | the degrees of the cheapest composition that reaches a precision |
//! | [`even_minimax`] | \|x\| as one even minimax polynomial, hence ReLU without a final product |
//! | [`least_squares`] | polynomials that meet samples on average, and a rectifier everywhere a little |
//! | [`smooth`] | the smooth part of any activation on a bounded domain |
//! | [`undone_sine`] | polynomials for messages that a bootstrap has bent |
//! | [`real`], [`big`] | the two arithmetics they are computed in: `f64` and binary floats of any length |
//!
//! Exchange algorithms find *where* the error peaks, and a small mistake there only matters to
//! second order; so references are searched for in `f64`, and only the linear problem at the end,
//! which is badly conditioned, is solved with hundreds of bits. Searches that `f64` cannot finish
//! (errors near its unit) are continued in the long arithmetic.
//!
//! Nothing here knows ops, encryption or levels; of the IR it takes polynomials, the table of
//! activations and the curve of a sine.

pub mod big;
pub mod chebyshev;
pub mod composite;
pub mod composition_search;
mod error;
pub mod even_minimax;
pub mod least_squares;
pub mod real;
pub mod remez;
pub mod smooth;
pub mod undone_sine;

pub use error::ApproximationError;

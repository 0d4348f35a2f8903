//! Passes on the nn stage.
//!
//! | Pass | Effect |
//! |---|---|
//! | [`drop_softmax`](mod@drop_softmax) | leaves a final softmax to the client |
//! | [`collect_polynomials`](mod@collect_polynomials) | recognises polynomials written out in products and sums |
//! | [`simplify`](mod@simplify) | folds linear ops together, least multiplicative depth first |
//! | [`calibrate`](mod@calibrate) | ranges of all values, from images or by interval arithmetic |
//! | [`approximate`](mod@approximate) | polynomials in place of activations |
//! | [`normalize_ranges`](mod@normalize_ranges) | stored values in [-1, 1], every polynomial's domain exactly that |
//!
//! [`scaling`](mod@scaling) is the analysis behind the last two: which values must share a factor, and which one.

pub mod approximate;
pub mod calibrate;
pub mod collect_polynomials;
pub mod drop_softmax;
pub mod normalize_ranges;
pub mod scaling;
pub mod simplify;

//! fhec's compiler passes: from a network to a scheduled RNS-CKKS program.
//!
//! | Module | Subject |
//! |---|---|
//! | [`nn`] | passes on networks: simplify, calibrate, approximate, normalize |
//! | [`approximation`] | polynomials for sign, ReLU and smooth activations |
//! | [`lower_nn`] | nn to packed: layouts, linear maps, polynomials |
//! | [`analysis`] | costs, depths, levels, rotations, live bytes, noise |
//! | [`security`] | limits on the modulus |
//! | [`pipeline`] | their order |
//! | [`report`], [`error`] | what a pass returns beside its result, and instead of one |

#![forbid(unsafe_code)]

pub mod analysis;
pub mod approximation;
pub mod error;
pub mod lower_nn;
pub mod nn;
pub mod pipeline;
pub mod report;
pub mod security;

//! fhec's compiler passes: from a network to a scheduled RNS-CKKS program.
//!
//! | Module | Subject |
//! |---|---|
//! | [`approximation`] | polynomials for sign, ReLU and smooth activations |
//! | [`lower_nn`] | nn to packed: layouts, linear maps, polynomials |
//! | [`analysis`] | costs, depths, levels, rotations, live bytes, noise |
//! | [`security`] | limits on the modulus |

pub mod analysis;
pub mod approximation;
pub mod lower_nn;
pub mod security;

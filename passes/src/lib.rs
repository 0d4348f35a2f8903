//! fhec's compiler passes: from a network to a scheduled RNS-CKKS program.
//!
//! | Module | Subject |
//! |---|---|
//! | [`approximation`] | polynomials for sign, ReLU and smooth activations |
//! | [`security`] | limits on the modulus |

pub mod approximation;
pub mod security;

//! fhec's compiler passes: from a network to a scheduled RNS-CKKS program.
//!
//! | Module | Subject |
//! |---|---|
//! | [`approximation`] | polynomials for sign, ReLU and smooth activations |

pub mod approximation;

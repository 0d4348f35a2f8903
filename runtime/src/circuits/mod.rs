//! Circuits: compositions of scheme operations whose shape is known before they run.
//!
//! | module | circuit |
//! |---|---|
//! | [`constant_map`] | linear maps without rotations |
//! | [`linear_transform`] | linear maps between packed tensors, by baby and giant steps with double hoisting |
//! | [`polynomial`] | Chebyshev polynomials at optimal depth, with exact scales |
//! | [`dft`] | the transform between slots and coefficients, as sparse matrices |
//! | [`mod_raise`] | raising the modulus under an ephemeral sparse secret |
//! | [`eval_mod`] | reduction modulo `q0` by a sine |
//! | [`bootstrap`] | these three, in order |
//!
//! Rotations, levels and operation counts are those of [`fhec_ir::circuit_shape`] and
//! [`fhec_ir::polynomial_shape`], which passes and key generation ask; the circuits follow them.

pub mod bootstrap;
pub mod constant_map;
pub mod dft;
pub mod eval_mod;
pub mod linear_transform;
pub mod mod_raise;
pub mod polynomial;

#[cfg(test)]
mod tests;

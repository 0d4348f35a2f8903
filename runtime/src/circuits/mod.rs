//! Circuits: compositions of scheme operations whose shape is known before they run.
//!
//! | module | circuit |
//! |---|---|
//! | [`linear_transform`] | linear maps between packed tensors, by baby and giant steps with double hoisting |
//! | [`polynomial`] | Chebyshev polynomials at optimal depth, with exact scales |
//!
//! Rotations, levels and operation counts are those of [`fhec_ir::circuit_shape`] and [`fhec_ir::polynomial_shape`], which
//! passes and key generation ask; the circuits follow them.

pub mod linear_transform;
pub mod polynomial;

#[cfg(test)]
mod tests;

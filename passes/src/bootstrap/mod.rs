//! Choosing bootstraps: failure probability, polynomials of modular reduction, named parameter sets, predicted precision.
//!
//! | Module | Subject |
//! |---|---|
//! | [`failure`] | probability that the integer part exceeds its bound |
//! | [`sine`] | cosine and arcsine polynomials |
//! | [`sets`] | named parameter sets, checked against the security table |

pub mod failure;
pub mod sets;
pub mod sine;

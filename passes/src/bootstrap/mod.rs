//! Choosing bootstraps: failure probability, polynomials of modular reduction, named parameter
//! sets, predicted precision.
//!
//! | Module | Subject |
//! |---|---|
//! | [`failure`] | probability that the integer part exceeds its bound |
//! | `chain` | primes, and which of them each level has |
//! | [`sine`] | cosine and arcsine polynomials |
//! | [`sets`] | named parameter sets, checked against the security table |

mod chain;
pub mod failure;
pub mod sets;
pub mod sine;

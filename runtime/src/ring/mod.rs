//! The ring `Z_Q[X] / (X^N + 1)` in residue number system form.
//!
//! | module | owns |
//! |---|---|
//! | [`basis`] | which primes a polynomial has a limb for |
//! | [`context`] | moduli, transforms and conversion constants of one parameter set |
//! | `packed` | residues in as many bits as their primes have |
//! | [`poly`] | storage, domains, linear operations |
//! | [`pool`] | reuse of large buffers |
//! | [`automorphism`] | `X -> X^g` as a permutation of evaluations |
//! | `basis_conversion` | constants of conversions between bases |
//! | [`basis_extension`] | exact centred conversion between bases, division with rounding |
//! | [`sampling`] | seeds, uniform, ternary and Gaussian polynomials |
//! | [`crt`] | residues back to integers |

pub mod automorphism;
pub mod basis;
pub(crate) mod basis_conversion;
pub mod basis_extension;
pub mod context;
pub mod crt;
pub(crate) mod packed;
pub mod poly;
pub mod pool;
pub mod sampling;

pub use basis::Basis;
pub use context::{Context, ContextError};
pub use poly::{Domain, Poly};
pub use sampling::{RandomnessError, Seed};

pub(crate) use context::Work;

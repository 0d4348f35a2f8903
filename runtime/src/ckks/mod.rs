//! CKKS: approximate numbers in the slots of ring-LWE ciphertexts.
//!
//! | module | owns |
//! |---|---|
//! | [`plaintext`] | encoded messages |
//! | [`periodic`] | factors of short period, at the size of their period |
//! | [`compact`] | factors kept as integers |
//! | `subring` | what polynomials of short period are transformed in |
//! | [`special_fft`] | the canonical embedding |
//! | [`encoder`] | slots to plaintexts and back |
//! | [`encryptor`] | encryption under the public or the secret key |
//! | [`decryptor`] | decryption |
//! | [`eval`] | operations on ciphertexts |
//!
//! *Slots*: slot `j` of N/2 is the value at `zeta^(5^j)`, `zeta = e^(i pi / N)`. *Rotation* by `k`
//! is to the left: slot `i + k` moves to slot `i`.

pub mod compact;
pub mod decryptor;
pub mod encoder;
pub mod encryptor;
pub mod eval;
pub mod periodic;
pub mod plaintext;
pub mod special_fft;
mod subring;

pub use compact::CompactPlaintext;
pub use decryptor::Decryptor;
pub use encoder::{Encoder, Encoding};
pub use encryptor::Encryptor;
pub use eval::{Evaluator, Hoisted};
pub use periodic::{Factor, FactorEncoder};
pub use plaintext::{Complex, Form, Plaintext};

pub use crate::names::PlaintextScale;

//! Ring-LWE: keys, ciphertexts, key switching.
//!
//! | module | owns |
//! |---|---|
//! | [`secret`] | the secret key |
//! | [`public`] | the public key |
//! | [`ciphertext`] | ciphertexts and their metadata |
//! | [`switching_key`] | hybrid switching keys, their generation |
//! | [`keys`] | the set of evaluation keys of a program |
//! | [`key_switch`] | digit decomposition and the fused inner product with a key |
//! | [`extended`] | ciphertexts whose division by the special primes is postponed |
//! | [`wire`] | ciphertexts and keys as bytes |

pub mod ciphertext;
pub mod extended;
pub mod key_switch;
pub mod keys;
pub mod public;
pub mod secret;
pub mod switching_key;
pub mod wire;

pub use ciphertext::{Ciphertext, SeededCiphertext};
pub use extended::ExtendedCiphertext;
pub use key_switch::Decomposition;
pub use keys::{EvaluationKeys, KeyRequest};
pub use public::PublicKey;
pub use secret::SecretKey;
pub use switching_key::SwitchingKey;

pub use crate::names::{KeyId, SwitchingKeyKind};

//! The two parties of an encrypted inference, on `ir` and `runtime` alone: neither knows how a
//! program was made.
//!
//! | module | subject |
//! |---|---|
//! | `client` | [`Client`], the holder of the secret key: makes keys, encrypts images, decrypts answers |
//! | `server` | [`Server`], a program made ready, and [`Session`], one client's keys on it |
//! | [`bundle`] | ciphertexts as bytes |
//! | [`exchange`] | files that client and server exchange |
//! | `key_folder` | [`KeyFolder`], the folder that keys are written into |
//! | [`verdict`] | what a decrypted answer says |
//! | [`checkpoint`] | what an evaluation that takes long leaves behind |
//! | [`answers`] | how many answers a key has decrypted, and after how many new keys are advised |
//! | [`files`] | files that are either whole or not there |
//! | [`core_dumps`] | secrets stay out of them |
//!
//! WebAssembly has no files: what needs them is not there (`docs/browser.md`).
//!
//! A server never has anything that depends on the secret key but the public evaluation keys and
//! ciphertexts.

#![forbid(unsafe_code)]

pub mod answers;
pub mod bundle;
#[cfg(not(target_arch = "wasm32"))]
pub mod checkpoint;
mod client;
#[cfg(not(target_arch = "wasm32"))]
pub mod core_dumps;
#[cfg(not(target_arch = "wasm32"))]
pub mod exchange;
#[cfg(not(target_arch = "wasm32"))]
pub mod files;
#[cfg(not(target_arch = "wasm32"))]
mod key_folder;
mod server;
pub mod verdict;

use std::sync::Arc;

use fhec_ir::program::Interface;
use fhec_runtime::ring::{Context, ContextError};
use thiserror::Error;

pub use client::{Answer, Client, encrypt_with_public_key};
#[cfg(not(target_arch = "wasm32"))]
pub use key_folder::KeyFolder;
pub use server::{Progress, Server, Session};

/// What the keys and ciphertexts of a program are computed with.
pub fn context(interface: &Interface) -> Result<Arc<Context>, ContextError> {
    let encapsulation = interface.keys.encapsulation.as_ref();
    Ok(Arc::new(Context::of_program(interface.params.clone(), encapsulation)?))
}

/// What can go wrong between client and server.
#[derive(Debug, Error)]
#[allow(missing_docs)]
pub enum RoleError {
    #[error("{what} of this program is {expected} ciphertexts, found {found}")]
    CiphertextCount { what: &'static str, expected: usize, found: usize },
    #[error(
        "ciphertext {index} is of {found}, the program expects {expected}: it is not {what} of this program"
    )]
    CiphertextKind { what: &'static str, index: usize, expected: String, found: String },
    #[error(transparent)]
    Interface(#[from] fhec_ir::program::InterfaceError),
    #[error("the program's batch makes no sense: {0}; compile the model again")]
    Batch(#[from] fhec_ir::batch::BatchError),
    #[error(transparent)]
    Context(#[from] ContextError),
    #[error(transparent)]
    Eval(#[from] fhec_runtime::EvalError),
    #[error(transparent)]
    Exec(#[from] fhec_runtime::exec::ExecError),
    #[error(transparent)]
    Keys(#[from] fhec_runtime::exec::KeysError),
    #[error("the program cannot be prepared: {0}")]
    Prepare(#[from] fhec_runtime::exec::PrepareError),
    #[error("the system gives no random numbers: {0}")]
    Randomness(#[from] fhec_runtime::ring::RandomnessError),
}

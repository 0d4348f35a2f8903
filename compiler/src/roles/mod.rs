//! The two parties of an encrypted inference.
//!
//! | role | holds | does |
//! |---|---|---|
//! | [`Client`] | the secret key | makes keys, encrypts images, decrypts answers |
//! | [`Server`] | evaluation keys | runs the program on ciphertexts |
//!
//! An evaluation that takes long may leave [`checkpoint`]s. What client and server exchange are files ([`files`]); a server never has anything that depends on the secret key but the
//! public evaluation keys and ciphertexts.

pub mod answers;
pub mod checkpoint;
mod client;
pub mod files;
mod key_folder;
mod server;

use thiserror::Error;

pub use client::{Answer, Client, encrypt_with_public_key};
pub use key_folder::KeyFolder;
pub use server::{Evaluation, Progress, Server};

pub(crate) use client::{input_slots, output_factor, output_layout};
pub use client::{input_type, output_type};

/// What can go wrong between client and server.
#[derive(Debug, Error)]
#[allow(missing_docs)]
pub enum RoleError {
    #[error("the program's {what} cannot be read: {reason}; compile the model again")]
    Program { what: &'static str, reason: String },
    #[error("an image of {expected} numbers was expected, found {found}")]
    ImageSize { expected: usize, found: usize },
    #[error("up to {images} images of {expected} numbers were expected, found {found} numbers")]
    BatchSize { images: usize, expected: usize, found: usize },
    #[error("the program's batch makes no sense: {0}; compile the model again")]
    Batch(#[from] fhec_ir::batch::BatchError),
    #[error("{what} of this program is {expected} ciphertexts, found {found}")]
    CiphertextCount { what: &'static str, expected: usize, found: usize },
    #[error(
        "ciphertext {index} is of {found}, the program expects {expected}: it is not {what} of this program"
    )]
    CiphertextKind { what: &'static str, index: usize, expected: String, found: String },
    #[error(transparent)]
    Artifact(#[from] fhec_ir::artifact::ArtifactError),
    #[error(transparent)]
    Context(#[from] fhec_runtime::ring::ContextError),
    #[error(transparent)]
    Eval(#[from] fhec_runtime::EvalError),
    #[error(transparent)]
    Exec(#[from] fhec_runtime::exec::ExecError),
    #[error(transparent)]
    Keys(#[from] fhec_runtime::exec::KeysError),
    #[error(transparent)]
    Bootstraps(#[from] fhec_ir::bootstrap::ProgramBootstrapError),
    #[error("a bootstrap of the program cannot be prepared: {0}")]
    Setup(#[from] fhec_runtime::circuits::bootstrap::SetupError),
    #[error("the system gives no random numbers: {0}")]
    Randomness(#[from] fhec_runtime::ring::RandomnessError),
}

//! The client half of an encrypted inference, for JavaScript: keys, encryption, decryption.
//!
//! | module | subject |
//! |---|---|
//! | [`interface`] | what a client knows of a program |
//! | [`client`] | the holder of a secret key |
//! | [`answer`] | what a decrypted answer says |
//! | `picture` | from pixels to a network's input |
//! | [`digest`] | BLAKE3, by which a service names things |
//!
//! It has no arithmetic of its own. Nothing is logged; a secret key is wiped when its client is
//! freed. What is wrong is an `Error` with one message.

pub mod answer;
pub mod client;
pub mod digest;
pub mod interface;
mod picture;

use fhec_ir::program::{InterfaceError, PreprocessError, ProgramError};
use fhec_ir::security::SecurityError;
use fhec_roles::RoleError;
use fhec_roles::bundle::BundleError;
use fhec_runtime::FormatError;
use thiserror::Error;
use wasm_bindgen::{JsError, JsValue};

/// Why the client did not do what was asked for.
#[derive(Debug, Error)]
#[allow(missing_docs)]
pub enum WebError {
    #[error("the interface is refused: {0}")]
    Program(#[from] ProgramError),
    #[error(transparent)]
    Interface(#[from] InterfaceError),
    #[error(transparent)]
    Preprocess(#[from] PreprocessError),
    #[error("the secret key is refused: {0}")]
    SecretKey(FormatError),
    #[error("{0}")]
    Role(#[from] RoleError),
    #[error("the answer is refused: {0}; do not tell the server (docs/threat-model.md)")]
    Answer(#[from] BundleError),
    #[error("the program takes no pictures: encrypt numbers")]
    NoPictures,
    #[error("the program takes pictures of {channels} channels; only 1 and 3 can be made of pixels")]
    Channels { channels: usize },
    #[error("the program takes pictures of {expected} pixels, this one has {found}")]
    PictureSize { expected: String, found: String },
    #[error("{width} x {height} pixels of 1, 3 or 4 bytes were expected, found {bytes} bytes")]
    PixelBytes { width: usize, height: usize, bytes: usize },
    #[error("there is no record {index}: the key file has {count}")]
    NoRecord { index: usize, count: usize },
    #[error("the program has {count} outputs; there is no output {index}")]
    NoOutput { index: usize, count: usize },
}

impl From<SecurityError> for WebError {
    fn from(error: SecurityError) -> Self {
        WebError::Program(error.into())
    }
}

impl From<WebError> for JsValue {
    fn from(error: WebError) -> Self {
        JsError::new(&error.to_string()).into()
    }
}

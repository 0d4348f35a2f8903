//! Ordinary, pretrained neural networks on encrypted data.
//!
//! A *compile* takes an ONNX CNN and decides everything that a homomorphic program needs. A
//! *client* makes keys, encrypts images and decrypts answers. A *server* runs the program on
//! ciphertexts. This crate is what fhec promises to users of the library: the other crates are
//! parts of it, and may change from version to version.
//!
//! ```
//! use std::path::Path;
//! use std::sync::Arc;
//!
//! use fhec::{Client, CompileOptions, Server, argmax, compile, context, open_images};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models");
//! let program = compile(&models.join("mnist_cnn_deg3.onnx"), &CompileOptions::default())?;
//! println!("{} bits of security", program.certificate()?.bits());
//!
//! // The client has the interface alone: no weights, no layers.
//! let interface = Arc::new(program.interface.clone());
//! let client = Client::generate(&interface, &context(&interface)?)?;
//! let images = open_images(&interface, &models.join("digits/digit_7_a.png"))?;
//! let encrypted = client.encrypt(&images.input(0, &interface.preprocess)?)?;
//!
//! // The server has no secret key. What it prepares is shared by the sessions of all clients.
//! let server = Server::new(&program, &context(&program.interface)?)?;
//! let session = server.session(client.evaluation_keys()?)?;
//! let answer = session.evaluate(encrypted)?;
//!
//! let answer = client.decrypt(&answer)?;
//! assert!(!answer.overflow, "the evaluation has gone wrong");
//! assert_eq!(argmax(answer.logits()), 7);
//! # Ok(())
//! # }
//! ```
//!
//! | what | where |
//! |---|---|
//! | programs and their parts | [`Program`], [`Interface`], [`Plan`]; [`open`], [`open_interface`], [`write()`], [`write_interface`] |
//! | compiles | [`compile`], [`from_file`], [`from_bytes`], [`CompileOptions`], [`CompileError`] |
//! | both parties | [`context`], [`Client`], [`Server`], [`Session`], [`KeyFolder`], [`exchange`], [`checkpoint`] |
//! | ends of runs | [`Control`] |
//! | rehearsals without encryption | [`Simulator`], [`simulate`], [`summarise`], [`reference_logits`] |
//! | plans for people | [`plan_summary`], [`plan_page`], [`plan_summary_page`] |
//! | images | [`Dataset`], [`Preprocess`] |
//!
//! `docs/threat-model.md` in the repository says who is trusted with what, and what a server must
//! not learn of answers.

#![forbid(unsafe_code)]

pub use fhec_ir::plan::Plan;
pub use fhec_ir::program::{Affine, Dimension, Ending, InputLayout, Lists};
pub use fhec_ir::program::{
    Interface, InterfaceError, Port, Preprocess, PreprocessError, Program, ProgramError, ProgramId,
};
pub use fhec_ir::security::{Certificate, CertifiedSecret, DEFAULT_FLOOR, SecurityError};
pub use fhec_roles::files::FileError;
pub use fhec_roles::{
    Answer, Client, KeyFolder, Progress, RoleError, Server, Session, checkpoint, context,
    encrypt_with_public_key, exchange,
};
pub use fhec_roles::{answers, core_dumps, verdict};
pub use fhec_runtime::EvalError;
pub use fhec_runtime::error::Stop;
pub use fhec_runtime::exec::{Control, ExecError, Observer, ProgramKeys};
pub use fhec_runtime::ring::Context;

#[cfg(feature = "compile")]
pub use self::of_compiler::*;

#[cfg(feature = "compile")]
mod of_compiler {
    use std::path::Path;
    use std::sync::Arc;

    pub use fhec_compiler::build::{
        Built, Calibration, CompileError, NO_NORMALISATION, Request, from_bytes, from_file,
    };
    pub use fhec_compiler::costs::{self, CostsError};
    pub use fhec_compiler::data::{DataError, Dataset, ImageArray, ImageShape, preprocess};
    pub use fhec_compiler::error::{OpenError, RehearsalError};
    pub use fhec_compiler::gates::{GateError, Gates};
    pub use fhec_compiler::memory;
    pub use fhec_compiler::onnx::ImportOptions;
    pub use fhec_compiler::program::{
        argmax, open, open_images, open_interface, reference_logits, rounded, write, write_interface,
    };
    pub use fhec_compiler::report::page::page as plan_page;
    pub use fhec_compiler::report::page::summary as plan_summary_page;
    pub use fhec_compiler::report::summary::summary as plan_summary;
    pub use fhec_compiler::simulation::{Outcome, Summary, simulate, summarise, wilson};
    pub use fhec_compiler::simulator::{Simulated, Simulator};
    pub use fhec_passes::error::PassError;
    pub use fhec_passes::options::{CompileOptions, Relu, SecurityLevel};

    use crate::Program;

    /// Compiles the ONNX model in `model`. Normalisation, ranges and fitted activations are those
    /// of the files beside it: `net.toml`, `net.calibration.json` and `net.activations.json` for
    /// `net.onnx`.
    ///
    /// # Errors
    /// [`CompileError`] says whose fault it is and what to do.
    pub fn compile(model: &Path, options: &CompileOptions) -> Result<Arc<Program>, CompileError> {
        let preprocess = preprocess::beside(model)?.unwrap_or_default();
        Ok(from_file(model, preprocess, &options.clone().into())?.program)
    }
}

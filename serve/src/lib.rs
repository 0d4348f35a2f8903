//! A service that runs compiled programs on encrypted data over HTTP, and its client.
//!
//! | module | subject |
//! |---|---|
//! | [`api`] | what goes over the wire as JSON, and the codes of errors |
//! | [`digest`] | names of keys, programs and files by their content |
//! | [`receipt`] | what an answer was computed of, with the signature of the service |
//! | [`remote`] | the client: models, uploads of keys, jobs, and the folder where it keeps things |
//! | [`service`] | the server: who may, keys, jobs, evaluations |
//! | [`tokens`] | the file of the tokens that a server knows |
//!
//! The service evaluates; it never sees a secret key, an image or an answer in the clear. The
//! client has the interface of a program and never its weights. `docs/serving.md` has endpoints,
//! error codes, sizes and operations.

#![forbid(unsafe_code)]

pub mod api;
pub mod digest;
pub mod receipt;
pub mod remote;
pub mod service;
pub mod tokens;

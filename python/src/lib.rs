//! `fhec._native`: the facade crate for Python. The classes that users see are in Python
//! (`python/fhec`); here is what they stand on.
//!
//! | module | subject |
//! |---|---|
//! | `compile` | compiles: a model and options in, a program out |
//! | `program`, `interface` | a compiled program; what a client needs of it |
//! | `client` | keys, encryption, decryption |
//! | `server`, `session` | a program made ready; one client's keys on it |
//! | `remote` | a service over the network, as its client sees it |
//! | `evaluation_keys` | the keys that a server needs |
//! | `control` | ends evaluations |
//! | `images`, `numbers` | arrays that come in, and go out |
//! | `work`, `threads` | work without the interpreter's lock; a pool of threads per process |
//! | `errors`, `logging` | exceptions; what libraries log, for Python's `logging` |
//! | `command_line` | the `fhec` command |

// PyO3's macros write code that is not safe, and allow it for themselves.
#![deny(unsafe_code)]

mod client;
mod command_line;
mod compile;
mod control;
mod errors;
mod evaluation_keys;
mod images;
mod interface;
mod logging;
mod numbers;
mod program;
mod remote;
mod server;
mod session;
mod threads;
mod work;

use pyo3::prelude::*;

/// The native half of fhec.
#[pymodule(gil_used = true)]
mod _native {
    #[pymodule_export]
    use super::client::{Client, keep_secrets_from_core_dumps};
    #[pymodule_export]
    use super::command_line::command_line;
    #[pymodule_export]
    use super::compile::{compile, option_defaults};
    #[pymodule_export]
    use super::control::Control;
    #[pymodule_export]
    use super::evaluation_keys::EvaluationKeys;
    #[pymodule_export]
    use super::interface::Interface;
    #[pymodule_export]
    use super::numbers::wilson;
    #[pymodule_export]
    use super::program::Program;
    #[pymodule_export]
    use super::remote::{Remote, RemoteSession};
    #[pymodule_export]
    use super::server::Server;
    #[pymodule_export]
    use super::session::Session;
    #[pymodule_export]
    use super::threads::{num_threads, set_num_threads};

    #[pymodule_export]
    #[allow(non_upper_case_globals, reason = "Python's name")]
    const __version__: &str = env!("CARGO_PKG_VERSION");
}

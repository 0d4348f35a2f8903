//! The runner of fhec's filetests: text programs of the packed and ckks stages with what a pass should make of them.
//!
//! Programs of the nn stage have a runner of their own beside the passes on networks (`passes/tests/nn_filetests.rs`);
//! directives mean the same in both.
//!
//! | module | subject |
//! |---|---|
//! | [`passes`] | the passes by name, as filetests call them |
//! | [`runner`] | files, directives, comparison with what is expected |

#![forbid(unsafe_code)]

pub mod passes;
pub mod runner;

//! The runner of fhec's filetests: text programs of all stages with what a pass should make of
//! them.

#![forbid(unsafe_code)]

pub mod passes;
pub mod random;
pub mod runner;

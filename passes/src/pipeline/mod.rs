//! The order of the passes, one list per stage, and the runner that all lists share.
//!
//! | list | from, to |
//! |---|---|
//! | [`nn`] | a network as imported, to linear ops and polynomials on stored values |
//! | [`packed`] | that, to slot vectors of a ring |
//! | [`ckks`] | those, to a scheduled program under given parameters |
//!
//! Every pass is a function of its input and options. Only these lists know the order, and only
//! [`runner`] measures, counts and verifies. Which parameters a program is compiled for is another
//! question: [`crate::search`] asks it and runs the last two lists for its candidates.

pub mod ckks;
pub mod nn;
pub mod packed;
pub mod runner;

pub use nn::{NnOptions, NnResult, fold_nn, run_nn};
pub use runner::{After, Runner, Snapshot, StageName};

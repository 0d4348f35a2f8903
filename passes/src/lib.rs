//! fhec's compiler passes: from a network to a scheduled RNS-CKKS program.
//!
//! | Module | Subject |
//! |---|---|
//! | [`options`] | what is asked of a compile, with its defaults |
//! | [`preset`] | published programs as options |
//! | [`compile`] | all of it: from an imported network to a program and its plan |
//! | [`pipeline`] | the order of the passes, one list per stage, and their runner |
//! | [`search`] | the search for parameters |
//! | [`nn`] | passes on networks: simplify, calibrate, approximate, normalize |
//! | [`approximation`] | polynomials for sign, ReLU and smooth activations |
//! | [`lower_nn`] | nn to packed: layouts, linear maps, polynomials |
//! | [`packed`] | common subexpressions of packed programs |
//! | [`ckks`] | packed to ckks: parameters, levels, keys, order |
//! | [`estimate`] | seconds, memory and error of a scheduled program |
//! | [`analysis`] | costs, depths, levels, rotations, live bytes, noise |
//! | [`bootstrap`] | failure probability, polynomials, parameter sets of bootstraps |
//! | [`plan`] | the decisions as data |
//! | [`report`], [`error`] | what a pass returns, and what instead |

#![forbid(unsafe_code)]

pub mod analysis;
pub mod approximation;
pub mod bootstrap;
pub mod ckks;
pub mod compile;
pub mod error;
pub mod estimate;
pub mod lower_nn;
pub mod nn;
pub mod options;
pub mod packed;
pub mod pipeline;
pub mod plan;
pub mod preset;
pub mod report;
pub mod search;

//! fhec's compiler passes: from a network to a scheduled RNS-CKKS program.
//!
//! | Module | Subject |
//! |---|---|
//! | [`nn`] | passes on networks: simplify, calibrate, approximate, normalize |
//! | [`approximation`] | polynomials for sign, ReLU and smooth activations |
//! | [`lower_nn`] | nn to packed: layouts, linear maps, polynomials |
//! | [`packed`] | common subexpressions of packed programs |
//! | [`ckks`] | packed to ckks: parameters, levels, keys, order |
//! | [`estimate`] | seconds, memory and error of a scheduled program |
//! | [`analysis`] | costs, depths, levels, rotations, live bytes, noise |
//! | [`bootstrap`] | failure probability, polynomials, parameter sets of bootstraps |
//! | [`pipeline`] | the order of the passes on networks |
//! | [`schedule_network`] | the order of the passes from `lower` on, the search over rings |
//! | [`compile`] | both halves: from an imported network to a program and its plan |
//! | [`preset`] | programs that others have published, as options |
//! | [`plan`] | the decisions as data |
//! | [`report`], [`error`] | what a pass returns beside its result, and instead of one |

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
pub mod packed;
pub mod pipeline;
pub mod plan;
pub mod preset;
pub mod report;
pub mod schedule_network;

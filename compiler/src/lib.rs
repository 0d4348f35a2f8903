//! The `fhec` command line as a library: ONNX import, data files, subcommands.
//!
//! | module | subject |
//! |---|---|
//! | [`data`] | images from files, and what turns pixels into network input |
//! | [`onnx`] | ONNX models become functions of the nn stage |
//! | [`program`] | a compiled program: artifact, plan, normalisation |
//! | [`build`] | a compile: model, normalisation and calibration in, a program out |
//! | [`activation_ranges`] | what the inputs of activations were seen to be |
//! | [`roles`] | client and server, and the files between them |
//! | [`simulator`] | answers of a compiled program without encryption |
//! | [`simulation`] | answers on a data set, compared with the plain network's and summed up |
//! | [`blame`], [`layer_values`] | which layer flips a class; layers in the program and in the plain network |
//! | [`bench_bootstrap`], [`bench_costs`] | measuring bootstraps, and what operations cost |
//! | [`plan_diff`] | two plans compared |
//! | [`gates`] | limits that a plan has to keep |
//! | [`layer_errors`] | errors of a run, layer by layer |
//! | [`profile`] | a run op by op, and its trace file |
//! | [`report`] | plans for people: screens, tables, graphs, pages |
//! | [`cli`] | the command line |
//! | [`embedded`] | the network that comes with the program |
//! | [`files`] | files that are either whole or not there |
//! | [`core_dumps`] | secrets stay out of them |
//! | [`memory`] | how much memory and processor time was used |

#![forbid(unsafe_code)]

pub mod activation_ranges;
pub mod bench_bootstrap;
pub mod bench_costs;
pub mod blame;
pub mod build;
pub mod cli;
pub mod core_dumps;
pub mod data;
pub mod embedded;
pub mod files;
pub mod gates;
pub mod layer_errors;
pub mod layer_values;
pub mod memory;
pub mod onnx;
pub mod plan_diff;
pub mod profile;
pub mod program;
pub mod report;
pub mod roles;
pub mod simulation;
pub mod simulator;

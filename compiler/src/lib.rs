//! fhec's compiler as a library: from model files to programs, rehearsals of programs, reports
//! about them. The command line is another crate, as are the two parties of an encrypted inference.
//!
//! | module | subject |
//! |---|---|
//! | [`data`] | images from files, and what turns pixels into network input |
//! | [`onnx`] | ONNX models become functions of the nn stage |
//! | [`check`] | a look at a model before it is compiled |
//! | [`build`] | a compile: model, normalisation and calibration in, a program out |
//! | `calibration_images` | the images that a compile measures and fits with |
//! | [`costs`] | what operations cost on this machine, measured once and kept |
//! | [`embedded`] | the networks that come with fhec |
//! | [`program`] | compiled programs from files, and their plain networks |
//! | [`activation_ranges`] | what the inputs of activations were seen to be |
//! | [`gates`] | limits that a plan has to keep |
//! | [`rehearsal`] | the last look of a compile at its program |
//! | [`simulator`] | answers of a compiled program without encryption |
//! | [`simulation`] | answers on a data set, compared with the plain network's and summed up |
//! | [`blame`], [`layer_values`] | which layer flips a class; layers in the program and in the plain network |
//! | [`layer_errors`] | errors of a run, layer by layer |
//! | [`profile`] | a run op by op, and its trace file |
//! | [`plan_diff`] | two plans compared |
//! | [`save`] | answers as arrays and pictures |
//! | [`report`] | plans for people: screens, tables, graphs, pages |
//! | [`memory`] | how much memory and processor time was used, and how much there is |
//! | [`error`] | why a program cannot be opened, rehearsed or looked into |

#![forbid(unsafe_code)]

pub mod activation_ranges;
pub mod blame;
pub mod build;
mod calibration_images;
pub mod check;
pub mod costs;
pub mod data;
pub mod embedded;
pub mod error;
pub mod gates;
pub mod layer_errors;
pub mod layer_values;
pub mod memory;
pub mod onnx;
pub mod plan_diff;
pub mod profile;
pub mod program;
pub mod rehearsal;
pub mod report;
pub mod save;
pub mod simulation;
pub mod simulator;

//! A plan for people: the first screen, tables, a graph, plots and a page.
//!
//! | module | shows |
//! |---|---|
//! | [`summary`] | the first screen |
//! | [`layers`], [`levels`], [`layouts`], [`ops`] | layers; the level of every value; where tensors sit; every op |
//! | [`bootstraps`] | why each bootstrap is where it is |
//! | [`keys`] | keys: levels, bytes, who uses them |
//! | [`params`] | the modulus chain and the parameter sets considered |
//! | [`ranges`], [`passes`] | activations; what each pass did |
//! | [`measured`], [`layer_errors`] | measured times beside predicted ones; errors of a run |
//! | [`simulation`] | answers on a data set |
//! | [`dot`] | the program as a Graphviz graph |
//! | [`plot`], [`page`] | plots as SVG; HTML pages of a plan and of a simulation |
//! | [`activation_ranges`] | what calibration saw |
//! | [`table`], [`names`] | columns; names of layers as people write them |
//!
//! All of it is text made from a [`fhec_ir::program::Program`], its plan, and the trace of a run;
//! nothing here decides or measures.

pub mod activation_ranges;
pub mod bootstraps;
pub mod dot;
pub mod keys;
pub mod layer_errors;
pub mod layers;
pub mod layouts;
pub mod levels;
pub mod measured;
pub mod names;
pub mod ops;
pub mod page;
pub mod params;
pub mod passes;
pub mod plot;
pub mod ranges;
pub mod simulation;
pub mod summary;
pub mod table;

//! Analyses compute and do not rewrite; passes take their results as arguments.

pub mod circuit_shapes;
pub mod cost;
pub mod def_use;
pub mod elimination;
pub mod linear_cost;
pub mod live_bytes;
pub mod mul_depth;
pub mod noise;
pub mod number_maps;
pub mod op_cost;

//! Analyses compute and do not rewrite; passes take their results as arguments.

pub mod cost;
pub mod linear_cost;

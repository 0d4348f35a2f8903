//! Passes on the packed stage.

pub mod common_subexpr;

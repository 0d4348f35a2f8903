//! packed to ckks, and the passes on scheduled homomorphic programs.
//!
//! | pass | does |
//! |---|---|
//! | [`choose_params`] | ring degree, chain, special primes, digits, for the security and precision asked for |
//! | [`choose_bootstrap_params`] | the same with bootstrapping |
//! | [`place_bootstraps`] | where values are refreshed, and the level of every op |
//! | [`lower_packed`] | levels, scales, rescales and relinearisations, as early as possible |
//! | [`absorb_sines`] | polynomials undo the sines of the bootstraps they read |
//! | [`place_relinearizations`], [`place_rescales`] | later where that saves some |
//! | [`select_rotation_keys`] | baby steps and rotations, so that the keys fit the memory |
//! | [`schedule`] | an order with little memory alive |
//!
//! Beside the passes, [`placement`] is what `place_bootstraps` decides, and [`match_scales`] helps
//! `lower_packed` to bring operands to the level their op runs at.

pub mod absorb_sines;
pub mod choose_bootstrap_params;
pub mod choose_params;
pub mod lower_packed;
pub mod match_scales;
pub mod place_bootstraps;
pub mod place_relinearizations;
pub mod place_rescales;
pub mod placement;
pub mod schedule;
pub mod select_rotation_keys;
mod sink;

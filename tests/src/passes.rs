//! The passes that filetests can name, one file per folder of `passes/src`. A new pass is one
//! function and one line.

mod ckks;
mod estimate;
mod lower_nn;
mod nn;
mod packed;

use crate::runner::{Case, Failure, Outcome};

/// Runs a pass on a test's program.
pub type RunPass = fn(&Case) -> Result<Outcome, Failure>;

/// Passes by name.
pub const PASSES: &[(&str, RunPass)] = &[
    ("drop-softmax", nn::softmax_dropped),
    ("move-transposes", nn::moved),
    ("collect-polynomials", nn::collected),
    ("simplify", nn::simplified),
    ("calibrate", nn::calibrated),
    ("equalize-channels", nn::equalized),
    ("fit-activations", nn::fitted),
    ("approximate", nn::approximated),
    ("normalize-ranges", nn::normalized),
    ("choose-layout", lower_nn::layout),
    ("lower", lower_nn::lower),
    ("common-subexpr", packed::common),
    ("choose-params", ckks::parameters),
    ("place-bootstraps", ckks::bootstraps),
    ("lower-packed", ckks::levels),
    ("absorb-sines", ckks::sines),
    ("place-rescales", ckks::rescales),
    ("place-relinearizations", ckks::relinearizations),
    ("select-rotation-keys", ckks::rotation_keys),
    ("schedule", ckks::order),
    ("estimate", estimate::prediction),
];

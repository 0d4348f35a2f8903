//! Passes on the nn stage.
//!
//! | Pass | Effect |
//! |---|---|
//! | [`join_inputs`](mod@join_inputs) | one input instead of several |
//! | [`drop_softmax`](mod@drop_softmax) | leaves a final softmax to the client, unless it is to be evaluated ([`softmax`](mod@softmax)) |
//! | [`move_transposes`](mod@move_transposes) | transposes to where they cost nothing |
//! | [`collect_polynomials`](mod@collect_polynomials) | recognises polynomials written out in products and sums |
//! | [`expand_max_pools`](mod@expand_max_pools) | max-pooling as ReLUs of differences |
//! | [`simplify`](mod@simplify) | folds linear ops together, least multiplicative depth first |
//! | [`split_phases`](mod@split_phases) | large pictures that are read with strides as small ones of more channels |
//! | [`drop_idle_clips`](mod@drop_idle_clips) | leaves out the saturation of a quantised network where no sample reaches it |
//! | [`calibrate`](mod@calibrate) | ranges of all values, from images or by interval arithmetic |
//! | [`equalize_channels`](mod@equalize_channels) | channels of one size, so that a polynomial's interval suits them all |
//! | [`fit_network`](mod@fit_network) | polynomials for activations with a corner, fitted to what occurs: [`fit_activations`](mod@fit_activations) for given degrees, [`choose_degrees`](mod@choose_degrees) for an agreement asked for, by the [`depth_errors`] of single activations on [`sample_images`], [`activations`](mod@activations) as a file |
//! | [`approximate`](mod@approximate) | polynomials in place of activations |
//! | [`normalize_ranges`](mod@normalize_ranges) | stored values in [-1, 1], every polynomial's domain exactly that |
//!
//! [`scaling`](mod@scaling) is the analysis behind the last three: which values must share a
//! factor, and which one. [`agreement`](mod@agreement) is what an approximation is judged by,
//! [`output_errors`](mod@output_errors) what the whole program is.

pub mod activations;
pub mod agreement;
pub mod approximate;
pub mod calibrate;
pub mod choose_degrees;
pub mod collect_polynomials;
pub mod depth_errors;
pub mod drop_idle_clips;
pub mod drop_softmax;
pub mod equalize_channels;
mod exact_values;
pub mod expand_max_pools;
pub mod fit_activations;
pub mod fit_network;
pub mod join_inputs;
mod live_values;
pub mod move_transposes;
pub mod normalize_ranges;
pub mod output_errors;
pub mod sample_images;
pub mod scaling;
pub mod simplify;
pub mod softmax;
pub mod split_phases;

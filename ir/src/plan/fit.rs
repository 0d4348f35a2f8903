//! What other fits of activations would cost, and how often they agree.

use serde::{Deserialize, Serialize};

/// Activations as polynomials of some depths, with the parameters that suit them best.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FitRow {
    /// Levels of all activations together.
    pub levels: u32,
    /// The least depth of an activation.
    pub least_depth: u32,
    /// The largest.
    pub most_depth: u32,
    /// Share of other images that is expected to keep its class, with the predicted noise.
    pub agreement: f64,
    /// `log2` of the ring degree.
    pub log_n: u32,
    /// `log2(QP)`.
    pub log_qp: f64,
    /// Bootstraps, counted per ciphertext.
    pub bootstraps: usize,
    /// Predicted seconds.
    pub seconds: f64,
    /// Predicted peak of memory.
    pub peak_bytes: u64,
    /// Whether the program has these.
    pub chosen: bool,
}

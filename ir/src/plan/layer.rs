//! The plan by layers of the network.

use serde::{Deserialize, Serialize};

/// What one layer of the network has become.
///
/// A layer is a value of the network that survives lowering under its own name. Ops that serve it
/// alone belong to it: an op without a name belongs to the layer of the first op that reads its
/// result, so a bootstrap belongs to the layer that needs the levels. The layers of a plan share
/// out its ops: sums over layers are sums over ops.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LayerRow {
    /// Name of the value in the model file.
    pub name: String,
    /// Ops of the network as imported that this layer computes, each as `op value`; several where
    /// layers were folded into one.
    pub sources: Vec<String>,
    /// Ops of the scheduled program, as indices into the plan's ops, ascending.
    pub ops: Vec<usize>,
    /// Level of the first op's operand.
    pub level_in: u32,
    /// Highest level that an op of the layer works at: above `level_in` only where the layer
    /// bootstraps.
    pub level_top: u32,
    /// Level of the last op's result.
    pub level_out: u32,
    /// Bootstraps, counted per ciphertext.
    pub bootstraps: usize,
    /// Rotations outside of bootstraps.
    pub rotations: usize,
    /// Plaintext products of linear maps, outside of bootstraps.
    pub diagonals: usize,
    /// Products of two ciphertexts, outside of bootstraps.
    pub multiplications: usize,
    /// Bytes of encoded weights.
    pub plaintext_bytes: u64,
    /// Largest number of bytes of ciphertexts alive while the layer runs, working memory included.
    pub live_bytes: u64,
    /// Predicted seconds.
    pub seconds: f64,
    /// `log2` of the predicted error (standard deviation) of the layer's result.
    pub log2_error: f64,
    /// Layout of the result of the layer's last linear map, in words; empty without one.
    pub layout: String,
}

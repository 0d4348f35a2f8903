//! Why a network cannot be lowered.

use thiserror::Error;

/// Names the op, the value and what to do.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("cannot lower `{op}` (result `{value}`): {reason}")]
pub struct LowerError {
    /// Mnemonic of the op.
    pub op: String,
    /// Its result's name in the network, or its number.
    pub value: String,
    /// What is in the way, and what can be done.
    pub reason: String,
}

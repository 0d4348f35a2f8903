//! The evaluation keys of a plan, one by one.

use serde::{Deserialize, Serialize};

/// One key of the server.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct KeyRow {
    /// What it switches after.
    pub kind: KeyKind,
    /// Slots to the left, of rotations.
    pub steps: Option<usize>,
    /// Highest level it is used at.
    pub level: u32,
    /// Bytes in memory, both halves expanded.
    pub bytes: u64,
    /// Ops that use it, bootstraps not counted.
    pub ops: usize,
    /// Their layers, in program order, each once.
    pub layers: Vec<String>,
    /// Whether bootstraps use it.
    pub bootstraps: bool,
}

/// What a key is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyKind {
    /// Products of two ciphertexts.
    #[default]
    Relinearization,
    /// Rotations of slots.
    Rotation,
    /// Complex conjugation.
    Conjugation,
    /// The keys to the ephemeral secret of bootstraps and back, which are counted as one.
    Encapsulation,
}

impl KeyRow {
    /// The key in words: `rotation by 16`.
    pub fn name(&self) -> String {
        match (self.kind, self.steps) {
            (KeyKind::Relinearization, _) => "relinearization".into(),
            (KeyKind::Conjugation, _) => "conjugation".into(),
            (KeyKind::Encapsulation, _) => "encapsulation".into(),
            (KeyKind::Rotation, steps) => format!("rotation by {}", steps.unwrap_or(0)),
        }
    }
}

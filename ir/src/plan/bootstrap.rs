//! Why each bootstrap of a plan is where it is.

use serde::{Deserialize, Serialize};

/// One bootstrap.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BootstrapRow {
    /// The op, as index into the plan's ops.
    pub op: usize,
    /// The value that is refreshed: its name, or the layer it belongs to and its place there.
    pub value: String,
    /// Layer that needs it.
    pub layer: String,
    /// Ciphertexts that are refreshed.
    pub ciphertexts: usize,
    /// Level before.
    pub level_before: u32,
    /// Of these, the levels at the bottom of the chain that the bootstrap itself uses: a value that
    /// is to be refreshed must have them left.
    pub levels_reserved: u32,
    /// Level after.
    pub level_after: u32,
    /// The ops that read the refreshed value.
    pub needed_by: Vec<Need>,
    /// Predicted seconds of all its ciphertexts.
    pub seconds: f64,
    /// Whether other placements were looked for: not where bootstraps are placed by rules, or where
    /// the best placement cannot be found.
    #[serde(default)]
    pub alternatives_sought: bool,
    /// The best placement of the whole program in which this value is not refreshed; `None` if
    /// there is none, or if it was not looked for.
    pub without_value: Option<Alternative>,
    /// The best placement in which no value of the layer that computes this value is refreshed;
    /// `None` if there is none, or if it was not looked for.
    pub without_layer: Option<Alternative>,
}

/// An op that reads a refreshed value.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Need {
    /// The op, as index into the plan's ops.
    pub op: usize,
    /// Its mnemonic.
    pub kind: String,
    /// Its layer.
    pub layer: String,
    /// Level it runs at.
    pub level: u32,
    /// Levels it uses up, the rescale after it included.
    pub levels_used: u32,
}

/// Bootstraps placed by named rules, for a count that was published.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Accounting {
    /// Whose count it is, and how far the rules are theirs.
    pub remark: String,
    /// What is refreshed by which rule, in program order.
    pub rows: Vec<AccountingRow>,
    /// What other placements of the same program need.
    pub placements: Vec<PlacementRow>,
    /// Bytes of the same keys with the published key switching; 0 if none is known.
    pub published_key_bytes: u64,
}

/// A value that a rule refreshes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AccountingRow {
    /// The rule's name.
    pub rule: String,
    /// The value that is refreshed: its name, or the layer it belongs to and its place there.
    pub value: String,
    /// Layer that computes it.
    pub layer: String,
    /// Ciphertexts.
    pub ciphertexts: usize,
    /// Whether it belongs to a softmax, whose bootstraps are counted apart.
    pub softmax: bool,
    /// Ciphertexts so far, of the softmax or of everything else.
    pub total: usize,
}

/// Bootstraps under a placement.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PlacementRow {
    /// Name of the placement.
    pub placement: String,
    /// Bootstraps outside of a softmax, counted per ciphertext.
    pub bootstraps: usize,
    /// Those of a softmax.
    pub bootstraps_softmax: usize,
    /// Predicted seconds of the whole program.
    pub seconds: f64,
}

/// Another placement of the program's bootstraps.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Alternative {
    /// Predicted seconds beyond those of the chosen placement; not negative where placement is
    /// optimal.
    pub extra_seconds: f64,
    /// Values it refreshes, counted per ciphertext.
    pub bootstraps: usize,
    /// Values it refreshes that the chosen placement does not.
    pub instead: Vec<String>,
}

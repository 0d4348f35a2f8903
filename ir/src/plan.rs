//! The plan: everything that a compile decided and predicts, as data that people and pipelines
//! read.
//!
//! It travels in the artifact as JSON; `fhec inspect --json` prints it. Field names of the first
//! level are a contract: within one [`SCHEMA_VERSION`] none is renamed or removed. Fields that came
//! later are empty in the plans of older artifacts.

mod bootstrap;
mod check;
mod fit;
mod key;
mod layer;
mod output;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::printable::make_printable;

pub use bootstrap::{Accounting, AccountingRow, Alternative, BootstrapRow, Need, PlacementRow};
pub use fit::FitRow;
pub use key::{KeyKind, KeyRow};
pub use layer::LayerRow;
pub use output::OutputRow;

/// Version of the schema, raised when a field changes its meaning.
pub const SCHEMA_VERSION: u32 = 1;

/// `log2` that stands for a probability or an error of zero, or one too small to matter, in plans:
/// JSON has no infinities.
pub const LEAST_LOG2: f64 = -1000.0;

/// `log2` of a standard deviation, for plans: of an exact value the least number there is.
pub fn log2_error(stddev: f64) -> f64 {
    stddev.log2().max(LEAST_LOG2)
}

/// A compiled program in numbers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// [`SCHEMA_VERSION`] of the writer.
    pub schema_version: u32,
    /// Name of the network.
    pub network: String,
    /// Security level that all secrets of the program keep, in bits, by the table named in
    /// `security_source`.
    pub security_bits: u32,
    /// How the level was derived: table and attack model.
    pub security_source: String,
    /// The secrets that keys are published under, the main one first.
    #[serde(default)]
    pub secrets: Vec<SecretRow>,
    /// `log2` of the ring degree.
    pub log_n: u32,
    /// `log2(QP)`.
    pub log_qp: f64,
    /// Distribution of the main secret.
    pub secret: String,
    /// `log2` of the scale of the top level.
    pub log_scale: u32,
    /// Number of bootstraps, counted per ciphertext, without those of a softmax that is evaluated
    /// under encryption.
    pub bootstraps: usize,
    /// Number of bootstraps of that softmax.
    #[serde(default)]
    pub bootstraps_softmax: usize,
    /// Number of rotations (hoisted ones included), counted per ciphertext.
    pub rotations: usize,
    /// Number of plaintext products in linear maps, counted per ciphertext.
    pub diagonals: usize,
    /// Number of products of two ciphertexts.
    pub multiplications: usize,
    /// Levels of the chain.
    pub levels: u32,
    /// Number of evaluation keys.
    pub keys: usize,
    /// Bytes of the evaluation keys in memory.
    pub key_bytes: u64,
    /// Bytes of the evaluation keys that a client sends to a server once; 0 in plans from before
    /// that was told.
    #[serde(default)]
    pub key_file_bytes: u64,
    /// Images of one inference.
    #[serde(default = "one_image")]
    pub batch: usize,
    /// Seconds for one inference, of all images of the batch, on the machine of the cost table,
    /// keys loaded.
    pub predicted_seconds: f64,
    /// Which machine and thread count the prediction is for.
    pub cost_table: String,
    /// Which prices the prediction is made with, where they were measured: runs on that machine may
    /// refine them. None of the built-in prices.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measured_prices: Option<MeasuredPrices>,
    /// Peak memory of an inference, keys included.
    pub predicted_peak_bytes: u64,
    /// Standard deviation of the error of a stored output slot, `log2`.
    pub predicted_log2_error: f64,
    /// `log2` of the probability that the program fails because a bootstrap does; `None` without
    /// bootstraps, where nothing can fail that way.
    pub log2_failure_probability: Option<f64>,
    /// Of the peak, what is there all the time: keys, tables of transforms, matrices of bootstraps,
    /// encoded weights.
    #[serde(default)]
    pub resident_bytes: u64,
    /// How often the approximated activations kept the class of sample images; `None` where a
    /// compile had no images to tell.
    #[serde(default)]
    pub agreement: Option<Agreement>,
    /// How close outputs come to those of the plain network; none where a compile had no sample
    /// images.
    #[serde(default)]
    pub outputs: Vec<OutputRow>,
    /// The plan by layers, in the order in which they are done.
    #[serde(default)]
    pub layers: Vec<LayerRow>,
    /// Why each bootstrap is where it is, in program order.
    #[serde(default)]
    pub bootstrap_sites: Vec<BootstrapRow>,
    /// Where bootstraps are placed by named rules: the count by rule, and what other placements
    /// need.
    #[serde(default)]
    pub accounting: Option<Accounting>,
    /// The keys one by one: relinearization, rotations by steps, conjugation, encapsulation.
    #[serde(default)]
    pub evaluation_keys: Vec<KeyRow>,
    /// Range of each activation's input and where it comes from.
    pub ranges: Vec<RangeRow>,
    /// One row per op of the scheduled program that costs something.
    pub ops: Vec<OpRow>,
    /// Parameter sets that were considered, the chosen one among them.
    pub considered: Vec<Considered>,
    /// Fits that were considered, none of them slower and less exact than another; none where
    /// nothing was fitted.
    #[serde(default)]
    pub fits: Vec<FitRow>,
    /// Per pass: what it did.
    pub passes: Vec<PassRow>,
    /// Warnings and remarks for the user.
    pub notes: Vec<String>,
}

/// The batch of artifacts that are older than batches.
fn one_image() -> usize {
    1
}

/// Classes of sample images under approximated and exact activations, without encryption.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Agreement {
    /// Images that polynomials were fitted to; none of them is judged.
    pub fitted_images: usize,
    /// Images that were judged.
    pub judged_images: usize,
    /// Of those, how many kept their class.
    pub agreeing_images: usize,
    /// Share of other images that is expected to keep its class with the noise of encryption, as it
    /// was simulated or else predicted; `None` where it is not known.
    #[serde(default)]
    pub expected: Option<f64>,
    /// Judged images that the program itself was run on, on slots with modelled noise.
    #[serde(default)]
    pub simulated_images: usize,
    /// Of those, how many kept their class.
    #[serde(default)]
    pub simulated_agreeing: usize,
}

impl Agreement {
    /// Share of judged images that kept their class; 0 without any.
    pub fn share(&self) -> f64 {
        self.agreeing_images as f64 / self.judged_images.max(1) as f64
    }
}

/// Measured prices that a plan was made with.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct MeasuredPrices {
    /// Digest of what was measured.
    pub digest: String,
    /// What runs had shown by then: factors of predicted times, by op. 1 where nothing is said.
    #[serde(default)]
    pub runs: BTreeMap<String, f64>,
}

/// A secret that keys are published under.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SecretRow {
    /// [`SecretRow::MAIN`] or [`SecretRow::EPHEMERAL`].
    pub role: String,
    /// Its distribution.
    pub distribution: String,
    /// `log2` of the largest modulus that anything is published at under it.
    pub log_modulus: f64,
    /// Security level that it keeps, in bits.
    pub bits: u32,
}

impl SecretRow {
    /// The secret of images and answers, at `Q P`.
    pub const MAIN: &str = "main";
    /// The secret under which bootstraps raise the modulus, at `q_0 p_0`.
    pub const EPHEMERAL: &str = "ephemeral";
}

/// The input range of an activation.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RangeRow {
    /// Name of the value.
    pub value: String,
    /// Smallest value seen or possible.
    pub min: f64,
    /// Largest value seen or possible.
    pub max: f64,
    /// Bound the polynomial is made for.
    pub bound: f64,
    /// Where the range is from: `samples`, `file` or `interval arithmetic`.
    pub source: String,
    /// The activation.
    pub activation: String,
}

/// An op of the scheduled program.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct OpRow {
    /// Position in the program.
    pub index: usize,
    /// Mnemonic.
    pub op: String,
    /// Name of the result: where it comes from in the network.
    pub name: String,
    /// Ciphertexts in the result.
    pub ciphertexts: usize,
    /// Level of the operand.
    pub level_in: u32,
    /// Level of the result.
    pub level_out: u32,
    /// Rotations.
    pub rotations: usize,
    /// Plaintext products of a linear map.
    pub diagonals: usize,
    /// Products of two ciphertexts.
    pub multiplications: usize,
    /// Predicted seconds.
    pub seconds: f64,
    /// Layout of the result of a linear map, in words.
    pub layout: String,
    /// `log2` of the predicted error (standard deviation) of the result.
    pub log2_error: f64,
    /// The layer it belongs to, as index into the plan's layers.
    #[serde(default)]
    pub layer: usize,
    /// Bytes of its encoded weights.
    #[serde(default)]
    pub plaintext_bytes: u64,
    /// Bytes of ciphertexts alive while it runs, its working memory included.
    #[serde(default)]
    pub live_bytes: u64,
}

/// A parameter set that was considered.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Considered {
    /// `log2` of the ring degree.
    pub log_n: u32,
    /// `log2(QP)`, where the set could be built.
    pub log_qp: f64,
    /// `log2` of the scale.
    pub log_scale: u32,
    /// Chain primes per key-switching digit.
    pub digit_limbs: usize,
    /// Special primes.
    pub special_primes: usize,
    /// The bootstrap in words; empty for a chain that holds the whole program.
    #[serde(default)]
    pub bootstrap: String,
    /// Predicted seconds.
    pub seconds: f64,
    /// Predicted bytes of keys.
    pub key_bytes: u64,
    /// Predicted peak of memory; 0 where the set was given up before it was known.
    #[serde(default)]
    pub peak_bytes: u64,
    /// Bootstraps, counted per ciphertext.
    #[serde(default)]
    pub bootstraps: usize,
    /// Share of other images that is expected to keep its class, with approximations and the
    /// predicted noise; `None` where it is not known.
    #[serde(default)]
    pub agreement: Option<f64>,
    /// `chosen`, or why not.
    pub verdict: String,
}

impl Considered {
    /// Verdict of the set that the program was compiled for.
    pub const CHOSEN: &str = "chosen";
    /// Verdict of a set that keeps all that was asked for, and takes longer than the one chosen.
    pub const SLOWER: &str = "slower";
    /// Verdict of a set that keeps all that was asked for, and is hardly faster than the one
    /// chosen, but less precise.
    pub const LESS_PRECISE: &str = "less precise";

    /// Whether the set keeps all that was asked for, and was not chosen.
    pub fn acceptable(&self) -> bool {
        [Self::SLOWER, Self::LESS_PRECISE].contains(&self.verdict.as_str())
    }
}

/// What a pass did.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PassRow {
    /// Name of the pass.
    pub pass: String,
    /// Its report in words.
    pub report: String,
}

/// Why text is no plan.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum PlanError {
    #[error("malformed: {0}")]
    Json(#[from] serde_json::Error),
    #[error("it has schema version {found}, this fhec reads version {SCHEMA_VERSION}")]
    Version { found: u32 },
    #[error("it is not one of this program: {what}; compile the model again")]
    Misfit { what: String },
}

impl Plan {
    /// As JSON.
    pub fn to_json(&self) -> Result<String, PlanError> {
        Ok(serde_json::to_string_pretty(self)?)
    }

    /// Reads what [`Plan::to_json`] wrote. Strings lose their control characters.
    pub fn from_json(text: &str) -> Result<Self, PlanError> {
        let mut value: serde_json::Value = serde_json::from_str(text)?;
        make_printable(&mut value);
        let plan: Plan = serde_json::from_value(value)?;
        match plan.schema_version {
            SCHEMA_VERSION => Ok(plan),
            found => Err(PlanError::Version { found }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_round_trips_and_versions_are_checked() {
        let plan = Plan { schema_version: SCHEMA_VERSION, log_qp: 1_745.25, ..Plan::default() };
        assert_eq!(Plan::from_json(&plan.to_json().unwrap()).unwrap(), plan);
        let other = Plan { schema_version: 99, ..plan };
        assert!(matches!(Plan::from_json(&other.to_json().unwrap()), Err(PlanError::Version { found: 99 })));
    }
}

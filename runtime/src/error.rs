//! What can be wrong with operands, keys and bytes, and what ends work before its end.

use std::time::Duration;

use fhec_ir::scale::{Level, Scale};
use thiserror::Error;

use crate::names::{KeyId, PlaintextScale, SwitchingKeyKind};

/// Why work was ended from outside, where it could have gone on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Stop {
    /// Somebody asked for it.
    #[error("cancelled")]
    Cancelled,
    /// There was no time left.
    #[error("{overdue:.1?} beyond the deadline")]
    Deadline {
        /// By how much the deadline had passed when it was looked at.
        overdue: Duration,
    },
}

/// Why an operation on ciphertexts or plaintexts was refused. Nothing has been changed then.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum EvalError {
    /// Operands at different levels.
    #[error("{op}: operands at levels {left} and {right}; bring the higher one down with level_drop")]
    LevelMismatch {
        /// The operation.
        op: &'static str,
        /// Level of the first operand.
        left: Level,
        /// Level of the second operand.
        right: Level,
    },
    /// An operand without some of the primes that the operation needs.
    #[error(
        "{op}: level {to} has primes that level {from} does not have; drop the operand to the level first"
    )]
    NotNested {
        /// The operation.
        op: &'static str,
        /// The operand's level.
        from: Level,
        /// The level of the operation.
        to: Level,
    },
    /// An operand below the level that the operation needs.
    #[error("{op}: needs level {needed} or above, found {found}")]
    LevelTooLow {
        /// The operation.
        op: &'static str,
        /// The least level.
        needed: Level,
        /// The operand's level.
        found: Level,
    },
    /// A level above the top of the modulus chain.
    #[error("{op}: level {found} is above the top level {top} of these parameters")]
    LevelTooHigh {
        /// The operation.
        op: &'static str,
        /// The top level.
        top: Level,
        /// The level asked for.
        found: Level,
    },
    /// Operands, or an operand and the operation, disagree about the scale.
    #[error("{op}: expected scale {expected}, found {found}")]
    ScaleMismatch {
        /// The operation.
        op: &'static str,
        /// The scale needed.
        expected: Scale,
        /// The operand's scale.
        found: Scale,
    },
    /// A product of two ciphertexts where the modulus chain steps to a segment with another scale.
    #[error(
        "{op}: the chain changes its scale below level {level}, where the square of the scale has no name; use level_drop first"
    )]
    SegmentStep {
        /// The operation.
        op: &'static str,
        /// Level of the operands' scale.
        level: Level,
    },
    /// A plaintext encoded for another scale.
    #[error("{op}: a plaintext at scale {plaintext} does not fit a ciphertext at scale {ciphertext}")]
    PlaintextScaleMismatch {
        /// The operation.
        op: &'static str,
        /// Scale of the ciphertext.
        ciphertext: Scale,
        /// Scale of the plaintext.
        plaintext: PlaintextScale,
    },
    /// A ciphertext with the wrong number of polynomials.
    #[error("{op}: needs a ciphertext of {expected} polynomials, found {found}")]
    SizeMismatch {
        /// The operation.
        op: &'static str,
        /// The size needed.
        expected: usize,
        /// The operand's size.
        found: usize,
    },
    /// A plaintext in the wrong form or over the wrong primes.
    #[error("{op}: needs a plaintext {expected}")]
    PlaintextForm {
        /// The operation.
        op: &'static str,
        /// What it needs.
        expected: &'static str,
    },
    /// Ciphertexts or keys of different secret keys.
    #[error("{op}: made with key {left}, but the other operand belongs to key {right}")]
    KeyMismatch {
        /// The operation.
        op: &'static str,
        /// Key of the first operand.
        left: KeyId,
        /// Key of the second operand.
        right: KeyId,
    },
    /// An evaluation key that was not generated.
    #[error("{op}: no {key}; it has to be among the generated evaluation keys")]
    MissingKey {
        /// The operation.
        op: &'static str,
        /// The key.
        key: SwitchingKeyKind,
    },
    /// An evaluation key that ends below the operand's level.
    #[error("{op}: the {key} was generated up to level {key_level}, the operand is at level {level}")]
    KeyLevel {
        /// The operation.
        op: &'static str,
        /// The key.
        key: SwitchingKeyKind,
        /// Highest level the key serves.
        key_level: Level,
        /// The operand's level.
        level: Level,
    },
    /// A bootstrap with an ephemeral secret without its keys, or keys without an ephemeral secret.
    #[error("{op}: encapsulation keys are {}needed by this bootstrap", if *.needed { "" } else { "not " })]
    Encapsulation {
        /// The operation.
        op: &'static str,
        /// Whether keys are needed.
        needed: bool,
    },
    /// No key from the ephemeral secret rotates so far.
    #[error(
        "{op}: the encapsulation keys do not rotate by {steps} on the way back from the ephemeral secret"
    )]
    MissingRaisingKey {
        /// The operation.
        op: &'static str,
        /// Steps to the left.
        steps: usize,
    },
    /// A number of values that is no power of two up to N/2.
    #[error("{found} values: the number of slots must be a power of two, at most {max}")]
    SlotCount {
        /// Number of values given.
        found: usize,
        /// N/2.
        max: usize,
    },
    /// A message that is not a number.
    #[error("slot {slot} holds {value}, which is not finite")]
    NotFinite {
        /// Index of the value.
        slot: usize,
        /// The value.
        value: f64,
    },
    /// A message that wraps around the modulus.
    #[error(
        "the message needs {needed:.1} bits at its scale, the modulus of level {level} leaves {available:.1}; use a smaller message or a higher level"
    )]
    MessageTooLarge {
        /// Bits of the largest coefficient.
        needed: f64,
        /// Bits below half the modulus.
        available: f64,
        /// The level.
        level: Level,
    },
    /// Work on many ciphertexts was ended between two of them.
    #[error(transparent)]
    Stopped(#[from] Stop),
}

/// Why bytes were refused as a key or a ciphertext.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FormatError {
    /// Not a file of this kind.
    #[error("this is no fhec {expected}")]
    Magic {
        /// The object wanted.
        expected: &'static str,
    },
    /// A format of another version.
    #[error("{object} in format version {found}; this build reads version {supported}")]
    Version {
        /// The object.
        object: &'static str,
        /// Version of the bytes.
        found: u32,
        /// Version read here.
        supported: u32,
    },
    /// The header cannot be parsed.
    #[error("damaged header of a {object}: {reason}")]
    Header {
        /// The object.
        object: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// Made with other parameters.
    #[error("this {object} was made with other parameters (fingerprint {found}, expected {expected})")]
    Fingerprint {
        /// The object.
        object: &'static str,
        /// Start of the fingerprint of the program's parameters.
        expected: String,
        /// Start of the fingerprint found.
        found: String,
    },
    /// Too few or too many bytes.
    #[error("a {object} of {found} bytes where {expected} are needed: it was cut off or extended")]
    Length {
        /// The object.
        object: &'static str,
        /// Bytes that the header implies.
        expected: usize,
        /// Bytes found.
        found: usize,
    },
    /// A fresh ciphertext, known by a seed, where one that was computed is expected.
    #[error("this {object} is one that somebody has just encrypted, not the result of an evaluation")]
    Seeded {
        /// The object.
        object: &'static str,
    },
    /// Damaged.
    #[error("the checksum of this {object} is wrong: it was damaged on the way")]
    Checksum {
        /// The object.
        object: &'static str,
    },
    /// A residue that is none.
    #[error("a residue of this {object} is not below its prime {prime}")]
    Residue {
        /// The object.
        object: &'static str,
        /// The prime.
        prime: u64,
    },
}

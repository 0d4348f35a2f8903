//! What a pass can refuse, and how.

use fhec_ir::{interp::InterpError, verify::VerifyErrors};
use thiserror::Error;

use fhec_ir::security::SecurityError;

use crate::{
    approximation::ApproximationError,
    bootstrap::sets::SetError,
    ckks::{
        choose_params::ChooseParamsError, lower_packed::LowerPackedError,
        place_bootstraps::PlaceBootstrapsError, select_rotation_keys::KeyBudgetError,
    },
    lower_nn::LowerError,
};

/// Why a pass returned no program.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum PassError {
    /// A pass broke the program: a bug in that pass.
    #[error("after pass `{pass}`: {errors}")]
    Verify {
        /// The pass, or `input` for a program that was malformed to begin with.
        pass: &'static str,
        /// What the verifier says.
        errors: VerifyErrors,
    },
    /// A pass built an op that does not fit its operands: a bug in that pass, unless its input was
    /// not verified.
    #[error("pass `{pass}` built an invalid op: {message}")]
    Malformed {
        /// The pass.
        pass: &'static str,
        /// The broken rule.
        message: String,
    },
    /// The network has an op that cannot be lowered, however its activations are approximated.
    #[error(transparent)]
    Lower(#[from] LowerError),
    /// No parameters keep all that was asked for.
    #[error(transparent)]
    Params(#[from] ChooseParamsError),
    /// A parameter set with bootstrapping cannot be made.
    #[error(transparent)]
    BootstrapParams(#[from] SetError),
    /// The parameters are below the security level asked for, or no table knows them.
    #[error(transparent)]
    Security(#[from] SecurityError),
    /// The program's bootstraps have no place.
    #[error(transparent)]
    PlaceBootstraps(#[from] PlaceBootstrapsError),
    /// The program has no form under the parameters: a bug of the passes before.
    #[error(transparent)]
    LowerPacked(#[from] LowerPackedError),
    /// The switching keys do not fit the memory.
    #[error("{keys}")]
    Keys {
        /// What they need.
        keys: KeyBudgetError,
        /// Bytes that are needed besides keys.
        other: u64,
    },
    /// A constant leaves the range of `f32`, or was not a number to begin with.
    #[error("pass `{pass}` folds constants to {value}; check the network's weights and variances")]
    NonFiniteConstant {
        /// The pass.
        pass: &'static str,
        /// The value.
        value: f64,
    },
    /// The network could not be run on the calibration data.
    #[error("calibration: {0}")]
    Calibration(#[from] InterpError),
    /// A value of the network is not finite on a calibration image.
    #[error(
        "calibration: {value} is not finite on image {image}, and so it is in the plain network; check the normalisation of the \
         inputs, or add a small constant (an epsilon) before a logarithm, a root or a quotient"
    )]
    NonFiniteActivation {
        /// The value, by name where it has one.
        value: String,
        /// Index of the image.
        image: usize,
    },
    /// A range is missing or unusable.
    #[error("{value} has no usable range ({reason}); calibrate with sample images")]
    Range {
        /// The value, by name where it has one.
        value: String,
        /// What is wrong.
        reason: String,
    },
    /// An activation that is not defined everywhere is asked for where it is not.
    #[error(
        "{value} is {operator} of values in [{min:.3e}, {max:.3e}], and {reaches}; add a small constant to its operand in \
         the network (an epsilon), or give --calibration inputs that keep it away from there"
    )]
    Undefined {
        /// The activation's result, by name where it has one.
        value: String,
        /// What it is, in the words of ONNX.
        operator: String,
        /// The least operand.
        min: f64,
        /// The largest.
        max: f64,
        /// Where it is not defined.
        reaches: &'static str,
    },
    /// An option is out of its range.
    #[error("option `{option}`: {reason}")]
    Option {
        /// Its name.
        option: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// An approximated network feeds an activation values that its polynomial is not made for.
    #[error("{value}: {count} operands leave the polynomial's domain; use a wider margin or a higher degree")]
    LeavesDomain {
        /// The activation's result, by name where it has one.
        value: String,
        /// How many operands, over all images.
        count: usize,
    },
    /// Fitted activations do not belong to the network, or hold unusable numbers.
    #[error("fitted activations: {value}: {reason}; make them again from sample images")]
    Activations {
        /// The activation, or the network.
        value: String,
        /// What is wrong.
        reason: String,
    },
    /// An output of the program would be wrong by more than it is: nobody is served by it.
    #[error(
        "output `{output}` would be wrong by more than it is: {decibels:.1} dB of signal to error on {judged} sample images that \
         nothing was fitted to; {remedy}; --allow-inaccurate compiles it all the same"
    )]
    OutputLost {
        /// Name of the output.
        output: String,
        /// Its ratio of signal to error.
        decibels: f64,
        /// Images that were looked at.
        judged: usize,
        /// What may help.
        remedy: String,
    },
    /// No polynomial was found for an activation.
    #[error("{value}: {source}")]
    Approximation {
        /// The activation's result, by name where it has one.
        value: String,
        /// What failed.
        source: ApproximationError,
    },
}

impl PassError {
    /// What becomes of the words of [`fhec_ir::func::Func::push`] in `pass`.
    pub(crate) fn malformed(pass: &'static str) -> impl Fn(String) -> PassError {
        move |message| PassError::Malformed { pass, message }
    }
}

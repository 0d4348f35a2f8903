//! Presets: programs that others have published, as options of a compile.

use serde::{Deserialize, Serialize};

use crate::bootstrap::sets::{self, LEE2021_GROUPED, LEE2021_STC_LAST, SetError};
use crate::ckks::place_bootstraps::BootstrapPlacement;
use crate::lower_nn::Packing;
use crate::nn::approximate::ReluMethod;
use crate::options::{ByteSize, SecurityLevel};
use crate::pipeline::NnOptions;
use crate::search::FixedParams;

/// A program that was published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
pub enum Preset {
    /// ResNet-20 of arXiv 2106.07229
    ///
    /// See `docs/lee2021.md`: one channel per ciphertext on 2^10 slots, ReLU of degrees 15, 15, 27
    /// for inputs up to 40, 11 levels between bootstraps, softmax under encryption.
    Lee2021,
    /// The same with its order in bootstraps: slots to coefficients last
    Lee2021StcLast,
}

/// Degrees of the composition for sign.
const RELU_DEGREES: [usize; 3] = [15, 15, 27];
/// What operands of ReLUs are taken to stay below.
const RELU_BOUND: f64 = 40.0;
/// Slots per ciphertext: a channel of a 32x32 picture.
const SLOTS: usize = 1 << 10;

impl Preset {
    /// All presets.
    pub const ALL: [Preset; 2] = [Preset::Lee2021, Preset::Lee2021StcLast];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Preset::Lee2021 => "lee2021",
            Preset::Lee2021StcLast => "lee2021-stc-last",
        }
    }

    /// Level at which the preset is compiled unless another is asked for: that of the publication.
    pub fn security(self) -> SecurityLevel {
        let (Preset::Lee2021 | Preset::Lee2021StcLast) = self;
        SecurityLevel::Bits98
    }

    /// Memory that the preset may take unless told otherwise.
    pub fn max_ram(self) -> ByteSize {
        let (Preset::Lee2021 | Preset::Lee2021StcLast) = self;
        ByteSize(19 << 30)
    }

    /// How tensors are laid out.
    pub fn packing(self) -> Packing {
        let (Preset::Lee2021 | Preset::Lee2021StcLast) = self;
        Packing::Channel
    }

    /// How bootstraps are placed unless asked otherwise.
    pub fn bootstrap_placement(self) -> BootstrapPlacement {
        let (Preset::Lee2021 | Preset::Lee2021StcLast) = self;
        BootstrapPlacement::Lee2021
    }

    /// Chain, bootstrap and keys.
    pub(crate) fn params(self) -> Result<FixedParams, SetError> {
        let name = match self {
            Preset::Lee2021 => LEE2021_GROUPED,
            Preset::Lee2021StcLast => LEE2021_STC_LAST,
        };
        Ok(FixedParams { set: sets::named(name)?, slots: SLOTS })
    }

    /// Sets the polynomials of activations and what they are made for.
    pub(crate) fn fix_activations(self, options: &mut NnOptions) {
        let (Preset::Lee2021 | Preset::Lee2021StcLast) = self;
        options.approximate.relu = ReluMethod::Degrees(RELU_DEGREES.to_vec());
        options.calibrate.bound = Some(RELU_BOUND);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bootstrap::failure::log2_failure;
    use fhec_ir::security;

    #[test]
    fn the_other_order_has_the_same_levels() {
        let [first, last] = [LEE2021_GROUPED, LEE2021_STC_LAST].map(|name| sets::named(name).unwrap());
        let [a, b] = [&first, &last].map(|set| set.with_slots(SLOTS).unwrap());
        assert_eq!((a.usable_levels(), a.raised_level()), (b.usable_levels(), b.raised_level()));
        assert_eq!((b.input_level(), b.sine_output_level()), (0, 11 + 2));
        assert_eq!(last.params.top_level(), first.params.top_level());
        for level in 0..=b.sine_output_level() {
            assert!((last.params.canonical_scale(level).log2() - 50.0).abs() < 0.1, "level {level}");
        }
        last.check_security().unwrap();
    }

    #[test]
    fn the_chain_is_the_papers() {
        let set = sets::named(LEE2021_GROUPED).unwrap();
        let (params, bootstrap) = (&set.params, set.with_slots(SLOTS).unwrap());
        assert_eq!((params.log_n(), params.top_level()), (16, 11 + 18));
        assert_eq!(params.q()[0].ilog2(), 59);
        assert_eq!(bootstrap.usable_levels(), 11);
        assert_eq!((bootstrap.input_level(), bootstrap.raised_level()), (2, 29 - 3));
        assert_eq!((bootstrap.cosine.degree(), bootstrap.double_angles), (54, 2));
        assert_eq!(bootstrap.arcsine.as_ref().map(|p| p.degree()), Some(5));
        for level in bootstrap.input_level()..=bootstrap.output_level {
            assert!((params.canonical_scale(level).log2() - 50.0).abs() < 0.1, "level {level}");
        }
        // Only q0 and the special prime beside it are beyond 52-bit products.
        assert!(params.q()[1..].iter().chain(&params.p()[1..]).all(|&q| q < 1 << 50));
        assert!(params.p()[0] > params.q()[0] / 2);
        set.check_security().unwrap();
        assert_eq!(security::level_reached(16, params.secret(), params.log_qp()).unwrap(), Some(98));
        assert!(log2_failure(32, bootstrap.bound, SLOTS, 1149 + 22) < -40.0);
        let published = sets::lee2021_as_published().unwrap();
        assert_eq!((published.params.p().len(), published.params.digit_limbs()), (1, 1));
        assert_eq!(published.params.top_level(), params.top_level());
    }
}

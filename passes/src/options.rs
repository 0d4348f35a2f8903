//! What is asked of a compile: the one home of defaults, and of what is decided where nobody asks.

mod byte_size;
mod security_level;

use std::fmt;
use std::num::NonZeroUsize;

use fhec_ir::ckks::Ckks;
use fhec_ir::func::Func;
use fhec_ir::params::Params;
use serde::{Deserialize, Serialize};

pub use byte_size::ByteSize;
pub use security_level::{SecurityLevel, UnknownSecurityLevel};

use crate::analysis::cost::CostTable;
use crate::bootstrap::sets::SetError;
use crate::ckks::choose_params::ParamOptions;
use crate::ckks::place_bootstraps::BootstrapPlacement;
use crate::error::PassError;
use crate::lower_nn::Packing;
use crate::nn::activations::Activations;
use crate::nn::approximate::ReluMethod;
use crate::nn::calibrate::{self, Source};
use crate::nn::fit_network::Fitting;
use crate::pipeline::NnOptions;
use crate::preset::Preset;
use crate::search::{SearchOptions, relu_precision};

/// The share of images that keep their class where none is asked for, in percent.
pub const AGREEMENT: f64 = 99.5;
/// Memory that evaluating may take where neither a limit nor a preset is given.
pub const MAX_RAM: ByteSize = ByteSize(16 << 30);
/// Batches larger than this are laid out one pixel per ciphertext, unless told otherwise: by then
/// all ciphertexts of deep networks are full, and more images only make the program longer.
pub const MOST_IMAGES_IN_CHANNELS: usize = 32;

/// How ReLU is approximated.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Relu {
    /// With sample images, fitted so that [`AGREEMENT`] percent of them keep their class; with
    /// polynomials that were fitted before, as those say; or else to [`relu_precision::PREFERRED`]
    /// bits, or less if levels are short.
    #[default]
    Default,
    /// To this many bits.
    Alpha(f64),
    /// By a composition for sign of these odd degrees, such as 15, 27 and 29 (arXiv 2105.10879).
    Degrees(Vec<usize>),
    /// Fitted to sample images so that this share of images, in percent, keeps its class.
    Agreement(f64),
    /// One polynomial of this depth per activation, fitted to sample images, or minimax without.
    Depth(u32),
}

/// What is asked of a compile. As text a key is a field's name with hyphens: `max-ram = "24GiB"`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct CompileOptions {
    /// Security level; `None`: that of the preset, or [`SecurityLevel::default`].
    pub security: Option<SecurityLevel>,
    /// A published program to follow: it fixes parameters, packing and activations.
    pub preset: Option<Preset>,
    /// How ReLU is approximated.
    pub relu: Relu,
    /// What measured ranges are multiplied with, at least 1.
    pub margin: f64,
    /// Evaluate a softmax at the end of the network under encryption.
    pub encrypt_softmax: bool,
    /// How tensors are laid out; [`Packing::Auto`] leaves it to the compiler.
    pub packing: Packing,
    /// Images of one run; `None` for one.
    pub batch: Option<NonZeroUsize>,
    /// How bootstraps are placed; `None`: as the preset does, or else in the least predicted time.
    pub bootstrap_placement: Option<BootstrapPlacement>,
    /// Keys that follow from the ring alone, so that they tell clients nothing of the layers.
    pub generic_keys: bool,
    /// Memory that evaluating may take: keys, ciphertexts, tables and encoded weights. `None`: that
    /// of the preset, or [`MAX_RAM`].
    pub max_ram: Option<ByteSize>,
    /// Largest output error, in bits below the largest value the program represents; `None`: small
    /// enough to tell classes apart.
    pub precision_bits: Option<f64>,
    /// Fixes the scale, in bits, instead of searching it.
    pub log_scale: Option<u32>,
    /// `log2` of the largest ring degree.
    pub max_log_n: u32,
    /// Compile a program all the same whose outputs are wrong by more than they are.
    pub allow_inaccurate: bool,
    /// Run the verifier after each pass in release builds too.
    pub verify_each: bool,
    /// What operations cost. It is measured and not chosen, so it is no part of the text.
    #[serde(skip)]
    pub costs: CostTable,
}

impl Default for CompileOptions {
    fn default() -> Self {
        CompileOptions {
            security: None,
            preset: None,
            relu: Relu::Default,
            margin: calibrate::Options::default().margin,
            encrypt_softmax: false,
            packing: Packing::default(),
            batch: None,
            bootstrap_placement: None,
            generic_keys: false,
            max_ram: None,
            precision_bits: None,
            log_scale: None,
            max_log_n: ParamOptions::default().max_log_n,
            allow_inaccurate: false,
            verify_each: false,
            costs: CostTable::default(),
        }
    }
}

/// What is known of a network's values before it is compiled.
#[derive(Clone, Debug)]
pub struct Knowledge<'a> {
    /// Where ranges come from.
    pub source: Source<'a>,
    /// Polynomials that were fitted to its activations before. They are taken unless the options
    /// ask for other ones.
    pub activations: Option<&'a Activations>,
    /// Who can say what the noise of a program does; without, predictions do.
    pub noise: Option<NoiseProbe<'a>>,
}

/// Says what the noise of encryption moves the difference of the two largest outputs of a program
/// by, on average over images, in the network's units; `None` if that is not known.
#[derive(Clone, Copy)]
pub struct NoiseProbe<'a>(pub &'a (dyn Fn(&Func<Ckks>, &Params) -> Option<f64> + Sync));

impl fmt::Debug for NoiseProbe<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NoiseProbe")
    }
}

impl<'a> From<Source<'a>> for Knowledge<'a> {
    fn from(source: Source<'a>) -> Self {
        Knowledge { source, activations: None, noise: None }
    }
}

impl CompileOptions {
    /// The security level, whether asked for or not.
    pub fn security(&self) -> SecurityLevel {
        self.security.or(self.preset.map(Preset::security)).unwrap_or_default()
    }

    /// The limit on memory, whether asked for or not.
    pub fn max_ram(&self) -> ByteSize {
        self.max_ram.or(self.preset.map(Preset::max_ram)).unwrap_or(MAX_RAM)
    }

    /// How tensors are laid out, whether asked for or not.
    pub fn packing(&self) -> Packing {
        match (self.packing, self.batch, self.preset) {
            (_, _, Some(preset)) => preset.packing(),
            (Packing::Auto, Some(images), None) if images.get() > MOST_IMAGES_IN_CHANNELS => Packing::Pixel,
            (packing, _, None) => packing,
        }
    }

    /// How bootstraps are placed, whether asked for or not.
    pub fn bootstrap_placement(&self) -> BootstrapPlacement {
        let of_preset = self.preset.map(Preset::bootstrap_placement);
        self.bootstrap_placement.or(of_preset).unwrap_or_default()
    }

    /// Whether the program ends with a softmax under encryption.
    pub fn has_softmax(&self) -> bool {
        self.encrypt_softmax || self.preset.is_some()
    }

    /// Refuses what a preset fixes and somebody asks for as well.
    ///
    /// # Errors
    /// [`PassError::Option`].
    pub fn check(&self) -> Result<(), PassError> {
        let Some(preset) = self.preset else { return Ok(()) };
        let asked = [
            ("relu", self.relu != Relu::Default),
            ("packing", self.packing != Packing::Auto),
            ("batch", self.batch.is_some()),
        ];
        match asked.into_iter().find(|(_, asked)| *asked) {
            None => Ok(()),
            Some((option, _)) => {
                let reason = format!("the preset {} fixes it; leave one of both out", preset.name());
                Err(PassError::Option { option, reason })
            }
        }
    }

    /// How activations become polynomials.
    fn fitting(&self, known: &Knowledge<'_>) -> Fitting {
        if self.preset.is_some() {
            return Fitting::Off;
        }
        match (&self.relu, known.activations) {
            (Relu::Agreement(percent), _) => Fitting::Agreement(percent / 100.0),
            (Relu::Depth(depth), _) => Fitting::Depth(*depth),
            (Relu::Default, Some(activations)) => Fitting::Known(activations.clone()),
            (Relu::Default, None) if matches!(known.source, Source::Images(_)) => {
                Fitting::Agreement(AGREEMENT / 100.0)
            }
            (Relu::Default | Relu::Alpha(_) | Relu::Degrees(_), _) => Fitting::Off,
        }
    }

    /// The share of images, from 0 to 1, that is to keep its class where activations are fitted to
    /// images; `None` where something else decides.
    pub fn agreement(&self) -> Option<f64> {
        match self.relu {
            Relu::Agreement(percent) => Some(percent / 100.0),
            Relu::Default if self.preset.is_none() => Some(AGREEMENT / 100.0),
            Relu::Default | Relu::Alpha(_) | Relu::Degrees(_) | Relu::Depth(_) => None,
        }
    }

    /// Options of the passes on networks.
    pub fn nn(&self, known: &Knowledge<'_>) -> NnOptions {
        let mut options = NnOptions {
            encrypt_softmax: self.has_softmax(),
            verify_each: self.verify_each,
            ..NnOptions::default()
        };
        options.calibrate.margin = self.margin;
        options.fit.fitting = self.fitting(known);
        options.approximate.relu = match &self.relu {
            Relu::Alpha(bits) => ReluMethod::Alpha(*bits),
            Relu::Degrees(degrees) => ReluMethod::Degrees(degrees.clone()),
            _ => ReluMethod::Alpha(relu_precision::PREFERRED),
        };
        if let Some(preset) = self.preset {
            preset.fix_activations(&mut options);
        }
        options
    }

    /// Whether the precision of ReLUs is searched: nobody asked for one, and nothing else says what
    /// they become.
    pub(crate) fn searches_relu_precision(&self, nn: &NnOptions) -> bool {
        self.relu == Relu::Default && self.preset.is_none() && nn.fit.fitting == Fitting::Off
    }

    /// Options of the search for parameters.
    ///
    /// # Errors
    /// If the preset's parameters cannot be made.
    pub fn search(&self) -> Result<SearchOptions, SetError> {
        Ok(SearchOptions {
            params: ParamOptions {
                security: self.security(),
                precision_bits: self.precision_bits,
                log_scale: self.log_scale,
                ram: Some(self.max_ram().0),
                max_log_n: self.max_log_n,
                ..ParamOptions::default()
            },
            packing: self.packing(),
            images: self.batch,
            bootstrap_placement: self.bootstrap_placement(),
            generic_keys: self.generic_keys,
            fixed: self.preset.map(Preset::params).transpose()?,
            costs: self.costs.clone(),
            verify_each: self.verify_each,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::calibrate::Range;

    const NONE_FITTED: &str =
        r#"{"fitted_images": 0, "judged_images": 0, "agreeing_images": 0, "activations": []}"#;
    const INTERVALS: Source<'static> = Source::Intervals(Range { min: 0.0, max: 1.0 });

    #[test]
    fn what_passes_take_by_themselves_is_what_a_compile_asks_for() {
        let options = CompileOptions::default();
        assert_eq!(options.security(), ParamOptions::default().security);
        let (ours, theirs) = (options.nn(&INTERVALS.into()), NnOptions::default());
        assert_eq!(ours.approximate, theirs.approximate);
        assert_eq!((ours.calibrate, ours.fit), (theirs.calibrate, theirs.fit));
    }

    #[test]
    fn a_preset_has_its_own_defaults_and_what_is_asked_for_wins() {
        let preset = CompileOptions { preset: Some(Preset::Lee2021), ..CompileOptions::default() };
        assert_eq!((preset.security(), preset.max_ram().0), (SecurityLevel::Bits98, 19 << 30));
        let search = preset.search().unwrap();
        assert_eq!(
            (search.packing, search.bootstrap_placement),
            (Packing::Channel, BootstrapPlacement::Lee2021)
        );
        let asked = CompileOptions {
            security: Some(SecurityLevel::Bits128),
            max_ram: Some(ByteSize(1 << 30)),
            bootstrap_placement: Some(BootstrapPlacement::Lazy),
            ..preset
        };
        let search = asked.search().unwrap();
        assert_eq!((search.params.security, search.params.ram), (SecurityLevel::Bits128, Some(1 << 30)));
        assert_eq!(search.bootstrap_placement, BootstrapPlacement::Lazy);
    }

    #[test]
    fn what_a_preset_fixes_cannot_be_asked_for() {
        let preset = CompileOptions { preset: Some(Preset::Lee2021), ..CompileOptions::default() };
        assert_eq!(preset.check(), Ok(()));
        let refused = |options: CompileOptions| match options.check() {
            Err(PassError::Option { option, .. }) => option,
            other => panic!("{other:?}"),
        };
        assert_eq!(refused(CompileOptions { relu: Relu::Depth(5), ..preset.clone() }), "relu");
        assert_eq!(refused(CompileOptions { packing: Packing::Pixel, ..preset.clone() }), "packing");
        assert_eq!(refused(CompileOptions { batch: NonZeroUsize::new(2), ..preset }), "batch");
    }

    #[test]
    fn large_batches_take_a_pixel_per_ciphertext_unless_told_otherwise() {
        let packing = |batch: usize, packing: Packing| {
            let batch = NonZeroUsize::new(batch);
            CompileOptions { batch, packing, ..CompileOptions::default() }.search().unwrap().packing
        };
        assert_eq!(packing(32, Packing::Auto), Packing::Auto);
        assert_eq!(packing(33, Packing::Auto), Packing::Pixel);
        assert_eq!(packing(33, Packing::Multiplexed), Packing::Multiplexed);
    }

    #[test]
    fn images_and_known_activations_decide_what_relus_become() {
        let fitted: Activations = serde_json::from_str(NONE_FITTED).unwrap();
        let fitting = |relu: Relu, source: &Source<'_>, activations| {
            let known = Knowledge { source: source.clone(), activations, noise: None };
            CompileOptions { relu, ..CompileOptions::default() }.nn(&known).fit.fitting
        };
        let images = Source::Images(&[]);
        assert_eq!(fitting(Relu::Default, &INTERVALS, None), Fitting::Off);
        assert_eq!(fitting(Relu::Default, &images, None), Fitting::Agreement(0.995));
        assert_eq!(fitting(Relu::Default, &images, Some(&fitted)), Fitting::Known(fitted.clone()));
        assert_eq!(fitting(Relu::Depth(5), &images, Some(&fitted)), Fitting::Depth(5));
        assert_eq!(fitting(Relu::Alpha(9.0), &images, Some(&fitted)), Fitting::Off);
    }
}

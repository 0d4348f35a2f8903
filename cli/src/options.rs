//! Options of a compile as arguments and as a file. Defaults are those of [`CompileOptions`] and of
//! nothing else: help texts print them from there.

use std::fmt::Display;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::ValueEnum;
use fhec_passes::ckks::place_bootstraps::BootstrapPlacement;
use fhec_passes::lower_nn::Packing;
use fhec_passes::options::{
    AGREEMENT, ByteSize, CompileOptions, MOST_IMAGES_IN_CHANNELS, Relu, SecurityLevel,
};
use fhec_passes::preset::Preset;
use fhec_passes::search::relu_precision;

use fhec_roles::files;

/// Files of options are a few lines.
const MAX_BYTES: u64 = 1 << 20;

/// What is asked of the passes. What is given here wins over the file.
#[derive(clap::Args, Clone, Debug, Default)]
#[command(group = clap::ArgGroup::new("relu").multiple(false))]
pub struct OptionArgs {
    /// TOML file with options of a compile: names are those of the flags without the dashes, ReLUs
    /// are `relu = { agreement = 99.5 }`, `{ depth = 6 }`, `{ alpha = 13.0 }` or
    /// `{ degrees = [15, 27, 29] }`. Flags win over it
    #[arg(long, value_name = "FILE.toml")]
    options: Option<PathBuf>,
    #[arg(long, value_name = "BITS", help = security_help())]
    security: Option<SecurityLevel>,
    /// Follow a published program: its parameters, packing, activations, and placement of
    /// bootstraps. `lee2021` is the ResNet-20 of arXiv 2106.07229, with a softmax of the logits
    /// over 4 under encryption; see docs/lee2021.md
    #[arg(long, value_enum, conflicts_with_all = ["relu", "packing"])]
    preset: Option<Preset>,
    /// Evaluate a softmax under encryption: of the logits over 4, in place of one that the network
    /// ends with. Logits are kept for the client otherwise
    #[arg(long)]
    encrypt_softmax: bool,
    #[arg(long, value_name = "M", help = margin_help())]
    margin: Option<f64>,
    #[arg(long, value_name = "P", requires = "calibration", group = "relu", help = agreement_help())]
    agreement: Option<f64>,
    /// Levels per ReLU: one polynomial of degree 2^D - 2, fitted to the calibration images, or
    /// minimax without
    #[arg(long, value_name = "D", group = "relu")]
    relu_depth: Option<u32>,
    #[arg(long, value_name = "A", group = "relu", help = alpha_help())]
    relu_alpha: Option<f64>,
    /// ReLUs are compositions for sign of these odd degrees: 15,27,29 are those of arXiv 2105.10879
    #[arg(long, value_name = "D,D,...", group = "relu", value_delimiter = ',')]
    relu_degrees: Option<Vec<usize>>,
    #[arg(long, value_enum, help = packing_help())]
    packing: Option<Packing>,
    #[arg(long, value_name = "N", conflicts_with = "preset", help = batch_help())]
    batch: Option<NonZeroUsize>,
    #[arg(long, value_enum, help = placement_help())]
    bootstrap_placement: Option<BootstrapPlacement>,
    /// Compile all the same where an output would be wrong by more than it is, as judged on
    /// calibration inputs that nothing was fitted to
    #[arg(long)]
    allow_inaccurate: bool,
    /// Ask clients for keys that follow from the ring alone, not from the layers: the file of keys
    /// tells nothing of the network then, and is several times as large (docs/serving.md)
    #[arg(long)]
    generic_keys: bool,
    /// Verify the program after every pass
    #[arg(long)]
    verify_each: bool,
}

impl OptionArgs {
    /// The options of the file, if there is one, with those given here in their place. `max_ram` is
    /// given among the limits.
    pub fn read(&self, max_ram: Option<ByteSize>) -> Result<CompileOptions> {
        let mut options = self.options.as_deref().map(read).transpose()?.unwrap_or_default();
        let degrees = self.relu_degrees.clone().map(Relu::Degrees);
        let relu = self.agreement.map(Relu::Agreement);
        let relu = relu.or(self.relu_depth.map(Relu::Depth)).or(self.relu_alpha.map(Relu::Alpha)).or(degrees);
        options.security = self.security.or(options.security);
        options.preset = self.preset.or(options.preset);
        if let Some(relu) = relu {
            options.relu = relu;
        }
        options.margin = self.margin.unwrap_or(options.margin);
        options.packing = self.packing.unwrap_or(options.packing);
        options.batch = self.batch.or(options.batch);
        options.bootstrap_placement = self.bootstrap_placement.or(options.bootstrap_placement);
        options.max_ram = max_ram.or(options.max_ram);
        options.generic_keys |= self.generic_keys;
        options.encrypt_softmax |= self.encrypt_softmax;
        options.allow_inaccurate |= self.allow_inaccurate;
        options.verify_each |= self.verify_each;
        Ok(options)
    }
}

/// The options in a file.
fn read(path: &Path) -> Result<CompileOptions> {
    let bytes = files::read(path, MAX_BYTES)?;
    let text = String::from_utf8(bytes).with_context(|| format!("{} is not text", path.display()))?;
    toml::from_str(&text).with_context(|| format!("{} holds no options of a compile", path.display()))
}

/// A help text with a default, as clap writes them.
fn with_default(text: &str, default: impl Display) -> String {
    format!("{text} [default: {default}]")
}

/// A default and what presets have in its place.
fn with_presets<T: Display>(default: T, of: impl Fn(Preset) -> T) -> String {
    let presets = Preset::ALL.map(|preset| format!("with {} {}", preset.name(), of(preset)));
    format!("{default}; {}", presets.join(", "))
}

fn name(choice: impl ValueEnum) -> String {
    choice.to_possible_value().map_or_else(String::new, |value| value.get_name().to_string())
}

fn security_help() -> String {
    let default = CompileOptions::default().security();
    with_default(
        "Security level in bits, by the lattice estimator's table",
        with_presets(default, Preset::security),
    )
}

fn margin_help() -> String {
    let text = "What measured ranges are multiplied with; fitted ReLUs have bounds of their own";
    with_default(text, CompileOptions::default().margin)
}

fn agreement_help() -> String {
    let text = "Share of images in percent that must keep their class, for ReLUs as polynomials of the least depth that are fitted to \
                the calibration images and judged on those not fitted to. Best given images that the network was not trained on";
    with_default(text, format!("{AGREEMENT}, if there are calibration images"))
}

fn alpha_help() -> String {
    let text = "Precision of ReLU in bits: its error is at most 2^-A of the range";
    let (preferred, least) = (relu_precision::PREFERRED, relu_precision::LEAST);
    with_default(text, format!("{preferred} without calibration images, down to {least} if levels are short"))
}

fn packing_help() -> String {
    with_default("How tensors are laid out in ciphertexts", name(CompileOptions::default().packing))
}

fn batch_help() -> String {
    format!(
        "Images of one run. Up to {MOST_IMAGES_IN_CHANNELS} share the ciphertexts that one leaves empty; more are laid out one pixel per \
         ciphertext, up to as many as there are slots (8192 and more), for small networks without bootstraps"
    )
}

fn placement_help() -> String {
    let text = "Where ciphertexts are refreshed: with the least predicted time, as late as possible, or by the rules of the preset";
    let of_preset = |preset: Preset| name(preset.bootstrap_placement());
    with_default(text, with_presets(name(BootstrapPlacement::default()), of_preset))
}

/// The help of `--max-ram`.
pub fn max_ram_help() -> String {
    let text = "Largest predicted peak of memory of the server: keys, ciphertexts, tables and encoded weights. Of the plans within it the \
                fastest is chosen";
    with_default(text, with_presets(CompileOptions::default().max_ram(), Preset::max_ram))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use clap::{CommandFactory, FromArgMatches};
    use fhec_passes::nn::calibrate::{Range, Source};

    use super::*;
    use crate::compile::Args;

    fn parse(flags: &[&str]) -> CompileOptions {
        let command = <Args as clap::Args>::augment_args(clap::Command::new("compile"));
        let given = ["compile", "net.onnx", "--emit", "ckks"].iter().chain(flags);
        let args = Args::from_arg_matches(&command.try_get_matches_from(given).unwrap()).unwrap();
        args.options().unwrap()
    }

    /// What options come to, whether asked for or not.
    fn decided(options: &CompileOptions) -> (SecurityLevel, ByteSize, f64, Packing, BootstrapPlacement) {
        let placement = options.bootstrap_placement();
        (options.security(), options.max_ram(), options.margin, options.packing(), placement)
    }

    /// The default that the help of `flag` prints, and those that it prints for presets.
    fn printed(flag: &str) -> (String, Vec<(Preset, String)>) {
        let command = crate::Cli::command();
        let compile = command.find_subcommand("compile").unwrap();
        let arg = compile.get_arguments().find(|arg| arg.get_long() == Some(flag)).unwrap();
        let help = arg.get_help().unwrap().to_string();
        let defaults = help.split_once("[default: ").unwrap().1.strip_suffix(']').unwrap();
        let mut parts = defaults.split([';', ',']);
        let first = parts.next().unwrap().trim().to_string();
        let of_preset = |part: &str| {
            let (preset, value) = part.trim().strip_prefix("with ")?.split_once(' ')?;
            Some((Preset::from_str(preset, false).ok()?, value.to_string()))
        };
        (first, parts.filter_map(of_preset).collect())
    }

    #[test]
    fn help_prints_the_defaults_that_hold() {
        for flag in ["security", "max-ram", "margin", "packing", "bootstrap-placement"] {
            let (default, presets) = printed(flag);
            let flag_of = format!("--{flag}");
            assert_eq!(decided(&parse(&[&flag_of, &default])), decided(&parse(&[])), "{flag}");
            for (preset, value) in presets {
                let with = ["--preset", preset.name(), &flag_of, &value];
                assert_eq!(decided(&parse(&with)), decided(&parse(&with[..2])), "{flag}");
            }
        }
        for flag in ["security", "max-ram", "bootstrap-placement"] {
            assert_eq!(printed(flag).1.len(), Preset::ALL.len(), "{flag}");
        }
    }

    #[test]
    fn help_prints_what_relus_become() {
        let number = |flag: &str| -> f64 {
            let (default, _) = printed(flag);
            default.split(' ').next().unwrap().parse().unwrap()
        };
        let relus = |relu: Relu, source: Source<'static>| {
            let nn = CompileOptions { relu, ..CompileOptions::default() }.nn(&source.into());
            (nn.fit.fitting, nn.approximate.relu)
        };
        let (images, intervals) = (Source::Images(&[]), Source::Intervals(Range::new(0.0, 1.0)));
        let agreement = Relu::Agreement(number("agreement"));
        assert_eq!(relus(agreement, images.clone()), relus(Relu::Default, images));
        let alpha = Relu::Alpha(number("relu-alpha"));
        assert_eq!(relus(alpha, intervals.clone()), relus(Relu::Default, intervals));
    }

    fn file(text: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file
    }

    #[test]
    fn flags_win_over_the_file() {
        let file = file(
            "security = 192\nmax-ram = \"3GiB\"\nmargin = 2.0\nrelu = { depth = 6 }\npacking = \"channel\"\n",
        );
        let path = file.path().to_str().unwrap();
        let read = parse(&["--options", path]);
        let expected = CompileOptions {
            security: Some(SecurityLevel::Bits192),
            max_ram: Some(ByteSize(3 << 30)),
            margin: 2.0,
            relu: Relu::Depth(6),
            packing: Packing::Channel,
            ..CompileOptions::default()
        };
        assert_eq!(read, expected);
        let flags = [
            "--options",
            path,
            "--security",
            "98",
            "--relu-alpha",
            "9",
            "--packing",
            "auto",
            "--margin",
            "1.25",
        ];
        let expected = CompileOptions {
            security: Some(SecurityLevel::Bits98),
            relu: Relu::Alpha(9.0),
            packing: Packing::Auto,
            margin: 1.25,
            ..expected
        };
        assert_eq!(parse(&flags), expected);
    }

    #[test]
    fn what_a_file_cannot_say_is_named() {
        let error = |text: &str| format!("{:#}", read(file(text).path()).unwrap_err());
        assert!(error("securty = 128").contains("unknown field `securty`"));
        assert!(error("relu = { degree = 6 }").contains("unknown variant `degree`"));
        assert!(error("security = 100").contains("no security level `100`"));
        assert!(error("max-ram = \"3 TiB\"").contains("unknown unit"));
        assert!(read(file("").path()).unwrap() == CompileOptions::default());
    }

    #[test]
    fn options_are_written_as_they_are_read() {
        let options = CompileOptions {
            preset: Some(Preset::Lee2021StcLast),
            max_ram: Some(ByteSize(5 << 20)),
            bootstrap_placement: Some(BootstrapPlacement::Lazy),
            precision_bits: Some(12.5),
            ..CompileOptions::default()
        };
        let text = serde_json::to_string(&options).unwrap();
        assert_eq!(serde_json::from_str::<CompileOptions>(&text).unwrap(), options);
    }

    #[test]
    fn the_page_on_options_has_them_all() {
        let page = include_str!("../../docs/options.md");
        let text = page.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
        let options = read(file(text).path()).unwrap();
        let json = |options: &CompileOptions| serde_json::to_value(options).unwrap();
        let (written, default) = (json(&options), json(&CompileOptions::default()));
        for (key, value) in written.as_object().unwrap() {
            // It excludes others, and is told of below.
            let told = if key == "preset" { page.contains("`preset = ") } else { *value != default[key] };
            assert!(told, "docs/options.md says nothing of {key}");
        }
    }
}

//! `fhec compile`: from an ONNX file to an artifact.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::ValueEnum;
use fhec_passes::analysis::cost::CostTable;
use fhec_passes::ckks::place_bootstraps::BootstrapPlacement;
use fhec_passes::lower_nn::Packing;
use fhec_passes::preset::Preset;

use fhec_ir::security::DEFAULT_FLOOR;

use super::args::{Common, Import};
use super::gates::GateArgs;
use super::inspect::summary;
use super::normalisation::{NONE_GIVEN, Normalisation};
use super::output::{Output, print};
use super::progress;
use crate::bench_costs;
use crate::build::{self, Calibration, Relu, Request};
use crate::program;

/// Compile an ONNX network into a homomorphic program
///
/// Decides polynomial activations, packing, parameters, levels, scales and keys for the security level asked for,
/// and prints the plan. Normalisation comes from --mean/--std/--scale, from --preprocess, or from a TOML file beside the
/// model (net.toml for net.onnx). Activation ranges come from --calibration images, from --ranges, from a file
/// net.calibration.json beside the model, or else from interval arithmetic, which is sound but wide. ReLUs are fitted to
/// calibration images; without images, those of net.activations.json beside the model are used, if `fhec calibrate` made one.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// ONNX model
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    /// Artifact to write
    #[arg(short, long, value_name = "PROGRAM", required_unless_present = "emit")]
    output: Option<PathBuf>,
    /// Security level in bits, by the lattice estimator's table
    /// [default: 128, or that of the preset]
    #[arg(long, value_name = "BITS", value_parser = ["98", "128", "192", "256"])]
    security: Option<String>,
    /// Follow a published program: its parameters, packing, activations, and placement of bootstraps. `lee2021` is the ResNet-20 of
    /// arXiv 2106.07229, with a softmax of the logits over 4 under encryption; see docs/lee2021.md
    #[arg(long, value_enum, conflicts_with_all = ["agreement", "relu_depth", "relu_alpha", "packing"])]
    preset: Option<PresetChoice>,
    /// Evaluate a softmax under encryption: of the logits over 4, in place of one that the network ends with. Logits are kept for the
    /// client otherwise
    #[arg(long)]
    encrypt_softmax: bool,
    #[command(flatten)]
    import: Import,
    #[command(flatten)]
    normalisation: Normalisation,
    /// Images that activation ranges are measured on; never those the result is judged by
    #[arg(long, value_name = "DATA", conflicts_with = "ranges")]
    calibration: Option<PathBuf>,
    /// JSON file with measured activation ranges
    #[arg(long, value_name = "FILE.json")]
    ranges: Option<PathBuf>,
    /// What measured ranges are multiplied with; fitted ReLUs have bounds of their own
    #[arg(long, value_name = "M", default_value_t = 1.5)]
    margin: f64,
    /// Share of images in percent that must keep their class, for ReLUs as polynomials of the least depth that are fitted to the
    /// calibration images and judged on those not fitted to. Best given images that the network was not trained on.
    /// Default: 99.5, if there are calibration images
    #[arg(long, value_name = "P", requires = "calibration")]
    agreement: Option<f64>,
    /// Levels per ReLU: one polynomial of degree 2^D - 2, fitted to the calibration images, or minimax without
    #[arg(long, value_name = "D", conflicts_with = "agreement")]
    relu_depth: Option<u32>,
    /// Precision of ReLU in bits: its error is at most 2^-A of the range. Default without calibration images: 13, less if
    /// levels are short
    #[arg(long, value_name = "A", conflicts_with_all = ["agreement", "relu_depth"])]
    relu_alpha: Option<f64>,
    /// What operations cost, as `fhec bench --calibrate` writes it [default: that of this machine, or else a built-in model]
    #[arg(long, value_name = "FILE.json")]
    costs: Option<PathBuf>,
    /// How tensors are laid out in ciphertexts
    #[arg(long, value_enum, default_value_t = PackingChoice::Auto)]
    packing: PackingChoice,
    /// Images of one run. Up to 32 share the ciphertexts that one leaves empty; more are laid out one pixel per ciphertext, up to as many as
    /// there are slots (8192 and more), for small networks without bootstraps
    #[arg(long, value_name = "N", conflicts_with = "preset")]
    batch: Option<NonZeroUsize>,
    /// Where ciphertexts are refreshed: with the least predicted time, as late as possible, or by the rules of the preset
    /// [default: optimal, or that of the preset]
    #[arg(long, value_enum)]
    bootstrap_placement: Option<PlacementChoice>,
    /// Print the program at this stage instead of the plan
    #[arg(long, value_name = "STAGE")]
    emit: Option<Stage>,
    /// Verify the program after every pass
    #[arg(long)]
    verify_each: bool,
    #[command(flatten)]
    gates: GateArgs,
}

/// A stage of the IR.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Stage {
    /// Tensors and polynomials, before lowering
    Nn,
    /// Slot vectors
    Packed,
    /// The scheduled homomorphic program
    Ckks,
}

/// `--packing`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum PackingChoice {
    /// Whatever is predicted to be fastest
    Auto,
    /// Channels interleaved in the gaps that strides leave
    Multiplexed,
    /// One channel per ciphertext
    Channel,
    /// One pixel of one channel per ciphertext, an image of the batch in every slot
    Pixel,
}

/// `--bootstrap-placement`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum PlacementChoice {
    /// Least predicted time
    Optimal,
    /// As late as possible
    Lazy,
    /// By the rules that yield the 1,149 bootstraps of arXiv 2106.07229, a reconstruction
    Lee2021,
}

/// `--preset`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum PresetChoice {
    /// ResNet-20 of arXiv 2106.07229
    Lee2021,
    /// The same with its order in bootstraps: slots to coefficients last
    Lee2021StcLast,
}

pub(super) fn execute(args: Args, common: &Common) -> Result<()> {
    let given = args.normalisation.preprocess(&args.model)?;
    let unknown = given.is_none();
    let preprocess = given.unwrap_or_default();
    let calibration = match (&args.calibration, &args.ranges) {
        (Some(images), _) => Calibration::Images(images.clone()),
        (None, Some(file)) => Calibration::Ranges(file.clone()),
        (None, None) => Calibration::BesideModel,
    };
    let preset = args.preset.map(|preset| match preset {
        PresetChoice::Lee2021 => Preset::Lee2021,
        PresetChoice::Lee2021StcLast => Preset::Lee2021StcLast,
    });
    let request = Request {
        security: match (&args.security, preset) {
            (Some(bits), _) => bits.parse().context("--security")?,
            (None, Some(preset)) => preset.security_bits(),
            (None, None) => 128,
        },
        calibration,
        margin: args.margin,
        relu: match (args.agreement, args.relu_depth, args.relu_alpha) {
            (Some(percent), ..) => Relu::Agreement(percent),
            (_, Some(depth), _) => Relu::Depth(depth),
            (.., Some(alpha)) => Relu::Alpha(alpha),
            (None, None, None) => Relu::Default,
        },
        ram_bytes: match (args.gates.max_ram, preset) {
            (Some(size), _) => size.0,
            (None, Some(preset)) => preset.ram_bytes(),
            (None, None) => 16 << 30,
        },
        costs: costs(args.costs)?,
        packing: match args.packing {
            PackingChoice::Auto => Packing::Auto,
            PackingChoice::Multiplexed => Packing::Multiplexed,
            PackingChoice::Channel => Packing::Channel,
            PackingChoice::Pixel => Packing::Pixel,
        },
        batch: args.batch,
        bootstrap_placement: args.bootstrap_placement.map(|choice| match choice {
            PlacementChoice::Optimal => BootstrapPlacement::Optimal,
            PlacementChoice::Lazy => BootstrapPlacement::Lazy,
            PlacementChoice::Lee2021 => BootstrapPlacement::Lee2021,
        }),
        preset,
        encrypt_softmax: args.encrypt_softmax,
        verify_each: args.verify_each,
        import: args.import.options()?,
        notes: unknown.then(|| NONE_GIVEN.to_string()).into_iter().collect(),
    };
    let spinner = progress::spinner(common, "compiling");
    let built = build::from_file(&args.model, preprocess, &request)?;
    drop(spinner);
    if unknown {
        tracing::warn!("{NONE_GIVEN}");
    }
    let bits = built.program.plan.security_bits;
    if bits < DEFAULT_FLOOR {
        tracing::warn!(
            "the program keeps {bits} bits of security, less than the {DEFAULT_FLOOR} that its readers want: they have to say \
             --min-security {bits}"
        );
    }
    args.gates.gates().check(&built.program.plan)?;
    if let Some(path) = &args.output {
        let bytes = program::write(&built.program, path)?;
        tracing::info!(path = %path.display(), bytes, "artifact written");
    }
    match args.emit {
        Some(stage) => print(&built.emit(stage)),
        None => {
            let out = args
                .output
                .as_deref()
                .map_or(Output::new(common.json), |path| Output::beside(common.json, path));
            out.json(&built.program.plan)?;
            out.text(&summary(&built.program.plan))
        }
    }
}

/// The table named, or this machine's, or the built-in one.
fn costs(path: Option<PathBuf>) -> Result<CostTable> {
    match path.or_else(|| bench_costs::default_path().filter(|path| path.is_file())) {
        Some(path) => bench_costs::read(&path),
        None => Ok(CostTable::default()),
    }
}

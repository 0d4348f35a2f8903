//! `fhec compile`: from an ONNX file to an artifact.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::Result;
use fhec_passes::options::CompileOptions;
use fhec_passes::pipeline::StageName;

use fhec_ir::security::DEFAULT_FLOOR;

use super::args::{Common, Import};
use super::exit::{Exit, Failure};
use super::gates::GateArgs;
use super::inspect::summary;
use super::normalisation::Normalisation;
use super::options::OptionArgs;
use super::output::{Output, print};
use super::prices::{PriceArgs, elsewhere};
use super::{progress, timings};
use fhec_compiler::build::{self, Built, Calibration, CompileError, NO_NORMALISATION, Request};
use fhec_compiler::program;

/// Compile an ONNX network into a homomorphic program
///
/// Decides polynomial activations, packing, parameters, levels, scales and keys for the security
/// level asked for, and prints the plan. Normalisation comes from --mean/--std/--scale, from
/// --preprocess, or from a TOML file beside the model (net.toml for net.onnx). Activation ranges
/// come from --calibration images, from --ranges, from a file net.calibration.json beside the
/// model, or else from interval arithmetic, which is sound but wide. ReLUs are fitted to
/// calibration images; without images, those of net.activations.json beside the model are used, if
/// `fhec calibrate` made one.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// ONNX model
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    /// Artifact to write
    #[arg(short, long, value_name = "PROGRAM", required_unless_present = "emit")]
    output: Option<PathBuf>,
    #[command(flatten)]
    options: OptionArgs,
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
    #[command(flatten)]
    prices: PriceArgs,
    /// Print the program at this stage instead of the plan
    #[arg(long, value_name = "STAGE")]
    emit: Option<StageName>,
    /// Write where the compile's time went, step by step
    #[arg(long, value_name = "FILE.json")]
    timings: Option<PathBuf>,
    #[command(flatten)]
    gates: GateArgs,
}

impl Args {
    /// Whether steps are to be kept.
    pub(super) fn wants_timings(&self) -> bool {
        self.timings.is_some()
    }

    /// What is asked of the passes, at built-in prices.
    pub(super) fn options(&self) -> Result<CompileOptions> {
        self.options.read(self.gates.max_ram)
    }

    /// What is asked of a compile; `notes` go into the plan.
    fn request(&self, common: &Common, mut notes: Vec<String>) -> Result<Request> {
        let calibration = match (&self.calibration, &self.ranges) {
            (Some(images), _) => Calibration::Images(images.clone()),
            (None, Some(file)) => Calibration::Ranges(file.clone()),
            (None, None) => Calibration::BesideModel,
        };
        let (costs, note) = self.prices.find(common)?;
        notes.extend(note);
        let options = CompileOptions { costs, ..self.options()? };
        Ok(Request { options, calibration, import: self.import.options()?, notes })
    }
}

pub(super) fn execute(args: Args, common: &Common) -> Result<Exit, Failure> {
    let start = Instant::now();
    let (preprocess, known) = args.normalisation.preprocess(&args.model)?;
    let notes = (!known).then(|| NO_NORMALISATION.to_string());
    let request = args.request(common, notes.into_iter().collect())?;
    let spinner = progress::spinner(common, "compiling");
    let built = build::from_file(&args.model, preprocess, &request)?;
    drop(spinner);
    if !known {
        tracing::warn!("{NO_NORMALISATION}");
    }
    args.gates.gates().check(&built.program.plan).map_err(CompileError::from)?;
    finish(&args, common, &built)?;
    if let Some(path) = &args.timings {
        timings::write(path, start)?;
    }
    Ok(Exit::Success)
}

/// Writes and prints what was asked for.
fn finish(args: &Args, common: &Common, built: &Built) -> Result<()> {
    let bits = built.program.plan.security_bits;
    if bits < DEFAULT_FLOOR {
        tracing::warn!(
            "the program keeps {bits} bits of security, less than the {DEFAULT_FLOOR} that its readers want: they have to say \
             --min-security {bits}"
        );
    }
    if let Some(path) = &args.output {
        let bytes = program::write(&built.program, path)?;
        tracing::info!(path = %path.display(), bytes, "artifact written");
    }
    for row in built.program.plan.outputs.iter().filter(|row| row.is_poor()) {
        let (name, ratio) = (&row.name, row.in_words());
        tracing::warn!("output `{name}` is far from that of the plain network: {ratio} of signal to error");
    }
    if let Some(note) = elsewhere(&built.program.plan) {
        tracing::warn!("{note}");
    }
    match args.emit {
        Some(stage) => print(&built.compiled.at(stage).print()),
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

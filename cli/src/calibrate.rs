//! `fhec calibrate`: polynomials for a network's ReLUs, from sample images.

use std::path::PathBuf;

use anyhow::Result;
use fhec_passes::options::{AGREEMENT, Relu};
use serde_json::json;

use super::args::{Common, Import};
use super::normalisation::Normalisation;
use super::output::Output;
use super::progress;
use fhec_compiler::build::{self, Calibrated, NO_NORMALISATION};
use fhec_compiler::report::activation_ranges::activation_ranges;

/// Fit polynomials to a network's ReLUs on sample images
///
/// Writes them to a file that goes beside the model: net.activations.json for net.onnx. A compile
/// without images uses it, and so gets what a compile with these images would get. Two of five
/// images are fitted to, the agreement with the exact network is measured on the others; images
/// that the network was not trained on tell more.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// ONNX model
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    /// Sample images; never those the result is judged by
    #[arg(long, value_name = "DATA")]
    calibration: PathBuf,
    /// File to write [default: net.activations.json beside net.onnx]
    #[arg(short, long, value_name = "FILE.json")]
    output: Option<PathBuf>,
    #[command(flatten)]
    import: Import,
    #[command(flatten)]
    normalisation: Normalisation,
    /// Share of images in percent that must keep their class, at the least depth
    #[arg(long, value_name = "P", default_value_t = AGREEMENT)]
    agreement: f64,
    /// Levels per ReLU instead, the same for all: degree 2^D - 2
    #[arg(long, value_name = "D", conflicts_with = "agreement")]
    relu_depth: Option<u32>,
}

pub(super) fn execute(args: Args, common: &Common) -> Result<()> {
    let (preprocess, known) = args.normalisation.preprocess(&args.model)?;
    let relu = args.relu_depth.map_or(Relu::Agreement(args.agreement), Relu::Depth);
    let spinner = progress::spinner(common, "fitting activations");
    let Calibrated { activations, ranges } =
        build::calibrate(&args.model, &args.import.options()?, &preprocess, &args.calibration, relu)?;
    drop(spinner);
    if !known {
        tracing::warn!("{NO_NORMALISATION}");
    }
    let output = args.output.unwrap_or_else(|| args.model.with_extension("activations.json"));
    build::write_activations(&output, &activations)?;
    let depths: Vec<u32> = activations.depths().collect();
    let (judged, agreeing) = (activations.judged_images, activations.agreeing_images);
    let out = Output::new(common.json);
    out.json(&json!({
        "file": output.display().to_string(),
        "fitted_images": activations.fitted_images,
        "judged_images": judged,
        "agreeing_images": agreeing,
        "depths": depths,
        "ranges": ranges,
    }))?;
    if let Some(ranges) = &ranges {
        out.text(&activation_ranges(ranges))?;
    }
    let words = depths.iter().map(u32::to_string).collect::<Vec<_>>().join(" ");
    out.text(&format!(
        "{}: {} polynomials of depths {words}\nfitted to {} images; {agreeing} of {judged} others keep their class ({:.2} %)\n",
        output.display(),
        depths.len(),
        activations.fitted_images,
        100.0 * agreeing as f64 / judged.max(1) as f64
    ))
}

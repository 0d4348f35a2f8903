//! `fhec check`: whether all of a model has a form under encryption, and what would cost what.

use std::path::PathBuf;

use anyhow::Result;

use super::args::{Common, Import};
use super::normalisation::Normalisation;
use super::output::Output;
use fhec_compiler::check;
use fhec_compiler::report::table::Table;

/// Say whether all of a model has a form under encryption, and what would cost what
///
/// Takes seconds: the model is read and simplified, and nothing is run. What cannot be compiled is
/// an error that names the node, the reason and what to change. Levels of activations are an
/// estimate, for those that are fitted to sample images.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// ONNX model
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    #[command(flatten)]
    import: Import,
    #[command(flatten)]
    normalisation: Normalisation,
}

pub(super) fn execute(args: Args, common: &Common) -> Result<()> {
    let (preprocess, _) = args.normalisation.preprocess(&args.model)?;
    let check = check::check(&args.model, &args.import.options()?, preprocess)?;
    let out = Output::new(common.json);
    out.json(&check)?;
    let mut text = format!("{}: all ops have a form under encryption\n\n", args.model.display());
    for (what, tensors) in [("input", &check.inputs), ("output", &check.outputs)] {
        for tensor in tensors {
            text += &format!("{what:>14}  {} {:?}\n", tensor.name, tensor.shape);
        }
    }
    for (what, number) in [
        ("opset", check.opset.to_string()),
        ("written by", check.producer.clone()),
        ("weights", check.weights.to_string()),
        ("depth", format!("about {} levels", check.depth)),
        ("ciphertexts", format!("{} for the largest tensor, at N = 2^15", check.ciphertexts)),
    ] {
        text += &format!("{what:>14}  {number}\n");
    }
    let mut table = Table::new(&["<op", "count", "levels", "<under encryption"]);
    for kind in &check.kinds {
        table.row([kind.op.into(), kind.count.to_string(), kind.levels.to_string(), kind.note.into()]);
    }
    text += &format!("\n{}", table.text());
    for advice in &check.advice {
        text += &format!("\nnote: {advice}");
    }
    if !check.advice.is_empty() {
        text.push('\n');
    }
    out.text(&text)
}

//! `fhec simulate`: what the encrypted program will answer, on a whole data set, without
//! encryption.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Result, ensure};
use fhec_ir::batch::Batch;

use super::args::Common;
use super::output::Output;
use super::progress;
use fhec_compiler::blame::Blamer;
use fhec_compiler::program::open_images;
use fhec_compiler::report::page::simulation::simulation_page;
use fhec_compiler::report::simulation as report;
use fhec_compiler::simulation::{blame, simulate, summarise};
use fhec_compiler::simulator::Simulator;
use fhec_roles::files::{self, Access};

/// Predict the encrypted program's answers on a data set
///
/// Runs the compiled program itself (its polynomials, levels and scales) on slots with the noise
/// that encryption adds, and compares with the plain network and, where the file has labels, with
/// the truth. For images whose class differs it says which layer's approximation or noise flips it,
/// and it tells of values that leave the range of what is done to them.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Compiled program
    #[arg(value_name = "PROGRAM")]
    program: PathBuf,
    /// Inputs: CIFAR records, MNIST IDX, .npy, .npz, CSV, or pictures in a folder, or in a folder
    /// per class
    #[arg(long, value_name = "FILE")]
    dataset: PathBuf,
    /// Only the first N images
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Leave the noise of encryption out: only the polynomials differ from the plain network
    #[arg(long)]
    exact: bool,
    /// Find the layer that flips the class for at most N of the images that differ; not for
    /// programs of a batch
    #[arg(long, value_name = "N", default_value_t = 100)]
    blame: usize,
    /// Write one row per image: index, label, classes, what flips them, logits
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    /// Write a page with all tables, for a browser or for paper; it needs no other file and no
    /// network
    #[arg(long, value_name = "FILE.html")]
    html: Option<PathBuf>,
    /// Seed of the simulated noise
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
}

pub(super) fn execute(args: Args, common: &Common) -> Result<()> {
    let program = common.open(&args.program)?;
    let dataset = open_images(&program.interface, &args.dataset)?;
    let count = dataset.len().min(args.limit.unwrap_or(usize::MAX));
    ensure!(count > 0, "--limit 0 leaves no image");
    let simulator = Simulator::new(&program, args.exact);
    // Before the images: programs of which layers cannot be told are refused at once.
    // Layers of a batch have the images of all in them: which of them flips one is not told.
    // Nothing flips where there are no classes.
    let classes = program.interface.output().is_class_list();
    let told = args.blame > 0 && classes && program.interface.batch == Batch::SINGLE;
    let blamer = told.then(|| Blamer::new(&program, &simulator)).transpose()?;
    let start = Instant::now();
    let bar = progress::bar(common, "simulating", count);
    let mut outcomes = simulate(&program, &simulator, &dataset, count, args.seed, &|| bar.inc(1))?;
    bar.finish_and_clear();
    if let Some(blamer) = blamer {
        let differ = outcomes.iter().filter(|outcome| outcome.differs()).count();
        let bar = progress::bar(common, "blaming", differ.min(args.blame));
        blame(&program, &blamer, &dataset, args.seed, &mut outcomes, args.blame, &|| bar.inc(1))?;
        bar.finish_and_clear();
    }
    if let Some(path) = &args.csv {
        let text = report::csv(&outcomes);
        files::write_atomically(path, Access::Ordinary, |writer| writer.write_all(text.as_bytes()))?;
    }
    let summary = summarise(&program, &outcomes, start.elapsed().as_secs_f64());
    if let Some(path) = &args.html {
        let page = simulation_page(&program, &args.dataset.display().to_string(), &summary);
        files::write_atomically(path, Access::Ordinary, |writer| writer.write_all(page.as_bytes()))?;
    }
    let out = Output::new(common.json);
    out.json(&summary)?;
    out.text(&report::simulation(&program, &summary))
}

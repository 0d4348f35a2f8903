//! `fhec simulate`: what the encrypted program will answer, on a whole data set, without encryption.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Result, ensure};
use rayon::prelude::*;
use serde::Serialize;

use super::args::Common;
use super::output::Output;
use super::progress;
use crate::files::{self, Access};
use crate::program::{Program, argmax};
use crate::simulator::Simulator;

/// Predict the encrypted program's answers on a data set
///
/// Runs the compiled program itself (its polynomials, levels and scales) on slots with the noise that encryption adds,
/// and compares with the plain network and, where the file has labels, with the truth.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Compiled program
    #[arg(value_name = "OUT")]
    program: PathBuf,
    /// Images: CIFAR-10 records, MNIST IDX, .npy or .npz
    #[arg(long, value_name = "FILE")]
    dataset: PathBuf,
    /// Only the first N images
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Leave the noise of encryption out: only the polynomials differ from the plain network
    #[arg(long)]
    exact: bool,
    /// Write one row per image: index, label, classes, logits
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    /// Seed of the simulated noise
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
}

#[derive(Serialize)]
struct Report {
    images: usize,
    agreement: f64,
    accuracy: Option<f64>,
    reference_accuracy: Option<f64>,
    max_logit_difference: f64,
    mean_logit_difference: f64,
    disagreeing: Vec<usize>,
    seconds: f64,
}

/// One image: simulated logits and those of the plain network.
struct Outcome {
    logits: Vec<f64>,
    reference: Vec<f64>,
}

pub(super) fn execute(args: Args, common: &Common) -> Result<()> {
    let program = Program::open(&args.program)?;
    let dataset = program.open_images(&args.dataset)?;
    let count = dataset.len().min(args.limit.unwrap_or(usize::MAX));
    ensure!(count > 0, "--limit 0 leaves no image");
    let simulator = Simulator::new(&program.artifact, args.exact)?;
    let bar = progress::bar(common, "simulating", count);
    let start = Instant::now();
    let outcomes: Result<Vec<Outcome>> = (0..count)
        .into_par_iter()
        .map(|index| {
            let image = dataset.input(index, &program.preprocess)?;
            let logits = simulator.logits(&image, args.seed.wrapping_add(index as u64))?;
            let reference = program.reference_logits(&image)?;
            bar.inc(1);
            Ok(Outcome { logits, reference })
        })
        .collect();
    bar.finish_and_clear();
    let outcomes = outcomes?;
    if let Some(path) = &args.csv {
        let text = csv(&outcomes, dataset.labels());
        files::write_atomically(path, Access::Ordinary, |writer| writer.write_all(text.as_bytes()))?;
    }
    let report = summarise(&outcomes, dataset.labels(), start.elapsed().as_secs_f64());
    let out = Output::new(common.json);
    out.json(&report)?;
    out.text(&text(&report))
}

/// One row per image; logits of the simulated program, then of the plain network.
fn csv(outcomes: &[Outcome], labels: Option<&[u8]>) -> String {
    let outputs = outcomes.first().map_or(0, |outcome| outcome.logits.len());
    let columns = |what: &str| (0..outputs).map(|i| format!(",{what}_{i}")).collect::<String>();
    let mut text = format!("index,label,class,reference_class{}{}\n", columns("logit"), columns("reference"));
    for (index, Outcome { logits, reference }) in outcomes.iter().enumerate() {
        let label = labels.map_or(String::new(), |labels| labels[index].to_string());
        text += &format!("{index},{label},{},{}", argmax(logits), argmax(reference));
        for logit in logits.iter().chain(reference) {
            text += &format!(",{logit:.8}");
        }
        text.push('\n');
    }
    text
}

fn summarise(outcomes: &[Outcome], labels: Option<&[u8]>, seconds: f64) -> Report {
    let count = outcomes.len() as f64;
    let classes =
        |logits: fn(&Outcome) -> &[f64]| outcomes.iter().map(move |outcome| argmax(logits(outcome)));
    let (simulated, reference) = (classes(|o| &o.logits), classes(|o| &o.reference));
    let disagreeing: Vec<usize> = simulated
        .clone()
        .zip(reference.clone())
        .enumerate()
        .filter(|(_, (a, b))| a != b)
        .map(|(i, _)| i)
        .collect();
    let accuracy = |classes: &mut dyn Iterator<Item = usize>| {
        labels.map(|labels| {
            classes.zip(labels).filter(|(class, label)| *class == usize::from(**label)).count() as f64 / count
        })
    };
    let differences =
        || outcomes.iter().flat_map(|o| o.logits.iter().zip(&o.reference).map(|(a, b)| (a - b).abs()));
    // A NaN must not vanish in a maximum.
    let worst = differences().fold(0.0, |worst: f64, d| if d > worst || d.is_nan() { d } else { worst });
    Report {
        images: outcomes.len(),
        agreement: 1.0 - disagreeing.len() as f64 / count,
        accuracy: accuracy(&mut simulated.clone()),
        reference_accuracy: accuracy(&mut reference.clone()),
        max_logit_difference: worst,
        mean_logit_difference: differences().sum::<f64>() / differences().count().max(1) as f64,
        disagreeing,
        seconds,
    }
}

fn text(report: &Report) -> String {
    let percent = |share: f64| format!("{:.2} %", share * 100.0);
    let accuracy = match (report.accuracy, report.reference_accuracy) {
        (Some(simulated), Some(plain)) => {
            format!("accuracy      {} (plain network: {})\n", percent(simulated), percent(plain))
        }
        _ => "accuracy      unknown: the file has no labels\n".into(),
    };
    format!(
        "images        {}\nagreement     {} with the plain network\n{accuracy}logits        differ by {:.1e} at most, {:.1e} on average\n\
         time          {:.1} s, {:.0} images per second\n",
        report.images,
        percent(report.agreement),
        report.max_logit_difference,
        report.mean_logit_difference,
        report.seconds,
        report.images as f64 / report.seconds
    )
}

//! `fhec inspect`: what the compiler decided and predicts.

use std::fmt::Write;
use std::path::PathBuf;

use anyhow::Result;
use fhec_ir::plan::Plan;
use fhec_ir::text::print_func;

use super::args::Common;
use super::compile::Stage;
use super::output::{Output, print};
use crate::memory::human_bytes;
use crate::program::Program;

/// Show the plan of a compiled program
///
/// One screen first: security and how it was derived, parameters, levels, rotations, keys, predicted time and memory.
/// More with the flags below.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Compiled program
    #[arg(value_name = "OUT")]
    program: PathBuf,
    /// One row per op: levels, rotations, products, predicted time and error
    #[arg(long)]
    ops: bool,
    /// Where each tensor sits in the slots
    #[arg(long)]
    layouts: bool,
    /// Input range and polynomial of each activation
    #[arg(long)]
    ranges: bool,
    /// The modulus chain and the parameter sets considered
    #[arg(long)]
    params: bool,
    /// What each pass did
    #[arg(long)]
    passes: bool,
    /// Print a program as text: `nn` (the network as imported) or `ckks` (the scheduled program)
    #[arg(long, value_name = "STAGE")]
    emit: Option<Stage>,
}

pub(super) fn execute(args: Args, common: &Common) -> Result<()> {
    let program = Program::open(&args.program)?;
    match args.emit {
        Some(Stage::Nn) => return print(&print_func(&program.artifact.network)),
        Some(Stage::Ckks) => return print(&print_func(&program.artifact.program)),
        Some(Stage::Packed) => anyhow::bail!(
            "an artifact holds the stages nn and ckks; `fhec compile --emit packed` prints the one between"
        ),
        None => {}
    }
    let out = Output::new(common.json);
    out.json(&program.plan)?;
    let mut text = summary(&program.plan);
    if args.ops {
        text += &ops(&program.plan);
    }
    if args.layouts {
        text += &layouts(&program.plan);
    }
    if args.ranges {
        text += &ranges(&program.plan);
    }
    if args.params {
        text += &chain(&program);
        text += &considered(&program.plan);
    }
    if args.passes {
        text += &passes(&program.plan);
    }
    out.text(&text)
}

/// The first screen.
pub(super) fn summary(plan: &Plan) -> String {
    let mut text = String::new();
    let mut row = |name: &str, value: String| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{name:>14}  {value}");
    };
    row("network", plan.network.clone());
    row("security", format!("{} bits ({})", plan.security_bits, plan.security_source));
    row("ring", format!("N = 2^{}, log QP = {:.1}, secret {}", plan.log_n, plan.log_qp, plan.secret));
    row("levels", format!("{}, scale 2^{}", plan.levels, plan.log_scale));
    row("bootstraps", plan.bootstraps.to_string());
    row("rotations", format!("{}, {} diagonals", plan.rotations, plan.diagonals));
    row("products", format!("{} of two ciphertexts", plan.multiplications));
    row("keys", format!("{}, {} in memory", plan.keys, human_bytes(plan.key_bytes)));
    row("time", format!("{:.1} s predicted ({})", plan.predicted_seconds, plan.cost_table));
    row("memory", format!("{} peak predicted", human_bytes(plan.predicted_peak_bytes)));
    row(
        "error",
        format!("2^{:.1} predicted, standard deviation of a stored output", plan.predicted_log2_error),
    );
    row(
        "failure",
        match plan.log2_failure_probability {
            Some(log2) => format!("2^{log2:.1} per inference"),
            None => "no bootstraps, none of theirs can fail".into(),
        },
    );
    for note in &plan.notes {
        row("note", note.clone());
    }
    text
}

fn ops(plan: &Plan) -> String {
    let mut text = format!(
        "\n{:>4} {:<14} {:>3} {:>7} {:>5} {:>5} {:>5} {:>9} {:>7}  {}\n",
        "op", "kind", "ct", "levels", "rot", "diag", "mult", "ms", "error", "name"
    );
    for op in &plan.ops {
        let _ = writeln!(
            text,
            "{:>4} {:<14} {:>3} {:>7} {:>5} {:>5} {:>5} {:>9.2} {:>7}  {}",
            op.index,
            op.op,
            op.ciphertexts,
            format!("{}>{}", op.level_in, op.level_out),
            op.rotations,
            op.diagonals,
            op.multiplications,
            op.seconds * 1e3,
            format!("2^{:.1}", op.log2_error),
            op.name
        );
    }
    text
}

fn layouts(plan: &Plan) -> String {
    let rows = plan.ops.iter().filter(|op| !op.layout.is_empty());
    rows.fold("\nlayouts\n".to_string(), |mut text, op| {
        let _ = writeln!(text, "{:>4}  {}  {}", op.index, op.layout, op.name);
        text
    })
}

fn ranges(plan: &Plan) -> String {
    let mut text = "\nactivations\n".to_string();
    for range in &plan.ranges {
        let _ = writeln!(
            text,
            "  {} of {}: [{:.3}, {:.3}] from {}, made for +-{:.3}",
            range.activation, range.value, range.min, range.max, range.source, range.bound
        );
    }
    text
}

fn chain(program: &Program) -> String {
    let params = &program.artifact.params;
    let mut text = "\nmodulus chain, top to bottom\n".to_string();
    for level in (0..=params.top_level()).rev() {
        let from = if level == 0 { 0 } else { params.limbs(level - 1) };
        let primes = &params.q()[from..params.limbs(level)];
        let scale = params.canonical_scale(level).log2();
        let _ = writeln!(text, "  level {level:>2}: primes {primes:?}, scale 2^{scale:.4}");
    }
    let _ = writeln!(text, "  special: {:?}, {} chain primes per digit", params.p(), params.digit_limbs());
    text
}

fn considered(plan: &Plan) -> String {
    let mut text = format!(
        "\nparameter sets considered\n{:>6} {:>8} {:>6} {:>6} {:>8} {:>8} {:>10}  {}\n",
        "log N", "log QP", "scale", "digit", "special", "seconds", "keys", "verdict"
    );
    for set in &plan.considered {
        let _ = writeln!(
            text,
            "{:>6} {:>8.1} {:>6} {:>6} {:>8} {:>8.2} {:>10}  {}",
            set.log_n,
            set.log_qp,
            set.log_scale,
            set.digit_limbs,
            set.special_primes,
            set.seconds,
            human_bytes(set.key_bytes),
            set.verdict
        );
        if !set.bootstrap.is_empty() {
            let _ = writeln!(text, "{:>15}{}", "", set.bootstrap);
        }
    }
    text
}

fn passes(plan: &Plan) -> String {
    plan.passes.iter().fold("\npasses\n".to_string(), |mut text, row| {
        let _ = writeln!(text, "  {}: {}", row.pass, row.report);
        text
    })
}

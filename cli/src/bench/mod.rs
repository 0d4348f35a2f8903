//! `fhec bench`: measurements of this machine.

mod bootstrap;
mod costs;

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result};
use clap::{Subcommand, ValueEnum};
use fhec_ir::bootstrap::Order;
use fhec_ir::plan::LEAST_LOG2;
use fhec_passes::analysis::cost::CostTable;
use serde::Serialize;

use super::args::Common;
use super::output::Output;
use bootstrap::{Options, Report};
use fhec_compiler::costs::default_path;
use fhec_compiler::memory::human_bytes;
use fhec_compiler::report::summary::NO_BOOTSTRAP_FAILS;

/// Measure on this machine
#[derive(clap::Args, Debug)]
#[command(arg_required_else_help = true)]
pub struct Args {
    /// Measure what operations cost here and write the table that predictions use from then on
    #[arg(long)]
    calibrate: bool,
    /// Where the table goes [default: fhec/costs.json in the configuration folder]
    #[arg(long, value_name = "FILE.json", requires = "calibrate")]
    costs: Option<PathBuf>,
    #[command(subcommand)]
    bench: Option<Bench>,
}

#[derive(Serialize)]
struct Calibrated {
    path: PathBuf,
    seconds: f64,
    costs: CostTable,
}

#[derive(Subcommand, Debug)]
enum Bench {
    Bootstrap(BootstrapArgs),
}

/// Time, precision and memory of bootstrapping
///
/// Makes fresh keys, refreshes random and adversarial messages, and compares what comes back. Known
/// parameter sets: n15-98, n15-128, n16-98, n16-128, n16-192, n17-256 (ring degree and security),
/// lee2021 (the 98-bit set of arXiv 2106.07229) and lee2021-grouped (its chain with a uniform
/// secret and keys of three digits, as `compile --preset lee2021` runs it), and lee2021-stc-last
/// (the same with slots to coefficients last, as `compile --preset lee2021-stc-last` runs it).
#[derive(clap::Args, Debug)]
struct BootstrapArgs {
    /// Parameter set
    #[arg(long, value_name = "NAME")]
    params: String,
    /// Order of the linear maps; default: that of the set. For the other order the sizes of its
    /// primes are rearranged, with q0 as the message ratio needs it
    #[arg(long, value_name = "ORDER")]
    order: Option<OrderChoice>,
    /// Slots that carry values; default: all N/2
    #[arg(long, value_name = "N")]
    slots: Option<usize>,
    /// Level of the result, at most that of the set, counted from the bootstrap's operand; default:
    /// all
    #[arg(long, value_name = "L")]
    levels: Option<u16>,
    /// Messages to refresh: eleven that are hard (constant, alternating, a spike, one coefficient,
    /// tiny...) and random ones by turns; with 22 or more all of them
    #[arg(long, value_name = "M", default_value_t = 6)]
    messages: usize,
    /// Bootstraps in a row, each of the result of the one before
    #[arg(long, value_name = "C", default_value_t = 1)]
    chain: usize,
    /// Seed of keys and messages
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// Instruction set, of those this processor has: scalar, avx2 or avx512; default: the fastest
    #[arg(long, value_name = "SET")]
    isa: Option<String>,
}

/// `--order`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum OrderChoice {
    /// Slots to coefficients first, before the modulus is raised
    StcFirst,
    /// Slots to coefficients last, after the sine
    StcLast,
}

pub(super) fn execute(args: Args, common: &Common) -> Result<()> {
    if args.calibrate {
        calibrate(args.costs, common)?;
    }
    let Some(Bench::Bootstrap(args)) = args.bench else { return Ok(()) };
    let options = Options {
        params: args.params,
        order: args.order.map(|order| match order {
            OrderChoice::StcFirst => Order::SlotsToCoeffsFirst,
            OrderChoice::StcLast => Order::SlotsToCoeffsLast,
        }),
        slots: args.slots,
        levels: args.levels,
        messages: args.messages.max(1),
        chain: args.chain.max(1),
        seed: args.seed,
        isa: args.isa,
    };
    let report = bootstrap::run(&options)?;
    let out = Output::new(common.json);
    out.json(&report)?;
    out.text(&text(&report))
}

fn calibrate(path: Option<PathBuf>, common: &Common) -> Result<()> {
    let path = path.or_else(default_path);
    let path = path.context("there is no configuration folder; name a file with --costs")?;
    let start = Instant::now();
    let costs = costs::measure()?;
    costs::write(&path, &costs)?;
    let report = Calibrated { path, seconds: start.elapsed().as_secs_f64(), costs };
    let out = Output::new(common.json);
    out.json(&report)?;
    let mut lines = format!("measured over modelled time, {} threads\n", report.costs.threads);
    for (kind, factor) in &report.costs.factors {
        lines += &format!("  {:<12} {factor:.2}\n", format!("{kind:?}"));
    }
    out.text(&format!("{lines}written to {} after {:.0} s\n", report.path.display(), report.seconds))
}

fn text(report: &Report) -> String {
    let mut lines = format!(
        "{}: N = 2^{}, {} bits of security, {} slots, {}, {} thread{}, {}\n",
        report.params,
        report.log_n,
        report.security_bits,
        report.slots,
        report.order.replace('_', " "),
        report.threads,
        if report.threads == 1 { "" } else { "s" },
        report.isa
    );
    lines += &format!(
        "bootstrap     {:.3} s (best of {}; median {:.3} s)\n",
        report.seconds, report.runs, report.seconds_median
    );
    if let Some(seconds) = report.cpu_seconds {
        lines += &format!("  processor time     {seconds:.2} s\n");
    }
    for (name, seconds) in &report.phases {
        let floor = report.phase_floors.get(name).copied().unwrap_or(0.0);
        lines += &format!("  {name:<18} {seconds:.3} s (floor {floor:.3} s)\n");
    }
    lines += &format!(
        "precision     {:.1} bits mean (predicted {:.1}), {:.1} worst ({}) of {} messages; after {} in a row {:.1} (predicted {:.1}) and {:.1}\n",
        report.precision_bits_mean,
        report.predicted_precision_bits_mean,
        report.precision_bits_min,
        report.worst_message,
        report.messages,
        report.chain,
        report.chained_precision_bits_mean,
        report.predicted_chained_precision_bits_mean,
        report.chained_precision_bits_min
    );
    lines += &format!("levels out    {} of scale 2^{:.1}\n", report.levels_out, report.log_scale_out);
    lines += &format!(
        "keys          {} in {} keys, made in {:.1} s\n",
        human_bytes(report.key_bytes),
        report.keys,
        report.keygen_seconds
    );
    lines += &format!(
        "matrices      {}, encoded in {:.1} s\n",
        human_bytes(report.matrix_bytes),
        report.setup_seconds
    );
    lines += &match report.log2_failure_probability {
        log2 if log2 <= LEAST_LOG2 => format!("failure       {NO_BOOTSTRAP_FAILS}\n"),
        log2 => format!("failure       2^{log2:.1} per bootstrap\n"),
    };
    if let Some(bytes) = report.peak_rss_bytes {
        lines += &format!("peak memory   {}\n", human_bytes(bytes));
    }
    lines
}

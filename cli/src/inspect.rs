//! `fhec inspect`: what the compiler decided and predicts.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use fhec_ir::text::print_func;
use fhec_passes::pipeline::StageName;

use super::args::Common;
use super::output::{Output, print};
use super::prices::elsewhere;
use fhec_compiler::profile::read_trace;
use fhec_compiler::report::{
    bootstraps, dot, keys, layers, layouts, levels, ops, page, params, passes, plot, ranges,
};
use fhec_ir::program::Program;
use fhec_roles::files::{self, Access};

pub(super) use fhec_compiler::report::summary::summary;

/// Show the plan of a compiled program
///
/// One screen first: security and how it was derived, parameters, levels, bootstraps, rotations,
/// keys, predicted time, memory and precision. More with the flags below; docs/plan.md explains
/// every line.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Compiled program
    #[arg(value_name = "PROGRAM")]
    program: PathBuf,
    /// One row per layer of the network: levels, rotations, diagonals, predicted time and error
    #[arg(long)]
    layers: bool,
    /// Why each bootstrap is where it is: what needs it, and what the program would cost without it
    #[arg(long)]
    bootstraps: bool,
    /// The level of every value along the program
    #[arg(long)]
    levels: bool,
    /// Every evaluation key: level, size, who uses it
    #[arg(long)]
    keys: bool,
    /// Where each layer's tensor sits in the slots
    #[arg(long)]
    layouts: bool,
    /// One row per op: levels, rotations, products, predicted time and error
    #[arg(long)]
    ops: bool,
    /// Input range and polynomial of each activation
    #[arg(long)]
    ranges: bool,
    /// The modulus chain and the parameter sets considered
    #[arg(long)]
    params: bool,
    /// What each pass did
    #[arg(long)]
    passes: bool,
    /// Print the scheduled program as a Graphviz graph instead
    #[arg(long, conflicts_with = "emit")]
    dot: bool,
    /// Write a page with plots and tables, for a browser or for paper; it needs no other file and
    /// no network
    #[arg(long, value_name = "FILE.html")]
    html: Option<PathBuf>,
    /// Write the plots as SVG files: network, levels, time, memory, errors
    #[arg(long, value_name = "DIR")]
    svg: Option<PathBuf>,
    /// Trace of a run of this program (fhec run --profile): plots show what was measured as well
    #[arg(long, value_name = "TRACE.json")]
    trace: Option<PathBuf>,
    /// Print a program as text: `nn` (the network as imported) or `ckks` (the scheduled program)
    #[arg(long, value_name = "STAGE")]
    emit: Option<StageName>,
}

pub(super) fn execute(args: Args, common: &Common) -> Result<()> {
    let program = common.open(&args.program)?;
    match args.emit {
        Some(StageName::Nn) => return print(&print_func(program.reference()?)),
        Some(StageName::Ckks) => return print(&print_func(&program.schedule)),
        Some(StageName::Packed) => anyhow::bail!(
            "an artifact holds the stages nn and ckks; `fhec compile --emit packed` prints the one between"
        ),
        None => {}
    }
    let drawn = args.html.is_some() || args.svg.is_some();
    ensure!(drawn || args.trace.is_none(), "--trace goes with --html or --svg");
    let by_layer = args.layers || args.bootstraps || args.keys || args.layouts || args.dot || drawn;
    ensure!(
        !(by_layer && program.plan.layers.is_empty()),
        "the plan of {} is from before plans had layers; compile the network again",
        args.program.display()
    );
    draw(&args, &program)?;
    if args.dot {
        return print(&dot::dot(&program));
    }
    if let Some(note) = elsewhere(&program.plan) {
        tracing::warn!("{note}");
    }
    let out = Output::new(common.json);
    out.json(&program.plan)?;
    out.text(&text(&args, &program))
}

/// Writes the page and the plots that were asked for.
fn draw(args: &Args, program: &Program) -> Result<()> {
    let trace = args.trace.as_ref().map(|path| read_trace(path, program)).transpose()?;
    if let Some(path) = &args.html {
        let page = page::page(program, trace.as_deref());
        files::write_atomically(path, Access::Ordinary, |out| out.write_all(page.as_bytes()))?;
    }
    if let Some(folder) = &args.svg {
        fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
        for plot in plot::plots(program, trace.as_deref()) {
            let path = folder.join(plot.name).with_extension("svg");
            files::write_atomically(&path, Access::Ordinary, |out| out.write_all(plot.svg.as_bytes()))?;
        }
    }
    Ok(())
}

/// The first screen and what else was asked for.
fn text(args: &Args, program: &Program) -> String {
    let plan = &program.plan;
    let mut text = summary(plan);
    let mut section = |asked: bool, section: &dyn Fn() -> String| {
        if asked {
            text += &section();
        }
    };
    section(args.layers, &|| layers::layers(plan));
    section(args.bootstraps, &|| bootstraps::bootstraps(plan));
    section(args.levels, &|| levels::levels(program));
    section(args.keys, &|| keys::keys(plan));
    section(args.layouts, &|| layouts::layouts(plan));
    section(args.ops, &|| ops::ops(plan));
    section(args.ranges, &|| ranges::ranges(plan));
    section(args.params, &|| params::chain(program) + &params::considered(plan));
    section(args.passes, &|| passes::passes(plan));
    text
}

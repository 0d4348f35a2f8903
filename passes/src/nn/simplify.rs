//! Fold a network's linear parts together, by equality saturation.
//!
//! | | |
//! |---|---|
//! | Stage    | nn → nn |
//! | Requires | a verified function; batch dimension kept by reshapes that feed dense layers |
//! | Ensures  | the same function up to rounding of weights; multiplicative depth no larger |
//! | Leaves   | no `batch_norm`; names of values at the end of what was folded |
//! | Fails    | [`PassError::NonFiniteConstant`] if a folded weight is not finite (a variance below zero) |
//! | Method   | the network becomes one term of an e-graph (Willsey et al., POPL 2021, `egg`); the rules of `simplify/rules.rs` are applied until nothing changes; of all equal programs the one with the least multiplicative depth, then fewest ops is taken |
//! | Tests    | `tests/filetests/nn/simplify/`, random networks in `passes/tests/nn_random.rs` |
//!
//! What folds: batch normalisation and scalar arithmetic into convolutions and dense layers on
//! either side, through pools, pads, flattening and additions; pads into convolutions and pools;
//! average and global pools into the convolution or dense layer before or after; dense layers into
//! dense layers; transposes into dense layers. Identities go.
//!
//! Weights stay outside the e-graph: terms name them, folding builds terms such as `(scale-outputs
//! w s)`, and only those of the chosen program are computed, in `f64`.

use std::{collections::BTreeMap, time::Duration};

use egg::{BackoffScheduler, Runner, StopReason};
use fhec_ir::{func::Func, nn::Nn};

use crate::{
    error::PassError,
    report::{Passed, Report},
};

mod constants;
mod emit;
mod extract;
mod import;
mod language;
mod rules;

/// Limits of [`simplify`]; the defaults are far beyond what networks need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Rounds of applying all rules.
    pub iterations: usize,
    /// Terms in the e-graph.
    pub nodes: usize,
}

impl Default for Options {
    fn default() -> Options {
        Options { iterations: 50, nodes: 20_000 }
    }
}

/// Returns the simplified function and how often each rule fired.
pub fn simplify(func: &Func<Nn>, options: &Options) -> Result<Passed<Nn>, PassError> {
    let mut import = import::import(func);
    let graph = std::mem::take(&mut import.graph);
    // No clock decides anything: the time limit is out of reach.
    let runner: Runner<language::Term, language::Facts> = Runner::new(language::Facts::default())
        .with_egraph(graph)
        .with_scheduler(BackoffScheduler::default())
        .with_iter_limit(options.iterations)
        .with_node_limit(options.nodes)
        .with_time_limit(Duration::from_secs(3600))
        .run(&rules::all());
    let mut report = Report::new("simplify");
    let mut fired: BTreeMap<String, usize> = BTreeMap::new();
    for iteration in &runner.iterations {
        for (rule, count) in &iteration.applied {
            *fired.entry(rule.to_string()).or_default() += count;
        }
    }
    fired.into_iter().for_each(|(rule, count)| report.count(&rule, count));
    match &runner.stop_reason {
        Some(StopReason::Saturated) | None => {}
        Some(reason) => report.note(format!("stopped before all rules were exhausted: {reason:?}")),
    }
    import.graph = runner.egraph;
    let choice = extract::Choice::cheapest(&import.graph);
    let simplified = emit::emit(func, &import, &choice)?;
    Ok(Passed::new(simplified, report))
}

//! Which prices predictions are made with, as arguments; and what is said of a plan's.

use anyhow::Result;
use fhec_compiler::costs::{self, Found, Machine, Prices, Refined};
use fhec_compiler::profile::OpTime;
use fhec_ir::plan::Plan;
use fhec_passes::analysis::cost::CostTable;

use super::args::Common;
use super::progress;

/// Prices of operations.
#[derive(clap::Args, Debug)]
pub struct PriceArgs {
    /// What operations cost: `auto`, measured on this machine the first time and kept; `zen5`, the
    /// built-in table, so that the same model gives the same program everywhere; or a file, as
    /// `fhec bench --calibrate` writes it
    #[arg(long = "costs", value_name = "WHICH", env = "FHEC_COSTS", default_value = "auto")]
    prices: Prices,
}

impl PriceArgs {
    /// The table, and what is to be said of it.
    pub fn find(&self, common: &Common) -> Result<(CostTable, Option<String>)> {
        let spinner = progress::spinner(common, "measuring what operations cost here, once");
        let Found { table, note } = costs::find(&self.prices)?;
        drop(spinner);
        if let Some(note) = &note {
            tracing::warn!("{note}");
        }
        Ok((table, note))
    }
}

/// What a plan's first screen says where it was priced for another machine than this.
pub fn elsewhere(plan: &Plan) -> Option<String> {
    let here = Machine::here();
    (!costs::are_of(&here, &plan.cost_table)).then(|| {
        format!(
            "the predicted time is of another machine ({}), not of this one ({})",
            plan.cost_table,
            here.in_words()
        )
    })
}

/// Lets the prices that are kept of this machine learn from a run of the program of `plan`. A run
/// succeeds whether they do or not.
pub fn learn(plan: &Plan, times: &[OpTime]) {
    match costs::refine(plan, times) {
        Ok(Refined::Now(runs)) => tracing::debug!(?runs, "prices refined"),
        Ok(Refined::Not(why)) => tracing::debug!(why, "prices stay as they are"),
        Err(error) => tracing::debug!(%error, "prices stay as they are"),
    }
}

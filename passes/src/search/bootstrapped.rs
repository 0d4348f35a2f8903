//! Candidates with bootstrapping: all are placed, those with the least predicted time compiled to
//! the end.

use std::collections::BTreeMap;

use fhec_ir::func::Func;
use fhec_ir::key_demand::KeyDemand;
use fhec_ir::packed::Packed;
use fhec_ir::scale::Level;

use super::verdicts::SAME_TIME;
use super::{Search, SearchOptions};
use crate::analysis::mul_depth::levels_used;
use crate::analysis::op_cost::OpCosts;
use crate::bootstrap::sets::BootstrapSet;
use crate::ckks::choose_bootstrap_params::{self, SineCache};
use crate::ckks::place_bootstraps::place_bootstraps;
use crate::error::PassError;
use crate::pipeline::ckks::Candidate;

/// Rings in which a modulus chain with bootstrapping fits.
const RINGS: std::ops::RangeInclusive<u32> = 15..=17;
/// Sets of a ring whose own placement is looked at.
const PLACED: usize = 24;
/// Sets that are compiled to the end, so that there are some to choose from.
const COMPILED: usize = 4;
/// Sets that are compiled to the end at most.
const MOST_COMPILED: usize = 12;

impl Search<'_> {
    /// Considers chains with bootstrapping.
    pub(super) fn with_bootstraps(&mut self) -> Result<(), PassError> {
        let asked = &self.options.params;
        let mut sines = SineCache::default();
        let mut placed: Vec<(f64, Candidate)> = Vec::new();
        let roomy = |log_n: &u32| *log_n <= asked.max_log_n && self.options.has_slots(*log_n);
        for log_n in RINGS.filter(roomy).collect::<Vec<u32>>() {
            let packed = self.in_slots(log_n)?.result.func.clone();
            let least = most_levels_used(&packed) as Level;
            let sets = choose_bootstrap_params::candidates(log_n, least, asked, &mut sines)?;
            placed.extend(self.place(log_n, &packed, sets)?);
        }
        placed.sort_by(|a, b| a.0.total_cmp(&b.0));
        for (seconds, candidate) in placed {
            // All that may be as fast as the fastest (what placement predicts is near what the
            // program will be), and a few to choose from.
            let enough = match self.verdicts.acceptable() {
                ..COMPILED => false,
                COMPILED..MOST_COMPILED => seconds > self.verdicts.fastest() * (1.0 + 2.0 * SAME_TIME),
                MOST_COMPILED.. => true,
            };
            if enough {
                break;
            }
            self.consider(candidate)?;
        }
        Ok(())
    }

    /// Sets for the ring of `2^log_n` with the predicted seconds of the program. How many
    /// bootstraps there are depends on the levels between them alone, near enough, so all are
    /// placed on one set for each number of levels, and the best again.
    fn place(
        &mut self,
        log_n: u32,
        packed: &Func<Packed>,
        sets: Vec<BootstrapSet>,
    ) -> Result<Vec<(f64, Candidate)>, PassError> {
        let (options, shapes) = (self.options, self.shapes.entry(log_n).or_default());
        let sets = within_memory(sets, options);
        let mut counts: BTreeMap<Level, usize> = BTreeMap::new();
        let mut ranked = Vec::new();
        for set in sets {
            let costs = OpCosts::new(&set.params, &options.costs);
            let levels = set.bootstrap.usable_levels();
            let count = match counts.get(&levels) {
                Some(&known) => known,
                None => {
                    let method = options.bootstrap_placement;
                    let (placement, _) = place_bootstraps(packed, &set.bootstrap, method, &costs, shapes)?;
                    counts.insert(levels, placement.bootstraps());
                    placement.bootstraps()
                }
            };
            let each = costs.bootstrap(&set.bootstrap, set.bootstrap.output_level, shapes);
            ranked.push((count as f64 * each, set));
        }
        ranked.sort_by(|a, b| a.0.total_cmp(&b.0));
        ranked.truncate(PLACED);
        let mut placed = Vec::new();
        for (_, set) in ranked {
            let costs = OpCosts::new(&set.params, &options.costs);
            let method = options.bootstrap_placement;
            let (_, seconds) = place_bootstraps(packed, &set.bootstrap, method, &costs, shapes)?;
            let BootstrapSet { params, bootstrap, .. } = set;
            placed.push((seconds, Candidate { params, bootstrap: Some(bootstrap) }));
        }
        Ok(placed)
    }
}

/// The sets whose bootstraps alone, keys and matrices, leave something of the memory, and the one
/// that takes least, so that there is one to name if none does.
fn within_memory(sets: Vec<BootstrapSet>, options: &SearchOptions) -> Vec<BootstrapSet> {
    let Some(ram) = options.params.ram else { return sets };
    let bytes = |set: &BootstrapSet| {
        let mut keys = KeyDemand::default();
        keys.bootstrap(&set.bootstrap, &set.params);
        keys.bytes(&set.params)
            + OpCosts::new(&set.params, &options.costs).bootstrap_bytes(&set.bootstrap, false)
    };
    let bytes: Vec<u64> = sets.iter().map(bytes).collect();
    let least = bytes.iter().copied().min();
    let fits = |bytes: u64| bytes < ram || Some(bytes) == least;
    sets.into_iter().zip(bytes).filter(|(_, bytes)| fits(*bytes)).map(|(set, _)| set).collect()
}

/// Levels that the op with the most levels uses.
fn most_levels_used(func: &Func<Packed>) -> u32 {
    func.ops().iter().map(|data| levels_used(&data.op)).max().unwrap_or(0)
}

//! Candidates with bootstrapping: all are placed, those with the least predicted time compiled to
//! the end.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use fhec_ir::func::Func;
use fhec_ir::key_demand::KeyDemand;
use fhec_ir::packed::Packed;
use fhec_ir::scale::Level;
use rayon::prelude::*;

use super::verdicts::SAME_TIME;
use super::{Built, InSlots, Search, SearchOptions, build, in_slots};
use crate::analysis::circuit_shapes::CircuitShapes;
use crate::analysis::mul_depth::levels_used;
use crate::analysis::op_cost::OpCosts;
use crate::bootstrap::sets::BootstrapSet;
use crate::ckks::choose_bootstrap_params::{self, SineCache};
use crate::ckks::place_bootstraps::place_bootstraps;
use crate::ckks::placement::Placement;
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

/// A candidate with the predicted seconds of the program.
type Placed = (f64, Candidate);

/// What was made for one ring.
struct Ring {
    log_n: u32,
    in_slots: Arc<InSlots>,
    shapes: CircuitShapes,
    placed: Vec<Placed>,
}

impl Search<'_> {
    /// Considers chains with bootstrapping.
    pub(super) fn with_bootstraps(&mut self) -> Result<(), PassError> {
        let (asked, sines) = (&self.options.params, SineCache::default());
        let roomy = |log_n: &u32| *log_n <= asked.max_log_n && self.options.has_slots(*log_n);
        // Rings do not depend on each other. An error is that of the smallest ring with one.
        let rings: Vec<u32> = RINGS.filter(roomy).collect();
        let made: Vec<_> = rings.into_par_iter().map(|log_n| self.bootstrapped_ring(log_n, &sines)).collect();
        let mut placed = Vec::new();
        for ring in made {
            let ring = ring?;
            self.in_slots.insert(ring.log_n, ring.in_slots);
            self.shapes.insert(ring.log_n, ring.shapes);
            placed.extend(ring.placed);
        }
        placed.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut left = placed.into_iter().peekable();
        while let Some((seconds, _)) = left.peek()
            && !self.is_enough(*seconds)
        {
            // As many at once as there are threads, judged one after the other: what is chosen does
            // not depend on how many there are.
            let some: Vec<Placed> = left.by_ref().take(rayon::current_num_threads()).collect();
            let built = some.par_iter().map(|(_, candidate)| {
                let log_n = candidate.params.log_n();
                let (packed, mut shapes) = (self.in_slots[&log_n].clone(), self.shapes[&log_n].clone());
                build(packed, candidate, self.options.ckks(), &mut shapes)
            });
            let built: Vec<Result<Built, PassError>> = built.collect();
            for ((seconds, candidate), built) in some.into_iter().zip(built) {
                if self.is_enough(seconds) {
                    return Ok(());
                }
                self.judge(candidate, built)?;
            }
        }
        Ok(())
    }

    /// Whether no set is looked at that is predicted to take `seconds`, or more: all that may be as
    /// fast as the fastest were (what placement predicts is near what the program will be), and a
    /// few to choose from.
    fn is_enough(&self, seconds: f64) -> bool {
        match self.verdicts.acceptable() {
            ..COMPILED => false,
            COMPILED..MOST_COMPILED => seconds > self.verdicts.fastest() * (1.0 + 2.0 * SAME_TIME),
            MOST_COMPILED.. => true,
        }
    }

    /// The network in the slots of a ring, and the best sets for it.
    fn bootstrapped_ring(&self, log_n: u32, sines: &SineCache) -> Result<Ring, PassError> {
        let in_slots = match self.in_slots.get(&log_n) {
            Some(known) => known.clone(),
            None => Arc::new(in_slots(self.func, log_n, self.options)?),
        };
        let mut shapes = self.shapes.get(&log_n).cloned().unwrap_or_default();
        let packed = &in_slots.result.func;
        let start = Instant::now();
        let least = most_levels_used(packed) as Level;
        let sets = choose_bootstrap_params::candidates(log_n, least, &self.options.params, sines)?;
        tracing::debug!(log_n, sets = sets.len(), time = ?start.elapsed(), "sets made");
        let start = Instant::now();
        let placed = place(packed, within_memory(sets, self.options), self.options, &mut shapes)?;
        tracing::debug!(log_n, time = ?start.elapsed(), "sets placed");
        Ok(Ring { log_n, in_slots, shapes, placed })
    }
}

/// The best sets for a ring, with the predicted seconds of the program. How many bootstraps there
/// are depends on the levels between them alone, near enough, so all are placed on one set for each
/// number of levels, and the best again.
fn place(
    packed: &Func<Packed>,
    sets: Vec<BootstrapSet>,
    options: &SearchOptions,
    shapes: &mut CircuitShapes,
) -> Result<Vec<Placed>, PassError> {
    let placement = |set: &BootstrapSet, shapes: &mut CircuitShapes| {
        let costs = OpCosts::new(&set.params, &options.costs);
        place_bootstraps(packed, &set.bootstrap, options.bootstrap_placement, &costs, shapes)
    };
    let levels = |set: &BootstrapSet| set.bootstrap.usable_levels();
    let mut of_levels: BTreeMap<Level, &BootstrapSet> = BTreeMap::new();
    sets.iter().for_each(|set| _ = of_levels.entry(levels(set)).or_insert(set));
    let mut bootstraps: BTreeMap<Level, usize> = BTreeMap::new();
    // The first finds the shapes of the program's circuits for all others.
    if let Some((levels, set)) = of_levels.pop_first() {
        bootstraps.insert(levels, placement(set, shapes)?.0.bootstraps());
    }
    let known = &*shapes;
    let shapes = || known.clone();
    let counts: Vec<(Level, Result<(Placement, f64), _>)> = of_levels
        .into_par_iter()
        .map_init(shapes, |shapes, (levels, set)| (levels, placement(set, shapes)))
        .collect();
    for (levels, placed) in counts {
        bootstraps.insert(levels, placed?.0.bootstraps());
    }
    let seconds = |shapes: &mut CircuitShapes, set: &BootstrapSet| {
        let costs = OpCosts::new(&set.params, &options.costs);
        let each = costs.bootstrap(&set.bootstrap, set.bootstrap.output_level, shapes);
        bootstraps[&levels(set)] as f64 * each
    };
    let seconds: Vec<f64> = sets.par_iter().map_init(shapes, seconds).collect();
    let mut ranked: Vec<(f64, BootstrapSet)> = seconds.into_iter().zip(sets).collect();
    ranked.sort_by(|a, b| a.0.total_cmp(&b.0));
    ranked.truncate(PLACED);
    let placed = ranked.into_par_iter().map_init(shapes, |shapes, (_, set)| (placement(&set, shapes), set));
    let placed: Vec<_> = placed.collect();
    let candidate = |(placed, set): (Result<(Placement, f64), _>, BootstrapSet)| {
        let (placement, seconds) = placed?;
        let BootstrapSet { params, bootstrap, .. } = set;
        let placed = Some((placement, seconds));
        Ok((seconds, Candidate { params, bootstrap: Some(bootstrap), placed }))
    };
    placed.into_iter().map(candidate).collect()
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

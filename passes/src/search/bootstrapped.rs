//! Candidates with bootstrapping: all are placed, those with the least predicted time compiled to
//! the end.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;
use std::time::Instant;

use fhec_ir::func::{Func, OpData};
use fhec_ir::key_demand::KeyDemand;
use fhec_ir::packed::Packed;
use fhec_ir::scale::Level;
use rayon::prelude::*;

use super::verdicts::SAME_TIME;
use super::{Built, InSlots, Search, SearchOptions, build, in_slots};
use crate::analysis::circuit_shapes::CircuitShapes;
use crate::analysis::mul_depth::{levels_used, mul_depth_by};
use crate::analysis::op_cost::OpCosts;
use crate::bootstrap::sets::{BootstrapSet, Recipe};
use crate::ckks::choose_bootstrap_params::{self, Sine, SineTable};
use crate::ckks::place_bootstraps::{
    BootstrapPlacement, PlaceBootstrapsError, place_bootstraps, place_bootstraps_anywhere,
};
use crate::ckks::placement::{Placement, slot_mask};
use crate::error::PassError;
use crate::pipeline::ckks::Candidate;

/// Rings in which a modulus chain with bootstrapping fits.
const RINGS: std::ops::RangeInclusive<u32> = 15..=17;
/// Sets of a ring and of one width of primes whose own placement is looked at.
const PLACED: usize = 4;
/// Sets that are compiled to the end, so that there are some to choose from.
const COMPILED: usize = 4;
/// Sets that are compiled to the end at most.
const MOST_COMPILED: usize = 12;

/// How many times as long as the fastest sets may take that are compiled to have some to choose
/// from.
const MUCH_SLOWER: f64 = 1.5;
/// How far sets of one ring and one width of primes may be apart in precision, in bits.
const ALIKE: f64 = 1.0;

/// Polynomials that undo a sine are others by up to a 2,048th: where more bits are wanted, none do.
const UNDONE_BITS: f64 = 11.0;

/// A candidate whose bootstraps are placed.
struct Placed {
    /// Predicted seconds of the program.
    seconds: f64,
    /// Bits of the primes of the application's levels.
    width: u32,
    candidate: Candidate,
}

impl Search<'_> {
    /// Considers chains with bootstrapping.
    pub(super) fn with_bootstraps(&mut self) -> Result<(), PassError> {
        let asked = &self.options.params;
        let roomy = |log_n: &u32| *log_n <= asked.max_log_n && self.options.has_slots(*log_n);
        let rings: Vec<u32> = RINGS.filter(roomy).collect();
        let packed: Vec<_> = rings.par_iter().map(|&log_n| self.packed(log_n)).collect();
        let packed = packed.into_iter().collect::<Result<Vec<_>, _>>()?;
        let mut sines = SineTable::default();
        // Whether straight sines may save bootstraps, or be all there is.
        let mut straight = true;
        // What is found in small rings says what large ones must beat.
        for (log_n, (in_slots, families)) in rings.into_iter().zip(packed) {
            let mut shapes = self.shapes.remove(&log_n).unwrap_or_default();
            for (sine, recipes) in families {
                if sine == Sine::Straight && !straight {
                    continue;
                }
                let start = Instant::now();
                sines.add(&recipes)?;
                let seconds = start.elapsed().as_secs_f64();
                tracing::debug!(step = "approximate-sines", seconds, log_n, ?sine, "sines found");
                let start = Instant::now();
                let beat = self.verdicts.least_worth();
                let packed = &in_slots.result.func;
                let sets = Sets { packed, options: self.options, sines: &sines, beat, sine };
                let placed = sets.best(recipes, &mut shapes)?;
                let seconds = start.elapsed().as_secs_f64();
                let count = placed.len();
                tracing::debug!(step = "place-sets", seconds, log_n, ?sine, sets = count, "sets placed");
                let undone = sine == Sine::Undone && sets.costs_nothing(&placed, &mut shapes);
                let start = Instant::now();
                self.compile_best(&in_slots, &shapes, placed)?;
                let seconds = start.elapsed().as_secs_f64();
                tracing::debug!(step = "compile-sets", seconds, log_n, ?sine, "sets compiled");
                straight &= !(undone && self.verdicts.acceptable() > 0);
            }
            self.shapes.insert(log_n, shapes);
            self.in_slots.insert(log_n, in_slots);
        }
        Ok(())
    }

    /// Compiles and judges sets of one ring, the fastest first.
    fn compile_best(
        &mut self,
        in_slots: &Arc<InSlots>,
        shapes: &CircuitShapes,
        mut placed: Vec<Placed>,
    ) -> Result<(), PassError> {
        placed.sort_by(|a, b| a.seconds.total_cmp(&b.seconds));
        // The widest primes that are far too imprecise.
        let mut hopeless = 0;
        let mut left = placed.into_iter().peekable();
        while left.peek().is_some_and(|set| !self.is_enough(set.seconds)) {
            // As many at once as there are threads, judged one after the other: what is chosen does
            // not depend on how many there are.
            let hopeful = left.by_ref().filter(|set| set.width > hopeless);
            let some: Vec<Placed> = hopeful.take(rayon::current_num_threads()).collect();
            let built = some
                .par_iter()
                .map(|set| build(in_slots.clone(), &set.candidate, self.options.ckks(), &mut shapes.clone()));
            let built: Vec<Result<Built, PassError>> = built.collect();
            for (Placed { seconds, width, candidate }, built) in some.into_iter().zip(built) {
                if width <= hopeless {
                    continue;
                }
                if self.is_enough(seconds) {
                    return Ok(());
                }
                let bits = built.as_ref().map_or(f64::INFINITY, |built| built.estimate.error_bits_worst);
                if bits + ALIKE < self.verdicts.least_bits() {
                    hopeless = width;
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
            0 => false,
            1..COMPILED => seconds > self.verdicts.fastest() * MUCH_SLOWER,
            COMPILED..MOST_COMPILED => seconds > self.verdicts.fastest() * (1.0 + 2.0 * SAME_TIME),
            MOST_COMPILED.. => true,
        }
    }

    /// The network in the slots of a ring, and recipes of the sets that can hold it: of those whose
    /// sine polynomials undo before the others.
    fn packed(&self, log_n: u32) -> Result<(Arc<InSlots>, Families), PassError> {
        let in_slots = match self.in_slots.get(&log_n) {
            Some(known) => known.clone(),
            None => Arc::new(in_slots(self.func, log_n, self.options)?),
        };
        let least = most_levels_used(&in_slots.result.func) as Level;
        // How much noise there is changes nothing about how near polynomials are.
        let wanted = self.verdicts.wanted - self.options.params.noise_factor.log2();
        let undone = self.options.bootstrap_placement == BootstrapPlacement::Optimal && wanted <= UNDONE_BITS;
        let families = [(undone, Sine::Undone), (true, Sine::Straight)].into_iter();
        let families = families.filter(|(tried, _)| *tried).map(|(_, sine)| {
            let recipes = choose_bootstrap_params::recipes(log_n, least, sine, &self.options.params)?;
            Ok((sine, recipes))
        });
        let families: Result<Families, PassError> = families.collect();
        Ok((in_slots, families?))
    }
}

/// Recipes, by what becomes of the sine.
type Families = Vec<(Sine, Vec<Recipe>)>;

/// Looks for the best sets for a network in the slots of one ring.
struct Sets<'a> {
    packed: &'a Func<Packed>,
    options: &'a SearchOptions,
    sines: &'a SineTable,
    /// Seconds of a program that others must be faster than.
    beat: f64,
    /// What becomes of the sine in all of them.
    sine: Sine,
}

impl Sets<'_> {
    /// The best sets, with the predicted seconds of the program. How many bootstraps there are
    /// depends on the levels between them alone, near enough. So a set for each number of levels is
    /// placed, sets whose levels save bootstraps are priced by their number, and the best of these
    /// are placed again.
    fn best(&self, recipes: Vec<Recipe>, shapes: &mut CircuitShapes) -> Result<Vec<Placed>, PassError> {
        let bootstraps = self.bootstraps_by_levels(&recipes, shapes)?;
        let known = &*shapes;
        let shapes = || known.clone();
        let useful: Vec<Recipe> = recipes
            .into_iter()
            .filter(|recipe| bootstraps.contains_key(&recipe.application_levels))
            .collect();
        let built = useful.into_par_iter().map(|recipe| {
            let set = choose_bootstrap_params::build(&recipe, self.sines)?;
            Ok(set.map(|set| (recipe, set)))
        });
        let built: Result<Vec<Option<(Recipe, BootstrapSet)>>, PassError> = built.collect();
        let sets: Vec<_> = built?.into_iter().flatten().collect();
        let seconds = |shapes: &mut CircuitShapes, (recipe, set): &(Recipe, BootstrapSet)| {
            let costs = OpCosts::new(&set.params, &self.options.costs);
            let each = costs.bootstrap(&set.bootstrap, set.bootstrap.output_level, shapes);
            bootstraps[&recipe.application_levels] as f64 * each
        };
        let sets = within_memory(sets, self.options);
        let seconds: Vec<f64> = sets.par_iter().map_init(shapes, seconds).collect();
        // An estimate, not a bound: placement may refresh to lower levels, which is cheaper; but
        // then comes all else that the program does.
        let ranked = seconds.into_iter().zip(sets).filter(|(seconds, _)| *seconds < self.beat);
        let mut ranked: Vec<_> = ranked.collect();
        ranked.sort_by(|a, b| a.0.total_cmp(&b.0));
        let best = best_by_precision(ranked);
        let placed = best.into_par_iter().map_init(shapes, |shapes, (recipe, set)| {
            let Some((placement, seconds)) = self.placement(&set, shapes)? else { return Ok(None) };
            let BootstrapSet { params, bootstrap, .. } = set;
            let placed = Some((placement, seconds));
            let candidate = Candidate { params, bootstrap: Some(bootstrap), placed };
            Ok(Some(Placed { seconds, width: recipe.application_bits, candidate }))
        });
        let placed: Vec<Result<Option<Placed>, PassError>> = placed.collect();
        placed.into_iter().filter_map(Result::transpose).collect()
    }

    /// Whether the fastest of `placed` would have as many bootstraps if they could be anywhere, not
    /// only where polynomials read what is refreshed.
    fn costs_nothing(&self, placed: &[Placed], shapes: &mut CircuitShapes) -> bool {
        let Some(fastest) = placed.iter().min_by(|a, b| a.seconds.total_cmp(&b.seconds)) else {
            return false;
        };
        let Candidate { params, bootstrap: Some(bootstrap), placed: Some((placement, _)) } =
            &fastest.candidate
        else {
            return false;
        };
        let costs = OpCosts::new(params, &self.options.costs);
        let free = place_bootstraps_anywhere(self.packed, bootstrap, &costs, shapes);
        free.is_some_and(|(free, _)| free.bootstraps() >= placement.bootstraps())
    }

    /// How many bootstraps there are, for each number of levels that has fewer than all below it:
    /// levels that save no bootstrap only make each dearer.
    fn bootstraps_by_levels(
        &self,
        recipes: &[Recipe],
        shapes: &mut CircuitShapes,
    ) -> Result<BTreeMap<u32, usize>, PassError> {
        let mut of_levels: BTreeMap<u32, BootstrapSet> = BTreeMap::new();
        // One special prime makes key switching dear: such a set stands for its levels only where
        // nothing else fits.
        let (few, more): (Vec<_>, Vec<_>) = recipes.iter().partition(|recipe| recipe.special.1 == 1);
        for recipe in more.into_iter().chain(few) {
            if let Entry::Vacant(entry) = of_levels.entry(recipe.application_levels)
                && let Some(set) = choose_bootstrap_params::build(recipe, self.sines)?
            {
                entry.insert(set);
            }
        }
        // What would take longer than the best so far with the fewest bootstraps that a chain of
        // its levels can have is not placed. The sets are not the fastest of their levels, hence
        // the margin.
        // Bootstraps may do all masks.
        let used = |data: &OpData<Packed>| match slot_mask(self.packed, &data.op) {
            Some(_) => 0,
            None => levels_used(&data.op),
        };
        let depth = mul_depth_by(self.packed, used);
        let hopeful = |shapes: &mut CircuitShapes, set: &BootstrapSet| {
            let (top, usable) = (set.bootstrap.output_level, set.bootstrap.usable_levels());
            let least = depth.saturating_sub(u32::from(top)).div_ceil(u32::from(usable).max(1));
            let each = OpCosts::new(&set.params, &self.options.costs).bootstrap(&set.bootstrap, top, shapes);
            f64::from(least) * each < 2.0 * self.beat
        };
        let sets: Vec<(u32, BootstrapSet)> =
            of_levels.into_iter().filter(|(_, set)| hopeful(shapes, set)).collect();
        let mut count = |index: usize| -> Result<usize, PassError> {
            let placed = self.placement(&sets[index].1, shapes)?;
            Ok(placed.map_or(usize::MAX, |(placement, _)| placement.bootstraps()))
        };
        // More levels never need more bootstraps: between two numbers of levels that need as many,
        // all do.
        let mut counts: BTreeMap<usize, usize> = BTreeMap::new();
        let mut between = vec![(0, sets.len().saturating_sub(1))];
        while let Some((low, high)) = between.pop() {
            for end in [low, high] {
                if end < sets.len() && !counts.contains_key(&end) {
                    counts.insert(end, count(end)?);
                }
            }
            if high > low + 1 && counts[&low] > counts[&high] {
                let middle = low.midpoint(high);
                between.extend([(low, middle), (middle, high)]);
            }
        }
        let mut found: BTreeMap<u32, usize> = BTreeMap::new();
        for (index, bootstraps) in counts.into_iter().filter(|(_, count)| *count < usize::MAX) {
            if found.values().all(|&known| bootstraps < known) {
                found.insert(sets[index].0, bootstraps);
            }
        }
        Ok(found)
    }

    /// Where bootstraps are; `None` if they cannot all be where polynomials undo their sines.
    fn placement(
        &self,
        set: &BootstrapSet,
        shapes: &mut CircuitShapes,
    ) -> Result<Option<(Placement, f64)>, PassError> {
        let costs = OpCosts::new(&set.params, &self.options.costs);
        let method = self.options.bootstrap_placement;
        match place_bootstraps(self.packed, &set.bootstrap, method, &costs, shapes) {
            Err(PlaceBootstrapsError::Nowhere { .. } | PlaceBootstrapsError::Entangled(_))
                if self.sine == Sine::Undone =>
            {
                Ok(None)
            }
            placed => Ok(Some(placed?)),
        }
    }
}

/// Of sets by predicted time: the first few of each width of primes, which is most of precision, as
/// far as they are faster than as many of a wider one. Which precision will do is known only of
/// compiled programs.
fn best_by_precision(ranked: Vec<(f64, (Recipe, BootstrapSet))>) -> Vec<(Recipe, BootstrapSet)> {
    let mut widths: BTreeMap<Reverse<u32>, Vec<(f64, (Recipe, BootstrapSet))>> = BTreeMap::new();
    for (seconds, set) in ranked {
        let of_width = widths.entry(Reverse(set.0.application_bits)).or_default();
        if of_width.len() < PLACED {
            of_width.push((seconds, set));
        }
    }
    let mut limit = f64::INFINITY;
    let mut best = Vec::new();
    for of_width in widths.into_values() {
        let faster: Vec<_> = of_width.into_iter().filter(|(seconds, _)| *seconds < limit).collect();
        if let (PLACED, Some((slowest, _))) = (faster.len(), faster.last()) {
            limit = *slowest;
        }
        best.extend(faster.into_iter().map(|(_, set)| set));
    }
    best
}

/// The sets whose bootstraps alone, keys and matrices, leave something of the memory, and the one
/// that takes least, so that there is one to name if none does.
fn within_memory(sets: Vec<(Recipe, BootstrapSet)>, options: &SearchOptions) -> Vec<(Recipe, BootstrapSet)> {
    let Some(ram) = options.params.ram else { return sets };
    let bytes = |(_, set): &(Recipe, BootstrapSet)| {
        let mut keys = KeyDemand::default();
        keys.bootstrap(&set.bootstrap, &set.params);
        keys.bytes(&set.params)
            + OpCosts::new(&set.params, &options.costs)
                .bootstrap_bytes(&set.bootstrap, &BTreeMap::from([(None, false)]))
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

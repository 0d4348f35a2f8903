//! From a network of linear ops and polynomials to a scheduled program under chosen parameters: the second half of a
//! compile, with its order as a list.
//!
//! The ring decides how many slots there are, layouts depend on the slots, and costs on both; so every ring and digit
//! size that security admits is compiled to the end and estimated, and the fastest that keeps precision and memory wins, of those hardly
//! slower the most precise.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::rc::Rc;

use fhec_ir::bootstrap::BootstrapParams;
use fhec_ir::ckks::{Ckks, Op, WEIGHT_BYTES};
use fhec_ir::entity::Value;
use fhec_ir::evaluation_keys::EvaluationKeys;
use fhec_ir::func::{Func, Stage};
use fhec_ir::nn::Nn;
use fhec_ir::packed::Packed;
use fhec_ir::params::{LOG_N_RANGE, Params};
use fhec_ir::plan::{Considered, PassRow};
use fhec_ir::scale::Level;
use fhec_ir::verify::{VerifyErrors, verify};
use thiserror::Error;

use crate::analysis::circuit_shapes::CircuitShapes;
use crate::analysis::cost::{CostTable, RingShape};
use crate::analysis::mul_depth::{levels_used, mul_depth};
use crate::analysis::op_cost::OpCosts;
use crate::bootstrap::sets::{BootstrapSet, SetError};
use crate::ckks::choose_bootstrap_params::{self, SineCache};
use crate::ckks::choose_params::{
    self, ChooseParamsError, ParamOptions, Scales, WANTED_BOOTSTRAPPED_OUTPUT_ERROR, WANTED_OUTPUT_ERROR,
};
use crate::ckks::lower_packed::{LowerPackedError, lower_packed};
use crate::ckks::place_bootstraps::{BootstrapPlacement, PlaceBootstrapsError, place_bootstraps};
use crate::ckks::place_relinearizations::place_relinearizations;
use crate::ckks::place_rescales::place_rescales;
use crate::ckks::placement::Placement;
use crate::ckks::schedule::schedule;
use crate::ckks::select_rotation_keys::{KeyBudgetError, select_rotation_keys};
use crate::estimate::{Estimate, estimate};
use crate::lower_nn::{LayoutOptions, LowerError, Packing, lower_nn};
use crate::nn::softmax::SoftmaxNames;
use crate::packed::common_subexpr::common_subexpr;

/// Knobs of [`schedule_network`].
#[derive(Clone, Debug, Default)]
pub struct ScheduleOptions {
    /// Security, precision, memory.
    pub params: ParamOptions,
    /// Which layouts may be used.
    pub packing: Packing,
    /// Images of one run; `None` for one.
    pub images: Option<NonZeroUsize>,
    /// How bootstraps are placed.
    pub bootstrap_placement: BootstrapPlacement,
    /// Parameters to take instead of searching for some.
    pub fixed: Option<FixedParams>,
    /// Prices.
    pub costs: CostTable,
    /// Run the verifier after each pass in release builds too.
    pub verify_each: bool,
}

impl ScheduleOptions {
    fn images(&self) -> usize {
        self.images.map_or(1, NonZeroUsize::get)
    }

    /// Whether a ring of `2^log_n` has a slot for each image, where each needs its own.
    fn has_slots(&self, log_n: u32) -> bool {
        self.packing != Packing::Pixel || self.images() <= 1 << (log_n - 1)
    }
}

/// Parameters that are not searched: precision is what they give, memory limits hold.
#[derive(Clone, Debug)]
pub struct FixedParams {
    /// Chain and bootstrap of all slots.
    pub set: BootstrapSet,
    /// Slots per ciphertext: a power of two up to half the ring degree, and as sparse as that its bootstraps.
    pub slots: usize,
}

impl FixedParams {
    fn candidate(&self) -> Result<Candidate, SetError> {
        let bootstrap = Some(self.set.with_slots(self.slots)?);
        Ok(Candidate { params: self.set.params.clone(), bootstrap })
    }
}

/// Rings in which a modulus chain with bootstrapping fits.
const BOOTSTRAPPED_RINGS: std::ops::RangeInclusive<u32> = 15..=17;

/// A program ready to run, and why it is as it is.
#[derive(Clone, Debug)]
pub struct Scheduled {
    /// Slot vectors, before parameters.
    pub packed: Func<Packed>,
    /// The scheduled program.
    pub program: Func<Ckks>,
    /// Its parameters.
    pub params: Params,
    /// What it will take.
    pub estimate: Estimate,
    /// Parameter sets looked at, the chosen one among them.
    pub considered: Vec<Considered>,
    /// What each pass did.
    pub passes: Vec<PassRow>,
    /// Shapes of the program's circuits.
    pub shapes: CircuitShapes,
    /// How its bootstraps were placed; `None` for a chain that holds the whole program.
    pub placed: Option<PlacedBootstraps>,
}

/// The placement of a program's bootstraps.
#[derive(Clone, Debug)]
pub struct PlacedBootstraps {
    /// The bootstrap.
    pub bootstrap: BootstrapParams,
    /// Where the values of the packed program are.
    pub placement: Placement,
    /// Predicted seconds of the packed program so placed.
    pub seconds: f64,
    /// The `bootstrap` ops of the scheduled program, each with the value of the packed program that it refreshes, in order.
    pub sites: Vec<(usize, Value)>,
}

/// A program with levels, scales, keys and an order.
struct Lowered {
    program: Func<Ckks>,
    passes: Vec<PassRow>,
    placed: Option<PlacedBootstraps>,
}

/// Why there is no scheduled program.
#[derive(Clone, Debug, Error)]
#[allow(missing_docs)]
pub enum ScheduleError {
    #[error(transparent)]
    Lower(#[from] LowerError),
    #[error(transparent)]
    Params(#[from] ChooseParamsError),
    #[error(transparent)]
    LowerPacked(#[from] LowerPackedError),
    #[error(transparent)]
    BootstrapParams(#[from] SetError),
    #[error(transparent)]
    PlaceBootstraps(#[from] PlaceBootstrapsError),
    /// `other` is what is needed besides keys, in bytes.
    #[error("{keys}")]
    Keys { keys: KeyBudgetError, other: u64 },
    #[error("after pass `{pass}`: {errors}")]
    Verify { pass: &'static str, errors: VerifyErrors },
    #[error("pass `{pass}` built an invalid op: {message}")]
    Malformed { pass: &'static str, message: String },
}

/// What [`schedule_network`] shows after each pass on the chosen program.
#[derive(Clone, Copy, Debug)]
pub enum Snapshot<'a> {
    /// After a pass that yields slot vectors.
    Packed(&'a Func<Packed>),
    /// After a pass that yields ciphertexts.
    Ckks(&'a Func<Ckks>),
}

/// See the [module](self). `after` is shown every pass's result on the way to the chosen program.
pub fn schedule_network(
    func: &Func<Nn>,
    options: &ScheduleOptions,
    after: &mut dyn FnMut(&'static str, Snapshot<'_>),
) -> Result<Scheduled, ScheduleError> {
    let asked = &options.params;
    // What is judged is stored as the network's over this factor: the outputs, or the operand of a softmax.
    let outputs = || func.meta::<Option<f64>>("output_factor").ok().flatten().unwrap_or(1.0);
    let factor = SoftmaxNames::of(func).map_or_else(outputs, |names| names.operand_factor);
    let bits = |error: f64| asked.precision_bits.unwrap_or((factor / error).log2());
    // Depth does not depend on the ring.
    let fixed = options.fixed.as_ref();
    let roomy = (15..=asked.max_log_n).find(|&log_n| options.has_slots(log_n)).unwrap_or(asked.max_log_n);
    let probe = fixed.map_or(roomy, |fixed| fixed.set.params.log_n());
    let probed = to_packed(func, probe, options, &mut |_, _| ())?.0;
    let depth = mul_depth(&probed);
    let mut search = Search {
        func,
        options,
        packed: BTreeMap::from([(probe, Rc::new(probed))]),
        wanted: bits(WANTED_OUTPUT_ERROR),
        considered: Vec::new(),
        acceptable: Vec::new(),
        most_precise: None,
        smallest: None,
    };
    match fixed {
        Some(fixed) => search.fixed(fixed)?,
        None => {
            search.without_bootstraps(depth)?;
            if search.acceptable.is_empty() {
                search.wanted = bits(WANTED_BOOTSTRAPPED_OUTPUT_ERROR);
                search.with_bootstraps()?;
            }
        }
    }
    let (candidate, row) = search.chosen(depth)?;
    search.considered[row].verdict = "chosen".into();
    let mut passes = Vec::new();
    let (packed, rows) = to_packed(func, candidate.params.log_n(), options, after)?;
    passes.extend(rows);
    let mut shapes = CircuitShapes::default();
    let lowered = to_ckks(&packed, &candidate, options, &mut shapes, after)?;
    passes.extend(lowered.passes);
    let (mut program, placed) = (lowered.program, lowered.placed);
    let Candidate { params, .. } = candidate;
    let estimate = estimate(&program, &params, &options.costs, asked.ram, &mut shapes);
    let estimate = estimate.map_err(malformed("estimate"))?;
    program.set_meta(WEIGHT_BYTES, &estimate.cached_bytes);
    Ok(Scheduled { packed, program, params, estimate, considered: search.considered, passes, shapes, placed })
}

/// Parameters to compile for.
#[derive(Clone, Debug)]
struct Candidate {
    params: Params,
    /// Of all slots; `None` for a chain that holds the whole program.
    bootstrap: Option<BootstrapParams>,
}

/// Lowers a network into the slots of a ring.
fn to_packed(
    func: &Func<Nn>,
    log_n: u32,
    options: &ScheduleOptions,
    after: &mut dyn FnMut(&'static str, Snapshot<'_>),
) -> Result<(Func<Packed>, Vec<PassRow>), ScheduleError> {
    let slots = options.fixed.as_ref().map_or(1 << (log_n - 1), |fixed| fixed.slots);
    let layouts = LayoutOptions {
        images: options.images(),
        packing: options.packing,
        costs: options.costs.clone(),
        ring: RingShape { log_n, special: 3, digit_limbs: 3, key_bits: 48, more_digits: 0 },
        ..LayoutOptions::for_slots(slots)
    };
    let mut passes = Passes { options, rows: Vec::new() };
    let func = lower_nn(func, &layouts)?;
    let report = format!("{} ops on vectors of {} slots", func.ops().len(), layouts.slots);
    passes.done("lower", &func, report)?;
    after("lower", Snapshot::Packed(&func));

    let (func, removed) = common_subexpr(&func).map_err(malformed("common_subexpr"))?;
    passes.done("common_subexpr", &func, format!("{removed} ops removed"))?;
    after("common_subexpr", Snapshot::Packed(&func));
    Ok((func, passes.rows))
}

/// Gives a packed program levels, scales, keys and an order.
fn to_ckks(
    packed: &Func<Packed>,
    candidate: &Candidate,
    options: &ScheduleOptions,
    shapes: &mut CircuitShapes,
    after: &mut dyn FnMut(&'static str, Snapshot<'_>),
) -> Result<Lowered, ScheduleError> {
    let Candidate { params, bootstrap } = candidate;
    let costs = OpCosts::new(params, &options.costs).with_bootstraps(bootstrap.as_slice(), shapes);
    let mut passes = Passes { options, rows: Vec::new() };
    let (placement, seconds) = match bootstrap {
        None => (Placement::without_bootstraps(packed), 0.0),
        Some(bootstrap) => {
            let method = options.bootstrap_placement;
            let (placement, seconds) = place_bootstraps(packed, bootstrap, method, &costs, shapes)?;
            let report = format!("{} values refreshed, {seconds:.2} s predicted", placement.bootstraps());
            passes.rows.push(PassRow { pass: "place_bootstraps".into(), report });
            (placement, seconds)
        }
    };
    let mut func = lower_packed(packed, &placement, params, &options.costs, shapes)?;
    if let Some(bootstrap) = bootstrap {
        BootstrapParams::set_in_program(&mut func, &vec![bootstrap.clone()]);
    }
    passes.done("lower_packed", &func, format!("{} levels", params.top_level()))?;
    after("lower_packed", Snapshot::Ckks(&func));

    let swap_pays = |level| {
        costs.rescale(level, 3) + costs.key_switch(level - 1)
            < costs.key_switch(level) + costs.rescale(level, 2)
    };
    let (func, saved) =
        place_relinearizations(&func, swap_pays).map_err(malformed("place_relinearizations"))?;
    passes.done("place_relinearizations", &func, format!("{saved} relinearisations saved"))?;
    after("place_relinearizations", Snapshot::Ckks(&func));

    let (func, saved) = place_rescales(&func).map_err(malformed("place_rescales"))?;
    passes.done("place_rescales", &func, format!("{saved} rescales saved"))?;
    after("place_rescales", Snapshot::Ckks(&func));

    let (budget, other) = match options.params.ram {
        Some(ram) => {
            let without = estimate(&func, params, &options.costs, Some(0), shapes);
            let without = without.map_err(malformed("estimate"))?;
            let other = without.peak_bytes - without.key_bytes;
            (Some(ram.saturating_sub(other)), other)
        }
        None => (None, 0),
    };
    let chosen = select_rotation_keys(&func, params, budget, &options.costs, shapes);
    let chosen = chosen.map_err(malformed("select_rotation_keys"))?;
    let (mut func, keys) = chosen.map_err(|keys| ScheduleError::Keys { keys, other })?;
    let report =
        format!("{} keys, {} bytes, {} rotations split", keys.keys.levels().count(), keys.bytes, keys.split);
    passes.done("select_rotation_keys", &func, report)?;
    after("select_rotation_keys", Snapshot::Ckks(&func));

    // No pass before this one changes the order of bootstraps.
    let refreshed = placement.refresh_order(packed);
    tag_bootstraps(&mut func, &refreshed);
    let (mut func, [before, now]) = schedule(&func, &costs, shapes).map_err(malformed("schedule"))?;
    let sites = untag_bootstraps(&mut func);
    passes.done("schedule", &func, format!("peak of live bytes {before} -> {now}"))?;
    after("schedule", Snapshot::Ckks(&func));
    let placed = bootstrap.clone().map(|bootstrap| PlacedBootstraps { bootstrap, placement, seconds, sites });
    Ok(Lowered { program: func, passes: passes.rows, placed })
}

fn bootstrap_results(func: &Func<Ckks>) -> Vec<(usize, Value)> {
    let ops = func.ops().iter().enumerate();
    ops.filter(|(_, data)| matches!(data.op, Op::Bootstrap { .. }))
        .map(|(i, data)| (i, data.result))
        .collect()
}

/// Names the results of bootstraps, which have no names of their own, after the packed values they refresh.
fn tag_bootstraps(func: &mut Func<Ckks>, refreshed: &[Value]) {
    let results = bootstrap_results(func);
    debug_assert_eq!(results.len(), refreshed.len(), "a bootstrap per refreshed value");
    for ((_, result), value) in results.into_iter().zip(refreshed) {
        func.set_value_name(result, Some(value.index().to_string()));
    }
}

/// Takes the names of [`tag_bootstraps`] away and returns what they said.
fn untag_bootstraps(func: &mut Func<Ckks>) -> Vec<(usize, Value)> {
    let mut sites = Vec::new();
    for (op, result) in bootstrap_results(func) {
        let index = func.value_name(result).and_then(|name| name.parse().ok());
        sites.extend(index.map(|index| (op, Value::new(index))));
        func.set_value_name(result, None);
    }
    sites
}

fn malformed(pass: &'static str) -> impl Fn(String) -> ScheduleError {
    move |message| ScheduleError::Malformed { pass, message }
}

/// Verifies and records.
struct Passes<'a> {
    options: &'a ScheduleOptions,
    rows: Vec<PassRow>,
}

impl Passes<'_> {
    fn done<S: Stage>(
        &mut self,
        pass: &'static str,
        func: &Func<S>,
        report: String,
    ) -> Result<(), ScheduleError> {
        if self.options.verify_each || cfg!(debug_assertions) {
            verify(func).map_err(|errors| ScheduleError::Verify { pass, errors })?;
        }
        tracing::debug!(pass, ops = func.ops().len(), report, "pass done");
        self.rows.push(PassRow { pass: pass.into(), report });
        Ok(())
    }
}

/// By how much predicted times may differ and say nothing: of sets as fast as that, the most precise is chosen.
const SAME_TIME: f64 = 0.01;

/// Parameter sets seen so far.
struct Search<'a> {
    func: &'a Func<Nn>,
    options: &'a ScheduleOptions,
    /// The network in the slots of a ring, by `log2` of its degree.
    packed: BTreeMap<u32, Rc<Func<Packed>>>,
    considered: Vec<Considered>,
    /// Bits of precision wanted.
    wanted: f64,
    /// Seconds, bits, parameters and row of the acceptable sets.
    acceptable: Vec<(f64, f64, Candidate, usize)>,
    /// Bits, parameters and row of the most precise set that fits the memory but not the precision.
    most_precise: Option<(f64, Candidate, usize)>,
    /// Bytes, parameters and row of the set that needs the least memory of those that do not fit it.
    smallest: Option<(u64, Candidate, usize)>,
}

impl Search<'_> {
    fn packed(&mut self, log_n: u32) -> Result<Rc<Func<Packed>>, ScheduleError> {
        if let Some(known) = self.packed.get(&log_n) {
            return Ok(known.clone());
        }
        let made = Rc::new(to_packed(self.func, log_n, self.options, &mut |_, _| ())?.0);
        self.packed.insert(log_n, made.clone());
        Ok(made)
    }

    /// The one set that was asked for.
    fn fixed(&mut self, fixed: &FixedParams) -> Result<(), ScheduleError> {
        let packed = self.packed(fixed.set.params.log_n())?;
        self.consider(&packed, fixed.candidate()?, &mut CircuitShapes::default())?;
        Ok(())
    }

    /// Chains that hold the whole program.
    fn without_bootstraps(&mut self, depth: u32) -> Result<(), ScheduleError> {
        let asked = &self.options.params;
        let first_ring = fhec_ir::security::table::MAX_LOG_QP.iter().map(|row| row.log_n).min();
        let rings = first_ring.unwrap_or(*LOG_N_RANGE.start()).max(*LOG_N_RANGE.start())..=asked.max_log_n;
        let mut accepted_rings = 0;
        for log_n in rings.filter(|&log_n| self.options.has_slots(log_n)) {
            let candidates = |scales, considered: &mut Vec<Considered>| {
                choose_params::candidates(log_n, depth, scales, asked, considered)
            };
            let preferred = candidates(Scales::Preferred, &mut self.considered)?;
            if preferred.is_empty() {
                continue;
            }
            let packed = self.packed(log_n)?;
            let mut shapes = CircuitShapes::default();
            let mut accepted = false;
            for params in preferred {
                accepted |= self.consider(&packed, Candidate { params, bootstrap: None }, &mut shapes)?;
            }
            if !accepted && self.most_precise.is_some() {
                for params in candidates(Scales::Beyond, &mut self.considered)? {
                    accepted |= self.consider(&packed, Candidate { params, bootstrap: None }, &mut shapes)?;
                }
            }
            accepted_rings += usize::from(accepted);
            // A larger ring pays only where tensors fit it better; the one after the first that works is enough to see.
            if accepted_rings == 2 {
                break;
            }
        }
        Ok(())
    }

    /// Chains with bootstrapping: all are placed, those with the least predicted time compiled to the end.
    fn with_bootstraps(&mut self) -> Result<(), ScheduleError> {
        const COMPILED: usize = 4;
        const MOST_COMPILED: usize = 12;
        let asked = &self.options.params;
        let (mut sines, mut shapes) = (SineCache::default(), CircuitShapes::default());
        let mut placed: Vec<(f64, Candidate)> = Vec::new();
        let roomy = |log_n: &u32| *log_n <= asked.max_log_n && self.options.has_slots(*log_n);
        for log_n in BOOTSTRAPPED_RINGS.filter(roomy) {
            let packed = self.packed(log_n)?;
            let least = most_levels_used(&packed) as Level;
            let sets = choose_bootstrap_params::candidates(log_n, least, asked, &mut sines)?;
            placed.extend(self.place(&packed, sets, &mut shapes)?);
        }
        placed.sort_by(|a, b| a.0.total_cmp(&b.0));
        let fastest = |acceptable: &[(f64, f64, Candidate, usize)]| {
            acceptable.iter().map(|(seconds, ..)| *seconds).fold(f64::INFINITY, f64::min)
        };
        for (seconds, candidate) in placed {
            // All that may be as fast as the fastest (what placement predicts is near what the program will be), and a few to choose from.
            let enough = match self.acceptable.len() {
                ..COMPILED => false,
                COMPILED..MOST_COMPILED => seconds > fastest(&self.acceptable) * (1.0 + 2.0 * SAME_TIME),
                MOST_COMPILED.. => true,
            };
            if enough {
                break;
            }
            let packed = self.packed(candidate.params.log_n())?;
            self.consider(&packed, candidate, &mut shapes)?;
        }
        Ok(())
    }

    /// Sets for one ring with the predicted seconds of the program. How many bootstraps there are depends on the levels
    /// between them alone, near enough, so all are placed on one set for each number of levels, and the best again.
    fn place(
        &self,
        packed: &Func<Packed>,
        sets: Vec<BootstrapSet>,
        shapes: &mut CircuitShapes,
    ) -> Result<Vec<(f64, Candidate)>, ScheduleError> {
        const PLACED: usize = 24;
        let options = self.options;
        let sets = within_memory(sets, options);
        let place = |set: &BootstrapSet, shapes: &mut CircuitShapes| {
            let costs = OpCosts::new(&set.params, &options.costs);
            place_bootstraps(packed, &set.bootstrap, options.bootstrap_placement, &costs, shapes)
        };
        let mut counts: BTreeMap<Level, usize> = BTreeMap::new();
        let mut ranked = Vec::new();
        for set in sets {
            let levels = set.bootstrap.usable_levels();
            let count = match counts.get(&levels) {
                Some(&known) => known,
                None => {
                    let count = place(&set, shapes)?.0.bootstraps();
                    counts.insert(levels, count);
                    count
                }
            };
            let each = OpCosts::new(&set.params, &options.costs).bootstrap(
                &set.bootstrap,
                set.bootstrap.output_level,
                shapes,
            );
            ranked.push((count as f64 * each, set));
        }
        ranked.sort_by(|a, b| a.0.total_cmp(&b.0));
        ranked.truncate(PLACED);
        let mut placed = Vec::new();
        for (_, set) in ranked {
            let seconds = place(&set, shapes)?.1;
            let BootstrapSet { params, bootstrap, .. } = set;
            placed.push((seconds, Candidate { params, bootstrap: Some(bootstrap) }));
        }
        Ok(placed)
    }

    /// Compiles and estimates one set; true if it satisfies what was asked.
    fn consider(
        &mut self,
        packed: &Func<Packed>,
        candidate: Candidate,
        shapes: &mut CircuitShapes,
    ) -> Result<bool, ScheduleError> {
        let params = &candidate.params;
        let asked = &self.options.params;
        let mut row = Considered {
            log_n: params.log_n(),
            log_qp: params.log_qp(),
            log_scale: params.literal().log_scale,
            digit_limbs: params.digit_limbs(),
            special_primes: params.p().len(),
            bootstrap: candidate.bootstrap.as_ref().map(in_words).unwrap_or_default(),
            ..Considered::default()
        };
        let program = match to_ckks(packed, &candidate, self.options, shapes, &mut |_, _| ()) {
            Ok(lowered) => lowered.program,
            Err(ScheduleError::Keys { keys, other }) => {
                row.key_bytes = keys.needed;
                row.verdict = keys.to_string();
                self.out_of_memory(keys.needed.saturating_add(other), candidate);
                self.considered.push(row);
                return Ok(false);
            }
            Err(error) => return Err(error),
        };
        let estimate = estimate(&program, params, &self.options.costs, asked.ram, shapes);
        let estimate = estimate.map_err(malformed("estimate"))?;
        (row.seconds, row.key_bytes) = (estimate.seconds, estimate.key_bytes);
        row.peak_bytes = estimate.peak_bytes;
        row.bootstraps = bootstraps(&program);
        let index = self.considered.len();
        let bits = estimate.error_bits_worst;
        let accepted = if asked.ram.is_some_and(|ram| estimate.peak_bytes > ram) {
            self.out_of_memory(estimate.peak_bytes, candidate);
            row.verdict = format!("would take {} bytes of memory", estimate.peak_bytes);
            false
        } else if bits < self.wanted {
            if self.most_precise.as_ref().is_none_or(|(most, ..)| bits > *most) {
                self.most_precise = Some((bits, candidate, index));
            }
            row.verdict =
                format!("outputs would have errors of 2^-{bits:.1}, wanted are 2^-{:.1}", self.wanted);
            false
        } else {
            self.acceptable.push((estimate.seconds, bits, candidate, index));
            row.verdict = Considered::SLOWER.into();
            true
        };
        self.considered.push(row);
        Ok(accepted)
    }

    /// Takes note of a set, about to be the next row, that would fit `needed` bytes.
    fn out_of_memory(&mut self, needed: u64, candidate: Candidate) {
        if self.smallest.as_ref().is_none_or(|(least, ..)| needed < *least) {
            self.smallest = Some((needed, candidate, self.considered.len()));
        }
    }

    fn chosen(&mut self, depth: u32) -> Result<(Candidate, usize), ScheduleError> {
        let fastest = self.acceptable.iter().map(|(seconds, ..)| *seconds).fold(f64::INFINITY, f64::min);
        let as_fast = std::mem::take(&mut self.acceptable).into_iter();
        let as_fast = as_fast.filter(|(seconds, ..)| *seconds <= fastest * (1.0 + SAME_TIME));
        // The most precise; of equally precise ones the fastest.
        let best = as_fast.min_by(|a, b| b.1.total_cmp(&a.1).then(a.0.total_cmp(&b.0)));
        if let Some((seconds, _, candidate, row)) = best {
            for set in self
                .considered
                .iter_mut()
                .filter(|set| set.verdict == Considered::SLOWER && set.seconds < seconds)
            {
                set.verdict = Considered::LESS_PRECISE.into();
            }
            return Ok((candidate, row));
        }
        let asked = &self.options.params;
        // What was not asked for is a wish.
        if asked.precision_bits.is_none()
            && let Some((_, candidate, row)) = self.most_precise.take()
        {
            return Ok((candidate, row));
        }
        Err(match (&self.most_precise, self.smallest.take()) {
            (Some((best, ..)), _) => ChooseParamsError::Precision { depth, wanted: self.wanted, best: *best },
            (None, Some((needed, candidate, row))) => {
                let nearest = self.priced(needed, &candidate, row)?;
                let (needed, ram) = (nearest.peak_bytes, asked.ram.unwrap_or(0));
                ChooseParamsError::Memory { needed, ram, nearest: Box::new(nearest) }
            }
            (None, None) => ChooseParamsError::TooDeep {
                depth,
                max_levels: choose_params::max_levels(asked),
                max_log_n: asked.max_log_n,
                security_bits: asked.security_bits,
            },
        }
        .into())
    }

    /// The row of a set that does not fit the memory, as it would be with `ram` bytes.
    fn priced(&mut self, ram: u64, candidate: &Candidate, row: usize) -> Result<Considered, ScheduleError> {
        let mut options = self.options.clone();
        options.params.ram = Some(ram);
        let packed = self.packed(candidate.params.log_n())?;
        let mut shapes = CircuitShapes::default();
        let program = to_ckks(&packed, candidate, &options, &mut shapes, &mut |_, _| ())?.program;
        let estimate = estimate(&program, &candidate.params, &options.costs, Some(ram), &mut shapes);
        let estimate = estimate.map_err(malformed("estimate"))?;
        Ok(Considered {
            seconds: estimate.seconds,
            key_bytes: estimate.key_bytes,
            peak_bytes: estimate.peak_bytes,
            bootstraps: bootstraps(&program),
            ..self.considered[row].clone()
        })
    }
}

/// The sets whose bootstraps alone, keys and matrices, leave something of the memory, and the one that takes least, so that there is one
/// to name if none does.
fn within_memory(sets: Vec<BootstrapSet>, options: &ScheduleOptions) -> Vec<BootstrapSet> {
    let Some(ram) = options.params.ram else { return sets };
    let bytes = |set: &BootstrapSet| {
        let mut keys = EvaluationKeys::default();
        keys.bootstrap(&set.bootstrap, &set.params);
        keys.bytes(&set.params)
            + OpCosts::new(&set.params, &options.costs).bootstrap_bytes(&set.bootstrap, false)
    };
    let bytes: Vec<u64> = sets.iter().map(bytes).collect();
    let least = bytes.iter().copied().min();
    let fits = |bytes: u64| bytes < ram || Some(bytes) == least;
    sets.into_iter().zip(bytes).filter(|(_, bytes)| fits(*bytes)).map(|(set, _)| set).collect()
}

/// How many ciphertexts a program refreshes.
fn bootstraps(program: &Func<Ckks>) -> usize {
    bootstrap_results(program).into_iter().map(|(_, result)| program.ty(result).vectors).sum()
}

/// Levels that the op with the most levels uses.
fn most_levels_used(func: &Func<Packed>) -> u32 {
    func.ops().iter().map(|data| levels_used(&data.op)).max().unwrap_or(0)
}

/// A bootstrap in words.
fn in_words(bootstrap: &BootstrapParams) -> String {
    let BootstrapParams { coeffs_to_slots, slots_to_coeffs, cosine, double_angles, .. } = bootstrap;
    let (cts, stc) = (coeffs_to_slots.len(), slots_to_coeffs.len());
    let levels = bootstrap.usable_levels();
    format!(
        "{levels} levels between bootstraps; {cts} + {stc} matrices, cosine of degree {}, {double_angles} doublings",
        cosine.degree()
    )
}

#[cfg(test)]
mod tests;

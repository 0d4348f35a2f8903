//! The search for parameters: candidates in, the program of the best one out.
//!
//! The ring decides how many slots there are, layouts depend on the slots, and costs on both. So
//! every ring and digit size that security admits (`rings`) is compiled to the end and estimated.
//! Where no chain holds the whole program, or none in a second, chains with bootstrapping
//! (`bootstrapped`) are placed and ranked by predicted time, and the best of them compiled to the
//! end. The fastest that keeps precision and memory wins, of those hardly slower the most precise
//! (`verdicts`). Every candidate is compiled once, the winner too.

mod bootstrapped;
pub mod relu_precision;
mod rings;
mod verdicts;

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::Arc;

use fhec_ir::bootstrap::BootstrapParams;
use fhec_ir::ckks::{Ckks, Op};
use fhec_ir::fact::{OUTPUT_FACTOR, WEIGHT_BYTES};
use fhec_ir::func::Func;
use fhec_ir::linear_map::Beside;
use fhec_ir::nn::Nn;
use fhec_ir::packed::Packed;
use fhec_ir::params::Params;
use fhec_ir::plan::Considered;

pub(crate) use self::verdicts::SAME_TIME;
use self::verdicts::{Fitting, NoneFits, Verdicts};
use crate::analysis::circuit_shapes::CircuitShapes;
use crate::analysis::cost::{CostTable, RingShape};
use crate::analysis::mul_depth::mul_depth;
use crate::bootstrap::sets::{BootstrapSet, SetError};
use crate::ckks::choose_params::{
    ChooseParamsError, EXACTER, LEAST_WANTED_BITS, ParamOptions, WANTED_BOOTSTRAPPED_OUTPUT_ERROR,
    WANTED_OUTPUT_ERROR,
};
use crate::ckks::place_bootstraps::BootstrapPlacement;
use crate::error::PassError;
use crate::estimate::{Estimate, estimate};
use crate::lower_nn::{LayoutOptions, Packing};
use crate::nn::softmax::SoftmaxNames;
use crate::pipeline::ckks::{Candidate, CkksOptions, CkksResult, PlacedBootstraps, run_ckks};
use crate::pipeline::packed::{PackedResult, run_packed};
use crate::pipeline::{After, Snapshot};
use crate::report::Report;

/// What [`search`] looks for.
#[derive(Clone, Debug, Default)]
pub struct SearchOptions {
    /// Security, precision, memory.
    pub params: ParamOptions,
    /// Which layouts may be used.
    pub packing: Packing,
    /// Images of one run; `None` for one.
    pub images: Option<NonZeroUsize>,
    /// How bootstraps are placed.
    pub bootstrap_placement: BootstrapPlacement,
    /// Keys that follow from the ring alone, so that they tell nothing of the layers.
    pub generic_keys: bool,
    /// Parameters to take instead of searching for some.
    pub fixed: Option<FixedParams>,
    /// Prices.
    pub costs: CostTable,
    /// Run the verifier after each pass in release builds too.
    pub verify_each: bool,
}

impl SearchOptions {
    fn images(&self) -> usize {
        self.images.map_or(1, NonZeroUsize::get)
    }

    /// Whether a ring of `2^log_n` has a slot for each image, where each needs its own.
    fn has_slots(&self, log_n: u32) -> bool {
        self.packing != Packing::Pixel || self.images() <= 1 << (log_n - 1)
    }

    fn ckks(&self) -> CkksOptions<'_> {
        CkksOptions {
            bootstrap_placement: self.bootstrap_placement,
            ram: self.params.ram,
            generic_keys: self.generic_keys,
            costs: &self.costs,
            verify_each: self.verify_each,
        }
    }
}

/// Parameters that are not searched: precision is what they give, memory limits hold.
#[derive(Clone, Debug)]
pub struct FixedParams {
    /// Chain and bootstrap of all slots.
    pub set: BootstrapSet,
    /// Slots per ciphertext: a power of two up to half the ring degree, and as sparse as that its
    /// bootstraps.
    pub slots: usize,
}

impl FixedParams {
    fn candidate(&self) -> Result<Candidate, SetError> {
        let bootstrap = Some(self.set.with_slots(self.slots)?);
        Ok(Candidate { params: self.set.params.clone(), bootstrap, placed: None })
    }
}

/// A program ready to run, and why it is as it is.
#[derive(Clone, Debug)]
pub struct Scheduled {
    /// Slot vectors, before parameters.
    pub packed: Arc<Func<Packed>>,
    /// The scheduled program.
    pub program: Func<Ckks>,
    /// Its parameters.
    pub params: Params,
    /// What it will take.
    pub estimate: Estimate,
    /// Parameter sets looked at, the chosen one among them.
    pub considered: Vec<Considered>,
    /// How many programs were compiled to the end.
    pub compiled: usize,
    /// What each pass did.
    pub reports: Vec<Report>,
    /// Shapes of the program's circuits.
    pub shapes: CircuitShapes,
    /// How its bootstraps were placed; `None` for a chain that holds the whole program.
    pub placed: Option<PlacedBootstraps>,
}

/// Predicted seconds from which a chain that holds the whole program is compared with chains that
/// bootstrap. A few bootstraps take that long, and their keys more memory than most programs need.
const WORTH_BOOTSTRAPS: f64 = 1.0;

/// What passes left, by their names, until it is known whether it is shown.
type Trail = Vec<(&'static str, Snapshot)>;

/// A network in the slots of a ring.
#[derive(Debug)]
struct InSlots {
    result: PackedResult,
    trail: Trail,
}

/// A program compiled to the end for one candidate.
#[derive(Clone, Debug)]
struct Built {
    packed: Arc<InSlots>,
    result: CkksResult,
    estimate: Estimate,
    trail: Trail,
}

/// Finds parameters for `func`, a network of linear ops and polynomials, and compiles it for them.
/// `after` is shown every pass's result on the way to the chosen program.
///
/// # Errors
/// [`PassError::Params`] if no parameters keep what `options` asks for, and those of the passes.
pub fn search(
    func: &Func<Nn>,
    options: &SearchOptions,
    after: &mut After<'_>,
) -> Result<Scheduled, PassError> {
    let mut search = Search::of(func, options)?;
    match &options.fixed {
        Some(fixed) => search.fixed(fixed)?,
        None => {
            search.without_bootstraps()?;
            // Chains with bootstrapping have scales of their own.
            let has_scale = options.params.log_scale.is_some() && search.verdicts.is_any_imprecise();
            if search.verdicts.fastest() > WORTH_BOOTSTRAPS && !has_scale {
                search.verdicts.wanted = search.bits(WANTED_BOOTSTRAPPED_OUTPUT_ERROR, 1.0);
                search.with_bootstraps()?;
            }
        }
    }
    let (built, candidate, remark) = search.chosen()?;
    let Built { packed, result, estimate, trail } = built;
    packed.trail.iter().chain(&trail).for_each(|(pass, snapshot)| after(pass, snapshot.clone()));
    drop(trail);
    let mut program = Arc::unwrap_or_clone(result.func);
    program.set_fact(WEIGHT_BYTES, &estimate.cached_bytes);
    Ok(Scheduled {
        packed: packed.result.func.clone(),
        program,
        shapes: search.shapes.remove(&candidate.params.log_n()).unwrap_or_default(),
        params: candidate.params,
        estimate,
        considered: search.verdicts.considered,
        compiled: search.verdicts.compiled,
        reports: packed.result.reports.iter().cloned().chain(result.reports).chain(remark).collect(),
        placed: result.placed,
    })
}

/// What regular maps do about slots beside pictures in a ring. Levels between bootstraps have bits
/// enough for diagonals and a mask from `N = 2^16` on: 40 and more, where those of `2^15` have 28
/// and take a level for the mask. Below, programs have no bootstraps and not a level to spare.
fn beside(log_n: u32) -> Option<Beside> {
    match log_n {
        0..15 => None,
        15 => Some(Beside::Sums),
        _ => Some(Beside::Zeros),
    }
}

/// Lowers a network into the slots of a ring.
fn in_slots(func: &Func<Nn>, log_n: u32, options: &SearchOptions) -> Result<InSlots, PassError> {
    let slots = options.fixed.as_ref().map_or(1 << (log_n - 1), |fixed| fixed.slots);
    let layouts = LayoutOptions {
        images: options.images(),
        packing: options.packing,
        costs: options.costs.clone(),
        ring: RingShape { log_n, special: 3, digit_limbs: 3, key_bits: 48, more_digits: 0 },
        beside: beside(log_n),
        ..LayoutOptions::for_slots(slots)
    };
    let mut trail = Trail::new();
    let mut after = |pass, snapshot| trail.push((pass, snapshot));
    let result = run_packed(func, &layouts, options.verify_each, &mut after)?;
    Ok(InSlots { result, trail })
}

/// Parameter sets seen so far.
struct Search<'a> {
    func: &'a Func<Nn>,
    options: &'a SearchOptions,
    /// The network in the slots of a ring, by `log2` of its degree.
    in_slots: BTreeMap<u32, Arc<InSlots>>,
    /// Levels that the program takes in one go; they do not depend on the ring.
    depth: u32,
    /// Shapes of circuits, by `log2` of the ring degree: layouts differ from ring to ring.
    shapes: BTreeMap<u32, CircuitShapes>,
    verdicts: Verdicts,
}

impl<'a> Search<'a> {
    fn of(func: &'a Func<Nn>, options: &'a SearchOptions) -> Result<Self, PassError> {
        let asked = &options.params;
        let roomy = (15..=asked.max_log_n).find(|&log_n| options.has_slots(log_n));
        let probe = match &options.fixed {
            Some(fixed) => fixed.set.params.log_n(),
            None => roomy.unwrap_or(asked.max_log_n),
        };
        let mut search = Search {
            func,
            options,
            in_slots: BTreeMap::new(),
            depth: 0,
            shapes: BTreeMap::new(),
            verdicts: Verdicts::default(),
        };
        search.verdicts.wanted = search.bits(WANTED_OUTPUT_ERROR, EXACTER);
        search.depth = mul_depth(&search.in_slots(probe)?.result.func);
        Ok(search)
    }

    /// Bits of precision that are wanted: those that were asked for, or else those of the error
    /// that is tolerated over `exacter`, or else those of `error`.
    fn bits(&self, error: f64, exacter: f64) -> f64 {
        // What is judged is stored as the network's over this factor: the outputs, or the operand
        // of a softmax.
        let outputs = || self.func.fact(OUTPUT_FACTOR).unwrap_or(1.0);
        let softmax = SoftmaxNames::of(self.func);
        let asked = &self.options.params;
        // What is tolerated is known of the outputs, not of a softmax's operand.
        let tolerated = asked.tolerated_error.filter(|_| softmax.is_none());
        let factor = softmax.map_or_else(outputs, |names| names.operand_factor);
        let error = tolerated.map_or(error, |tolerated| tolerated / exacter / asked.noise_factor);
        asked.precision_bits.unwrap_or((factor / error).log2().max(LEAST_WANTED_BITS))
    }

    fn in_slots(&mut self, log_n: u32) -> Result<Arc<InSlots>, PassError> {
        if let Some(known) = self.in_slots.get(&log_n) {
            return Ok(known.clone());
        }
        let made = Arc::new(in_slots(self.func, log_n, self.options)?);
        self.in_slots.insert(log_n, made.clone());
        Ok(made)
    }

    /// The one set that was asked for.
    fn fixed(&mut self, fixed: &FixedParams) -> Result<(), PassError> {
        self.consider(fixed.candidate()?)?;
        Ok(())
    }

    /// Compiles and estimates one set; true if it satisfies what was asked.
    fn consider(&mut self, candidate: Candidate) -> Result<bool, PassError> {
        let built = self.built(&candidate, self.options.ckks());
        self.judge(candidate, built)
    }

    /// Takes note of a set and of what became of it; true if it satisfies what was asked.
    fn judge(&mut self, candidate: Candidate, built: Result<Built, PassError>) -> Result<bool, PassError> {
        let row = row(&candidate);
        match built {
            Ok(built) => {
                self.verdicts.compiled += 1;
                let ram = self.options.params.ram;
                let row = Considered {
                    seconds: built.estimate.seconds,
                    key_bytes: built.estimate.key_bytes,
                    peak_bytes: built.estimate.peak_bytes,
                    bootstraps: bootstraps(&built.result.func),
                    agreement: self.agreement(&built),
                    ..row
                };
                Ok(self.verdicts.judge(candidate, built, row, ram))
            }
            Err(PassError::Keys { keys, other }) => {
                let row = Considered { key_bytes: keys.needed, verdict: keys.to_string(), ..row };
                self.verdicts.refuse_memory(candidate, keys.needed.saturating_add(other), row);
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// The share of other images that is expected to keep its class; `None` if that is not known.
    fn agreement(&self, built: &Built) -> Option<f64> {
        let ParamOptions { class_changes, noise_factor, .. } = self.options.params;
        let deviation = deviation_of_logits(&built.result.func, &built.estimate)? * noise_factor;
        Some(1.0 - class_changes?.with_noise(deviation))
    }

    /// The program for one set.
    fn built(&mut self, candidate: &Candidate, options: CkksOptions<'_>) -> Result<Built, PassError> {
        let packed = self.in_slots(candidate.params.log_n())?;
        let shapes = self.shapes.entry(candidate.params.log_n()).or_default();
        build(packed, candidate, options, shapes)
    }

    /// The best of all sets.
    fn chosen(&mut self) -> Result<(Built, Candidate, Option<Report>), PassError> {
        let asked = &self.options.params;
        match self.verdicts.choose(asked, self.depth) {
            Ok(chosen) => {
                let remark = self.verdicts.remark(&chosen).map(|remark| {
                    let mut report = Report::new("choose-parameters");
                    report.note(remark);
                    report
                });
                let Fitting { built, candidate, .. } = chosen;
                Ok((built, candidate, remark))
            }
            Err(NoneFits::Memory { needed, candidate, row }) => {
                let nearest = self.priced(needed, &candidate, row)?;
                let (needed, ram) = (nearest.peak_bytes, asked.ram.unwrap_or(0));
                Err(ChooseParamsError::Memory { needed, ram, nearest: Box::new(nearest) }.into())
            }
            Err(NoneFits::Other(error)) => Err(error.into()),
        }
    }

    /// The row of a set that does not fit the memory, as it would be with `ram` bytes.
    fn priced(&mut self, ram: u64, candidate: &Candidate, row: usize) -> Result<Considered, PassError> {
        let options = CkksOptions { ram: Some(ram), ..self.options.ckks() };
        let Built { result, estimate, .. } = self.built(candidate, options)?;
        Ok(Considered {
            seconds: estimate.seconds,
            key_bytes: estimate.key_bytes,
            peak_bytes: estimate.peak_bytes,
            bootstraps: bootstraps(&result.func),
            ..self.verdicts.considered[row].clone()
        })
    }
}

/// Compiles a network in slots to the end for one set.
fn build(
    packed: Arc<InSlots>,
    candidate: &Candidate,
    options: CkksOptions<'_>,
    shapes: &mut CircuitShapes,
) -> Result<Built, PassError> {
    let mut trail = Trail::new();
    let mut after = |pass, snapshot| trail.push((pass, snapshot));
    let result = run_ckks(&packed.result.func, candidate, options, shapes, &mut after)?;
    let estimate = estimate(&result.func, &candidate.params, options.costs, options.ram, shapes)?;
    Ok(Built { packed, result, estimate, trail })
}

/// A set before it is priced.
fn row(candidate: &Candidate) -> Considered {
    let params = &candidate.params;
    Considered {
        log_n: params.log_n(),
        log_qp: params.log_qp(),
        log_scale: params.literal().log_scale,
        digit_limbs: params.digit_limbs(),
        special_primes: params.p().len(),
        bootstrap: candidate.bootstrap.as_ref().map(in_words).unwrap_or_default(),
        ..Considered::default()
    }
}

/// The predicted deviation of the noise in the first output, in the network's units; `None` where
/// it is a softmax.
pub(crate) fn deviation_of_logits(program: &Func<Ckks>, estimate: &Estimate) -> Option<f64> {
    let logits = program.outputs().first().filter(|_| SoftmaxNames::of(program).is_none())?;
    let factor = program.fact(OUTPUT_FACTOR).unwrap_or(1.0);
    Some(estimate.noise[logits.index()].stddev * factor)
}

/// How many ciphertexts a program refreshes.
pub(crate) fn bootstraps(program: &Func<Ckks>) -> usize {
    let bootstraps = program.ops().iter().filter(|data| matches!(data.op, Op::Bootstrap { .. }));
    bootstraps.map(|data| program.ty(data.result).vectors).sum()
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

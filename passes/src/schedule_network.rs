//! From a network of linear ops and polynomials to a scheduled program under chosen parameters: the second half of a
//! compile, with its order as a list.
//!
//! The ring decides how many slots there are, layouts depend on the slots, and costs on both; so every ring and digit
//! size that security admits is compiled to the end and estimated, and the fastest that keeps precision and memory wins.

use std::collections::BTreeMap;
use std::rc::Rc;

use fhec_ir::bootstrap::BootstrapParams;
use fhec_ir::ckks::Ckks;
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
use crate::packed::common_subexpr::common_subexpr;

/// Knobs of [`schedule_network`].
#[derive(Clone, Debug, Default)]
pub struct ScheduleOptions {
    /// Security, precision, memory.
    pub params: ParamOptions,
    /// Which layouts may be used.
    pub packing: Packing,
    /// How bootstraps are placed.
    pub bootstrap_placement: BootstrapPlacement,
    /// Prices.
    pub costs: CostTable,
    /// Run the verifier after each pass in release builds too.
    pub verify_each: bool,
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
    #[error(transparent)]
    Keys(#[from] KeyBudgetError),
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
    // The program's outputs are the network's over this factor.
    let factor = func.meta::<Option<f64>>("output_factor").ok().flatten().unwrap_or(1.0);
    let bits = |error: f64| asked.precision_bits.unwrap_or((factor / error).log2());
    // Depth does not depend on the ring.
    let probe = asked.max_log_n.min(15);
    let probed = to_packed(func, probe, options, &mut |_, _| ())?.0;
    let depth = mul_depth(&probed);
    let mut search = Search {
        func,
        options,
        packed: BTreeMap::from([(probe, Rc::new(probed))]),
        wanted: bits(WANTED_OUTPUT_ERROR),
        considered: Vec::new(),
        best: None,
        most_precise: None,
        least_bytes: None,
    };
    search.without_bootstraps(depth)?;
    if search.best.is_none() {
        search.wanted = bits(WANTED_BOOTSTRAPPED_OUTPUT_ERROR);
        search.with_bootstraps()?;
    }
    let (candidate, row) = search.chosen(depth)?;
    search.considered[row].verdict = "chosen".into();
    let mut passes = Vec::new();
    let (packed, rows) = to_packed(func, candidate.params.log_n(), options, after)?;
    passes.extend(rows);
    let mut shapes = CircuitShapes::default();
    let (program, rows) = to_ckks(&packed, &candidate, options, &mut shapes, after)?;
    passes.extend(rows);
    let Candidate { params, .. } = candidate;
    let estimate = estimate(&program, &params, &options.costs, asked.ram, &mut shapes);
    let estimate = estimate.map_err(malformed("estimate"))?;
    Ok(Scheduled { packed, program, params, estimate, considered: search.considered, passes, shapes })
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
    let layouts = LayoutOptions {
        packing: options.packing,
        costs: options.costs.clone(),
        ring: RingShape { log_n, special: 3, digit_limbs: 3 },
        ..LayoutOptions::for_slots(1 << (log_n - 1))
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
) -> Result<(Func<Ckks>, Vec<PassRow>), ScheduleError> {
    let Candidate { params, bootstrap } = candidate;
    let costs = OpCosts::new(params, &options.costs).with_bootstraps(bootstrap.as_slice());
    let mut passes = Passes { options, rows: Vec::new() };
    let placement = match bootstrap {
        None => Placement::without_bootstraps(packed),
        Some(bootstrap) => {
            let method = options.bootstrap_placement;
            let (placement, seconds) = place_bootstraps(packed, bootstrap, method, &costs, shapes)?;
            let report = format!("{} values refreshed, {seconds:.2} s predicted", placement.bootstraps());
            passes.rows.push(PassRow { pass: "place_bootstraps".into(), report });
            placement
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

    let budget = match options.params.ram {
        Some(ram) => {
            let without = estimate(&func, params, &options.costs, Some(0), shapes);
            let without = without.map_err(malformed("estimate"))?;
            Some(ram.saturating_sub(without.peak_bytes - without.key_bytes))
        }
        None => None,
    };
    let chosen = select_rotation_keys(&func, params, budget, &options.costs, shapes);
    let (func, keys) = chosen.map_err(malformed("select_rotation_keys"))??;
    let report =
        format!("{} keys, {} bytes, {} rotations split", keys.keys.levels().count(), keys.bytes, keys.split);
    passes.done("select_rotation_keys", &func, report)?;
    after("select_rotation_keys", Snapshot::Ckks(&func));

    let (func, [before, now]) = schedule(&func, &costs, shapes).map_err(malformed("schedule"))?;
    passes.done("schedule", &func, format!("peak of live bytes {before} -> {now}"))?;
    after("schedule", Snapshot::Ckks(&func));
    Ok((func, passes.rows))
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

/// Parameter sets seen so far.
struct Search<'a> {
    func: &'a Func<Nn>,
    options: &'a ScheduleOptions,
    /// The network in the slots of a ring, by `log2` of its degree.
    packed: BTreeMap<u32, Rc<Func<Packed>>>,
    considered: Vec<Considered>,
    /// Bits of precision wanted.
    wanted: f64,
    /// Seconds, parameters and row of the fastest acceptable set.
    best: Option<(f64, Candidate, usize)>,
    /// Bits, parameters and row of the most precise set that fits the memory but not the precision.
    most_precise: Option<(f64, Candidate, usize)>,
    /// Of all sets that failed by memory alone, the least that would do.
    least_bytes: Option<u64>,
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

    /// Chains that hold the whole program.
    fn without_bootstraps(&mut self, depth: u32) -> Result<(), ScheduleError> {
        let asked = &self.options.params;
        let first_ring = crate::security::table::MAX_LOG_QP.iter().map(|row| row.log_n).min();
        let rings = first_ring.unwrap_or(*LOG_N_RANGE.start()).max(*LOG_N_RANGE.start())..=asked.max_log_n;
        let mut accepted_rings = 0;
        for log_n in rings {
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
        let asked = &self.options.params;
        let (mut sines, mut shapes) = (SineCache::default(), CircuitShapes::default());
        let mut placed: Vec<(f64, Candidate)> = Vec::new();
        for log_n in BOOTSTRAPPED_RINGS.filter(|&log_n| log_n <= asked.max_log_n) {
            let packed = self.packed(log_n)?;
            let least = most_levels_used(&packed) as Level;
            let sets = choose_bootstrap_params::candidates(log_n, least, asked, &mut sines)?;
            placed.extend(self.place(&packed, sets, &mut shapes)?);
        }
        placed.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut accepted = 0;
        for (_, candidate) in placed {
            let packed = self.packed(candidate.params.log_n())?;
            accepted += usize::from(self.consider(&packed, candidate, &mut shapes)?);
            if accepted == COMPILED {
                break;
            }
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
            let each = OpCosts::new(&set.params, &options.costs).bootstrap(&set.bootstrap);
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
            Ok((program, _)) => program,
            Err(ScheduleError::Keys(error)) => {
                let without = asked.ram.unwrap_or(0).saturating_sub(error.budget);
                self.out_of_memory(error.needed.saturating_add(without));
                row.key_bytes = error.needed;
                row.verdict = error.to_string();
                self.considered.push(row);
                return Ok(false);
            }
            Err(error) => return Err(error),
        };
        let estimate = estimate(&program, params, &self.options.costs, asked.ram, shapes);
        let estimate = estimate.map_err(malformed("estimate"))?;
        (row.seconds, row.key_bytes) = (estimate.seconds, estimate.key_bytes);
        let index = self.considered.len();
        let bits = estimate.error_bits_worst;
        let accepted = if asked.ram.is_some_and(|ram| estimate.peak_bytes > ram) {
            self.out_of_memory(estimate.peak_bytes);
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
            if self.best.as_ref().is_none_or(|(seconds, ..)| estimate.seconds < *seconds) {
                self.best = Some((estimate.seconds, candidate, index));
            }
            row.verdict = "slower".into();
            true
        };
        self.considered.push(row);
        Ok(accepted)
    }

    fn out_of_memory(&mut self, needed: u64) {
        self.least_bytes = Some(self.least_bytes.map_or(needed, |least| least.min(needed)));
    }

    fn chosen(&mut self, depth: u32) -> Result<(Candidate, usize), ScheduleError> {
        if let Some((_, candidate, row)) = self.best.take() {
            return Ok((candidate, row));
        }
        let asked = &self.options.params;
        // What was not asked for is a wish.
        if asked.precision_bits.is_none()
            && let Some((_, candidate, row)) = self.most_precise.take()
        {
            return Ok((candidate, row));
        }
        Err(match (&self.most_precise, self.least_bytes) {
            (Some((best, ..)), _) => ChooseParamsError::Precision { depth, wanted: self.wanted, best: *best },
            (None, Some(needed)) => ChooseParamsError::Memory { needed, ram: asked.ram.unwrap_or(0) },
            (None, None) => ChooseParamsError::NeedsBootstrapping {
                depth,
                max_levels: choose_params::max_levels(asked),
                max_log_n: asked.max_log_n,
                security_bits: asked.security_bits,
            },
        }
        .into())
    }
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
mod tests {
    use super::*;
    use fhec_ir::ckks::Op;
    use fhec_ir::interp::{nn, run_ckks};
    use fhec_ir::layout::Layout;
    use fhec_ir::tensor::Tensor;
    use fhec_ir::text::{ConstSource, parse_func};

    fn parse(body: &str) -> Func<Nn> {
        parse_func(&format!("func nn test {{ {body} }}"), &ConstSource::default()).unwrap()
    }

    /// A smooth stand-in for a ReLU: Chebyshev series of `x/2 + |x|/2` with the coefficients of `|x|`.
    fn relu(degree: usize) -> String {
        let mut coefficients = vec!["0.318".to_string(), "0.5".to_string()];
        for k in 2..=degree {
            let half = (k / 2) as f64;
            let sign = if (k / 2) % 2 == 1 { 1.0 } else { -1.0 };
            let value = sign * 2.0 / (std::f64::consts::PI * (4.0 * half * half - 1.0));
            coefficients.push(if k % 2 == 0 { format!("{value:?}") } else { "0.0".into() });
        }
        format!("{{polynomial={{domain=[-1.0, 1.0], chebyshev=[{}]}}}}", coefficients.join(", "))
    }

    /// Weights as small as trained and normalised ones, so that every polynomial stays in its domain.
    fn small_weights(func: &mut Func<Nn>) {
        let scaled = |tensor: &Tensor| {
            let fan_in: usize = tensor.shape().iter().skip(1).product::<usize>().max(4);
            Tensor::from_fn(tensor.shape(), |i| tensor.data()[i] * 0.5 / (fan_in as f32).sqrt())
        };
        let consts: Vec<Tensor> = func.consts.iter().map(|(_, tensor)| scaled(tensor)).collect();
        func.consts = Default::default();
        consts.into_iter().for_each(|tensor| {
            func.consts.add(tensor);
        });
    }

    /// The shapes of a LeNet with poolings folded into the convolutions after them.
    fn lenet(degree: usize) -> Func<Nn> {
        let mut func = parse(&format!(
            "const @0 : f32[8, 1, 5, 5] = random(1) const @1 : f32[8] = random(2)
             const @2 : f32[16, 8, 6, 6] = random(3) const @3 : f32[16] = random(4)
             const @4 : f32[10, 3136] = random(5) const @5 : f32[10] = random(6)
             meta output_factor = 8.0
             input %0 : f32[1, 1, 28, 28] \"image\"
             %1 = conv2d(%0) {{weight=@0, bias=@1, strides=[1, 1], pads=[2, 2, 2, 2], dilations=[1, 1], groups=1}} \"conv1\"
             %2 = poly(%1) {activation} \"relu1\"
             %3 = conv2d(%2) {{weight=@2, bias=@3, strides=[2, 2], pads=[2, 2, 2, 2], dilations=[1, 1], groups=1}} \"conv2\"
             %4 = poly(%3) {activation} \"relu2\"
             %5 = reshape(%4) {{shape=[1, 3136]}}
             %6 = dense(%5) {{weight=@4, bias=@5}} \"logits\"
             return %6",
            activation = relu(degree)
        ));
        small_weights(&mut func);
        func
    }

    /// Runs network and program on an image and compares logits.
    fn check(network: &Func<Nn>, scheduled: &Scheduled) {
        let shape = &network.ty(network.inputs()[0]).shape;
        let image = Tensor::from_fn(shape.clone(), |i| ((i * 7919) % 2003) as f32 / 2003.0 - 0.5);
        let expected = nn::run(network, std::slice::from_ref(&image)).unwrap();
        let program = &scheduled.program;
        let [input]: [Layout; 1] = program.meta("input_layout").unwrap();
        let [output]: [Layout; 1] = program.meta("output_layout").unwrap();
        let doubles = |tensor: &Tensor| tensor.data().iter().map(|&x| f64::from(x)).collect::<Vec<f64>>();
        let result = run_ckks(program, &[input.pack(&doubles(&image))]).unwrap();
        for (found, expected) in output.unpack(&result[0]).iter().zip(doubles(&expected[0])) {
            assert!((found - expected).abs() < 1e-4, "{found} instead of {expected}");
        }
    }

    #[test]
    fn a_lenet_is_scheduled_at_128_bits() {
        let network = lenet(62);
        let mut names = Vec::new();
        let scheduled =
            schedule_network(&network, &ScheduleOptions::default(), &mut |pass, _| names.push(pass)).unwrap();
        check(&network, &scheduled);
        assert_eq!(
            names,
            [
                "lower",
                "common_subexpr",
                "lower_packed",
                "place_relinearizations",
                "place_rescales",
                "select_rotation_keys",
                "schedule"
            ]
        );
        let Scheduled { params, estimate, considered, .. } = &scheduled;
        for row in considered {
            eprintln!("{row:?}");
        }
        eprintln!(
            "{} {:.2} s, keys {} MB, plaintexts {} MB, peak {} MB, {:.1} / {:.1} bits",
            params.name(),
            estimate.seconds,
            estimate.key_bytes >> 20,
            estimate.plaintext_bytes >> 20,
            estimate.peak_bytes >> 20,
            estimate.error_bits_mean,
            estimate.error_bits_worst
        );
        crate::security::check(params, 128).unwrap();
        assert_eq!(params.top_level(), 3 + 2 * 6);
        assert_eq!(considered.iter().filter(|row| row.verdict == "chosen").count(), 1);
        assert!(
            estimate.error_bits_worst >= (8.0f64 / 1e-4).log2()
                && estimate.log2_failure_probability == -1000.0
        );
        assert_eq!(scheduled.program.meta::<f64>("output_factor").unwrap(), 8.0);
    }

    #[test]
    fn the_same_input_gives_the_same_program() {
        let network = lenet(14);
        let print = || {
            let scheduled = schedule_network(&network, &ScheduleOptions::default(), &mut |_, _| ()).unwrap();
            (fhec_ir::text::print_func(&scheduled.program), scheduled.params.fingerprint())
        };
        assert_eq!(print(), print());
    }

    #[test]
    fn what_was_asked_for_limits_what_is_chosen() {
        let network = lenet(14);
        let with = |params: ParamOptions| {
            let options = ScheduleOptions { params, ..ScheduleOptions::default() };
            schedule_network(&network, &options, &mut |_, _| ())
        };
        let free = with(ParamOptions::default()).unwrap();
        let ram = Some(free.estimate.peak_bytes - free.estimate.key_bytes / 4);
        let small = with(ParamOptions { ram, ..ParamOptions::default() }).unwrap();
        check(&network, &small);
        assert!(Some(small.estimate.peak_bytes) <= ram);
        let Err(ScheduleError::Params(ChooseParamsError::Memory { needed, .. })) =
            with(ParamOptions { ram: Some(1 << 20), ..ParamOptions::default() })
        else {
            panic!("a megabyte cannot be enough")
        };
        assert!(needed > 1 << 20);

        let strong = with(ParamOptions { security_bits: 256, ..ParamOptions::default() }).unwrap();
        crate::security::check(&strong.params, 256).unwrap();
        assert!(strong.params.log_n() > free.params.log_n());

        let coarse = with(ParamOptions { precision_bits: Some(10.0), ..ParamOptions::default() }).unwrap();
        assert!((10.0..free.estimate.error_bits_worst).contains(&coarse.estimate.error_bits_worst));
        let precise = with(ParamOptions { precision_bits: Some(45.0), ..ParamOptions::default() });
        assert!(matches!(
            precise,
            Err(ScheduleError::Params(ChooseParamsError::Precision { wanted: 45.0, .. }))
        ));
    }

    /// Pictures whose tensors take several ciphertexts: 16 x 64 x 64 takes four of 2^14 slots, and a stride leaves fewer.
    #[test]
    fn a_residual_network_on_large_pictures_spans_ciphertexts() {
        let conv = |x: usize, weight: usize, stride: usize, pad: usize| {
            format!(
                "conv2d(%{x}) {{weight=@{weight}, strides=[{stride}, {stride}], pads=[{pad}, {pad}, {pad}, {pad}], dilations=[1, 1], groups=1}}"
            )
        };
        let mut network = parse(&format!(
            "const @0 : f32[16, 3, 3, 3] = random(1) const @1 : f32[16, 16, 3, 3] = random(2)
             const @2 : f32[32, 16, 3, 3] = random(3) const @3 : f32[32, 16, 1, 1] = random(4)
             const @4 : f32[32, 32, 3, 3] = random(5) const @5 : f32[10, 32] = random(6)
             input %0 : f32[1, 3, 64, 64] \"image\"
             %1 = {} %2 = poly(%1) {relu}
             %3 = {} %4 = poly(%3) {relu} %5 = {} %6 = add(%2, %5) %7 = poly(%6) {relu}
             %8 = {} %9 = poly(%8) {relu} %10 = {} %11 = {} %12 = add(%10, %11) %13 = poly(%12) {relu}
             %14 = reduce_mean(%13) {{axes=[2, 3], keep_dims=false}} %15 = dense(%14) {{weight=@5}}
             return %15",
            conv(0, 0, 1, 1),
            conv(2, 1, 1, 1),
            conv(4, 1, 1, 1),
            conv(7, 2, 2, 1),
            conv(9, 4, 1, 1),
            conv(7, 3, 2, 0),
            relu = relu(30)
        ));
        small_weights(&mut network);
        let params = ParamOptions { max_log_n: 15, ..ParamOptions::default() };
        let options = ScheduleOptions { params, ..ScheduleOptions::default() };
        let scheduled = schedule_network(&network, &options, &mut |_, _| ()).unwrap();
        check(&network, &scheduled);
        let program = &scheduled.program;
        let vectors = program.ops().iter().map(|data| program.ty(data.result).vectors).max();
        assert_eq!(vectors, Some(4));
        let bootstraps = program.ops().iter().filter(|data| matches!(data.op, Op::Bootstrap { .. }));
        assert!(bootstraps.map(|data| program.ty(data.result).vectors).sum::<usize>() > 4);
    }

    /// The stem of a network on 224 x 224 pictures: 16 x 112 x 112 takes 13 ciphertexts of 2^14 slots.
    #[test]
    fn a_stem_on_224_x_224_pictures_lowers() {
        let mut network = parse(&format!(
            "const @0 : f32[16, 3, 7, 7] = random(1)
             input %0 : f32[1, 3, 224, 224] \"image\"
             %1 = conv2d(%0) {{weight=@0, strides=[2, 2], pads=[3, 3, 3, 3], dilations=[1, 1], groups=1}}
             %2 = poly(%1) {} return %2",
            relu(14)
        ));
        small_weights(&mut network);
        let options = ScheduleOptions::default();
        let (packed, _) = to_packed(&network, 15, &options, &mut |_, _| ()).unwrap();
        let vectors = packed.ops().iter().map(|data| packed.ty(data.result).vectors).max().unwrap();
        assert!((13..=16).contains(&vectors), "{vectors}");
    }

    #[test]
    fn too_deep_a_network_is_bootstrapped() {
        let body = (0..40).map(|i| format!("%{} = poly(%{i}) {}", i + 1, relu(30))).collect::<Vec<_>>();
        let network = parse(&format!("input %0 : f32[1, 16] {} return %40", body.join("\n")));
        let scheduled = schedule_network(&network, &ScheduleOptions::default(), &mut |_, _| ()).unwrap();
        check(&network, &scheduled);
        crate::security::check(&scheduled.params, 128).unwrap();
        let program = &scheduled.program;
        let bootstraps = program.ops().iter().filter(|data| matches!(data.op, Op::Bootstrap { .. })).count();
        let levels = BootstrapParams::of_program(program).unwrap()[0].usable_levels();
        // 200 levels, of which a window holds a whole number of polynomials of five.
        assert_eq!(bootstraps, 40usize.div_ceil(usize::from(levels) / 5) - 1);
        assert_eq!(scheduled.considered.iter().filter(|row| row.verdict == "chosen").count(), 1);
    }
}

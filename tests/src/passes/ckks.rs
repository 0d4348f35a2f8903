//! `passes/src/ckks`: from packed programs to scheduled ones.

use fhec_ir::bootstrap::{BootstrapParams, DftStep};
use fhec_ir::ckks::Ckks;
use fhec_ir::func::StageOp;
use fhec_ir::packed::Packed;
use fhec_ir::params::Params;
use fhec_ir::scale::Level;
use fhec_ir::security::check;
use fhec_passes::analysis::circuit_shapes::CircuitShapes;
use fhec_passes::analysis::cost::CostTable;
use fhec_passes::analysis::live_bytes::live_bytes;
use fhec_passes::analysis::mul_depth::mul_depth;
use fhec_passes::analysis::op_cost::OpCosts;
use fhec_passes::bootstrap::sets::{self, BootstrapSet, Recipe};
use fhec_passes::ckks::absorb_sines::absorb_sines;
use fhec_passes::ckks::choose_params::{ParamOptions, Scales, candidates};
use fhec_passes::ckks::lower_packed::lower_packed;
use fhec_passes::ckks::place_bootstraps::{BootstrapPlacement, place_bootstraps};
use fhec_passes::ckks::place_relinearizations::place_relinearizations;
use fhec_passes::ckks::place_rescales::place_rescales;
use fhec_passes::ckks::placement::Placement;
use fhec_passes::ckks::schedule::schedule;
use fhec_passes::ckks::select_rotation_keys::{KeyBudget, select_rotation_keys};
use fhec_passes::error::PassError;

use crate::runner::{Case, Failure, Outcome, run_ckks_random, run_packed_random, same, same_to};

/// `ring: LOG_N` (default 14), `security: BITS` (default 128); the result is a line per parameter
/// set that is worth compiling.
pub(super) fn parameters(case: &Case) -> Result<Outcome, Failure> {
    let program = case.program::<Packed>()?;
    let options =
        ParamOptions { security: case.number("security")?.unwrap_or_default(), ..ParamOptions::default() };
    let (depth, mut considered) = (mul_depth(&program), Vec::new());
    let ring = case.number("ring")?.unwrap_or(14);
    let sets = candidates(ring, depth, Scales::Preferred, &options, &mut considered);
    let mut lines = vec![format!("{depth} levels")];
    for params in sets.map_err(Failure::refused)? {
        check(&params, options.security.bits()).map_err(|e| Failure::Broken(e.to_string()))?;
        lines.push(format!(
            "scale 2^{}, {} + {} primes, digits of {}, log2(QP) {:.1}",
            params.literal().log_scale,
            params.q().len(),
            params.p().len(),
            params.digit_limbs(),
            params.log_qp()
        ));
    }
    lines.extend(considered.iter().map(|row| format!("none: {}", row.verdict)));
    Ok(Outcome::text(lines))
}

/// `method: optimal | lazy | lee2021` (default optimal), with the chain of `n15-128` in a ring of
/// 512 slots; the result is a line per value: its level, the one it is refreshed to, and whether
/// that masks it.
pub(super) fn bootstraps(case: &Case) -> Result<Outcome, Failure> {
    let broken = |e: &dyn std::fmt::Display| Failure::Broken(e.to_string());
    let before = case.program::<Packed>()?;
    let method = match case.one("method") {
        None | Some("optimal") => BootstrapPlacement::Optimal,
        Some("lazy") => BootstrapPlacement::Lazy,
        Some("lee2021") => BootstrapPlacement::Lee2021,
        Some(other) => return Err(Failure::Broken(format!("there is no method `{other}`"))),
    };
    let set = sets::named("n15-128").map_err(|e| broken(&e))?;
    let set = small(&set)?;
    let bootstrap = set.bootstrap.clone();
    let (table, mut shapes) = (CostTable::default(), CircuitShapes::default());
    let costs =
        OpCosts::new(&set.params, &table).with_bootstraps(std::slice::from_ref(&bootstrap), &mut shapes);
    let placed = place_bootstraps(&before, &bootstrap, method, &costs, &mut shapes);
    let (placement, seconds) = placed.map_err(Failure::refused)?;
    if seconds.is_nan() || seconds <= 0.0 {
        return Err(Failure::Broken(format!("{seconds} seconds are predicted")));
    }
    let after = lower_packed(&before, &placement, &set.params, &table, &mut shapes);
    let mut after = after.map_err(Failure::refused)?.func;
    BootstrapParams::set_in_program(&mut after, &vec![bootstrap.clone()]);
    Outcome::of(&after)?;
    same(&run_packed_random(&before)?, &run_ckks_random(&after)?)?;

    let mut lines = vec![format!("refreshed from {} to {}", bootstrap.input_level(), bootstrap.output_level)];
    let values = before.inputs().iter().map(|&input| (input, "input"));
    let values = values.chain(before.ops().iter().map(|data| (data.result, data.op.mnemonic())));
    for (value, what) in values {
        let level = |level: Option<Level>| level.map_or("none".to_string(), |level| level.to_string());
        let mut line = format!("{value} {what}: level {}", level(placement.level[value.index()]));
        if let Some(to) = placement.refreshed[value.index()] {
            line += &format!(", refreshed to {to}");
        }
        if placement.masked.contains(&value) {
            line += ", masked by that";
        }
        if let Some(rule) = placement.rules.get(&value) {
            line += &format!(" by rule {}", rule.name());
        }
        lines.push(line);
    }
    Ok(Outcome::text(lines))
}

/// The chain of `set` in a ring of 512 slots.
fn small(set: &BootstrapSet) -> Result<BootstrapSet, Failure> {
    let mut literal = set.params.literal().clone();
    // Primes of a large ring are primes of a small one.
    (literal.name, literal.log_n) = ("filetest".into(), 10);
    let params = Params::segmented(literal, set.params.fixed_scales().to_vec());
    let params = params.map_err(|e| Failure::Broken(e.to_string()))?;
    let step = |butterflies, baby_steps| DftStep { butterflies, baby_steps };
    let bootstrap = BootstrapParams {
        log_slots: 9,
        coeffs_to_slots: vec![step(3, 8), step(3, 4), step(3, 4)],
        slots_to_coeffs: vec![step(4, 4), step(5, 8)],
        ..set.bootstrap.clone()
    };
    bootstrap.validate(&params).map_err(|e| Failure::Broken(e.to_string()))?;
    Ok(BootstrapSet { params, bootstrap, ..set.clone() })
}

pub(super) fn levels(case: &Case) -> Result<Outcome, Failure> {
    let before = case.program::<Packed>()?;
    let mut shapes = CircuitShapes::default();
    let placement = Placement::without_bootstraps(&before);
    let lowered = lower_packed(&before, &placement, &case.params()?, &CostTable::default(), &mut shapes);
    let after = lowered.map_err(Failure::refused)?.func;
    same(&run_packed_random(&before)?, &run_ckks_random(&after)?)?;
    Outcome::of(&after)
}

/// The chain of `n15-128` in a ring of 512 slots, with messages a 32nd of the modulus.
pub(super) fn sines(case: &Case) -> Result<Outcome, Failure> {
    let broken = |e: &dyn std::fmt::Display| Failure::Broken(e.to_string());
    let mut before = case.program::<Ckks>()?;
    let recipe = sets::recipe("n15-128").map_err(|e| broken(&e))?;
    let bits = recipe.log_message_ratio - 5;
    let recipe = Recipe { log_message_ratio: 5, q0_bits: recipe.q0_bits - bits, ..recipe };
    let set = small(&recipe.build().map_err(|e| broken(&e))?)?;
    BootstrapParams::set_in_program(&mut before, &vec![set.bootstrap.clone()]);
    let after =
        absorb_sines(&before, &set.params, &mut CircuitShapes::default()).map_err(Failure::broken)?.func;
    BootstrapParams::checked_of_program(&after, &set.params).map_err(|e| broken(&e))?;
    // The polynomials are others, and a little less exact.
    same_to(1.0 / 2048.0, &run_ckks_random(&before)?, &run_ckks_random(&after)?)?;
    Outcome::of(&after)
}

pub(super) fn rescales(case: &Case) -> Result<Outcome, Failure> {
    let before = case.program::<Ckks>()?;
    let after = place_rescales(&before).map_err(Failure::broken)?.func;
    same(&run_ckks_random(&before)?, &run_ckks_random(&after)?)?;
    Outcome::of(&after)
}

/// `swap: always | never` (default never): whether relinearising after a rescale pays.
pub(super) fn relinearizations(case: &Case) -> Result<Outcome, Failure> {
    let before = case.program::<Ckks>()?;
    let swap = case.one("swap") == Some("always");
    let after = place_relinearizations(&before, |_| swap).map_err(Failure::broken)?.func;
    same(&run_ckks_random(&before)?, &run_ckks_random(&after)?)?;
    Outcome::of(&after)
}

/// `budget: BYTES`.
pub(super) fn rotation_keys(case: &Case) -> Result<Outcome, Failure> {
    let before = case.program::<Ckks>()?;
    let (params, budget) = (case.params()?, case.number("budget")?);
    let mut shapes = CircuitShapes::default();
    let allowed = KeyBudget { bytes: budget, other: 0 };
    let chosen = select_rotation_keys(&before, &params, allowed, &CostTable::default(), &mut shapes);
    let (passed, report) = chosen.map_err(|error| match error {
        PassError::Keys { .. } => Failure::refused(error),
        error => Failure::broken(error),
    })?;
    let after = passed.func;
    if budget.is_some_and(|budget| report.bytes > budget) {
        return Err(Failure::Broken(format!("{} bytes of keys are over the budget", report.bytes)));
    }
    same(&run_ckks_random(&before)?, &run_ckks_random(&after)?)?;
    Outcome::of(&after)
}

pub(super) fn order(case: &Case) -> Result<Outcome, Failure> {
    let before = case.program::<Ckks>()?;
    let (params, table) = (case.params()?, CostTable::default());
    let costs = OpCosts::new(&params, &table);
    let mut shapes = CircuitShapes::default();
    let after = schedule(&before, &costs, &mut shapes).map_err(Failure::broken)?.func;
    let peaks = [&before, &after].map(|func| live_bytes(func, &costs, &mut shapes).peak);
    if peaks[1] > peaks[0] {
        return Err(Failure::Broken(format!("the peak of live bytes grew: {peaks:?}")));
    }
    same(&run_ckks_random(&before)?, &run_ckks_random(&after)?)?;
    Outcome::of(&after)
}

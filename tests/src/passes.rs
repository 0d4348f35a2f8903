//! The passes that filetests can name. A new pass is one function and one line.

use fhec_ir::bootstrap::BootstrapParams;
use fhec_ir::ckks::Ckks;
use fhec_ir::func::StageOp;
use fhec_ir::interp::{nn, run_packed};
use fhec_ir::layout::Layout;
use fhec_ir::linear_map::LinearKind;
use fhec_ir::nn::Nn;
use fhec_ir::packed::Packed;
use fhec_ir::params::Params;
use fhec_ir::scale::Level;
use fhec_ir::security::check;
use fhec_ir::tensor::Tensor;
use fhec_passes::analysis::circuit_shapes::CircuitShapes;
use fhec_passes::analysis::cost::CostTable;
use fhec_passes::analysis::live_bytes::live_bytes;
use fhec_passes::analysis::mul_depth::mul_depth;
use fhec_passes::analysis::op_cost::OpCosts;
use fhec_passes::bootstrap::sets::{self, BootstrapSet};
use fhec_passes::ckks::choose_params::{ParamOptions, Scales, candidates};
use fhec_passes::ckks::lower_packed::lower_packed;
use fhec_passes::ckks::place_bootstraps::{BootstrapPlacement, place_bootstraps};
use fhec_passes::ckks::place_relinearizations::place_relinearizations;
use fhec_passes::ckks::place_rescales::place_rescales;
use fhec_passes::ckks::placement::Placement;
use fhec_passes::ckks::schedule::schedule;
use fhec_passes::ckks::select_rotation_keys::{KeyBudget, select_rotation_keys};
use fhec_passes::error::PassError;
use fhec_passes::estimate::{OpCount, estimate};
use fhec_passes::lower_nn::choose_layout::choose_layout;
use fhec_passes::lower_nn::program::Step;
use fhec_passes::lower_nn::{LayoutOptions, Packing, lower_nn, to_steps};
use fhec_passes::packed::common_subexpr::common_subexpr;

use crate::runner::{Case, Failure, Outcome, random_bundle, run_ckks_random, run_packed_random, same};

/// Runs a pass on a test's program.
pub type RunPass = fn(&Case) -> Result<Outcome, Failure>;

/// Passes by name.
pub const PASSES: &[(&str, RunPass)] = &[
    ("choose-layout", layout),
    ("lower", lower),
    ("common-subexpr", common),
    ("choose-params", parameters),
    ("place-bootstraps", bootstraps),
    ("lower-packed", levels),
    ("place-rescales", rescales),
    ("place-relinearizations", relinearizations),
    ("select-rotation-keys", rotation_keys),
    ("schedule", order),
    ("estimate", prediction),
];

/// `slots: N` (default 512), `packing: multiplexed | channel`.
fn layout_options(case: &Case) -> Result<LayoutOptions, Failure> {
    let packing = match case.one("packing") {
        None => Packing::Auto,
        Some("multiplexed") => Packing::Multiplexed,
        Some("channel") => Packing::Channel,
        Some(other) => return Err(Failure::Broken(format!("there is no packing `{other}`"))),
    };
    let slots = case.number("slots")?.unwrap_or(512);
    Ok(LayoutOptions { packing, ..LayoutOptions::for_slots(slots) })
}

/// Options of [`layout_options`]; the result is a line per tensor: what makes it, where it is, how far its map is folded.
fn layout(case: &Case) -> Result<Outcome, Failure> {
    let network = case.program::<Nn>()?;
    let program = to_steps(&network).map_err(Failure::refused)?;
    let chosen = choose_layout(&program, &layout_options(case)?).map_err(Failure::refused)?;
    let place = |tensor: usize| {
        let name = program.tensors[tensor].name.as_deref().unwrap_or("unnamed");
        let Layout { shape, gap, multiplex, plane, period, .. } = &chosen.layouts[tensor];
        let vectors = chosen.layouts[tensor].vectors();
        format!(
            "{name} {shape:?}: gap {gap}, multiplex {multiplex}, plane {plane:?}, period {period}, vectors {vectors}"
        )
    };
    let inputs = program.inputs.iter().map(|&input| format!("input {}", place(input)));
    let steps = program.steps.iter().zip(&chosen.folds).map(|((step, result), fold)| {
        let kind = match step {
            Step::Linear { kind: LinearKind::Conv2d { .. }, .. } => "conv2d",
            Step::Linear { kind: LinearKind::Dense { .. }, .. } => "dense",
            Step::Linear { kind: LinearKind::Place { .. }, .. } => "place",
            Step::View { .. } => "view",
            _ => "element-wise",
        };
        format!("{kind} {}, fold {fold}", place(*result))
    });
    Ok(Outcome::text(inputs.chain(steps)))
}

/// Options of [`layout_options`].
fn lower(case: &Case) -> Result<Outcome, Failure> {
    let network = case.program::<Nn>()?;
    let packed = lower_nn(&network, &layout_options(case)?).map_err(Failure::refused)?;

    let broken = |e: &dyn std::fmt::Display| Failure::Broken(e.to_string());
    let layouts =
        |key: &str| packed.meta::<Vec<Layout>>(key).map_err(|e| Failure::Broken(format!("{key}: {e:?}")));
    let (mut tensors, mut bundles) = (Vec::new(), Vec::new());
    for ((&input, layout), seed) in network.inputs().iter().zip(layouts("input_layout")?).zip(1..) {
        let shape = network.ty(input).shape.clone();
        let elements: Vec<f32> =
            random_bundle(1, layout.elements(), seed).concat().into_iter().map(|x| x as f32).collect();
        bundles.push(layout.pack(&elements.iter().map(|&x| f64::from(x)).collect::<Vec<f64>>()));
        tensors.push(Tensor::new(shape, elements).map_err(|e| broken(&e))?);
    }
    let expected = nn::run(&network, &tensors).map_err(|e| broken(&e))?;
    let found = run_packed(&packed, &bundles).map_err(|e| broken(&e))?;
    for ((expected, found), layout) in expected.iter().zip(&found).zip(layouts("output_layout")?) {
        let largest = expected.data().iter().fold(1.0f64, |m, &x| m.max(f64::from(x).abs()));
        let pairs = expected.data().iter().zip(layout.unpack(found));
        // The network is run in single precision.
        let differs = |(x, y): (&f32, f64)| (f64::from(*x) - y).abs() >= 2e-5 * largest || y.is_nan();
        if pairs.into_iter().any(differs) {
            return Err(Failure::Broken("the packed program computes something else".into()));
        }
    }
    Outcome::of(&packed)
}

fn common(case: &Case) -> Result<Outcome, Failure> {
    let before = case.program::<Packed>()?;
    let after = common_subexpr(&before).map_err(Failure::broken)?.func;
    same(&run_packed_random(&before)?, &run_packed_random(&after)?)?;
    Outcome::of(&after)
}

/// `ring: LOG_N` (default 14), `security: BITS` (default 128); the result is a line per parameter set that is worth compiling.
fn parameters(case: &Case) -> Result<Outcome, Failure> {
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

/// `method: optimal | lazy | lee2021` (default optimal), with the chain of `n15-128` in a ring of 512 slots; the result is a line per value:
/// its level, and the one it is refreshed to.
fn bootstraps(case: &Case) -> Result<Outcome, Failure> {
    let broken = |e: &dyn std::fmt::Display| Failure::Broken(e.to_string());
    let before = case.program::<Packed>()?;
    let method = match case.one("method") {
        None | Some("optimal") => BootstrapPlacement::Optimal,
        Some("lazy") => BootstrapPlacement::Lazy,
        Some("lee2021") => BootstrapPlacement::Lee2021,
        Some(other) => return Err(Failure::Broken(format!("there is no method `{other}`"))),
    };
    let set = sets::named("n15-128").map_err(|e| broken(&e))?;
    let mut literal = set.params.literal().clone();
    // Primes of a large ring are primes of a small one.
    (literal.name, literal.log_n) = ("filetest".into(), 10);
    let params = Params::segmented(literal, set.params.fixed_scales().to_vec()).map_err(|e| broken(&e))?;
    let set = BootstrapSet { params, ..set };
    let bootstrap = set.with_slots(set.params.slots()).map_err(|e| broken(&e))?;
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
        if let Some(rule) = placement.rules.get(&value) {
            line += &format!(" by rule {}", rule.name());
        }
        lines.push(line);
    }
    Ok(Outcome::text(lines))
}

fn levels(case: &Case) -> Result<Outcome, Failure> {
    let before = case.program::<Packed>()?;
    let mut shapes = CircuitShapes::default();
    let placement = Placement::without_bootstraps(&before);
    let lowered = lower_packed(&before, &placement, &case.params()?, &CostTable::default(), &mut shapes);
    let after = lowered.map_err(Failure::refused)?.func;
    same(&run_packed_random(&before)?, &run_ckks_random(&after)?)?;
    Outcome::of(&after)
}

fn rescales(case: &Case) -> Result<Outcome, Failure> {
    let before = case.program::<Ckks>()?;
    let after = place_rescales(&before).map_err(Failure::broken)?.func;
    same(&run_ckks_random(&before)?, &run_ckks_random(&after)?)?;
    Outcome::of(&after)
}

/// `swap: always | never` (default never): whether relinearising after a rescale pays.
fn relinearizations(case: &Case) -> Result<Outcome, Failure> {
    let before = case.program::<Ckks>()?;
    let swap = case.one("swap") == Some("always");
    let after = place_relinearizations(&before, |_| swap).map_err(Failure::broken)?.func;
    same(&run_ckks_random(&before)?, &run_ckks_random(&after)?)?;
    Outcome::of(&after)
}

/// `budget: BYTES`.
fn rotation_keys(case: &Case) -> Result<Outcome, Failure> {
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

fn order(case: &Case) -> Result<Outcome, Failure> {
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

/// The result is a line per op with what it takes, and the sums. Prices are those of the built-in table.
fn prediction(case: &Case) -> Result<Outcome, Failure> {
    let program = case.program::<Ckks>()?;
    let (params, table) = (case.params()?, CostTable::default());
    let predicted = estimate(&program, &params, &table, None, &mut CircuitShapes::default());
    let predicted = predicted.map_err(Failure::broken)?;
    let sum: f64 = predicted.op_seconds.iter().sum();
    if (sum - predicted.seconds).abs() > 1e-12 || predicted.op_seconds.iter().any(|&s| s.is_nan() || s < 0.0)
    {
        return Err(Failure::Broken(format!("{predicted:?}")));
    }
    let mut lines = Vec::new();
    for (index, data) in program.ops().iter().enumerate() {
        let OpCount { rotations, relinearizations, multiplications, diagonals } = predicted.op_counts[index];
        lines.push(format!(
            "{} {}: {rotations} rotations, {relinearizations} relinearizations, {multiplications} multiplications, \
             {diagonals} diagonals, {} bytes of weights, {} alive",
            data.result,
            data.op.mnemonic(),
            predicted.op_plaintext_bytes[index],
            predicted.live.per_op[index]
        ));
    }
    lines.push(format!(
        "{} keys of {} bytes, peak {} bytes",
        predicted.keys, predicted.key_bytes, predicted.peak_bytes
    ));
    lines.push(format!(
        "{:.1e} seconds, errors 2^-{:.1} on average, 2^-{:.1} at most, failures 2^{:.0}",
        predicted.seconds,
        predicted.error_bits_mean,
        predicted.error_bits_worst,
        predicted.log2_failure_probability
    ));
    Ok(Outcome::text(lines))
}

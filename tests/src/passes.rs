//! The passes that filetests can name. A new pass is one function and one line.

use fhec_ir::ckks::Ckks;
use fhec_ir::interp::{nn, run_packed};
use fhec_ir::layout::Layout;
use fhec_ir::nn::Nn;
use fhec_ir::packed::Packed;
use fhec_ir::tensor::Tensor;
use fhec_passes::analysis::circuit_shapes::CircuitShapes;
use fhec_passes::analysis::cost::CostTable;
use fhec_passes::analysis::op_cost::OpCosts;
use fhec_passes::ckks::lower_packed::lower_packed;
use fhec_passes::ckks::place_relinearizations::place_relinearizations;
use fhec_passes::ckks::place_rescales::place_rescales;
use fhec_passes::ckks::placement::Placement;
use fhec_passes::ckks::schedule::schedule;
use fhec_passes::ckks::select_rotation_keys::select_rotation_keys;
use fhec_passes::lower_nn::{LayoutOptions, Packing, lower_nn};
use fhec_passes::packed::common_subexpr::common_subexpr;

use crate::runner::{Case, Failure, Outcome, random_bundle, run_ckks_random, run_packed_random, same};

/// Runs a pass on a test's program.
pub type RunPass = fn(&Case) -> Result<Outcome, Failure>;

/// Passes by name.
pub const PASSES: &[(&str, RunPass)] = &[
    ("lower", lower),
    ("common-subexpr", common),
    ("lower-packed", levels),
    ("place-rescales", rescales),
    ("place-relinearizations", relinearizations),
    ("select-rotation-keys", rotation_keys),
    ("schedule", order),
];

/// `slots: N` (default 512), `packing: multiplexed | channel`.
fn lower(case: &Case) -> Result<Outcome, Failure> {
    let network = case.program::<Nn>()?;
    let packing = match case.one("packing") {
        None => Packing::Auto,
        Some("multiplexed") => Packing::Multiplexed,
        Some("channel") => Packing::Channel,
        Some(other) => return Err(Failure::Broken(format!("there is no packing `{other}`"))),
    };
    let slots = case.number("slots")?.unwrap_or(512);
    let options = LayoutOptions { packing, ..LayoutOptions::for_slots(slots) };
    let packed = lower_nn(&network, &options).map_err(Failure::refused)?;

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
    let (after, _) = common_subexpr(&before).map_err(Failure::Broken)?;
    same(&run_packed_random(&before)?, &run_packed_random(&after)?)?;
    Outcome::of(&after)
}

fn levels(case: &Case) -> Result<Outcome, Failure> {
    let before = case.program::<Packed>()?;
    let mut shapes = CircuitShapes::default();
    let placement = Placement::without_bootstraps(&before);
    let lowered = lower_packed(&before, &placement, &case.params()?, &CostTable::default(), &mut shapes);
    let after = lowered.map_err(Failure::refused)?;
    same(&run_packed_random(&before)?, &run_ckks_random(&after)?)?;
    Outcome::of(&after)
}

fn rescales(case: &Case) -> Result<Outcome, Failure> {
    let before = case.program::<Ckks>()?;
    let (after, _) = place_rescales(&before).map_err(Failure::Broken)?;
    same(&run_ckks_random(&before)?, &run_ckks_random(&after)?)?;
    Outcome::of(&after)
}

/// `swap: always | never` (default never): whether relinearising after a rescale pays.
fn relinearizations(case: &Case) -> Result<Outcome, Failure> {
    let before = case.program::<Ckks>()?;
    let swap = case.one("swap") == Some("always");
    let (after, _) = place_relinearizations(&before, |_| swap).map_err(Failure::Broken)?;
    same(&run_ckks_random(&before)?, &run_ckks_random(&after)?)?;
    Outcome::of(&after)
}

/// `budget: BYTES`.
fn rotation_keys(case: &Case) -> Result<Outcome, Failure> {
    let before = case.program::<Ckks>()?;
    let (params, budget) = (case.params()?, case.number("budget")?);
    let mut shapes = CircuitShapes::default();
    let chosen = select_rotation_keys(&before, &params, budget, &CostTable::default(), &mut shapes);
    let (after, report) = chosen.map_err(Failure::Broken)?.map_err(Failure::refused)?;
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
    let (after, peaks) = schedule(&before, &costs, &mut CircuitShapes::default()).map_err(Failure::Broken)?;
    if peaks[1] > peaks[0] {
        return Err(Failure::Broken(format!("the peak of live bytes grew: {peaks:?}")));
    }
    same(&run_ckks_random(&before)?, &run_ckks_random(&after)?)?;
    Outcome::of(&after)
}

//! `passes/src/lower_nn`: from networks to packed programs.

use fhec_ir::entity::Value;
use fhec_ir::fact::{Fact, INPUT_LAYOUTS, INPUT_PERMUTATIONS, OUTPUT_LAYOUTS, OUTPUT_PERMUTATIONS};
use fhec_ir::interp::{nn, run_packed};
use fhec_ir::layout::Layout;
use fhec_ir::linear_map::LinearKind;
use fhec_ir::nn::Nn;
use fhec_ir::permutation::Permutation;
use fhec_ir::tensor::Tensor;
use fhec_passes::lower_nn::choose_layout::choose_layout;
use fhec_passes::lower_nn::program::Step;
use fhec_passes::lower_nn::{LayoutOptions, Packing, lower_nn, to_steps};

use crate::runner::{Case, Failure, Outcome, random_bundle};

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

/// Options of [`layout_options`]; the result is a line per tensor: what makes it, where it is, how
/// far its map is folded.
pub(super) fn layout(case: &Case) -> Result<Outcome, Failure> {
    let network = case.program::<Nn>()?;
    let program = to_steps(&network).map_err(Failure::refused)?;
    let chosen = choose_layout(&program, &layout_options(case)?).map_err(Failure::refused)?;
    let place = |tensor: usize| {
        let name = program.tensors[tensor].name.as_deref().unwrap_or("unnamed");
        let Layout { shape, gap, multiplex, plane, period, .. } = &chosen.layouts[tensor];
        let vectors = chosen.layouts[tensor].vectors();
        let gap = match *gap {
            [rows, columns] if rows == columns => format!("{rows}"),
            gap => format!("{gap:?}"),
        };
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
            Step::Linear { kind: LinearKind::ConvTranspose2d { .. }, .. } => "conv_transpose2d",
            Step::Linear { kind: LinearKind::AxisMatrices { .. }, .. } => "axis_matrices",
            Step::Linear { kind: LinearKind::Transpose { .. }, .. } => "transpose",
            Step::View { .. } => "view",
            _ => "element-wise",
        };
        format!("{kind} {}, fold {fold}", place(*result))
    });
    Ok(Outcome::text(inputs.chain(steps)))
}

/// Options of [`layout_options`].
pub(super) fn lower(case: &Case) -> Result<Outcome, Failure> {
    let network = case.program::<Nn>()?;
    let packed = lower_nn(&network, &layout_options(case)?).map_err(Failure::refused)?;

    let broken = |e: &dyn std::fmt::Display| Failure::Broken(e.to_string());
    let layouts =
        |fact: Fact<Vec<Layout>>| packed.fact(fact).map_err(|e| Failure::Broken(format!("{fact:?}: {e:?}")));
    let permutations = |fact: Fact<Option<Vec<Permutation>>>, values: &[Value]| {
        let identity = |&value: &Value| Permutation::identity(network.ty(value).shape.clone());
        let found = packed.fact(fact).map_err(|e| Failure::Broken(format!("{fact:?}: {e:?}")))?;
        Ok(found.unwrap_or_else(|| values.iter().map(identity).collect()))
    };
    let (mut tensors, mut bundles) = (Vec::new(), Vec::new());
    let moved = permutations(INPUT_PERMUTATIONS, network.inputs())?;
    for (((&input, layout), moved), seed) in
        network.inputs().iter().zip(layouts(INPUT_LAYOUTS)?).zip(moved).zip(1..)
    {
        let shape = network.ty(input).shape.clone();
        let elements: Vec<f32> =
            random_bundle(1, layout.elements(), seed).concat().into_iter().map(|x| x as f32).collect();
        let laid_out = moved.apply(&elements).into_iter().map(f64::from);
        bundles.push(layout.pack(&laid_out.collect::<Vec<f64>>()));
        tensors.push(Tensor::new(shape, elements).map_err(|e| broken(&e))?);
    }
    let expected = nn::run(&network, &tensors).map_err(|e| broken(&e))?;
    let found = run_packed(&packed, &bundles).map_err(|e| broken(&e))?;
    let moved = permutations(OUTPUT_PERMUTATIONS, network.outputs())?;
    for (((expected, found), layout), moved) in
        expected.iter().zip(&found).zip(layouts(OUTPUT_LAYOUTS)?).zip(moved)
    {
        let largest = expected.data().iter().fold(1.0f64, |m, &x| m.max(f64::from(x).abs()));
        let found = moved.inverse().apply(&layout.unpack(found));
        let pairs = expected.data().iter().zip(found);
        // The network is run in single precision.
        let differs = |(x, y): (&f32, f64)| (f64::from(*x) - y).abs() >= 2e-5 * largest || y.is_nan();
        if pairs.into_iter().any(differs) {
            return Err(Failure::Broken("the packed program computes something else".into()));
        }
    }
    Outcome::of(&packed)
}

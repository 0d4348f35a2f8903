//! Rows of the plan by bootstrap: what needs it, and what the program would cost without it.

use std::collections::{BTreeMap, BTreeSet};

use fhec_ir::ckks::{Ckks, Op};
use fhec_ir::entity::Value;
use fhec_ir::func::{Func, OpData, StageOp};
use fhec_ir::packed::Packed;
use fhec_ir::plan::{Alternative, BootstrapRow, Need};
use rayon::prelude::*;

use crate::analysis::circuit_shapes::CircuitShapes;
use crate::analysis::cost::CostTable;
use crate::analysis::op_cost::OpCosts;
use crate::ckks::place_bootstraps::place_bootstraps_without;
use crate::ckks::placement::slot_mask;
use crate::pipeline::ckks::PlacedBootstraps;
use crate::search::Scheduled;
use fhec_ir::layers::Layers;

/// One row per `bootstrap` op of the program.
pub(super) fn bootstrap_rows(scheduled: &Scheduled, layers: &Layers, costs: &CostTable) -> Vec<BootstrapRow> {
    let Some(placed) = &scheduled.placed else { return Vec::new() };
    let Scheduled { program, estimate, .. } = scheduled;
    let other_places = OtherPlaces::new(scheduled, placed, costs);
    let users = users(program);
    // Rules are followed, not improved. What is too entangled to be placed is so without a value,
    // too, and a search that gives up does not show that there is no other placement.
    let sought = placed.placement.rules.is_empty() && placed.placement.approximate.is_none();
    let found = if sought { other_places.all() } else { BTreeMap::new() };
    let row = |&(op, value): &(usize, Value)| {
        let data = &program.ops()[op];
        let (x, result) = (program.ty(data.op.operands()[0]), program.ty(data.result));
        let without = |values: BTreeSet<Value>| found.get(&values).cloned().flatten();
        BootstrapRow {
            op,
            value: other_places.name(value),
            layer: layers.name(op).to_string(),
            ciphertexts: result.vectors,
            level_before: u32::from(x.level),
            levels_reserved: u32::from(placed.bootstrap.input_level()),
            level_after: u32::from(result.level),
            needed_by: needs(program, &users, data.result, layers),
            seconds: estimate.op_seconds[op],
            alternatives_sought: sought,
            without_value: without(BTreeSet::from([value])),
            without_layer: without(other_places.of_layer(value)),
        }
    };
    placed.sites.iter().map(row).collect()
}

/// By value: the ops that read it, in order.
fn users(program: &Func<Ckks>) -> Vec<Vec<usize>> {
    let mut users = vec![Vec::new(); program.value_count()];
    for (op, data) in program.ops().iter().enumerate() {
        let mut operands = data.op.operands();
        operands.sort_unstable();
        operands.dedup();
        operands.into_iter().for_each(|operand| users[operand.index()].push(op));
    }
    users
}

/// Ops that read `value`, at its level or, after a drop, below.
fn needs(program: &Func<Ckks>, users: &[Vec<usize>], value: Value, layers: &Layers) -> Vec<Need> {
    let mut needs = Vec::new();
    for &op in &users[value.index()] {
        let data = &program.ops()[op];
        if let Op::LevelDrop { .. } = data.op {
            needs.extend(self::needs(program, users, data.result, layers));
            continue;
        }
        needs.push(Need {
            op,
            kind: data.op.mnemonic().into(),
            layer: layers.name(op).to_string(),
            level: u32::from(program.ty(data.op.operands()[0]).level),
            levels_used: levels_used(data),
        });
    }
    needs.sort_by_key(|need| need.op);
    needs
}

fn levels_used(data: &OpData<Ckks>) -> u32 {
    match &data.op {
        Op::Polynomial { polynomial, .. } => polynomial.depth(),
        Op::LinearMap { .. }
        | Op::Mul { .. }
        | Op::MulPlain { .. }
        | Op::MulScalar { .. }
        | Op::Rescale { .. } => 1,
        Op::Add { .. }
        | Op::Sub { .. }
        | Op::AddPlain { .. }
        | Op::AddScalar { .. }
        | Op::Rotate { .. }
        | Op::Conjugate { .. }
        | Op::Relinearize { .. }
        | Op::LevelDrop { .. }
        | Op::Bootstrap { .. } => 0,
    }
}

/// Places the bootstraps of a program again, with some places forbidden.
struct OtherPlaces<'a> {
    packed: &'a Func<Packed>,
    placed: &'a PlacedBootstraps,
    costs: OpCosts<'a>,
    shapes: CircuitShapes,
    layers: Layers,
    definitions: Vec<Option<usize>>,
}

impl<'a> OtherPlaces<'a> {
    fn new(scheduled: &'a Scheduled, placed: &'a PlacedBootstraps, costs: &'a CostTable) -> Self {
        let mut shapes = scheduled.shapes.clone();
        OtherPlaces {
            packed: &scheduled.packed,
            placed,
            costs: OpCosts::new(&scheduled.params, costs)
                .with_bootstraps(std::slice::from_ref(&placed.bootstrap), &mut shapes),
            shapes,
            layers: Layers::of(&scheduled.packed),
            definitions: scheduled.packed.definitions(),
        }
    }

    /// Values that are not to be refreshed, each refreshed one alone and each layer with one, with
    /// the best placement then.
    fn all(&self) -> BTreeMap<BTreeSet<Value>, Option<Alternative>> {
        let refreshed = self.placed.sites.iter().map(|&(_, value)| value);
        let sets: BTreeSet<BTreeSet<Value>> =
            refreshed.flat_map(|value| [BTreeSet::from([value]), self.of_layer(value)]).collect();
        let best = |shapes: &mut CircuitShapes, avoided: BTreeSet<Value>| {
            let found = self.best_without(&avoided, shapes);
            (avoided, found)
        };
        sets.into_par_iter().map_init(|| self.shapes.clone(), best).collect()
    }

    /// All values of the layer of `value`; itself alone where it has none.
    fn of_layer(&self, value: Value) -> BTreeSet<Value> {
        let Some(op) = self.definitions[value.index()] else { return BTreeSet::from([value]) };
        let all = self.packed.ops().iter().zip(&self.layers.of_op);
        all.filter(|(_, layer)| **layer == self.layers.of_op[op]).map(|(data, _)| data.result).collect()
    }

    fn best_without(&self, avoided: &BTreeSet<Value>, shapes: &mut CircuitShapes) -> Option<Alternative> {
        let (placement, seconds) =
            place_bootstraps_without(self.packed, &self.placed.bootstrap, avoided, &self.costs, shapes)?;
        let refreshed = placement.refresh_order(self.packed);
        let chosen: BTreeSet<Value> = self.placed.sites.iter().map(|&(_, value)| value).collect();
        let new = refreshed.iter().filter(|value| !chosen.contains(value));
        Some(Alternative {
            extra_seconds: seconds - self.placed.seconds,
            bootstraps: refreshed.iter().map(|&value| self.packed.ty(value).vectors).sum(),
            instead: new.map(|&value| self.name(value)).collect(),
        })
    }

    fn name(&self, value: Value) -> String {
        name(self.packed, &self.layers, &self.definitions, value)
    }
}

/// The name of a value; where it has none, its layer and what it is there.
pub(super) fn name(
    packed: &Func<Packed>,
    layers: &Layers,
    definitions: &[Option<usize>],
    value: Value,
) -> String {
    match (packed.value_name(value), definitions[value.index()]) {
        (Some(name), _) => name.to_string(),
        // A mask takes nothing away that the network knows of.
        (None, Some(op)) if slot_mask(packed, &packed.ops()[op].op).is_some() => {
            name(packed, layers, definitions, packed.ops()[op].op.operands()[0])
        }
        (None, Some(op)) => {
            let mnemonic = packed.ops()[op].op.mnemonic();
            let before = &layers.of_op[..op];
            let place = before.iter().filter(|&&layer| layer == layers.of_op[op]).count() + 1;
            format!("{}, {mnemonic} (step {place})", layers.name(op))
        }
        (None, None) => value.to_string(),
    }
}

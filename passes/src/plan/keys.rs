//! Rows of the plan by key.

use std::collections::{BTreeMap, BTreeSet};

use fhec_ir::bootstrap::BootstrapParams;
use fhec_ir::key_demand::{KeyDemand, has_generic_keys, switching_key_bytes};
use fhec_ir::plan::{KeyKind, KeyRow};
use fhec_ir::scale::Level;

use crate::analysis::circuit_shapes::CircuitShapes;
use crate::search::Scheduled;
use fhec_ir::layers::Layers;

/// A key by kind and steps, in the order of the rows.
type Name = (KeyKind, Option<usize>);

/// One row per key of the program.
pub(super) fn key_rows(
    scheduled: &Scheduled,
    layers: &Layers,
    bootstraps: &[BootstrapParams],
) -> Vec<KeyRow> {
    let Scheduled { program, params, shapes, .. } = scheduled;
    let mut shapes: CircuitShapes = shapes.clone();
    let mut rows: BTreeMap<Name, KeyRow> = BTreeMap::new();
    for (index, data) in program.ops().iter().enumerate() {
        let keys = KeyDemand::of_op_with(program, &data.op, |map, baby_step| {
            BTreeSet::clone(&shapes.rotation_set(map, &program.consts, baby_step))
        });
        for (name, level) in names(&keys) {
            let row = note(&mut rows, name, level);
            row.ops += 1;
            let layer = layers.name(index);
            if row.layers.last().is_none_or(|last| last != layer) && !row.layers.iter().any(|l| l == layer) {
                row.layers.push(layer.to_string());
            }
        }
    }
    let mut of_bootstraps = KeyDemand::default();
    bootstraps.iter().for_each(|bootstrap| of_bootstraps.bootstrap(bootstrap, params));
    for (name, level) in names(&of_bootstraps) {
        note(&mut rows, name, level).bootstraps = true;
    }
    if has_generic_keys(program) {
        for (name, level) in names(&KeyDemand::generic(params)) {
            note(&mut rows, name, level);
        }
    }
    // Those of the raising are one row.
    let raising = KeyDemand { encapsulation: of_bootstraps.encapsulation, ..KeyDemand::default() };
    let bytes = |row: &KeyRow| match row.kind {
        KeyKind::Encapsulation => raising.bytes(params),
        _ => switching_key_bytes(params, row.level as Level),
    };
    rows.into_values().map(|row| KeyRow { bytes: bytes(&row), ..row }).collect()
}

fn names(keys: &KeyDemand) -> Vec<(Name, Level)> {
    let one = |kind, level: Option<Level>| level.map(|level| ((kind, None), level));
    let rotations =
        keys.rotations.iter().map(|(&steps, &level)| Some(((KeyKind::Rotation, Some(steps)), level)));
    rotations
        .chain([
            one(KeyKind::Relinearization, keys.relinearization),
            one(KeyKind::Conjugation, keys.conjugation),
            one(KeyKind::Encapsulation, keys.encapsulation.as_ref().map(|pair| pair.level)),
        ])
        .flatten()
        .collect()
}

fn note(rows: &mut BTreeMap<Name, KeyRow>, name: Name, level: Level) -> &mut KeyRow {
    let row = rows.entry(name).or_insert_with(|| KeyRow { kind: name.0, steps: name.1, ..KeyRow::default() });
    row.level = row.level.max(level.into());
    row
}

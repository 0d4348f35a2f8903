//! Rows of the plan by layer.

use fhec_ir::ckks::Op;
use fhec_ir::func::{Func, StageOp};
use fhec_ir::nn::Nn;
use fhec_ir::plan::{LayerRow, OpRow};

use crate::search::Scheduled;
use fhec_ir::layers::{Layers, by_use};

/// One row per layer of the scheduled program; `ops` are its rows, `network` is the network as
/// imported.
pub(super) fn layer_rows(
    scheduled: &Scheduled,
    layers: &Layers,
    ops: &[OpRow],
    network: &Func<Nn>,
) -> Vec<LayerRow> {
    let sources = sources(network, &layers.names);
    let row = |(layer, name): (usize, &String)| {
        let indices: Vec<usize> = (0..ops.len()).filter(|&op| layers.of_op[op] == layer).collect();
        let own: Vec<&OpRow> = indices.iter().map(|&op| &ops[op]).collect();
        let total = |of: fn(&OpRow) -> usize| own.iter().map(|op| of(op)).sum();
        let is_bootstrap = |op: usize| matches!(scheduled.program.ops()[op].op, Op::Bootstrap { .. });
        let layout = own.iter().rev().find(|op| !op.layout.is_empty());
        LayerRow {
            name: name.clone(),
            sources: sources[layer].clone(),
            level_in: own.first().map_or(0, |op| op.level_in),
            level_top: own.iter().map(|op| op.level_in.max(op.level_out)).max().unwrap_or(0),
            level_out: own.last().map_or(0, |op| op.level_out),
            bootstraps: indices.iter().filter(|&&op| is_bootstrap(op)).map(|&op| ops[op].ciphertexts).sum(),
            rotations: total(|op| op.rotations),
            diagonals: total(|op| op.diagonals),
            multiplications: total(|op| op.multiplications),
            plaintext_bytes: own.iter().map(|op| op.plaintext_bytes).sum(),
            live_bytes: own.iter().map(|op| op.live_bytes).max().unwrap_or(0),
            seconds: own.iter().map(|op| op.seconds).sum(),
            log2_error: own.last().map_or(0.0, |op| op.log2_error),
            layout: layout.map_or_else(String::new, |op| op.layout.clone()),
            ops: indices,
        }
    };
    layers.names.iter().enumerate().map(row).collect()
}

/// By layer: the ops of the network that it computes.
fn sources(network: &Func<Nn>, names: &[String]) -> Vec<Vec<String>> {
    let mut sources = vec![Vec::new(); names.len()];
    let found = by_use(network, |name| names.iter().any(|layer| layer == name));
    for (data, layer) in network.ops().iter().zip(found) {
        let layer = layer.and_then(|layer| names.iter().position(|name| *name == layer));
        let value = network.value_name(data.result).map_or_else(|| data.result.to_string(), str::to_string);
        if let Some(layer) = layer {
            sources[layer].push(format!("{} {value}", data.op.mnemonic()));
        }
    }
    sources
}

//! The plan by layers.

use fhec_ir::plan::{LayerRow, Plan};

use super::names::short;
use super::table::Table;

/// One row per layer.
pub fn layers(plan: &Plan) -> String {
    format!("\nlayers, in order; times and errors are predicted\n{}", table(plan).text())
}

/// The rows.
pub fn table(plan: &Plan) -> Table {
    let titles = [
        "layer",
        "<name",
        "<network ops",
        "ops",
        "<levels",
        "boot",
        "rot",
        "diag",
        "mult",
        "ms",
        "share",
        "error",
    ];
    let mut table = Table::new(&titles);
    for (index, layer) in plan.layers.iter().enumerate() {
        table.row([
            index.to_string(),
            short(&layer.name),
            kinds(layer),
            layer.ops.len().to_string(),
            path(layer),
            layer.bootstraps.to_string(),
            layer.rotations.to_string(),
            layer.diagonals.to_string(),
            layer.multiplications.to_string(),
            format!("{:.1}", layer.seconds * 1e3),
            format!("{:.1} %", 100.0 * layer.seconds / plan.predicted_seconds),
            format!("2^{:.1}", layer.log2_error),
        ]);
    }
    table
}

/// Mnemonics of the network's ops in a layer, each run of equal ones once.
pub fn kinds(layer: &LayerRow) -> String {
    let mut kinds: Vec<&str> =
        layer.sources.iter().map(|source| source.split(' ').next().unwrap_or(source)).collect();
    kinds.dedup();
    kinds.join(" + ")
}

/// Levels on the way through a layer: `2^10>3` is in at 2, refreshed to 10, out at 3.
pub fn path(layer: &LayerRow) -> String {
    match layer.bootstraps {
        0 => format!("{}>{}", layer.level_in, layer.level_out),
        _ => format!("{}^{}>{}", layer.level_in, layer.level_top, layer.level_out),
    }
}

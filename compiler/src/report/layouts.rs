//! Where the tensors of layers sit in the slots.

use fhec_ir::plan::Plan;

use super::names::short;
use super::table::Table;
use crate::memory::human_bytes;

/// One row per layer with a linear map.
pub fn layouts(plan: &Plan) -> String {
    let mut table = Table::new(&["layer", "<name", "rot", "diag", "weights", "<layout of the result"]);
    for (index, layer) in plan.layers.iter().enumerate().filter(|(_, layer)| !layer.layout.is_empty()) {
        table.row([
            index.to_string(),
            short(&layer.name),
            layer.rotations.to_string(),
            layer.diagonals.to_string(),
            human_bytes(layer.plaintext_bytes),
            layer.layout.clone(),
        ]);
    }
    format!(
        "\nlayouts, channels x height x width; weights are encoded diagonals and biases\n{}",
        table.text()
    )
}

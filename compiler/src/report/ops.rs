//! Every op of the scheduled program.

use fhec_ir::plan::Plan;

use super::names::short;
use super::table::Table;

/// One row per op.
pub fn ops(plan: &Plan) -> String {
    let titles = ["op", "<kind", "ct", "levels", "rot", "diag", "mult", "ms", "error", "<layer"];
    let mut table = Table::new(&titles);
    for op in &plan.ops {
        let layer = plan.layers.get(op.layer).map_or(&op.name, |layer| &layer.name);
        table.row([
            op.index.to_string(),
            op.op.clone(),
            op.ciphertexts.to_string(),
            format!("{}>{}", op.level_in, op.level_out),
            op.rotations.to_string(),
            op.diagonals.to_string(),
            op.multiplications.to_string(),
            format!("{:.2}", op.seconds * 1e3),
            format!("2^{:.1}", op.log2_error),
            short(layer),
        ]);
    }
    format!("\nops of the scheduled program\n{}", table.text())
}

//! The level of every value along the program.

use fhec_ir::func::StageOp;

use super::names::short;
use super::table::Table;
use fhec_ir::program::Program;

/// One row per value in program order, with a bar as long as its level.
pub fn levels(program: &Program) -> String {
    let func = &program.schedule;
    let mut table = Table::new(&["value", "level", "<", "<op", "<layer"]);
    let bar = |level: u16, refreshed: bool| {
        let mut bar = "=".repeat(usize::from(level));
        if refreshed {
            bar += " bootstrap";
        }
        bar
    };
    for &input in func.inputs() {
        let level = func.ty(input).level;
        let name = func.value_name(input).unwrap_or_default();
        table.row([input.to_string(), level.to_string(), bar(level, false), "input".into(), short(name)]);
    }
    for (index, data) in func.ops().iter().enumerate() {
        let level = func.ty(data.result).level;
        let refreshed = matches!(data.op, fhec_ir::ckks::Op::Bootstrap { .. });
        let layer = program.plan.ops.get(index).and_then(|op| program.plan.layers.get(op.layer));
        let layer = layer.map_or(String::new(), |layer| short(&layer.name));
        table.row([
            data.result.to_string(),
            level.to_string(),
            bar(level, refreshed),
            data.op.mnemonic().into(),
            layer,
        ]);
    }
    format!("\nlevel of every value, in program order\n{}", table.text())
}

//! The scheduled program as a graph for Graphviz, its ops grouped by layers.

use std::fmt::Write;

use fhec_ir::ckks::Op;
use fhec_ir::entity::Value;
use fhec_ir::func::StageOp;

use super::names::short;
use fhec_ir::program::Program;

/// The graph: `dot -Tsvg` draws it.
pub fn dot(program: &Program) -> String {
    let (func, plan) = (&program.schedule, &program.plan);
    let mut text = format!(
        "digraph {} {{\n  rankdir=TB;\n  node [shape=box, fontname=\"sans-serif\"];\n",
        quoted(&plan.network)
    );
    // Writing to a String cannot fail.
    for &input in func.inputs() {
        let ty = func.ty(input);
        let label = format!("{}\nlevel {}", func.value_name(input).unwrap_or("input"), ty.level);
        let _ = writeln!(text, "  {} [label={}, shape=ellipse];", node(input), quoted(&label));
    }
    for (index, layer) in plan.layers.iter().enumerate() {
        let _ = writeln!(text, "  subgraph cluster_{index} {{\n    label={};", quoted(&short(&layer.name)));
        for &op in &layer.ops {
            let (data, row) = (&func.ops()[op], &plan.ops[op]);
            let label = format!(
                "{}\nlevel {} > {}, {:.1} ms",
                row.op,
                row.level_in,
                row.level_out,
                row.seconds * 1e3
            );
            // Shape as well as fill, for readers who do not see colours.
            let style = match data.op {
                Op::Bootstrap { .. } => ", shape=house, style=filled, fillcolor=\"#e69f00\"",
                _ => "",
            };
            let _ = writeln!(text, "    {} [label={}{style}];", node(data.result), quoted(&label));
        }
        text += "  }\n";
    }
    for data in func.ops() {
        for operand in data.op.operands() {
            let _ = writeln!(text, "  {} -> {};", node(operand), node(data.result));
        }
    }
    text + "}\n"
}

fn node(value: Value) -> String {
    format!("v{}", value.index())
}

/// A quoted string of the dot language.
fn quoted(text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    format!("\"{escaped}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_leave_their_quotes() {
        assert_eq!(quoted("a\"];b\\\nc"), "\"a\\\"];b\\\\\\nc\"");
    }
}

//! The scheduled program as a graph for Graphviz, its ops grouped by layers.

use std::fmt::Write;

use fhec_ir::ckks::Op;
use fhec_passes::analysis::def_use::{def_use, node};
use petgraph::dot::{Config, Dot};

use super::names::short;
use fhec_ir::program::Program;

/// The graph: `dot -Tsvg` draws it.
pub fn dot(program: &Program) -> String {
    let (func, plan) = (&program.schedule, &program.plan);
    let graph = def_use(func);
    // By value, as the nodes are.
    let mut attributes = vec![String::new(); func.value_count()];
    for &input in func.inputs() {
        let label = format!("{}\nlevel {}", func.value_name(input).unwrap_or("input"), func.ty(input).level);
        attributes[input.index()] = format!("label={}, shape=ellipse", quoted(&label));
    }
    for (data, row) in func.ops().iter().zip(&plan.ops) {
        let (level_in, level_out, milliseconds) = (row.level_in, row.level_out, row.seconds * 1e3);
        let label = format!("{}\nlevel {level_in} > {level_out}, {milliseconds:.1} ms", row.op);
        // Shape as well as fill, for readers who do not see colours.
        let style = match data.op {
            Op::Bootstrap { .. } => ", shape=house, style=filled, fillcolor=\"#e69f00\"",
            _ => "",
        };
        attributes[data.result.index()] = format!("label={}{style}", quoted(&label));
    }
    let mut text = format!(
        "digraph {} {{\n    rankdir=TB;\n    node [shape=box, fontname=\"sans-serif\"];\n",
        quoted(&plan.network)
    );
    // The nodes of a layer; `petgraph` knows no groups. Writing to a String cannot fail.
    for (index, layer) in plan.layers.iter().enumerate() {
        let nodes = layer.ops.iter().map(|&op| node(func.ops()[op].result).index().to_string());
        let nodes = nodes.collect::<Vec<_>>().join("; ");
        let label = quoted(&short(&layer.name));
        let _ = writeln!(text, "    subgraph cluster_{index} {{ label={label}; {nodes} }}");
    }
    let content = [Config::GraphContentOnly, Config::NodeNoLabel, Config::EdgeNoLabel];
    let of_node = |_, (node, _): (petgraph::graph::NodeIndex, _)| attributes[node.index()].clone();
    let of_edge = |_, _| String::new();
    let dot = Dot::with_attr_getters(&graph, &content, &of_edge, &of_node);
    format!("{text}{dot:?}}}\n")
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

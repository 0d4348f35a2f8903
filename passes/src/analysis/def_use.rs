//! The def-use graph of a function, for algorithms on graphs.
//!
//! Ops of a function are in an order already, so what goes along that order (levels, costs, last
//! uses) is a loop over ops and needs no graph.

use fhec_ir::entity::Value;
use fhec_ir::func::{Func, Stage, StageOp};
use petgraph::graph::{DiGraph, NodeIndex};
use petgraph::visit::{Dfs, Reversed, Walker};

/// A node per value, in the order of their ids, and an edge from each operand to each result that
/// it is used for, as often as it is used.
pub fn def_use<S: Stage>(func: &Func<S>) -> DiGraph<Value, ()> {
    let mut graph = DiGraph::with_capacity(func.value_count(), func.ops().len());
    (0..func.value_count()).for_each(|index| {
        graph.add_node(Value::new(index));
    });
    for data in func.ops() {
        for operand in data.op.operands() {
            graph.add_edge(node(operand), node(data.result), ());
        }
    }
    graph
}

/// The node of a value.
pub fn node(value: Value) -> NodeIndex {
    NodeIndex::new(value.index())
}

/// By value: whether an output depends on it.
pub fn live<S: Stage>(func: &Func<S>) -> Vec<bool> {
    let graph = def_use(func);
    let backwards = Reversed(&graph);
    let mut search = Dfs::empty(backwards);
    search.stack.extend(func.outputs().iter().map(|&output| node(output)));
    let mut live = vec![false; func.value_count()];
    search.iter(backwards).for_each(|reached| live[reached.index()] = true);
    live
}

#[cfg(test)]
mod tests {
    use fhec_ir::packed::Packed;
    use fhec_ir::text::{ConstSource, parse_func};

    use super::*;

    #[test]
    fn values_live_as_long_as_an_output_depends_on_them() {
        let text = "func packed test {
            input %0 : vec<1, 16> input %1 : vec<1, 16>
            %2 = rotate(%0) {steps=1}
            %3 = add(%2, %2)
            %4 = rotate(%2) {steps=2}
            %5 = add(%3, %0)
            return %5 }";
        let func: Func<Packed> = parse_func(text, &ConstSource::default()).unwrap();
        assert_eq!(live(&func), [true, false, true, true, false, true]);
        let graph = def_use(&func);
        assert_eq!((graph.node_count(), graph.edge_count()), (6, 6));
        assert_eq!(graph[node(Value::new(3))], Value::new(3));
    }
}

//! Which node of an ONNX model a value comes from.
//!
//! Values carry the names of the model's tensors, and a tensor is the output of one node; the
//! importer leaves these nodes in the fact [`ONNX_NODES`]. Passes keep names and facts, so that
//! what is said about a value can name its node at every step.

use super::Nn;
use crate::entity::Value;
use crate::fact::ONNX_NODES;
use crate::func::{Func, StageOp};
use crate::record_attr;

/// A node of an ONNX model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OnnxNode {
    /// The tensor it computes.
    pub tensor: String,
    /// Its name, or that of its first output if it has none.
    pub node: String,
    /// Its operator.
    pub op: String,
}

record_attr!(OnnxNode { tensor, node, op });

/// The node that `value` comes from, if the function says so. A value without a name is on the way
/// to the first value with one that is made of it, and belongs to the node of that.
pub fn onnx_node(func: &Func<Nn>, value: Value) -> Option<OnnxNode> {
    let mut nodes: Vec<OnnxNode> = func.fact(ONNX_NODES).ok()?;
    let mut at = value;
    loop {
        if let Some(name) = func.value_name(at) {
            let position = nodes.iter().position(|node| node.tensor == name)?;
            return Some(nodes.swap_remove(position));
        }
        let user = func.ops().iter().find(|data| data.op.operands().contains(&at))?;
        at = user.result;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::{ConstSource, parse_func, print_func};

    #[test]
    fn values_have_the_node_of_their_name_or_of_the_next_name() {
        let text = r#"func nn f {
            meta onnx_nodes = [{tensor="a", node="Relu_0", op="Relu"}, {tensor="c", node="gemm", op="Gemm"}]
            input %0 : f32[1, 2] "x"
            %1 = relu(%0) "a"
            %2 = add(%1, %1)
            %3 = add(%2, %1) "c"
            %4 = relu(%3)
            return %4
        }"#;
        let func: Func<Nn> = parse_func(text, &ConstSource::default()).unwrap();
        let node = |index| onnx_node(&func, Value::new(index)).map(|node| (node.node, node.op));
        let known = |name: &str, op: &str| Some((name.to_string(), op.to_string()));
        assert_eq!(
            [node(1), node(2), node(3)],
            [known("Relu_0", "Relu"), known("gemm", "Gemm"), known("gemm", "Gemm")]
        );
        assert_eq!([node(0), node(4)], [None, None]);
        let again: Func<Nn> = parse_func(&print_func(&func), &ConstSource::default()).unwrap();
        assert_eq!(again, func);
    }
}

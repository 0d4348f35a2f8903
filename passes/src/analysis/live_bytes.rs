//! Bytes of ciphertexts alive while a program runs in its order.

use fhec_ir::ckks::Ckks;
use fhec_ir::func::{Func, StageOp};

use super::circuit_shapes::CircuitShapes;
use super::op_cost::OpCosts;

/// Live bytes per op and their peak.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LiveBytes {
    /// While op `i` runs: operands, result, everything used later, and the op's working memory.
    pub per_op: Vec<u64>,
    /// The largest of them; for a program without ops, its inputs.
    pub peak: u64,
}

/// Live bytes of `func`; values are freed at their last use, unused inputs at the start.
pub fn live_bytes(func: &Func<Ckks>, costs: &OpCosts, shapes: &mut CircuitShapes) -> LiveBytes {
    let last_uses = func.last_uses();
    let bytes = |value| costs.value_bytes(func, value);
    let used = |value: &&fhec_ir::entity::Value| last_uses[value.index()].is_some();
    let mut live: u64 = func.inputs().iter().filter(used).map(|&input| bytes(input)).sum();
    let (mut per_op, mut peak) = (Vec::with_capacity(func.ops().len()), live);
    for (index, data) in func.ops().iter().enumerate() {
        live += bytes(data.result);
        let now = live + costs.working_bytes(func, data, shapes);
        per_op.push(now);
        peak = peak.max(now);
        let mut operands = data.op.operands();
        operands.sort_unstable();
        operands.dedup();
        for operand in operands {
            if last_uses[operand.index()] == Some(index) {
                live -= bytes(operand);
            }
        }
        if last_uses[data.result.index()].is_none() {
            live -= bytes(data.result);
        }
    }
    LiveBytes { per_op, peak }
}

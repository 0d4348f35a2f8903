//! Bytes of ciphertexts alive while a program runs in its order.

use fhec_ir::ckks::{Ckks, Op};
use fhec_ir::entity::Value;
use fhec_ir::func::{Func, OpData, StageOp};

use super::circuit_shapes::CircuitShapes;
use super::op_cost::OpCosts;

/// Live bytes per op and their peak.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LiveBytes {
    /// While op `i` runs: operands, result, everything used later, and the op's working memory. Of
    /// operands that go one by one as results come, and of those results, the larger.
    pub per_op: Vec<u64>,
    /// The largest of them; for a program without ops, its inputs.
    pub peak: u64,
}

/// Live bytes of `func`; values are freed at their last use, unused inputs at the start.
pub fn live_bytes(func: &Func<Ckks>, costs: &OpCosts, shapes: &mut CircuitShapes) -> LiveBytes {
    let last_uses = func.last_uses();
    let bytes = |value| costs.value_bytes(func, value);
    let used = |value: &&Value| last_uses[value.index()].is_some();
    let mut live: u64 = func.inputs().iter().filter(used).map(|&input| bytes(input)).sum();
    let (mut per_op, mut peak) = (Vec::with_capacity(func.ops().len()), live);
    let use_counts = func.use_counts();
    // Sums of constants are rescaled one by one: all of them are never there.
    let rescaled_at_once = |data: &OpData<Ckks>, next: Option<&OpData<Ckks>>| {
        let next = next.filter(|next| matches!(next.op, Op::Rescale { x } if x == data.result))?;
        let constants = matches!(&data.op, Op::LinearMap { map, .. } if map.is_of_constants(&func.consts));
        (constants && use_counts[data.result.index()] == 1).then_some(next.result)
    };
    let mut summed = None;
    for (index, data) in func.ops().iter().enumerate() {
        live += bytes(data.result);
        let absent = match (rescaled_at_once(data, func.ops().get(index + 1)), in_turn(&data.op)) {
            (Some(rescaled), _) => bytes(data.result) - bytes(rescaled),
            (None, Some(operand)) if summed == Some(operand) => bytes(operand),
            (None, Some(operand)) if last_uses[operand.index()] == Some(index) => {
                // Both are there of the ciphertexts that threads have in hand.
                let vectors = func.ty(operand).vectors as u64;
                let waiting = vectors.saturating_sub(costs.threads() as u64);
                bytes(operand).min(bytes(data.result)) / vectors.max(1) * waiting
            }
            _ => 0,
        };
        summed = rescaled_at_once(data, func.ops().get(index + 1)).map(|_| data.result);
        let now = live - absent + costs.working_bytes(func, data, shapes);
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

/// The operand of an op that takes one ciphertext after the other: where nothing else needs them,
/// each goes when its result is there.
fn in_turn(op: &Op) -> Option<Value> {
    match *op {
        Op::Polynomial { x, .. }
        | Op::AddPlain { x, .. }
        | Op::MulPlain { x, .. }
        | Op::MulScalar { x, .. }
        | Op::AddScalar { x, .. }
        | Op::Relinearize { x }
        | Op::Rescale { x }
        | Op::LevelDrop { x, .. } => Some(x),
        _ => None,
    }
}

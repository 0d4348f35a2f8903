//! An order of the ops in which few ciphertexts are alive at a time.
//!
//! | | |
//! |---|---|
//! | Stage    | ckks → ckks |
//! | Requires | a program that verifies |
//! | Ensures  | the same ops in a topological order; peak live bytes no larger than before |
//! | Method   | of all ops whose operands are ready, take the one that leaves the fewest bytes alive, the oldest on a tie; keep the old order unless the new one's peak is smaller |
//! | Tests    | `tests/filetests/ckks/schedule/` |

use fhec_ir::ckks::Ckks;
use fhec_ir::func::{Func, OpData, Rewriter, StageOp};

use crate::analysis::circuit_shapes::CircuitShapes;
use crate::analysis::live_bytes::live_bytes;
use crate::analysis::op_cost::OpCosts;

/// Returns the program in the new order, and its peak of live bytes before and after.
pub fn schedule(
    func: &Func<Ckks>,
    costs: &OpCosts,
    shapes: &mut CircuitShapes,
) -> Result<(Func<Ckks>, [u64; 2]), String> {
    let mut rewriter = Rewriter::same_stage(func);
    for index in order(func, costs) {
        rewriter.copy(func, &func.ops()[index])?;
    }
    let candidate = rewriter.finish(func);
    let before = live_bytes(func, costs, shapes).peak;
    let after = live_bytes(&candidate, costs, shapes).peak;
    if after < before { Ok((candidate, [before, after])) } else { Ok((func.clone(), [before, before])) }
}

fn order(func: &Func<Ckks>, costs: &OpCosts) -> Vec<usize> {
    let mut uses_left = func.use_counts();
    let mut known = vec![false; func.value_count()];
    func.inputs().iter().for_each(|input| known[input.index()] = true);
    let distinct = |data: &OpData<Ckks>| {
        let mut operands = data.op.operands();
        operands.sort_unstable();
        operands.dedup();
        operands
    };
    let mut waiting: Vec<usize> = (0..func.ops().len()).collect();
    let mut order = Vec::with_capacity(waiting.len());
    while !waiting.is_empty() {
        let growth = |index: usize| {
            let data = &func.ops()[index];
            let all = data.op.operands();
            let freed = distinct(data).into_iter().filter(|operand| {
                uses_left[operand.index()] == all.iter().filter(|other| *other == operand).count()
            });
            let freed: u64 = freed.map(|operand| costs.value_bytes(func, operand)).sum();
            costs.value_bytes(func, data.result) as i128 - i128::from(freed)
        };
        let ready = |&(_, &index): &(usize, &usize)| {
            func.ops()[index].op.operands().iter().all(|operand| known[operand.index()])
        };
        let next = waiting.iter().enumerate().filter(ready).min_by_key(|&(_, &index)| (growth(index), index));
        // Ops of a verified program are in an order already, so one of them is always ready.
        let (position, &index) = next.expect("a straight-line program has no cycle");
        waiting.remove(position);
        let data = &func.ops()[index];
        known[data.result.index()] = true;
        data.op.operands().iter().for_each(|operand| uses_left[operand.index()] -= 1);
        order.push(index);
    }
    order
}

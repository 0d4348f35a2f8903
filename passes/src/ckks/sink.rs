//! The question behind placing an op `f` with `f(a) + f(b) = f(a + b)` late: which results may stay
//! without it.

use fhec_ir::ckks::{Ckks, Op};
use fhec_ir::func::{Func, StageOp};

/// Per value whether it is to be left without its `f`, because a sum further on then needs only
/// one.
///
/// `is_f` tells the op to sink, `passes` the ops with one operand that it may pass through. A value
/// may be deferred if it has one use and is made from `f` alone, a passing op on a deferrable
/// value, or a sum of two such values; it is deferred if this leads to a sum of two.
pub(super) fn deferred(
    func: &Func<Ckks>,
    is_f: impl Fn(&Op) -> bool,
    passes: impl Fn(&Op) -> bool,
) -> Vec<bool> {
    let uses = func.use_counts();
    let mut outputs = vec![false; func.value_count()];
    func.outputs().iter().for_each(|output| outputs[output.index()] = true);
    let mut deferrable = vec![false; func.value_count()];
    for data in func.ops() {
        let operands = data.op.operands();
        let all = || operands.iter().all(|operand| deferrable[operand.index()] && uses[operand.index()] == 1);
        let made = is_f(&data.op)
            || (passes(&data.op) || matches!(data.op, Op::Add { .. } | Op::Sub { .. })) && all();
        let index = data.result.index();
        deferrable[index] = made && uses[index] == 1 && !outputs[index];
    }
    let mut deferred = vec![false; func.value_count()];
    for data in func.ops().iter().rev() {
        let operands = data.op.operands();
        let all = operands.iter().all(|operand| deferrable[operand.index()]);
        let sum = matches!(data.op, Op::Add { .. } | Op::Sub { .. }) && operands.first() != operands.get(1);
        if all && (sum || passes(&data.op) && deferred[data.result.index()]) {
            operands.iter().for_each(|operand| deferred[operand.index()] = true);
        }
    }
    deferred
}

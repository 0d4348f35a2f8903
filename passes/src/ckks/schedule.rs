//! An order of the ops in which few ciphertexts are alive at a time.
//!
//! | | |
//! |---|---|
//! | Stage    | ckks → ckks |
//! | Requires | a program that verifies |
//! | Ensures  | the same ops in a topological order; peak live bytes no larger than before |
//! | Method   | of all ops whose operands are ready, take the one that leaves the fewest bytes alive, the oldest on a tie; keep the old order unless the new one's peak is smaller |
//! | Tests    | `tests/filetests/ckks/schedule/`, unit tests below |

use std::collections::{BTreeMap, BTreeSet};

use fhec_ir::ckks::Ckks;
use fhec_ir::entity::Value;
use fhec_ir::func::{Func, OpData, Rewriter, StageOp};

use crate::analysis::circuit_shapes::CircuitShapes;
use crate::analysis::live_bytes::live_bytes;
use crate::analysis::op_cost::OpCosts;
use crate::error::PassError;
use crate::report::{Passed, Report};

const PASS: &str = "schedule";

/// See the [module](self).
pub fn schedule(
    func: &Func<Ckks>,
    costs: &OpCosts,
    shapes: &mut CircuitShapes,
) -> Result<Passed<Ckks>, PassError> {
    let mut rewriter = Rewriter::same_stage(func);
    for index in order(func, |value| costs.value_bytes(func, value)) {
        rewriter.copy(func, &func.ops()[index]).map_err(PassError::malformed(PASS))?;
    }
    let (candidate, values) = rewriter.finish_with_values(func);
    let before = live_bytes(func, costs, shapes).peak;
    let after = live_bytes(&candidate, costs, shapes).peak;
    let report = |now: u64| Report::of(PASS, format!("peak of live bytes {before} -> {now}"));
    match after < before {
        true => Ok(Passed { func: candidate, report: report(after), values }),
        false => {
            let same: BTreeMap<Value, Value> =
                (0..func.value_count()).map(Value::new).map(|v| (v, v)).collect();
            Ok(Passed { func: func.clone(), report: report(before), values: same })
        }
    }
}

/// Ops in the new order, by their place in the old one. `bytes` is what a value takes.
fn order(func: &Func<Ckks>, bytes: impl Fn(Value) -> u64) -> Vec<usize> {
    let mut pending = Pending::of(func, bytes);
    for index in 0..func.ops().len() {
        if pending.lacking[index] == 0 {
            pending.enter(index);
        }
    }
    let mut order = Vec::with_capacity(func.ops().len());
    while let Some((_, index)) = pending.ready.pop_first() {
        order.push(index);
        pending.done(index);
    }
    order
}

/// Ops that are still to come, those whose operands are there in the order of what they cost.
struct Pending<'a, B> {
    func: &'a Func<Ckks>,
    bytes: B,
    /// By value: the ops to come that use it.
    users: Vec<BTreeSet<usize>>,
    /// By value: whether it stays to the end.
    output: Vec<bool>,
    /// By op: how many of its operands are not there yet.
    lacking: Vec<usize>,
    /// Bytes that an op adds to what is alive, and its place.
    ready: BTreeSet<(i128, usize)>,
    /// By op: under how many bytes it is in `ready`.
    entered: Vec<Option<i128>>,
}

impl<'a, B: Fn(Value) -> u64> Pending<'a, B> {
    fn of(func: &'a Func<Ckks>, bytes: B) -> Self {
        let definitions = func.definitions();
        let mut users = vec![BTreeSet::new(); func.value_count()];
        let mut output = vec![false; func.value_count()];
        func.outputs().iter().for_each(|value| output[value.index()] = true);
        let mut lacking = Vec::with_capacity(func.ops().len());
        for (index, data) in func.ops().iter().enumerate() {
            let operands = distinct(data);
            operands.iter().for_each(|operand| {
                users[operand.index()].insert(index);
            });
            lacking.push(operands.iter().filter(|operand| definitions[operand.index()].is_some()).count());
        }
        let entered = vec![None; func.ops().len()];
        Pending { func, bytes, users, output, lacking, ready: BTreeSet::new(), entered }
    }

    /// Bytes of the result of op `index`, less those of operands that nothing else needs.
    fn growth(&self, index: usize) -> i128 {
        let data = &self.func.ops()[index];
        let last = |operand: &Value| self.users[operand.index()].len() == 1 && !self.output[operand.index()];
        let freed: u64 = distinct(data).into_iter().filter(last).map(&self.bytes).sum();
        i128::from((self.bytes)(data.result)) - i128::from(freed)
    }

    /// Puts op `index` among those that are ready, anew if it was there.
    fn enter(&mut self, index: usize) {
        if let Some(before) = self.entered[index] {
            self.ready.remove(&(before, index));
        }
        let growth = self.growth(index);
        self.ready.insert((growth, index));
        self.entered[index] = Some(growth);
    }

    /// Op `index`, which was taken out of `ready`, has its place.
    fn done(&mut self, index: usize) {
        let data = &self.func.ops()[index];
        for operand in distinct(data) {
            self.users[operand.index()].remove(&index);
            // Who is the last to use a value frees it: of no other op does the growth change.
            let mut users = self.users[operand.index()].iter();
            if let (Some(&last), None) = (users.next(), users.next())
                && self.entered[last].is_some()
            {
                self.enter(last);
            }
        }
        for user in self.users[data.result.index()].clone() {
            self.lacking[user] -= 1;
            if self.lacking[user] == 0 {
                self.enter(user);
            }
        }
    }
}

fn distinct(data: &OpData<Ckks>) -> Vec<Value> {
    let mut operands = data.op.operands();
    operands.sort_unstable();
    operands.dedup();
    operands
}

#[cfg(test)]
mod tests {
    use fhec_ir::ckks::{CiphertextType, Op};

    use super::*;

    /// The order by its definition: all ops that are ready are looked at each time.
    fn by_definition(func: &Func<Ckks>, bytes: impl Fn(Value) -> u64) -> Vec<usize> {
        let mut uses_left = func.use_counts();
        let mut known = vec![false; func.value_count()];
        func.inputs().iter().for_each(|input| known[input.index()] = true);
        let mut waiting: Vec<usize> = (0..func.ops().len()).collect();
        let mut order = Vec::new();
        while !waiting.is_empty() {
            let growth = |index: usize| {
                let data = &func.ops()[index];
                let all = data.op.operands();
                let last = |operand: &Value| {
                    uses_left[operand.index()] == all.iter().filter(|&other| other == operand).count()
                };
                let freed: u64 = distinct(data).into_iter().filter(last).map(&bytes).sum();
                i128::from(bytes(data.result)) - i128::from(freed)
            };
            let ready = |index: &&usize| {
                func.ops()[**index].op.operands().iter().all(|operand| known[operand.index()])
            };
            let next = *waiting.iter().filter(ready).min_by_key(|&&index| (growth(index), index)).unwrap();
            waiting.retain(|&index| index != next);
            let data = &func.ops()[next];
            known[data.result.index()] = true;
            data.op.operands().iter().for_each(|operand| uses_left[operand.index()] -= 1);
            order.push(next);
        }
        order
    }

    #[test]
    fn the_order_is_that_of_the_definition() {
        let mut state = 11u64;
        let mut next = |below: usize| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 33) as usize % below
        };
        let mut moved = 0;
        for _ in 0..200 {
            let mut func: Func<Ckks> = Func::new("random");
            let ty = CiphertextType::canonical(1, 16, 3);
            let mut values = vec![func.add_input(ty, None), func.add_input(ty, None)];
            for _ in 0..4 + next(40) {
                // Mostly late values, so that there are chains; the same one twice at times.
                let mut pick = || values[values.len() - 1 - next(values.len().min(6))];
                let (x, y) = (pick(), pick());
                values.push(func.push(Op::Add { x, y }).unwrap());
            }
            func.set_outputs(vec![values[values.len() - 1], values[next(values.len())]]);
            let bytes: Vec<u64> = values.iter().map(|_| 1 + next(5) as u64).collect();
            let expected = by_definition(&func, |value| bytes[value.index()]);
            assert_eq!(order(&func, |value| bytes[value.index()]), expected);
            moved += usize::from(!expected.is_sorted());
        }
        assert!(moved > 100, "only {moved} orders differ from the old ones");
    }
}

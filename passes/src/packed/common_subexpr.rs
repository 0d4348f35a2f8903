//! Equal ops become one; ops that no output depends on go.
//!
//! | | |
//! |---|---|
//! | Stage    | packed → packed |
//! | Requires | a program that verifies |
//! | Ensures  | the same function; no two ops with the same operands and attributes; no unused op |
//! | Leaves   | inputs, even unused ones, and constants |
//! | Tests    | `tests/filetests/packed/common_subexpr/` |

use std::collections::BTreeMap;

use fhec_ir::entity::Value;
use fhec_ir::func::{Func, OpData, Rewriter, StageOp};
use fhec_ir::packed::{Op, Packed};

use crate::analysis::def_use::live;
use crate::error::PassError;
use crate::report::{Passed, Report};

const PASS: &str = "common_subexpr";

/// See the [module](self).
pub fn common_subexpr(func: &Func<Packed>) -> Result<Passed<Packed>, PassError> {
    let live = live(func);
    let mut rewriter = Rewriter::same_stage(func);
    let mut known: BTreeMap<String, Value> = BTreeMap::new();
    for data in func.ops().iter().filter(|data| live[data.result.index()]) {
        let key = key(&rewriter, data);
        if let Some(&same) = known.get(&key) {
            rewriter.replace(data.result, same);
            continue;
        }
        let new = rewriter.copy(func, data).map_err(PassError::malformed(PASS))?;
        known.insert(key, new);
    }
    let (result, values) = rewriter.finish_with_values(func);
    let removed = func.ops().len() - result.ops().len();
    let report = Report::of(PASS, format!("{removed} ops removed"));
    Ok(Passed { func: result, report, values })
}

/// The op with its operands renamed, sums and products with their operands in order.
fn key(rewriter: &Rewriter<Packed, Packed>, data: &OpData<Packed>) -> String {
    let mut operands: Vec<Value> = data.op.operands().iter().map(|&operand| rewriter.get(operand)).collect();
    if matches!(data.op, Op::Add { .. } | Op::Mul { .. }) {
        operands.sort_unstable();
    }
    format!("{} {operands:?} {:?}", data.op.mnemonic(), data.op.attrs())
}

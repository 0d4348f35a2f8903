//! One rescale for a sum instead of one per term.
//!
//! | | |
//! |---|---|
//! | Stage    | ckks → ckks |
//! | Requires | a program that verifies, rescaled early |
//! | Ensures  | the same function; never more rescales |
//! | Leaves   | rescales before rotations and products, which are cheaper one level down |
//! | Method   | a rescale sinks through additions as long as both operands were just rescaled and are used once; `rescale(a) + rescale(b)` becomes `rescale(a + b)` |
//! | Tests    | `tests/filetests/ckks/place_rescales/` |

use fhec_ir::ckks::{Ckks, Op};
use fhec_ir::func::{Func, Rewriter};

use super::sink::deferred;
use crate::error::PassError;
use crate::report::{Passed, Report};

const PASS: &str = "place_rescales";

/// See the [module](self).
pub fn place_rescales(func: &Func<Ckks>) -> Result<Passed<Ckks>, PassError> {
    let (rewriter, saved) = sink(func).map_err(PassError::malformed(PASS))?;
    let (result, values) = rewriter.finish_with_values(func);
    let report = Report::of(PASS, format!("{saved} rescales saved"));
    Ok(Passed { func: result, report, values })
}

/// The rewritten program and the number of rescales saved.
fn sink(func: &Func<Ckks>) -> Result<(Rewriter<Ckks>, usize), String> {
    let deferred = deferred(
        func,
        |op| matches!(op, Op::Rescale { .. }),
        |op| matches!(op, Op::AddPlain { .. } | Op::AddScalar { .. }),
    );
    let mut rewriter = Rewriter::same_stage(func);
    let (mut before, mut after) = (0, 0);
    for data in func.ops() {
        let late = deferred[data.result.index()];
        if let Op::Rescale { x } = data.op {
            before += 1;
            if late {
                let x = rewriter.get(x);
                rewriter.replace(data.result, x);
                continue;
            }
            after += 1;
        }
        let new = rewriter.copy(func, data)?;
        let sum_of_deferred = fhec_ir::func::StageOp::operands(&data.op).iter().any(|o| deferred[o.index()]);
        if sum_of_deferred && !late {
            let name = func.value_name(data.result);
            rewriter.func.set_value_name(new, None);
            let rescaled = rewriter.func.push_named(Op::Rescale { x: new }, name)?;
            rewriter.replace(data.result, rescaled);
            after += 1;
        }
    }
    Ok((rewriter, before - after))
}

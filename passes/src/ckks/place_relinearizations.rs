//! One relinearisation for a sum of products instead of one per product, and after the rescale
//! where that is cheaper.
//!
//! | | |
//! |---|---|
//! | Stage    | ckks → ckks |
//! | Requires | a program that verifies, relinearised early |
//! | Ensures  | the same function; never more relinearisations |
//! | Method   | first sink through sums as in [`super::place_rescales`], also past rescales on the way to one; then swap `relinearize; rescale` where a rescale of three polynomials and a key switch one level down cost less |
//! | Tests    | `tests/filetests/ckks/place_relinearizations/` |

use fhec_ir::ckks::{Ckks, Op};
use fhec_ir::func::{Func, Rewriter, StageOp};
use fhec_ir::scale::Level;

use super::sink::deferred;
use crate::error::PassError;
use crate::report::{Passed, Report};

const PASS: &str = "place_relinearizations";

/// See the [module](self). `swap_pays(level)` says whether relinearising after the rescale from
/// `level` is cheaper than before.
pub fn place_relinearizations(
    func: &Func<Ckks>,
    swap_pays: impl Fn(Level) -> bool,
) -> Result<Passed<Ckks>, PassError> {
    let malformed = PassError::malformed(PASS);
    let (rewriter, saved) = sink_through_sums(func).map_err(&malformed)?;
    let (summed, sums) = rewriter.finish_with_values(func);
    let (result, swaps) =
        swap_with_rescales(&summed, swap_pays).map_err(malformed)?.finish_with_values(&summed);
    let values = sums.into_iter().filter_map(|(old, sum)| Some((old, *swaps.get(&sum)?))).collect();
    let report = Report::of(PASS, format!("{saved} relinearisations saved"));
    Ok(Passed { func: result, report, values })
}

/// The rewritten program and the number of relinearisations saved.
fn sink_through_sums(func: &Func<Ckks>) -> Result<(Rewriter<Ckks>, usize), String> {
    let deferred = deferred(
        func,
        |op| matches!(op, Op::Relinearize { .. }),
        |op| matches!(op, Op::AddPlain { .. } | Op::AddScalar { .. } | Op::Rescale { .. }),
    );
    let mut rewriter = Rewriter::same_stage(func);
    let (mut before, mut after) = (0, 0);
    for data in func.ops() {
        let late = deferred[data.result.index()];
        if let Op::Relinearize { x } = data.op {
            before += 1;
            if late {
                let x = rewriter.get(x);
                rewriter.replace(data.result, x);
                continue;
            }
            after += 1;
        }
        let new = rewriter.copy(func, data)?;
        if data.op.operands().iter().any(|o| deferred[o.index()]) && !late {
            let name = func.value_name(data.result);
            rewriter.func.set_value_name(new, None);
            let small = rewriter.func.push_named(Op::Relinearize { x: new }, name)?;
            rewriter.replace(data.result, small);
            after += 1;
        }
    }
    Ok((rewriter, before - after))
}

fn swap_with_rescales(
    func: &Func<Ckks>,
    swap_pays: impl Fn(Level) -> bool,
) -> Result<Rewriter<Ckks>, String> {
    let uses = func.use_counts();
    let definitions = func.definitions();
    // Relinearisations whose only use is a rescale, by the value they define.
    let mut swapped = vec![false; func.value_count()];
    for data in func.ops() {
        if let Op::Rescale { x } = data.op
            && uses[x.index()] == 1
            && let Some(index) = definitions[x.index()]
            && matches!(func.ops()[index].op, Op::Relinearize { .. })
            && swap_pays(func.ty(x).level)
        {
            swapped[x.index()] = true;
        }
    }
    let mut rewriter = Rewriter::same_stage(func);
    for data in func.ops() {
        match data.op {
            Op::Relinearize { x } if swapped[data.result.index()] => {
                let x = rewriter.get(x);
                rewriter.replace(data.result, x);
            }
            Op::Rescale { x } if swapped[x.index()] => {
                let x = rewriter.get(x);
                let rescaled = rewriter.func.push(Op::Rescale { x })?;
                let name = func.value_name(data.result);
                let small = rewriter.func.push_named(Op::Relinearize { x: rescaled }, name)?;
                rewriter.replace(data.result, small);
            }
            _ => {
                rewriter.copy(func, data)?;
            }
        }
    }
    Ok(rewriter)
}

//! `passes/src/packed`: on packed programs.

use fhec_ir::packed::Packed;
use fhec_passes::packed::common_subexpr::common_subexpr;

use crate::runner::{Case, Failure, Outcome, run_packed_random, same};

pub(super) fn common(case: &Case) -> Result<Outcome, Failure> {
    let before = case.program::<Packed>()?;
    let after = common_subexpr(&before).map_err(Failure::broken)?.func;
    same(&run_packed_random(&before)?, &run_packed_random(&after)?)?;
    Outcome::of(&after)
}

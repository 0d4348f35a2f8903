//! The passes that put a network into the slots of a ring.

use std::sync::Arc;

use fhec_ir::func::Func;
use fhec_ir::nn::Nn;
use fhec_ir::packed::Packed;

use super::runner::{After, Runner};
use crate::error::PassError;
use crate::lower_nn::{LayoutOptions, lower_nn};
use crate::packed::common_subexpr::common_subexpr;
use crate::report::{Passed, Report};

/// What the passes on slot vectors leave.
#[derive(Clone, Debug)]
pub struct PackedResult {
    /// The program.
    pub func: Arc<Func<Packed>>,
    /// One per pass, in order.
    pub reports: Vec<Report>,
}

/// Takes a network of linear ops and polynomials to slot vectors. `after` is shown what each pass
/// left.
///
/// # Errors
/// Those of the passes; [`PassError::Verify`] if one broke the program.
pub fn run_packed<'a>(
    func: &Func<Nn>,
    layouts: &LayoutOptions,
    verify_each: bool,
    after: &'a mut After<'a>,
) -> Result<PackedResult, PassError> {
    let mut runner = Runner::new(verify_each, after);
    let lowered = runner.pass(func, |func| {
        let func = lower_nn(func, layouts)?;
        let words = format!("{} ops on vectors of {} slots", func.ops().len(), layouts.slots);
        Ok(Passed::new(func, Report::of("lower", words)))
    })?;
    let func = runner.pass(&lowered, common_subexpr)?;
    Ok(PackedResult { func, reports: runner.finish() })
}

//! From a network as imported to a scheduled program with its plan: [`crate::pipeline`], then
//! [`crate::schedule_network`].

use fhec_ir::ckks::Ckks;
use fhec_ir::func::Func;
use fhec_ir::nn::Nn;
use fhec_ir::packed::Packed;
use fhec_ir::params::Params;
use fhec_ir::plan::Plan;
use fhec_ir::text::print_func;
use thiserror::Error;

use crate::error::PassError;
use crate::nn::activations::Activations;
use crate::nn::calibrate::Source;
use crate::pipeline::{NnOptions, NnResult, run_nn};
use crate::report::Report;
use crate::schedule_network::{ScheduleError, ScheduleOptions, Snapshot, schedule_network};
use fhec_ir::security::SecurityError;

/// Options of [`compile`].
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Of the passes on networks.
    pub nn: NnOptions,
    /// Of everything from `lower` on.
    pub schedule: ScheduleOptions,
}

/// What a compile yields.
#[derive(Clone, Debug)]
pub struct Compiled {
    /// The network with its exact activations, simplified: what the program is measured against.
    pub reference: Func<Nn>,
    /// The network of linear ops and polynomials.
    pub nn: Func<Nn>,
    /// The same on slot vectors.
    pub packed: Func<Packed>,
    /// The scheduled program.
    pub program: Func<Ckks>,
    /// Its parameters.
    pub params: Params,
    /// What was decided and predicted.
    pub plan: Plan,
    /// Fitted polynomials of the activations, if there are any.
    pub activations: Option<Activations>,
    /// Reports of the passes on networks.
    pub reports: Vec<Report>,
}

/// Why a network cannot be compiled.
#[derive(Clone, Debug, Error)]
#[allow(missing_docs)]
pub enum CompileError {
    #[error(transparent)]
    Pass(#[from] PassError),
    #[error(transparent)]
    Schedule(#[from] ScheduleError),
    #[error(transparent)]
    Security(#[from] SecurityError),
}

/// A program of some stage on its way, for `--print-after`.
#[derive(Clone, Copy, Debug)]
pub enum Stage<'a> {
    /// A network.
    Nn(&'a Func<Nn>),
    /// Slot vectors.
    Packed(&'a Func<Packed>),
    /// Ciphertexts.
    Ckks(&'a Func<Ckks>),
}

impl Stage<'_> {
    /// The program as text.
    pub fn print(&self) -> String {
        match self {
            Stage::Nn(func) => print_func(func),
            Stage::Packed(func) => print_func(func),
            Stage::Ckks(func) => print_func(func),
        }
    }
}

/// Compiles `func`. `after` is shown the program after every pass, by the pass's name.
pub fn compile(
    func: &Func<Nn>,
    source: &Source<'_>,
    options: &Options,
    after: &mut dyn FnMut(&'static str, Stage<'_>),
) -> Result<Compiled, CompileError> {
    let NnResult { reference, func: nn, ranges, activations, reports } =
        run_nn(func, source, &options.nn, &mut |pass, func| after(pass, Stage::Nn(func)))?;
    let scheduled = schedule_network(&nn, &options.schedule, &mut |pass, snapshot| match snapshot {
        Snapshot::Packed(func) => after(pass, Stage::Packed(func)),
        Snapshot::Ckks(func) => after(pass, Stage::Ckks(func)),
    })?;
    let security_bits = options.schedule.params.security_bits;
    let costs = &options.schedule.costs;
    let mut plan = crate::plan::plan(&scheduled, func, security_bits, costs, ranges, &reports)?;
    plan.agreement = activations.as_ref().map(Activations::agreement);
    let (packed, program, params) = (scheduled.packed, scheduled.program, scheduled.params);
    Ok(Compiled { reference, nn, packed, program, params, plan, activations, reports })
}

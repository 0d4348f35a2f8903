//! Runs passes one by one: measures time, counts ops, verifies, and shows what each pass left.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use fhec_ir::ckks::Ckks;
use fhec_ir::entity::Value;
use fhec_ir::func::{Func, Stage};
use fhec_ir::nn::Nn;
use fhec_ir::packed::Packed;
use fhec_ir::text::print_func;
use fhec_ir::verify::verify;

use crate::error::PassError;
use crate::report::{Passed, Report};

/// A stage of the IR by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
pub enum StageName {
    /// Tensors and polynomials, before lowering
    Nn,
    /// Slot vectors
    Packed,
    /// The scheduled homomorphic program
    Ckks,
}

/// A program of some stage as a pass left it. Cloning shares the program.
#[derive(Clone, Debug)]
pub enum Snapshot {
    /// A network.
    Nn(Arc<Func<Nn>>),
    /// Slot vectors.
    Packed(Arc<Func<Packed>>),
    /// Ciphertexts.
    Ckks(Arc<Func<Ckks>>),
}

impl Snapshot {
    /// Its stage.
    pub fn stage(&self) -> StageName {
        match self {
            Snapshot::Nn(_) => StageName::Nn,
            Snapshot::Packed(_) => StageName::Packed,
            Snapshot::Ckks(_) => StageName::Ckks,
        }
    }

    /// The program as text.
    pub fn print(&self) -> String {
        match self {
            Snapshot::Nn(func) => print_func(func),
            Snapshot::Packed(func) => print_func(func),
            Snapshot::Ckks(func) => print_func(func),
        }
    }

    /// Runs the verifier on what `pass` left.
    fn verify(&self, pass: &'static str) -> Result<(), PassError> {
        let verified = match self {
            Snapshot::Nn(func) => verify(func),
            Snapshot::Packed(func) => verify(func),
            Snapshot::Ckks(func) => verify(func),
        };
        verified.map_err(|errors| PassError::Verify { pass, errors })
    }
}

impl From<Arc<Func<Nn>>> for Snapshot {
    fn from(func: Arc<Func<Nn>>) -> Self {
        Snapshot::Nn(func)
    }
}

impl From<Arc<Func<Packed>>> for Snapshot {
    fn from(func: Arc<Func<Packed>>) -> Self {
        Snapshot::Packed(func)
    }
}

impl From<Arc<Func<Ckks>>> for Snapshot {
    fn from(func: Arc<Func<Ckks>>) -> Self {
        Snapshot::Ckks(func)
    }
}

/// Is shown the program after every pass, by the pass's name.
pub type After<'a> = dyn FnMut(&'static str, Snapshot) + 'a;

/// Runs passes.
pub struct Runner<'a> {
    verify_each: bool,
    after: &'a mut After<'a>,
    reports: Vec<Report>,
}

impl<'a> Runner<'a> {
    /// A runner that verifies after every pass in debug builds, or in all builds if `verify_each`.
    pub fn new(verify_each: bool, after: &'a mut After<'a>) -> Self {
        Runner { verify_each: verify_each || cfg!(debug_assertions), after, reports: Vec::new() }
    }

    /// Runs a pass whose values nobody follows.
    ///
    /// # Errors
    /// Those of the pass; [`PassError::Verify`] if it broke the program.
    pub fn pass<S: Stage, T: Stage>(
        &mut self,
        func: &Func<S>,
        pass: impl FnOnce(&Func<S>) -> Result<Passed<T>, PassError>,
    ) -> Result<Arc<Func<T>>, PassError>
    where
        Arc<Func<T>>: Into<Snapshot>,
    {
        Ok(self.followed(func, pass)?.0)
    }

    /// Runs a pass. The second result says what values of `func` are now ([`Passed::values`]).
    ///
    /// # Errors
    /// Those of the pass; [`PassError::Verify`] if it broke the program.
    pub fn followed<S: Stage, T: Stage>(
        &mut self,
        func: &Func<S>,
        pass: impl FnOnce(&Func<S>) -> Result<Passed<T>, PassError>,
    ) -> Result<(Arc<Func<T>>, BTreeMap<Value, Value>), PassError>
    where
        Arc<Func<T>>: Into<Snapshot>,
    {
        let start = Instant::now();
        let Passed { func: result, report, values } = pass(func)?;
        let result = Arc::new(result);
        let snapshot: Snapshot = result.clone().into();
        let name = report.pass;
        self.keep(report, start, [func.ops().len(), result.ops().len()]);
        if self.verify_each {
            snapshot.verify(name)?;
        }
        (self.after)(name, snapshot);
        Ok((result, values))
    }

    /// Runs a pass that leaves the program as it is and finds something out about it.
    ///
    /// # Errors
    /// Those of the pass.
    pub fn analysis<S: Stage, R>(
        &mut self,
        func: &Func<S>,
        analysis: impl FnOnce(&Func<S>) -> Result<(R, Report), PassError>,
    ) -> Result<R, PassError> {
        let start = Instant::now();
        let (result, report) = analysis(func)?;
        self.keep(report, start, [func.ops().len(); 2]);
        Ok(result)
    }

    /// Keeps reports of passes that ran together since `start`; `func` is what they left.
    pub fn together<S: Stage>(&mut self, reports: Vec<Report>, start: Instant, func: &Func<S>) {
        let last = reports.len().saturating_sub(1);
        for (index, report) in reports.into_iter().enumerate() {
            let ops = [func.ops().len(); 2];
            match index == last {
                true => self.keep(report, start, ops),
                false => self.keep(report, Instant::now(), ops),
            }
        }
    }

    fn keep(&mut self, mut report: Report, start: Instant, [before, after]: [usize; 2]) {
        (report.time, report.ops_before, report.ops_after) = (start.elapsed(), before, after);
        let seconds = report.time.as_secs_f64();
        tracing::debug!(step = report.pass, seconds, ops = after, report = report.in_words(), "pass done");
        self.reports.push(report);
    }

    /// What the passes said, in order.
    pub fn finish(self) -> Vec<Report> {
        self.reports
    }
}

#[cfg(test)]
mod tests {
    use fhec_ir::nn::Op;

    use super::*;

    fn network() -> Func<Nn> {
        let text = "func nn test { input %0 : f32[1, 2] %1 = relu(%0) return %1 }";
        fhec_ir::text::parse_func(text, &Default::default()).unwrap()
    }

    #[test]
    fn passes_are_reported_and_shown_in_order() {
        let mut shown = Vec::new();
        let mut after = |pass: &'static str, snapshot: Snapshot| shown.push((pass, snapshot.stage()));
        let mut runner = Runner::new(false, &mut after);
        let doubled = runner.followed(&network(), |func| {
            let mut func = func.clone();
            let value = func.push(Op::relu(func.outputs()[0])).unwrap();
            func.set_outputs(vec![value]);
            let values = func.inputs().iter().map(|&input| (input, input)).collect();
            Ok(Passed { func, report: Report::new("double"), values })
        });
        let (func, values) = doubled.unwrap();
        assert_eq!((func.ops().len(), values.len()), (2, 1));
        let count = |func: &Func<Nn>| Ok((func.ops().len(), Report::new("count")));
        assert_eq!(runner.analysis(&func, count).unwrap(), 2);
        let reports = runner.finish();
        let sizes = reports.iter().map(|report| (report.pass, report.ops_before, report.ops_after));
        assert_eq!(sizes.collect::<Vec<_>>(), [("double", 1, 2), ("count", 2, 2)]);
        assert_eq!(shown, [("double", StageName::Nn)]);
    }

    #[test]
    fn a_pass_that_breaks_the_program_is_named() {
        let mut after = |_: &'static str, _: Snapshot| panic!("a broken program is not shown");
        let mut runner = Runner::new(true, &mut after);
        let broken = runner.pass(&network(), |func| {
            let mut func = func.clone();
            // A sum of shapes that do not fit, with a type that is made up.
            let ty = func.ty(func.inputs()[0]).clone();
            let other = func.add_input(fhec_ir::nn::TensorType { shape: vec![1, 3] }, None);
            let sum = func.push_typed(Op::Add { x: func.inputs()[0], y: other }, ty, None);
            func.set_outputs(vec![sum]);
            Ok(Passed::new(func, Report::new("break")))
        });
        assert!(matches!(broken, Err(PassError::Verify { pass: "break", .. })), "{broken:?}");
    }
}

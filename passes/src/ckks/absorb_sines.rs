//! Polynomials that undo the sine of the bootstraps they read.
//!
//! | | |
//! |---|---|
//! | Stage    | ckks → ckks |
//! | Requires | a program with the bootstraps in its meta |
//! | Ensures  | results of bootstraps that polynomials alone read are the sine's ([`Op::Bootstrap`]), and these polynomials are those of `f(arcsin)`; the same function, as near as [`crate::approximation::undone_sine`] says |
//! | Leaves   | bootstraps whose sine is straight, or that anything else reads, and polynomials that cannot follow |
//! | Method   | [`crate::approximation::undone_sine`] |
//! | Tests    | `tests/filetests/ckks/absorb_sines/` |
//!
//! A bootstrap that nobody corrects needs messages that are tiny beside the modulus, so that the
//! sine is straight: bits of the modulus, and as many of every prime that the sine is evaluated on.
//! Fitted activations need none of them: `f` is approximated anyhow, and `f(arcsin)` as easily
//! ([`crate::approximation::undone_sine`]).

use std::collections::{BTreeMap, BTreeSet};

use fhec_ir::bootstrap::{BootstrapParams, SineCurve};
use fhec_ir::ckks::{Ckks, Op};
use fhec_ir::entity::Value;
use fhec_ir::func::{Func, Rewriter, StageOp};
use fhec_ir::packed::{self, Packed};
use fhec_ir::params::Params;

use crate::analysis::circuit_shapes::CircuitShapes;
use crate::error::PassError;
use crate::report::{Passed, Report};

const PASS: &str = "absorb_sines";

/// Where a message is bent by less than this, nothing has to undo the sine.
const STRAIGHT: f64 = 1.0 / 8192.0;

/// What polynomials have to undo of the results of `bootstrap`; `None` if its sine is straight.
pub fn bent_by(bootstrap: &BootstrapParams, params: &Params) -> Option<SineCurve> {
    bootstrap.sine_curve(params).filter(|curve| curve.distortion() > STRAIGHT)
}

/// The values of `func` that others than polynomials read, or ones that cannot undo the sine: what
/// must not be refreshed where a sine has to be undone.
pub fn unabsorbing(func: &Func<Packed>, curve: SineCurve, shapes: &mut CircuitShapes) -> BTreeSet<Value> {
    let mut avoided: BTreeSet<Value> = func.outputs().iter().copied().collect();
    for data in func.ops() {
        let follows = match &data.op {
            packed::Op::Polynomial { polynomial, .. } => shapes.absorbed(polynomial, curve).is_some(),
            _ => false,
        };
        if !follows {
            avoided.extend(data.op.operands());
        }
    }
    avoided
}

/// See the [module](self).
pub fn absorb_sines(
    func: &Func<Ckks>,
    params: &Params,
    shapes: &mut CircuitShapes,
) -> Result<Passed<Ckks>, PassError> {
    let bootstraps = BootstrapParams::of_program(func).unwrap_or_default();
    let curve_of = |x: Value| {
        let slots = func.ty(x).slots;
        let bootstrap = bootstraps.iter().find(|bootstrap| bootstrap.slots() == slots);
        bootstrap.and_then(|bootstrap| bent_by(bootstrap, params))
    };
    let readers = Readers::of(func);
    // By value that a bent result reaches: how it is bent.
    let mut bent: BTreeMap<Value, SineCurve> = BTreeMap::new();
    for data in func.ops() {
        let Op::Bootstrap { x, .. } = data.op else { continue };
        let Some(curve) = curve_of(x) else { continue };
        if let Some(reached) = readers.polynomials_alone(func, data.result, curve, shapes) {
            bent.extend(reached.into_iter().map(|value| (value, curve)));
        }
    }
    let mut rewriter = Rewriter::same_stage(func);
    let (mut count, mut all) = (0, 0);
    for data in func.ops() {
        let name = func.value_name(data.result);
        let op = match &data.op {
            Op::Bootstrap { x, level, mask, .. } => {
                all += 1;
                let sine = bent.get(&data.result).map(|curve| curve.ratio());
                count += usize::from(sine.is_some());
                Some(Op::Bootstrap { x: rewriter.get(*x), level: *level, sine, mask: *mask })
            }
            Op::Polynomial { x, polynomial } => {
                let curve = bent.get(x);
                let polynomial = curve.and_then(|curve| shapes.absorbed(polynomial, *curve));
                polynomial.map(|polynomial| Op::Polynomial { x: rewriter.get(*x), polynomial })
            }
            _ => None,
        };
        match op {
            Some(op) => {
                let new = rewriter.func.push_named(op, name).map_err(PassError::malformed(PASS))?;
                rewriter.replace(data.result, new);
            }
            None => {
                rewriter.copy(func, data).map_err(PassError::malformed(PASS))?;
            }
        }
    }
    let (result, values) = rewriter.finish_with_values(func);
    let report = Report::of(PASS, format!("the sines of {count} of {all} bootstraps undone by polynomials"));
    Ok(Passed { func: result, report, values })
}

/// Who reads each value.
struct Readers {
    ops: Vec<Vec<usize>>,
    is_output: Vec<bool>,
}

impl Readers {
    fn of(func: &Func<Ckks>) -> Self {
        let mut readers =
            Readers { ops: vec![Vec::new(); func.value_count()], is_output: vec![false; func.value_count()] };
        for (index, data) in func.ops().iter().enumerate() {
            for operand in data.op.operands() {
                readers.ops[operand.index()].push(index);
            }
        }
        func.outputs().iter().for_each(|output| readers.is_output[output.index()] = true);
        readers
    }

    /// `refreshed`, and what it becomes at lower levels, if all that reads any of them is
    /// polynomials that can undo `curve`.
    fn polynomials_alone(
        &self,
        func: &Func<Ckks>,
        refreshed: Value,
        curve: SineCurve,
        shapes: &mut CircuitShapes,
    ) -> Option<Vec<Value>> {
        let (mut reached, mut left) = (Vec::new(), vec![refreshed]);
        while let Some(value) = left.pop() {
            if self.is_output[value.index()] {
                return None;
            }
            reached.push(value);
            for &reader in &self.ops[value.index()] {
                let data = &func.ops()[reader];
                match &data.op {
                    Op::LevelDrop { .. } => left.push(data.result),
                    Op::Polynomial { polynomial, .. } => {
                        shapes.absorbed(polynomial, curve)?;
                    }
                    _ => return None,
                }
            }
        }
        Some(reached)
    }
}

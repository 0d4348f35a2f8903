//! The executor: walks a scheduled program over a backend. It has no arithmetic of its own.
//!
//! | module | owns |
//! |---|---|
//! | [`backend`] | the ops a backend must have |
//! | [`ckks`] | ciphertexts: the encrypted run, with its cache of encoded diagonals |
//! | [`clear`] | exact slots |
//! | [`noisy`], [`noise`] | slots with modelled errors, and the model |
//! | [`overflow`] | operands outside the range of what is done to them, as a run of slots can see |
//! | [`keys`] | the keys that a server needs for a program |
//! | [`observer`] | progress, trace, cancellation |
//! | [`witness`] | looking at values |
//!
//! Ops run in program order, each on all threads; a value is dropped after its last use. Results are the same for every
//! number of threads.

pub mod backend;
pub mod ckks;
pub mod clear;
pub mod error;
pub mod keys;
pub mod noise;
pub mod noisy;
pub mod observer;
pub mod overflow;
pub mod witness;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Instant;

use fhec_ir::ckks::{Ckks, Op};
use fhec_ir::entity::Value;
use fhec_ir::func::{Func, StageOp, StageType};
use fhec_ir::verify::verify;

use crate::error::EvalError;

pub use backend::{Backend, Site};
pub use ckks::Encrypted;
pub use clear::Clear;
pub use error::ExecError;
pub use keys::{KeysError, ProgramKeys, ReadError};
pub use noisy::{EncryptionKind, Noisy, Simulation};
pub use observer::{Observer, Trace};
pub use overflow::Overflow;
pub use witness::{Witness, seen};

/// Runs `func` on `inputs` and returns its outputs.
///
/// A `relinearize` or `linear_map` whose only use is the `rescale` right after it is executed together with that; the
/// observer is told of both, with the time at the first.
///
/// # Errors
/// See [`ExecError`]: whatever can be known before the first op is checked before it.
pub fn execute<B: Backend>(
    func: &Func<Ckks>,
    backend: &B,
    inputs: Vec<B::Value>,
    observer: &mut dyn Observer,
) -> Result<Vec<B::Value>, ExecError> {
    execute_from(func, backend, inputs, BTreeMap::new(), observer, &mut ())
}

/// [`execute`] with results of ops that are `known` before: they are taken as they are, and ops that no output needs besides are not
/// run. `witness` is shown values as they come.
pub fn execute_from<B: Backend>(
    func: &Func<Ckks>,
    backend: &B,
    inputs: Vec<B::Value>,
    known: BTreeMap<Value, B::Value>,
    observer: &mut dyn Observer,
    witness: &mut dyn Witness<B::Value>,
) -> Result<Vec<B::Value>, ExecError> {
    verify(func)?;
    backend.check_program(func)?;
    if inputs.len() != func.inputs().len() {
        return Err(ExecError::InputCount { expected: func.inputs().len(), found: inputs.len() });
    }
    let runs = needed(func, &known);
    let mut values: Vec<Option<B::Value>> = vec![None; func.value_count()];
    for (value, given) in func.inputs().iter().copied().zip(inputs).chain(known) {
        let ty = func.ty(value);
        let wrong = |found| ExecError::Input { input: value, expected: ty.print(), found };
        backend.check_input(ty, &given).map_err(wrong)?;
        values[value.index()] = Some(given);
    }
    let (last_uses, use_counts) = (func.last_uses(), func.use_counts());
    for &input in func.inputs() {
        if last_uses[input.index()].is_none() {
            values[input.index()] = None;
        }
    }
    let release = |values: &mut [Option<B::Value>], index: usize| {
        for operand in func.ops()[index].op.operands() {
            if last_uses[operand.index()] == Some(index) {
                values[operand.index()] = None;
            }
        }
    };
    let mut fused = false;
    for (index, data) in func.ops().iter().enumerate() {
        if observer.is_cancelled() {
            return Err(ExecError::Cancelled { op: index });
        }
        if !runs[index] {
            release(&mut values, index);
            continue;
        }
        observer.op_started(index);
        let start = Instant::now();
        if std::mem::take(&mut fused) {
            // Its result is there already.
            observer.op_finished(index, 0.0);
            continue;
        }
        let next = func.ops().get(index + 1).filter(|next| {
            matches!(next.op, Op::Rescale { x } if x == data.result) && use_counts[data.result.index()] == 1
        });
        let operands = Operands { values: &mut values, last_uses: &last_uses, index };
        let (result, made) = match (&data.op, next) {
            (Op::Relinearize { .. } | Op::LinearMap { .. }, Some(next)) => {
                fused = true;
                (next.result, backend.run(|| run_with_rescale(func, backend, operands)))
            }
            _ => (data.result, backend.run(|| run_op(func, backend, operands))),
        };
        let mnemonic = data.op.mnemonic();
        let made = made.map_err(|source| ExecError::Op { op: index, mnemonic, source })?;
        release(&mut values, index);
        let seconds = start.elapsed().as_secs_f64();
        witness.computed(result, &made);
        if last_uses[result.index()].is_some() {
            values[result.index()] = Some(made);
        }
        tracing::debug!(op = index, mnemonic, seconds, "executed");
        observer.op_finished(index, seconds);
        // After the second of a pair there is nothing more to show.
        let next = index + 1 + usize::from(fused);
        let named = values.iter().enumerate();
        let live: Vec<(Value, &B::Value)> =
            named.filter_map(|(index, value)| Some((Value::new(index), value.as_ref()?))).collect();
        witness.reached(next, &live);
    }
    let outputs = func.outputs();
    let output = |(position, v): (usize, &Value)| {
        let value = &mut values[v.index()];
        let value = if outputs[position + 1..].contains(v) { value.clone() } else { value.take() };
        value.expect("a verified program defines its outputs")
    };
    Ok(outputs.iter().enumerate().map(output).collect())
}

/// By op: whether the outputs need it, with `known` results known; all ops if none is.
fn needed<V>(func: &Func<Ckks>, known: &BTreeMap<Value, V>) -> Vec<bool> {
    if known.is_empty() {
        return vec![true; func.ops().len()];
    }
    let mut wanted = vec![false; func.value_count()];
    func.outputs().iter().for_each(|output| wanted[output.index()] = true);
    let mut runs = vec![false; func.ops().len()];
    for (index, data) in func.ops().iter().enumerate().rev() {
        runs[index] = wanted[data.result.index()] && !known.contains_key(&data.result);
        if runs[index] {
            data.op.operands().iter().for_each(|operand| wanted[operand.index()] = true);
        }
    }
    runs
}

fn site<'a>(func: &'a Func<Ckks>, index: usize) -> Site<'a> {
    let data = &func.ops()[index];
    let operand = data.op.operands()[0];
    Site { index, consts: &func.consts, operand: func.ty(operand), result: func.ty(data.result) }
}

/// The live values, and the op that reads some of them.
struct Operands<'v, V> {
    values: &'v mut [Option<V>],
    last_uses: &'v [Option<usize>],
    index: usize,
}

impl<V: Clone> Operands<'_, V> {
    fn read(&self, name: Value) -> &V {
        self.values[name.index()].as_ref().expect("values live until their last use")
    }

    /// The value itself, if the op is its last use.
    fn take(&mut self, name: Value) -> Cow<'_, V> {
        if self.last_uses[name.index()] == Some(self.index) {
            return Cow::Owned(self.values[name.index()].take().expect("values live until their last use"));
        }
        Cow::Borrowed(self.read(name))
    }
}

fn run_op<B: Backend>(
    func: &Func<Ckks>,
    backend: &B,
    mut operands: Operands<'_, B::Value>,
) -> Result<B::Value, EvalError> {
    let site = site(func, operands.index);
    match &func.ops()[operands.index].op {
        Op::LinearMap { x, map, baby_step } => backend.linear_map(site, operands.read(*x), map, *baby_step),
        Op::Polynomial { x, polynomial } => backend.polynomial(site, operands.take(*x), polynomial),
        Op::Add { x, y } => backend.add(site, operands.read(*x), operands.read(*y)),
        Op::Sub { x, y } => backend.sub(site, operands.read(*x), operands.read(*y)),
        Op::Mul { x, y } => backend.mul(site, operands.read(*x), operands.read(*y)),
        Op::AddPlain { x, plain } => backend.add_plain(site, operands.take(*x), plain),
        Op::MulPlain { x, plain } => backend.mul_plain(site, operands.take(*x), plain),
        Op::MulScalar { x, factor } => backend.mul_scalar(site, operands.take(*x), *factor),
        Op::AddScalar { x, offset } => backend.add_scalar(site, operands.take(*x), *offset),
        Op::Rotate { x, steps } => backend.rotate(site, operands.read(*x), *steps),
        Op::Conjugate { x } => backend.conjugate(site, operands.read(*x)),
        Op::Relinearize { x } => backend.relinearize(site, operands.take(*x)),
        Op::Rescale { x } => backend.rescale(site, operands.take(*x)),
        Op::LevelDrop { x, .. } => backend.level_drop(site, operands.take(*x)),
        Op::Bootstrap { x, .. } => backend.bootstrap(site, operands.read(*x)),
    }
}

/// The op and the next one, a `rescale` of its result.
fn run_with_rescale<B: Backend>(
    func: &Func<Ckks>,
    backend: &B,
    mut operands: Operands<'_, B::Value>,
) -> Result<B::Value, EvalError> {
    let sites = (site(func, operands.index), site(func, operands.index + 1));
    match &func.ops()[operands.index].op {
        Op::LinearMap { x, map, baby_step } => {
            backend.linear_map_rescale(sites.0, sites.1, operands.read(*x), map, *baby_step)
        }
        Op::Relinearize { x } => backend.relinearize_rescale(sites.0, sites.1, operands.take(*x)),
        op => unreachable!("`{}` has no form with a rescale", op.mnemonic()),
    }
}

#[cfg(test)]
mod tests;

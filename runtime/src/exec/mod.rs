//! The executor: walks a scheduled program over a backend. It has no arithmetic of its own.
//!
//! | module | owns |
//! |---|---|
//! | [`backend`] | the ops a backend must have |
//! | [`prepared`], [`session`] | a program ready for everybody, and one client's keys on it |
//! | [`ckks`] | ciphertexts |
//! | [`clear`] | exact slots |
//! | [`noisy`], [`noise`] | slots with modelled errors, and the model |
//! | [`overflow`] | operands outside the range of what is done to them, as a run of slots can see |
//! | [`keys`] | the keys that a server needs for a program |
//! | [`control`] | cancellation, deadlines |
//! | [`observer`] | progress |
//! | [`witness`] | looking at values |
//! | `weights` | encoded weights, as many as may be kept |
//!
//! Ops run in program order, each on all threads; a value is dropped after its last use. Results
//! are the same for every number of threads.

pub mod backend;
pub mod ckks;
pub mod clear;
pub mod control;
pub mod error;
pub mod keys;
pub mod noise;
pub mod noisy;
pub mod observer;
pub mod overflow;
pub mod prepared;
pub mod session;
mod weights;
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
pub use control::Control;
pub use error::ExecError;
pub use fhec_ir::noise::EncryptionKind;
pub use fhec_ir::program::ProgramId;
pub use keys::{ArrivingKeys, KeyRecords, KeysError, ProgramKeys, ReadError};
pub use noisy::{Noisy, Simulation};
pub use observer::Observer;
pub use overflow::Overflow;
pub use prepared::{PrepareError, Prepared};
pub use session::Session;
pub use witness::{Witness, seen};

/// Runs the program of `backend` on `inputs` and returns its outputs.
///
/// A `relinearize` or `linear_map` whose only use is the `rescale` right after it is executed
/// together with that; the observer is told of both, with the time at the first.
///
/// # Errors
/// See [`ExecError`]: whatever can be known before the first op is checked before it.
pub fn execute<B: Backend>(
    backend: &B,
    inputs: Vec<B::Value>,
    observer: &mut dyn Observer,
) -> Result<Vec<B::Value>, ExecError> {
    execute_from(backend, inputs, BTreeMap::new(), &Control::default(), observer, &mut ())
}

/// [`execute`] with results of ops that are `known`: they are used as given, and an op runs only if
/// some output still depends on it. `witness` is shown values as they come.
///
/// `control` may end the run between two ops, and inside ops that take one ciphertext after the
/// other. The witness is shown what is alive then, unless the op has used it up; with a witness
/// that [keeps](Witness::keeps) such an op is let finish first.
pub fn execute_from<B: Backend>(
    backend: &B,
    inputs: Vec<B::Value>,
    known: BTreeMap<Value, B::Value>,
    control: &Control,
    observer: &mut dyn Observer,
    witness: &mut dyn Witness<B::Value>,
) -> Result<Vec<B::Value>, ExecError> {
    let func = &**backend.program();
    verify(func)?;
    backend.check_program()?;
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
    // What has used up its operand cannot be done again.
    let to_the_end = Control::default();
    let mut fused = false;
    for (index, data) in func.ops().iter().enumerate() {
        if std::mem::take(&mut fused) {
            // Its result is there already.
            observer.op_started(index);
            observer.op_finished(index, 0.0);
            continue;
        }
        if !runs[index] {
            release(&mut values, index);
            continue;
        }
        if let Err(stop) = control.check() {
            witness.stopped(index, &live(&values));
            return Err(ExecError::stopped(stop, index));
        }
        let takes = takes_operand(&data.op)
            && data.op.operands().iter().any(|operand| last_uses[operand.index()] == Some(index));
        let inside = if takes && witness.keeps() { &to_the_end } else { control };
        observer.op_started(index);
        let start = Instant::now();
        let next = func.ops().get(index + 1).filter(|next| {
            matches!(next.op, Op::Rescale { x } if x == data.result) && use_counts[data.result.index()] == 1
        });
        let operands = Operands { values: &mut values, last_uses: &last_uses, index, control: inside };
        let (result, made) = match (&data.op, next) {
            (Op::Relinearize { .. } | Op::LinearMap { .. }, Some(next)) => {
                fused = true;
                (next.result, backend.run(|| run_with_rescale(func, backend, operands)))
            }
            _ => (data.result, backend.run(|| run_op(func, backend, operands))),
        };
        let mnemonic = data.op.mnemonic();
        let made = match made {
            Ok(made) => made,
            Err(EvalError::Stopped(stop)) => {
                if !takes {
                    witness.stopped(index, &live(&values));
                }
                return Err(ExecError::stopped(stop, index));
            }
            Err(source) => return Err(ExecError::Op { op: index, mnemonic, source }),
        };
        release(&mut values, index);
        let seconds = start.elapsed().as_secs_f64();
        witness.computed(result, &made);
        if last_uses[result.index()].is_some() {
            values[result.index()] = Some(made);
        }
        tracing::debug!(op = index, mnemonic, seconds, "executed");
        observer.op_finished(index, seconds);
        // After the second of a pair there is nothing more to show.
        witness.reached(index + 1 + usize::from(fused), &live(&values));
    }
    let outputs = func.outputs();
    let output = |(position, v): (usize, &Value)| {
        let value = &mut values[v.index()];
        let value = if outputs[position + 1..].contains(v) { value.clone() } else { value.take() };
        value.expect("a verified program defines its outputs")
    };
    Ok(outputs.iter().enumerate().map(output).collect())
}

/// The values that are there.
fn live<V>(values: &[Option<V>]) -> Vec<(Value, &V)> {
    let named = values.iter().enumerate();
    named.filter_map(|(index, value)| Some((Value::new(index), value.as_ref()?))).collect()
}

/// Whether the op takes its operand where that is its last use: [`Operands::take`].
fn takes_operand(op: &Op) -> bool {
    match op {
        Op::Polynomial { .. }
        | Op::AddPlain { .. }
        | Op::MulPlain { .. }
        | Op::MulScalar { .. }
        | Op::AddScalar { .. }
        | Op::Relinearize { .. }
        | Op::Rescale { .. }
        | Op::LevelDrop { .. } => true,
        Op::LinearMap { .. }
        | Op::Add { .. }
        | Op::Sub { .. }
        | Op::Mul { .. }
        | Op::Rotate { .. }
        | Op::Conjugate { .. }
        | Op::Bootstrap { .. } => false,
    }
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

fn site<'a>(func: &'a Func<Ckks>, index: usize, control: &'a Control) -> Site<'a> {
    let data = &func.ops()[index];
    let operand = data.op.operands()[0];
    Site { index, consts: &func.consts, operand: func.ty(operand), result: func.ty(data.result), control }
}

/// The live values, and the op that reads some of them.
struct Operands<'v, V> {
    values: &'v mut [Option<V>],
    last_uses: &'v [Option<usize>],
    index: usize,
    control: &'v Control,
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
    let site = site(func, operands.index, operands.control);
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
        Op::Bootstrap { x, sine, mask, .. } => backend.bootstrap(site, operands.read(*x), *sine, *mask),
    }
}

/// The op and the next one, a `rescale` of its result.
fn run_with_rescale<B: Backend>(
    func: &Func<Ckks>,
    backend: &B,
    mut operands: Operands<'_, B::Value>,
) -> Result<B::Value, EvalError> {
    let sites = [0, 1].map(|next| site(func, operands.index + next, operands.control));
    match &func.ops()[operands.index].op {
        Op::LinearMap { x, map, baby_step } => {
            backend.linear_map_rescale(sites[0], sites[1], operands.read(*x), map, *baby_step)
        }
        Op::Relinearize { x } => backend.relinearize_rescale(sites[0], sites[1], operands.take(*x)),
        op => unreachable!("`{}` has no form with a rescale", op.mnemonic()),
    }
}

#[cfg(test)]
mod tests;

//! Cleartext meaning of the packed and ckks stages: bundles of vectors of `f64` slots.
//!
//! Level, scale and size do not change what a program means, so `rescale`, `relinearize`,
//! `level_drop` are the identity here, and so is a `bootstrap` without a sine and a mask.

use super::InterpError;
use crate::bootstrap::SineCurve;
use crate::ckks::{self, Ckks};
use crate::entity::Value;
use crate::func::{Func, Stage, StageOp};
use crate::packed::{self, Packed};
use crate::polynomial::Polynomial;
use crate::slot_mask::SlotMask;
use crate::tensor::ConstPool;

/// The vectors of a bundle.
pub type Bundle = Vec<Vec<f64>>;

/// Runs a packed function on `inputs`, one bundle per input.
pub fn run_packed(func: &Func<Packed>, inputs: &[Bundle]) -> Result<Vec<Bundle>, InterpError> {
    run(func, inputs, |ty| (ty.vectors, ty.slots), |op, operands| eval_packed(op, operands, &func.consts))
}

/// Runs a ckks function on `inputs`, one bundle per input.
pub fn run_ckks(func: &Func<Ckks>, inputs: &[Bundle]) -> Result<Vec<Bundle>, InterpError> {
    run(func, inputs, |ty| (ty.vectors, ty.slots), |op, operands| eval_ckks(op, operands, &func.consts))
}

fn run<S: Stage>(
    func: &Func<S>,
    inputs: &[Bundle],
    size: impl Fn(&S::Type) -> (usize, usize),
    eval: impl Fn(&S::Op, &[&Bundle]) -> Bundle,
) -> Result<Vec<Bundle>, InterpError> {
    if inputs.len() != func.inputs().len() {
        return Err(InterpError::InputCount { expected: func.inputs().len(), found: inputs.len() });
    }
    let mut values: Vec<Option<Bundle>> = vec![None; func.value_count()];
    for (&value, bundle) in func.inputs().iter().zip(inputs) {
        let (vectors, slots) = size(func.ty(value));
        if bundle.len() != vectors || bundle.iter().any(|vector| vector.len() != slots) {
            let found = bundle.iter().map(Vec::len).collect();
            return Err(InterpError::InputShape { input: value, expected: vec![slots; vectors], found });
        }
        values[value.index()] = Some(bundle.clone());
    }
    let last_uses = func.last_uses();
    let undefined = |value: Value| InterpError::Malformed(format!("{value} is not defined"));
    for (index, data) in func.ops().iter().enumerate() {
        let names = data.op.operands();
        let operands: Vec<&Bundle> = names
            .iter()
            .map(|v| values[v.index()].as_ref().ok_or_else(|| undefined(*v)))
            .collect::<Result<_, _>>()?;
        let result = eval(&data.op, &operands);
        values[data.result.index()] = Some(result);
        for name in names {
            if last_uses[name.index()] == Some(index) {
                values[name.index()] = None;
            }
        }
    }
    func.outputs().iter().map(|&v| values[v.index()].clone().ok_or_else(|| undefined(v))).collect()
}

fn map(x: &Bundle, f: impl Fn(f64) -> f64) -> Bundle {
    x.iter().map(|vector| vector.iter().map(|&slot| f(slot)).collect()).collect()
}

fn zip(x: &Bundle, y: &Bundle, f: impl Fn(f64, f64) -> f64) -> Bundle {
    let slots = |(x, y): (&Vec<f64>, &Vec<f64>)| x.iter().zip(y).map(|(&x, &y)| f(x, y)).collect();
    x.iter().zip(y).map(slots).collect()
}

fn rotate(x: &Bundle, steps: i64) -> Bundle {
    let rotated = |vector: &Vec<f64>| {
        let mut vector = vector.clone();
        let by = steps.rem_euclid(vector.len().max(1) as i64) as usize;
        vector.rotate_left(by);
        vector
    };
    x.iter().map(rotated).collect()
}

fn evaluate(x: &Bundle, polynomial: &Polynomial) -> Bundle {
    let mut result = x.clone();
    result.iter_mut().for_each(|vector| polynomial.eval_slots(vector));
    result
}

/// Meaning of a bootstrap: what is not kept becomes zero, and all is bent by the sine, if it is
/// meant to be.
///
/// # Panics
/// If there is no sine of that message ratio; those of verified programs are.
pub fn refresh(x: &mut Bundle, sine: Option<f64>, mask: Option<SlotMask>) {
    if let Some(mask) = mask {
        x.iter_mut().for_each(|vector| mask.apply(vector));
    }
    match sine.map(SineCurve::new) {
        None => {}
        Some(Ok(curve)) => x.iter_mut().flatten().for_each(|slot| *slot = curve.apply(*slot)),
        Some(Err(error)) => panic!("a verified program: {error}"),
    }
}

/// Meaning of one op.
///
/// # Panics
/// If operands are missing or do not fit the op; those of a verified function do.
pub fn eval_packed(op: &packed::Op, operands: &[&Bundle], consts: &ConstPool) -> Bundle {
    let x = operands[0];
    match op {
        packed::Op::LinearMap { map, .. } => map.apply(consts, x),
        packed::Op::Polynomial { polynomial, .. } => evaluate(x, polynomial),
        packed::Op::Add { .. } => zip(x, operands[1], |x, y| x + y),
        packed::Op::Sub { .. } => zip(x, operands[1], |x, y| x - y),
        packed::Op::Mul { .. } => zip(x, operands[1], |x, y| x * y),
        packed::Op::AddPlain { plain, .. } => zip(x, &plain.pack(consts), |x, y| x + y),
        packed::Op::MulPlain { plain, .. } => zip(x, &plain.pack(consts), |x, y| x * y),
        packed::Op::MulScalar { factor, .. } => map(x, |slot| slot * factor),
        packed::Op::AddScalar { offset, .. } => map(x, |slot| slot + offset),
        packed::Op::Rotate { steps, .. } => rotate(x, *steps),
        packed::Op::Conjugate { .. } => x.clone(),
    }
}

/// Meaning of one op.
///
/// # Panics
/// If operands are missing or do not fit the op; those of a verified program do.
pub fn eval_ckks(op: &ckks::Op, operands: &[&Bundle], consts: &ConstPool) -> Bundle {
    let x = operands[0];
    match op {
        ckks::Op::LinearMap { map, .. } => map.apply(consts, x),
        ckks::Op::Polynomial { polynomial, .. } => evaluate(x, polynomial),
        ckks::Op::Add { .. } => zip(x, operands[1], |x, y| x + y),
        ckks::Op::Sub { .. } => zip(x, operands[1], |x, y| x - y),
        ckks::Op::Mul { .. } => zip(x, operands[1], |x, y| x * y),
        ckks::Op::AddPlain { plain, .. } => zip(x, &plain.pack(consts), |x, y| x + y),
        ckks::Op::MulPlain { plain, .. } => zip(x, &plain.pack(consts), |x, y| x * y),
        ckks::Op::MulScalar { factor, .. } => map(x, |slot| slot * factor),
        ckks::Op::AddScalar { offset, .. } => map(x, |slot| slot + offset),
        ckks::Op::Rotate { steps, .. } => rotate(x, *steps),
        ckks::Op::Bootstrap { sine, mask, .. } => {
            let mut refreshed = x.clone();
            refresh(&mut refreshed, *sine, *mask);
            refreshed
        }
        ckks::Op::Conjugate { .. }
        | ckks::Op::Relinearize { .. }
        | ckks::Op::Rescale { .. }
        | ckks::Op::LevelDrop { .. } => x.clone(),
    }
}

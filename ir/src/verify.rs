//! The verifier: what every pass may rely on, for all stages.
//!
//! 1. Every operand is defined before its use; every value has one definition.
//! 2. Every result has exactly the type its op infers from its operands. For `ckks` this includes
//!    levels, scales and sizes: a program that verifies never adds unequal scales or multiplies at
//!    level 0.
//! 3. Every constant that an attribute names exists, and all constants are finite.
//! 4. There is at least one output, and every output is defined.

use std::fmt;

use thiserror::Error;

use crate::attr::Attr;
use crate::func::{Func, Stage, StageOp, StageType};

/// All violations found.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub struct VerifyErrors(pub Vec<String>);

impl fmt::Display for VerifyErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the program is malformed: {}", self.0.join("; "))
    }
}

/// Checks the rules above and collects every violation.
pub fn verify<S: Stage>(func: &Func<S>) -> Result<(), VerifyErrors> {
    let mut errors = Vec::new();
    let mut defined = vec![false; func.value_count()];
    for &input in func.inputs() {
        defined[input.index()] = true;
    }
    for (id, tensor) in func.consts.iter() {
        if let Some(position) = tensor.data().iter().position(|value| !value.is_finite()) {
            errors.push(format!("constant {id} has the value {} at {position}", tensor.data()[position]));
        }
    }
    for data in func.ops() {
        let place = || format!("{} = {}", data.result, data.op.mnemonic());
        let operands = data.op.operands();
        let undefined = operands.iter().find(|o| !defined.get(o.index()).copied().unwrap_or(false));
        if let Some(operand) = undefined {
            errors.push(format!("{}: {operand} is not defined before", place()));
            return Err(VerifyErrors(errors));
        }
        for (name, attr) in data.op.attrs() {
            if let Some(missing) = missing_const(&attr, func.consts.len()) {
                errors.push(format!("{}: `{name}` names {missing}, which does not exist", place()));
                return Err(VerifyErrors(errors));
            }
        }
        let types: Vec<S::Type> = operands.iter().map(|&operand| func.ty(operand).clone()).collect();
        match S::infer(&data.op, &types, func) {
            Ok(ty) if ty == *func.ty(data.result) => {}
            Ok(ty) => errors.push(format!(
                "{}: declared {}, inferred {}",
                place(),
                func.ty(data.result).print(),
                ty.print()
            )),
            Err(message) => errors.push(format!("{}: {message}", place())),
        }
        if std::mem::replace(&mut defined[data.result.index()], true) {
            errors.push(format!("{}: defined twice", place()));
        }
    }
    if func.outputs().is_empty() {
        errors.push("there is no output".into());
    }
    for output in func.outputs() {
        if !defined.get(output.index()).copied().unwrap_or(false) {
            errors.push(format!("output {output} is not defined"));
        }
    }
    if errors.is_empty() { Ok(()) } else { Err(VerifyErrors(errors)) }
}

fn missing_const(attr: &Attr, count: usize) -> Option<crate::entity::Const> {
    match attr {
        Attr::Const(id) => (id.index() >= count).then_some(*id),
        Attr::List(items) => items.iter().find_map(|item| missing_const(item, count)),
        Attr::Record(fields) => fields.iter().find_map(|(_, item)| missing_const(item, count)),
        _ => None,
    }
}

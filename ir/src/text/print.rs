//! Printer of the text form.

use std::fmt::Write;

use super::INLINE_ELEMENTS;
use crate::attr::write_record;
use crate::func::{Func, Stage, StageOp, StageType};

/// The function as text; see the [module](super) for the grammar.
pub fn print_func<S: Stage>(func: &Func<S>) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = write_func(&mut out, func);
    out
}

fn write_func<S: Stage>(out: &mut String, func: &Func<S>) -> std::fmt::Result {
    writeln!(out, "func {} {} {{", S::NAME, func.name)?;
    for (key, value) in &func.meta {
        writeln!(out, "  meta {key} = {value}")?;
    }
    for (id, tensor) in func.consts.iter() {
        write!(out, "  const {id} : f32{:?} = ", tensor.shape())?;
        if tensor.data().len() <= INLINE_ELEMENTS {
            writeln!(out, "{:?}", tensor.data())?;
        } else {
            out.push('#');
            for byte in tensor.digest() {
                write!(out, "{byte:02x}")?;
            }
            out.push('\n');
        }
    }
    let name_of = |value| func.value_name(value).map(|name| format!(" {name:?}")).unwrap_or_default();
    for &input in func.inputs() {
        writeln!(out, "  input {input} : {}{}", func.ty(input).print(), name_of(input))?;
    }
    for data in func.ops() {
        write!(out, "  {} = {}(", data.result, data.op.mnemonic())?;
        for (index, operand) in data.op.operands().iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(out, "{comma}{operand}")?;
        }
        out.push(')');
        let attrs = data.op.attrs();
        if !attrs.is_empty() {
            out.push(' ');
            write_record(out, &attrs)?;
        }
        writeln!(out, " : {}{}", func.ty(data.result).print(), name_of(data.result))?;
    }
    let outputs: Vec<String> = func.outputs().iter().map(|output| output.to_string()).collect();
    writeln!(out, "  return {}", outputs.join(", "))?;
    writeln!(out, "}}")
}

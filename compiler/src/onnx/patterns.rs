//! After all nodes are translated: several ops that are one activation ([`super::composed`]), and
//! ops that nothing needs.

use fhec_ir::attr::Attr;
use fhec_ir::entity::{Const, Value};
use fhec_ir::func::{Func, StageOp};
use fhec_ir::nn::{Nn, Op};

use std::collections::BTreeMap;

use super::composed;
use super::emit::Decision;

/// Ops that together are one activation become it, `x * sigmoid(x)` for example `silu(x)`; then
/// everything the outputs do not need is dropped, constants too.
///
/// # Errors
/// A decision that is needed still: it is no part of an activation.
pub(super) fn tidy(func: &Func<Nn>, decisions: &BTreeMap<Value, Decision>) -> Result<Func<Nn>, Value> {
    let ops = composed::recognise(func, decisions);

    let mut needed = vec![false; func.value_count()];
    func.outputs().iter().for_each(|output| needed[output.index()] = true);
    for (data, op) in func.ops().iter().zip(&ops).rev() {
        if needed[data.result.index()] {
            op.operands().iter().for_each(|operand| needed[operand.index()] = true);
        }
    }

    if let Some(&decision) = decisions.keys().find(|value| needed[value.index()]) {
        return Err(decision);
    }

    let mut new = Func::new(func.name.clone());
    let mut map: BTreeMap<Value, Value> = BTreeMap::new();
    for &input in func.inputs() {
        map.insert(input, new.add_input(func.ty(input).clone(), func.value_name(input)));
    }
    for (data, op) in func.ops().iter().zip(&ops).filter(|(data, _)| needed[data.result.index()]) {
        let operands: Vec<Value> = op.operands().iter().map(|operand| map[operand]).collect();
        let mut move_const = |id: Const| new.add_const(func.consts[id].clone());
        let attrs: Vec<(String, Attr)> =
            op.attrs().into_iter().map(|(name, attr)| (name, with_consts(attr, &mut move_const))).collect();
        let op = Op::from_parts(op.mnemonic(), &operands, &attrs).expect("the parts of an op make an op");
        let result = new.push_typed(op, func.ty(data.result).clone(), func.value_name(data.result));
        map.insert(data.result, result);
    }
    new.set_outputs(func.outputs().iter().map(|output| map[output]).collect());
    Ok(new)
}

fn with_consts(attr: Attr, f: &mut impl FnMut(Const) -> Const) -> Attr {
    match attr {
        Attr::Const(id) => Attr::Const(f(id)),
        Attr::List(items) => Attr::List(items.into_iter().map(|item| with_consts(item, f)).collect()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fhec_ir::nn::{Activation, TensorType};
    use fhec_ir::tensor::Tensor;
    use fhec_ir::text::print_func;

    #[test]
    fn silu_is_recognised_on_either_side_and_dead_ops_go() {
        let mut func = Func::<Nn>::new("f");
        let x = func.add_input(TensorType::new([1, 2]), Some("x"));
        let unused = func.add_const(Tensor::from_fn(vec![2], |i| i as f32));
        func.push(Op::Constant { value: unused }).unwrap();
        let weight = func.add_const(Tensor::from_fn(vec![2, 2], |i| i as f32));
        let gate = func.push(Op::Activation { x, function: Activation::SIGMOID }).unwrap();
        let left = func.push_named(Op::Mul { x, y: gate }, Some("left")).unwrap();
        let other = func.push(Op::Activation { x: left, function: Activation::SIGMOID }).unwrap();
        let right = func.push(Op::Mul { x: other, y: left }).unwrap();
        let plain = func.push(Op::Mul { x: right, y: gate }).unwrap();
        let out = func.push(Op::Dense { x: plain, weight, bias: None }).unwrap();
        func.set_outputs(vec![out]);
        let expected = "func nn f {
  const @0 : f32[2, 2] = [0.0, 1.0, 2.0, 3.0]
  input %0 : f32[1, 2] \"x\"
  %1 = sigmoid(%0) : f32[1, 2]
  %2 = silu(%0) : f32[1, 2] \"left\"
  %3 = silu(%2) : f32[1, 2]
  %4 = mul(%3, %1) : f32[1, 2]
  %5 = dense(%4) {weight=@0} : f32[1, 2]
  return %5
}
";
        assert_eq!(print_func(&tidy(&func, &BTreeMap::new()).unwrap()), expected);
    }
}

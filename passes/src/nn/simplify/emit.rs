//! From the chosen terms back to a function.

use std::collections::BTreeMap;

use egg::Id;
use fhec_ir::{
    entity::{Const, Value},
    func::{Func, StageOp},
    nn::{Nn, Op},
    tensor::Tensor,
};

use super::{
    constants::Array,
    extract::Choice,
    import::Import,
    language::{AttrValue, Geometry, Graph, Leaf, Term, Window, attr, is_one, is_zero, shape},
};
use crate::error::PassError;

const PASS: &str = "simplify";

/// The function that `choice` stands for.
pub fn emit(old: &Func<Nn>, import: &Import, choice: &Choice) -> Result<Func<Nn>, PassError> {
    let mut func = Func::new(old.name.clone());
    func.copy_facts(old);
    // A class is named after the last of the values it stands for: what a fold leaves is what came
    // out at its end.
    let names = import
        .classes
        .iter()
        .filter_map(|(&value, &id)| Some((import.graph.find(id), old.value_name(value)?.to_string())))
        .collect();
    let mut emitter = Emitter {
        old,
        graph: &import.graph,
        choice,
        names,
        func,
        values: BTreeMap::new(),
        arrays: BTreeMap::new(),
    };
    for (index, &input) in old.inputs().iter().enumerate() {
        let value = emitter.func.add_input(old.ty(input).clone(), old.value_name(input));
        let id = emitter.graph.lookup(Term::Leaf(Leaf::Input(index))).expect("inputs were added");
        emitter.values.insert(emitter.graph.find(id), value);
    }
    let Term::Outputs(outputs) = choice.term(import.graph.find(import.root)) else {
        unreachable!("nothing rewrites the outputs");
    };
    // Depth first, operands before their uses, without recursion: networks may be deep.
    let mut stack: Vec<(Id, bool)> = outputs.iter().rev().map(|&id| (id, false)).collect();
    while let Some((id, operands_done)) = stack.pop() {
        let id = emitter.graph.find(id);
        if emitter.values.contains_key(&id) {
            continue;
        }
        if operands_done {
            let value = emitter.tensor(id)?;
            emitter.values.insert(id, value);
            continue;
        }
        stack.push((id, true));
        stack.extend(tensor_operands(choice.term(id)).iter().rev().map(|&id| (id, false)));
    }
    let outputs = outputs.iter().map(|&id| emitter.value(id)).collect();
    emitter.func.set_outputs(outputs);
    Ok(emitter.func)
}

/// The operands of a tensor term that are tensors.
fn tensor_operands(term: &Term) -> &[Id] {
    match term {
        Term::Conv(operands) => &operands[1..2],
        Term::Dense(operands) | Term::Affine(operands) => &operands[..1],
        Term::Pool(operands) | Term::Pad(operands) | Term::Reshape(operands) | Term::Transpose(operands) => {
            &operands[1..]
        }
        Term::Add(operands) => operands,
        Term::Other(_, operands) => operands,
        _ => &[],
    }
}

struct Emitter<'a> {
    old: &'a Func<Nn>,
    graph: &'a Graph,
    choice: &'a Choice,
    names: BTreeMap<Id, String>,
    func: Func<Nn>,
    values: BTreeMap<Id, Value>,
    arrays: BTreeMap<Id, Array>,
}

impl Emitter<'_> {
    fn value(&self, id: Id) -> Value {
        self.values[&self.graph.find(id)]
    }

    fn push(&mut self, op: Op, name: Option<String>) -> Result<Value, PassError> {
        let malformed = |message| PassError::Malformed { pass: PASS, message };
        self.func.push_named(op, name.as_deref()).map_err(malformed)
    }

    /// Adds the ops of a class whose operands are there.
    fn tensor(&mut self, id: Id) -> Result<Value, PassError> {
        let name = self.names.get(&id).cloned();
        let term = self.choice.term(id).clone();
        let op = match &term {
            Term::Conv([g, x, w, b]) => {
                let Geometry { strides, pads, dilations, groups } = self.geometry(*g);
                let (weight, bias) = (self.constant(*w)?, self.bias(*b)?);
                Op::Conv2d { x: self.value(*x), weight, bias, strides, pads, dilations, groups }
            }
            Term::Dense([x, w, b]) => {
                let (weight, bias) = (self.constant(*w)?, self.bias(*b)?);
                Op::Dense { x: self.value(*x), weight, bias }
            }
            Term::Affine([x, s, t]) => return self.affine(id, [*x, *s, *t], name),
            Term::Pool([p, x]) => {
                let Window { kernel, strides, pads, count_include_pad } = self.window(*p);
                Op::AveragePool { x: self.value(*x), kernel, strides, pads, count_include_pad }
            }
            Term::Pad([p, x]) => {
                let AttrValue::Pads([top, left, bottom, right]) = *attr(self.graph, *p) else {
                    unreachable!("pads are pads");
                };
                let (before, after) = (vec![0, 0, top, left], vec![0, 0, bottom, right]);
                Op::Pad { x: self.value(*x), before, after, value: 0.0 }
            }
            Term::Reshape([s, x]) => {
                let AttrValue::Shape(shape) = attr(self.graph, *s).clone() else {
                    unreachable!("a reshape has a shape");
                };
                Op::Reshape { x: self.value(*x), shape }
            }
            Term::Transpose([p, x]) => {
                let AttrValue::Permutation(permutation) = attr(self.graph, *p).clone() else {
                    unreachable!("a transpose has a permutation");
                };
                Op::Transpose { x: self.value(*x), permutation }
            }
            Term::Add([x, y]) => Op::Add { x: self.value(*x), y: self.value(*y) },
            Term::Other(op, operands) => self.other(&self.graph.analysis.others[op.0].0.clone(), operands)?,
            other => unreachable!("{other} is no tensor"),
        };
        self.push(op, name)
    }

    fn other(&mut self, op: &Op, operands: &[Id]) -> Result<Op, PassError> {
        let mut op = op.clone();
        for (operand, &id) in op.operands_mut().into_iter().zip(operands) {
            *operand = self.value(id);
        }
        let old = self.old;
        let mut moved = |id: &mut Const| *id = self.func.add_const(old.consts[*id].clone());
        match &mut op {
            Op::Constant { value } => moved(value),
            Op::BatchNorm { scale, bias, mean, variance, .. } => {
                [scale, bias, mean, variance].into_iter().for_each(moved);
            }
            Op::Conv2d { weight, bias, .. }
            | Op::ConvTranspose2d { weight, bias, .. }
            | Op::Dense { weight, bias, .. } => {
                moved(weight);
                bias.iter_mut().for_each(moved);
            }
            Op::AxisMatrices { weights, .. } => weights.iter_mut().for_each(moved),
            _ => {}
        }
        Ok(op)
    }

    /// A product and a sum with constants, as far as they are needed.
    fn affine(&mut self, id: Id, [x, s, t]: [Id; 3], name: Option<String>) -> Result<Value, PassError> {
        let rank = shape(self.graph, id).len();
        let mut value = self.value(x);
        let (scales, shifts) = (!is_one(self.graph, s), !is_zero(self.graph, t));
        if scales {
            let y = self.channel_constant(s, rank)?;
            value = self.push(Op::Mul { x: value, y }, name.clone().filter(|_| !shifts))?;
        }
        if shifts {
            let y = self.channel_constant(t, rank)?;
            value = self.push(Op::Add { x: value, y }, name)?;
        }
        Ok(value)
    }

    /// A constant per channel that broadcasts over a tensor of `rank` dimensions; a scalar if all
    /// are equal.
    fn channel_constant(&mut self, id: Id, rank: usize) -> Result<Value, PassError> {
        let tensor = self.rounded(id)?;
        let data = tensor.data();
        let tensor = if data.iter().all(|v| *v == data[0]) {
            Tensor::scalar(data[0])
        } else {
            let mut shape = vec![data.len()];
            shape.resize(rank - 1, 1);
            tensor.reshaped(shape).expect("ones change nothing")
        };
        let value = self.func.add_const(tensor);
        self.push(Op::Constant { value }, None)
    }

    fn constant(&mut self, id: Id) -> Result<Const, PassError> {
        let tensor = self.rounded(id)?;
        Ok(self.func.add_const(tensor))
    }

    fn bias(&mut self, id: Id) -> Result<Option<Const>, PassError> {
        if is_zero(self.graph, id) { Ok(None) } else { self.constant(id).map(Some) }
    }

    fn rounded(&mut self, id: Id) -> Result<Tensor, PassError> {
        let tensor = self.array(id).to_tensor();
        match tensor.data().iter().find(|v| !v.is_finite()) {
            None => Ok(tensor),
            Some(value) => Err(PassError::NonFiniteConstant { pass: PASS, value: f64::from(*value) }),
        }
    }

    fn geometry(&self, id: Id) -> Geometry {
        match attr(self.graph, id) {
            AttrValue::Geometry(geometry) => *geometry,
            other => unreachable!("expected a geometry, found {other:?}"),
        }
    }

    fn window(&self, id: Id) -> Window {
        match attr(self.graph, id) {
            AttrValue::Window(window) => *window,
            other => unreachable!("expected a window, found {other:?}"),
        }
    }

    fn planes(&self, id: Id) -> [usize; 3] {
        match attr(self.graph, id) {
            AttrValue::Shape(shape) => [shape[1], shape[2], shape[3]],
            other => unreachable!("expected a shape, found {other:?}"),
        }
    }

    /// What a constant term evaluates to.
    fn array(&mut self, id: Id) -> Array {
        let id = self.graph.find(id);
        if let Some(array) = self.arrays.get(&id) {
            return array.clone();
        }
        let term = self.choice.term(id).clone();
        let array = match &term {
            Term::Leaf(Leaf::Constant(index)) => self.graph.analysis.constants[*index].clone(),
            Term::Times([a, b]) => self.array(*a).times(&self.array(*b)),
            Term::Plus([a, b]) => self.array(*a).plus(&self.array(*b)),
            Term::ZerosLike([a]) => self.array(*a).zeros_like(),
            Term::Repeat([n, a]) => {
                let AttrValue::Count(count) = *attr(self.graph, *n) else { unreachable!("a count") };
                self.array(*a).repeated(count)
            }
            Term::ScaleOutputs([w, s]) => self.array(*w).scale_outputs(&self.array(*s)),
            Term::ScaleInputs([w, s]) => self.array(*w).scale_inputs(&self.array(*s)),
            Term::SumInputs([w, t]) => self.array(*w).sum_inputs(&self.array(*t)),
            Term::Compose([a, b]) => self.array(*a).compose(&self.array(*b)),
            Term::UnpermuteColumns([w, p, s]) => {
                let (AttrValue::Permutation(p), AttrValue::Shape(s)) =
                    (attr(self.graph, *p).clone(), attr(self.graph, *s).clone())
                else {
                    unreachable!("a permutation of a shape")
                };
                self.array(*w).unpermute_columns(&p, &s)
            }
            Term::UnpoolColumns([w, p, s]) => {
                let (window, input) = (self.window(*p), self.planes(*s));
                self.array(*w).unpool_columns(&window, input)
            }
            Term::UnconvolveColumns([w, k, g, s]) => {
                let (geometry, input) = (self.geometry(*g), self.planes(*s));
                let kernel = self.array(*k);
                self.array(*w).unconvolve_columns(&kernel, &geometry, input)
            }
            Term::SpreadKernel([w, p, g]) => {
                let (window, dilations) = (self.window(*p), self.geometry(*g).dilations);
                self.array(*w).spread_kernel(&window, dilations)
            }
            Term::PoolKernel([w, g, p]) => {
                let (geometry, window) = (self.geometry(*g), self.window(*p));
                self.array(*w).pool_kernel(&geometry, &window)
            }
            other => unreachable!("{other} is no constant"),
        };
        self.arrays.insert(id, array.clone());
        array
    }
}

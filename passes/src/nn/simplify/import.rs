//! From a function to the e-graph.

use std::collections::BTreeMap;

use egg::Id;
use fhec_ir::{
    entity::Value,
    func::{Func, StageOp},
    nn::{Nn, Op},
    tensor::Tensor,
};

use super::{
    constants::Array,
    language::{AttrValue, Geometry, Graph, Leaf, OtherOp, Term, Window, add_attr, add_constant},
};

/// The e-graph of a function, with the class of every value and of the outputs.
pub struct Import {
    /// The e-graph.
    pub graph: Graph,
    /// Class of each value, as first added.
    pub classes: BTreeMap<Value, Id>,
    /// The term of all outputs.
    pub root: Id,
}

/// Adds all of `func`.
pub fn import(func: &Func<Nn>) -> Import {
    let mut importer = Importer {
        func,
        graph: Graph::default(),
        classes: BTreeMap::new(),
        affines: BTreeMap::new(),
        known: BTreeMap::new(),
    };
    for (index, &input) in func.inputs().iter().enumerate() {
        importer.graph.analysis.inputs.push(func.ty(input).shape.clone());
        let id = importer.graph.add(Term::Leaf(Leaf::Input(index)));
        importer.classes.insert(input, id);
    }
    for data in func.ops() {
        let id = importer.op(&data.op, data.result);
        importer.classes.insert(data.result, id);
    }
    let outputs = func.outputs().iter().map(|output| importer.classes[output]).collect();
    let root = importer.graph.add(Term::Outputs(outputs));
    Import { graph: importer.graph, classes: importer.classes, root }
}

struct Importer<'a> {
    func: &'a Func<Nn>,
    graph: Graph,
    classes: BTreeMap<Value, Id>,
    /// Operand, scale and shift of the affine terms added so far.
    affines: BTreeMap<Id, (Id, Vec<f64>, Vec<f64>)>,
    /// Values that are constants.
    known: BTreeMap<Value, &'a Tensor>,
}

impl<'a> Importer<'a> {
    fn shape(&self, value: Value) -> &'a [usize] {
        &self.func.ty(value).shape
    }

    fn attr(&mut self, value: AttrValue) -> Id {
        add_attr(&mut self.graph, value)
    }

    fn constant(&mut self, array: Array) -> Id {
        add_constant(&mut self.graph, array)
    }

    fn weight(&mut self, id: fhec_ir::entity::Const) -> Id {
        let array = Array::from_tensor(&self.func.consts[id]);
        self.constant(array)
    }

    fn bias(&mut self, id: Option<fhec_ir::entity::Const>, length: usize) -> Id {
        match id {
            Some(id) => self.weight(id),
            None => self.constant(Array::vector(vec![0.0; length])),
        }
    }

    /// scale x + shift. Chains are folded here and now: their factors could be bracketed in many
    /// ways.
    fn affine(&mut self, x: Id, scale: Vec<f64>, shift: Vec<f64>) -> Id {
        if let Some((inner, s, t)) = self.affines.get(&x).cloned() {
            let shift = (0..shift.len()).map(|c| t[c] * scale[c] + shift[c]).collect();
            let scale = (0..scale.len()).map(|c| s[c] * scale[c]).collect();
            return self.affine(inner, scale, shift);
        }
        let parts = (x, scale.clone(), shift.clone());
        let (scale, shift) = (self.constant(Array::vector(scale)), self.constant(Array::vector(shift)));
        let id = self.graph.add(Term::Affine([x, scale, shift]));
        self.affines.insert(id, parts);
        id
    }

    fn op(&mut self, op: &Op, result: Value) -> Id {
        if let Op::Constant { value } = op {
            self.known.insert(result, &self.func.consts[*value]);
        }
        self.term(op, result).unwrap_or_else(|| self.other(op, result))
    }

    /// The op as a term that rules look into.
    fn term(&mut self, op: &Op, result: Value) -> Option<Id> {
        let consts = &self.func.consts;
        match op {
            Op::Conv2d { x, weight, bias, strides, pads, dilations, groups } => {
                let (strides, pads, dilations, groups) = (*strides, *pads, *dilations, *groups);
                let g = self.attr(AttrValue::Geometry(Geometry { strides, pads, dilations, groups }));
                let (w, b) = (self.weight(*weight), self.bias(*bias, consts[*weight].shape()[0]));
                Some(self.graph.add(Term::Conv([g, self.classes[x], w, b])))
            }
            Op::Dense { x, weight, bias } => {
                let (w, b) = (self.weight(*weight), self.bias(*bias, consts[*weight].shape()[0]));
                Some(self.graph.add(Term::Dense([self.classes[x], w, b])))
            }
            Op::MatMul { x, y } => {
                let matrix = *self.known.get(y)?;
                if self.shape(*x).len() != 2 || matrix.shape().len() != 2 {
                    return None;
                }
                let w = self.constant(Array::from_tensor(matrix).transposed());
                let b = self.bias(None, matrix.shape()[1]);
                Some(self.graph.add(Term::Dense([self.classes[x], w, b])))
            }
            Op::BatchNorm { x, scale, bias, mean, variance, epsilon } => {
                let [scale, bias, mean, variance] =
                    [scale, bias, mean, variance].map(|id| Array::from_tensor(&consts[*id]).data);
                let factors: Vec<f64> =
                    scale.iter().zip(&variance).map(|(s, v)| s / (v + epsilon).sqrt()).collect();
                let shifts = (0..factors.len()).map(|c| bias[c] - mean[c] * factors[c]).collect();
                Some(self.affine(self.classes[x], factors, shifts))
            }
            Op::Add { x, y } => {
                if let Some((x, c)) = self.with_constant(*x, *y).or_else(|| self.with_constant(*y, *x)) {
                    return Some(self.affine(self.classes[&x], vec![1.0; c.len()], c));
                }
                (self.shape(*x) == self.shape(*y))
                    .then(|| self.graph.add(Term::Add([self.classes[x], self.classes[y]])))
            }
            Op::Sub { x, y } => {
                if let Some((x, c)) = self.with_constant(*x, *y) {
                    let shift = c.iter().map(|c| -c).collect();
                    return Some(self.affine(self.classes[&x], vec![1.0; c.len()], shift));
                }
                let (y, c) = self.with_constant(*y, *x)?;
                Some(self.affine(self.classes[&y], vec![-1.0; c.len()], c))
            }
            Op::Mul { x, y } => {
                let (x, c) = self.with_constant(*x, *y).or_else(|| self.with_constant(*y, *x))?;
                let zeros = vec![0.0; c.len()];
                Some(self.affine(self.classes[&x], c, zeros))
            }
            Op::Div { x, y } => {
                let (x, c) = self.with_constant(*x, *y)?;
                if c.contains(&0.0) {
                    return None;
                }
                let zeros = vec![0.0; c.len()];
                Some(self.affine(self.classes[&x], c.iter().map(|c| 1.0 / c).collect(), zeros))
            }
            Op::AveragePool { x, kernel, strides, pads, count_include_pad } => {
                let (kernel, strides, pads, count_include_pad) =
                    (*kernel, *strides, *pads, *count_include_pad);
                let window = Window { kernel, strides, pads, count_include_pad };
                let window = self.attr(AttrValue::Window(window));
                Some(self.graph.add(Term::Pool([window, self.classes[x]])))
            }
            Op::ReduceMean { x, axes, keep_dims } => {
                let [_, _, h, w] = *self.shape(*x) else { return None };
                if axes[..] != [2, 3] {
                    return None;
                }
                let window =
                    Window { kernel: [h, w], strides: [h, w], pads: [0; 4], count_include_pad: false };
                let window = self.attr(AttrValue::Window(window));
                let pooled = self.graph.add(Term::Pool([window, self.classes[x]]));
                if *keep_dims {
                    return Some(pooled);
                }
                let shape = self.attr(AttrValue::Shape(self.shape(result).to_vec()));
                Some(self.graph.add(Term::Reshape([shape, pooled])))
            }
            Op::Pad { x, before, after, value } => {
                if *value != 0.0 || before.len() != 4 || before[..2] != [0, 0] || after[..2] != [0, 0] {
                    return None;
                }
                let pads = self.attr(AttrValue::Pads([before[2], before[3], after[2], after[3]]));
                Some(self.graph.add(Term::Pad([pads, self.classes[x]])))
            }
            Op::Reshape { x, shape } => {
                let shape = self.attr(AttrValue::Shape(shape.clone()));
                Some(self.graph.add(Term::Reshape([shape, self.classes[x]])))
            }
            Op::Transpose { x, permutation } => {
                let permutation = self.attr(AttrValue::Permutation(permutation.clone()));
                Some(self.graph.add(Term::Transpose([permutation, self.classes[x]])))
            }
            _ => None,
        }
    }

    /// Any other op, known by its attributes.
    fn other(&mut self, op: &Op, result: Value) -> Id {
        let operands = op.operands().iter().map(|value| self.classes[value]).collect();
        let mut blank = op.clone();
        for operand in blank.operands_mut() {
            *operand = Value::new(0);
        }
        let entry = (blank, self.shape(result).to_vec());
        let others = &mut self.graph.analysis.others;
        let index = others.iter().position(|other| *other == entry).unwrap_or_else(|| {
            others.push(entry);
            others.len() - 1
        });
        self.graph.add(Term::Other(OtherOp(index), operands))
    }

    /// `x` and the factor or shift per channel (dimension 1 of `x`) that the constant `c` is, if it
    /// is one.
    fn with_constant(&self, x: Value, c: Value) -> Option<(Value, Vec<f64>)> {
        let tensor = *self.known.get(&c)?;
        let shape = self.shape(x);
        if shape.len() < 2 || tensor.shape().len() > shape.len() {
            return None;
        }
        let missing = shape.len() - tensor.shape().len();
        let along = |axis: usize| axis.checked_sub(missing).map_or(1, |axis| tensor.shape()[axis]);
        // Constant along all dimensions but the channels, and no dimension that the operation would
        // stretch.
        if (0..shape.len()).any(|axis| along(axis) != 1 && (axis != 1 || along(1) != shape[1])) {
            return None;
        }
        let data = tensor.data();
        let channel = |c: usize| f64::from(if data.len() == 1 { data[0] } else { data[c] });
        Some((x, (0..shape[1]).map(channel).collect()))
    }
}

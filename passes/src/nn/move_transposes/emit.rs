//! The function whose values are stored in the chosen orders.

use std::collections::BTreeMap;

use fhec_ir::{
    entity::{Const, Value},
    fact::STORED_ORDERS,
    func::{Func, OpData, StageOp},
    layer_values::StoredOrder,
    nn::{Nn, Op},
    permutation::Permutation,
    tensor::Tensor,
};

use super::needs::{Needs, Product, aligned};
use super::order::{Parts, between, channels_only, same, stored_shape};

/// The function in the given orders, by value.
pub fn emit(needs: &Needs<'_>, orders: &[Permutation]) -> Result<Func<Nn>, String> {
    let old = needs.func;
    let mut func = Func::new(old.name.clone());
    func.consts = old.consts.clone();
    func.copy_facts(old);
    let made = vec![None; old.value_count()];
    let (stored, moved, constants) = (Vec::new(), BTreeMap::new(), BTreeMap::new());
    let mut emitter = Emitter { needs, orders, func, made, stored, moved, constants };
    for &input in old.inputs() {
        let new = emitter.func.add_input(old.ty(input).clone(), old.value_name(input));
        emitter.made[input.index()] = Some(new);
    }
    for data in old.ops() {
        if !matches!(data.op, Op::Constant { .. }) {
            let new = emitter.op(data)?;
            let shape = stored_shape(emitter.order(data.result), needs.shape(data.result));
            let new = emitter.shaped(new, &shape)?;
            if matches!(data.op, Op::Reshape { .. } | Op::Transpose { .. }) {
                emitter.rename(new, data.result);
            }
            emitter.made[data.result.index()] = Some(new);
        }
    }
    let mut outputs = Vec::new();
    for &output in old.outputs() {
        let shape = needs.shape(output);
        outputs.push(emitter.operand(output, &Permutation::identity(shape), shape)?);
    }
    if !emitter.stored.is_empty() {
        emitter.func.set_fact(STORED_ORDERS, &Some(emitter.stored));
    }
    emitter.func.set_outputs(outputs);
    Ok(emitter.func)
}

struct Emitter<'a, 'f> {
    needs: &'a Needs<'f>,
    orders: &'a [Permutation],
    func: Func<Nn>,
    /// By old value: what is stored.
    made: Vec<Option<Value>>,
    /// Orders of named values that are not their own.
    stored: Vec<StoredOrder>,
    /// Values in other orders (normal forms).
    moved: BTreeMap<(Value, Vec<usize>, Vec<usize>), Value>,
    /// Constants under shapes and in orders.
    constants: BTreeMap<(Value, Vec<usize>, Vec<usize>, Vec<usize>), Value>,
}

impl Emitter<'_, '_> {
    fn order(&self, value: Value) -> &Permutation {
        &self.orders[value.index()]
    }

    fn shaped(&mut self, value: Value, shape: &[usize]) -> Result<Value, String> {
        if self.func.ty(value).shape == shape {
            return Ok(value);
        }
        self.func.push(Op::Reshape { x: value, shape: shape.to_vec() })
    }

    fn push(&mut self, op: Op, result: Value) -> Result<Value, String> {
        let new = self.func.push(op)?;
        self.rename(new, result);
        Ok(new)
    }

    /// Names `new` after the old value that it holds. Of several the last one counts: that is what
    /// the next op reads.
    fn rename(&mut self, new: Value, old: Value) {
        let Some(name) = self.needs.func.value_name(old) else { return };
        if self.func.inputs().contains(&new) {
            return;
        }
        self.func.set_value_name(new, Some(name.to_string()));
        let permutation = self.order(old).normal();
        if !permutation.is_identity() {
            self.stored.push(StoredOrder { name: name.to_string(), permutation });
        }
    }

    fn constant(&mut self, tensor: Tensor) -> Result<Value, String> {
        let value = self.func.add_const(tensor);
        self.func.push(Op::Constant { value })
    }

    /// The old value, seen under `shape`, stored in `order`.
    fn operand(&mut self, value: Value, order: &Permutation, shape: &[usize]) -> Result<Value, String> {
        let stored = stored_shape(order, shape);
        let Some(tensor) = self.needs.constant(value) else {
            let moved = self.in_order(value, order)?;
            return self.shaped(moved, &stored);
        };
        let key = (value, stored.clone(), order.shape.clone(), order.axes.clone());
        if let Some(&known) = self.constants.get(&key) {
            return Ok(known);
        }
        let tensor = permuted(tensor, order, stored)?;
        let new = self.constant(tensor)?;
        self.constants.insert(key, new);
        Ok(new)
    }

    /// The old value, not a constant, in `order`, under some shape.
    fn in_order(&mut self, value: Value, order: &Permutation) -> Result<Value, String> {
        let stored = self.made[value.index()].ok_or_else(|| format!("{value} is used before it is made"))?;
        // Inputs come in their own order.
        let identity = Permutation::identity(self.needs.shape(value));
        let is_input = self.needs.func.inputs().contains(&value);
        let own = if is_input { identity.clone() } else { self.order(value).clone() };
        if same(&own, order) {
            return Ok(stored);
        }
        let normal = order.normal();
        let key = (value, normal.shape, normal.axes);
        if let Some(&known) = self.moved.get(&key) {
            return Ok(known);
        }
        let (from, transpose) = match between(&own, order) {
            Some(transpose) => (stored, transpose),
            // By way of its own order.
            None => (self.in_order(value, &identity)?, order.clone()),
        };
        let x = self.shaped(from, &transpose.shape)?;
        let new = self.func.push(Op::Transpose { x, permutation: transpose.axes })?;
        self.moved.insert(key, new);
        Ok(new)
    }

    fn op(&mut self, data: &OpData<Nn>) -> Result<Value, String> {
        let needs = self.needs;
        let order = self.order(data.result).clone();
        let shape = needs.shape(data.result);
        let orders = needs.operands(data, &order, self.orders).ok_or("an order that the op cannot have")?;
        let parts = Parts::of(&order, shape);
        let place = |dim: usize| {
            let dims = parts.as_ref().and_then(Parts::dims).ok_or("dimensions are in pieces")?;
            dims.iter().position(|&other| other == dim).ok_or("no such dimension")
        };
        let op = match &data.op {
            Op::Constant { .. } => return Err("constants are made where they are used".into()),
            Op::Reshape { x, .. } | Op::Transpose { x, .. } => {
                return self.operand(*x, &orders[0], needs.shape(*x));
            }
            Op::Activation { x, function } => {
                Op::Activation { x: self.operand(*x, &order, shape)?, function: *function }
            }
            Op::Poly { x, polynomial } => {
                Op::Poly { x: self.operand(*x, &order, shape)?, polynomial: polynomial.clone() }
            }
            Op::Add { x, y } => {
                let [x, y] = self.both([*x, *y], &order, shape)?;
                Op::Add { x, y }
            }
            Op::Sub { x, y } => {
                let [x, y] = self.both([*x, *y], &order, shape)?;
                Op::Sub { x, y }
            }
            Op::Mul { x, y } => {
                let [x, y] = self.both([*x, *y], &order, shape)?;
                Op::Mul { x, y }
            }
            Op::Div { x, y } => {
                let [x, y] = self.both([*x, *y], &order, shape)?;
                Op::Div { x, y }
            }
            Op::BatchNorm { x, scale, bias, mean, variance, epsilon } => {
                let x = self.operand(*x, &order, shape)?;
                let within = parts.as_ref().ok_or("dimensions are in pieces")?.within(1);
                let [scale, bias, mean, variance] =
                    [scale, bias, mean, variance].map(|id| self.gathered(*id, |data| within.apply(data)));
                let (scale, bias, mean, variance) = (scale?, bias?, mean?, variance?);
                let channels = place(1)?;
                if channels != 1 {
                    let affine = self.affine([scale, bias, mean, variance], *epsilon);
                    return self.scaled(x, affine, channels, data.result);
                }
                Op::BatchNorm { x, scale, bias, mean, variance, epsilon: *epsilon }
            }
            Op::Softmax { x, axis } => {
                Op::Softmax { x: self.operand(*x, &order, shape)?, axis: place(*axis)? }
            }
            Op::LogSoftmax { x, axis } => {
                Op::LogSoftmax { x: self.operand(*x, &order, shape)?, axis: place(*axis)? }
            }
            Op::AxisMatrices { x, axes, weights } => {
                let x = self.operand(*x, &orders[0], needs.shape(*x))?;
                let axes: Result<Vec<usize>, _> = axes.iter().map(|&axis| place(axis)).collect();
                Op::AxisMatrices { x, axes: axes?, weights: weights.clone() }
            }
            // Nothing is moved.
            Op::ConvTranspose2d { x, .. } | Op::ArgMax { x, .. } => {
                let mut op = data.op.clone();
                let new = self.operand(*x, &orders[0], needs.shape(*x))?;
                op.operands_mut().into_iter().for_each(|operand| *operand = new);
                op
            }
            Op::ReduceMean { x, axes, keep_dims } => {
                let from = needs.shape(*x);
                let dims = Parts::of(&orders[0], from).and_then(|parts| parts.dims());
                let dims = dims.ok_or("dimensions are in pieces")?;
                let axes = (0..dims.len()).filter(|&at| axes.contains(&dims[at])).collect();
                Op::ReduceMean { x: self.operand(*x, &orders[0], from)?, axes, keep_dims: *keep_dims }
            }
            Op::Pad { x, before, after, value } => {
                let x = self.operand(*x, &orders[0], needs.shape(*x))?;
                let [before, after] = [before, after].map(|sides| reordered(parts.as_ref(), sides));
                Op::Pad { x, before: before?, after: after?, value: *value }
            }
            Op::Slice { x, starts, ends, steps } => {
                let x = self.operand(*x, &orders[0], needs.shape(*x))?;
                let [starts, ends, steps] = [starts, ends, steps].map(|list| reordered(parts.as_ref(), list));
                Op::Slice { x, starts: starts?, ends: ends?, steps: steps? }
            }
            Op::Concat { xs, axis } => {
                let operands = xs.iter().zip(&orders);
                let xs: Result<_, _> =
                    operands.map(|(&x, order)| self.operand(x, order, needs.shape(x))).collect();
                Op::Concat { xs: xs?, axis: place(*axis)? }
            }
            Op::MaxPool { x, kernel, strides, pads, dilations } => Op::MaxPool {
                x: self.operand(*x, &orders[0], needs.shape(*x))?,
                kernel: *kernel,
                strides: *strides,
                pads: *pads,
                dilations: *dilations,
            },
            Op::AveragePool { x, kernel, strides, pads, count_include_pad } => Op::AveragePool {
                x: self.operand(*x, &orders[0], needs.shape(*x))?,
                kernel: *kernel,
                strides: *strides,
                pads: *pads,
                count_include_pad: *count_include_pad,
            },
            Op::Conv2d { .. } => self.convolution(data, &order, &orders[0])?,
            Op::Dense { x, weight, bias } => {
                let flat = needs.shape(*x);
                let x = self.in_order(*x, &orders[0])?;
                let x = self.shaped(x, flat)?;
                let (mut weight, mut bias) = (*weight, *bias);
                // Of several rows nothing is moved.
                if !(order.is_identity() && orders[0].is_identity()) {
                    let (rows, columns) = (sources(&order), sources(&orders[0]));
                    let tensor = gathered_rows(&self.func.consts[weight], &rows, &columns)?;
                    weight = self.func.add_const(tensor);
                    bias = self.gathered_bias(bias, &order)?;
                }
                Op::Dense { x, weight, bias }
            }
            Op::MatMul { x, y } => return self.product(data.result, [*x, *y], &order, &orders),
        };
        self.push(op, data.result)
    }

    /// Two operands of an element-wise op whose result, of `shape`, is in `order`.
    fn both(&mut self, xs: [Value; 2], order: &Permutation, shape: &[usize]) -> Result<[Value; 2], String> {
        let [x, y] = xs.map(|x| self.broadcast(x, order, shape));
        Ok([x?, y?])
    }

    fn broadcast(&mut self, x: Value, order: &Permutation, shape: &[usize]) -> Result<Value, String> {
        let own = self.needs.shape(x);
        if order.is_identity() && stored_shape(order, shape) == shape || self.needs.elements(x) == 1 {
            return self.operand(x, &Permutation::identity(own), own);
        }
        if own == shape {
            return self.operand(x, order, shape);
        }
        let view = aligned(own, shape.len());
        let parts = Parts::of(order, shape).filter(|parts| parts.dims().is_some());
        if let Some(parts) = parts.and_then(|parts| parts.resized(shape, &view)) {
            return self.operand(x, &parts.order(), &view);
        }
        // Dimensions are in pieces: the constant is written out.
        let tensor = self.needs.constant(x).ok_or("a variable is repeated along pieces of dimensions")?;
        let whole = repeated(tensor, &view, shape);
        let tensor = permuted(&whole, order, stored_shape(order, shape))?;
        self.constant(tensor)
    }

    /// Factors and shifts of a batch normalisation,
    /// `(x - mean) / sqrt(variance + epsilon) * scale + bias`.
    fn affine(&self, [scale, bias, mean, variance]: [Const; 4], epsilon: f64) -> [Vec<f32>; 2] {
        let [scale, bias, mean, variance] =
            [scale, bias, mean, variance].map(|id| self.func.consts[id].data().iter().map(|&x| f64::from(x)));
        let factors = scale.zip(variance).map(|(scale, variance)| scale / (variance + epsilon).sqrt());
        let pairs = factors.zip(bias.zip(mean)).map(|(factor, (bias, mean))| (factor, bias - mean * factor));
        let (factors, shifts): (Vec<f64>, Vec<f64>) = pairs.unzip();
        [factors, shifts].map(|list| list.into_iter().map(|x| x as f32).collect())
    }

    /// `x * factors + shifts`, one of each per index of dimension `axis`.
    fn scaled(
        &mut self,
        x: Value,
        [factors, shifts]: [Vec<f32>; 2],
        axis: usize,
        result: Value,
    ) -> Result<Value, String> {
        let mut shape = vec![1; self.func.ty(x).shape.len()];
        shape[axis] = factors.len();
        let mut constant = |list| self.constant(Tensor::new(shape.clone(), list).map_err(|e| e.to_string())?);
        let (factors, shifts) = (constant(factors)?, constant(shifts)?);
        let x = self.func.push(Op::Mul { x, y: factors })?;
        self.push(Op::Add { x, y: shifts }, result)
    }

    fn convolution(
        &mut self,
        data: &OpData<Nn>,
        order: &Permutation,
        operand: &Permutation,
    ) -> Result<Op, String> {
        let Op::Conv2d { x, weight, bias, strides, pads, dilations, groups } = &data.op else {
            return Err("no convolution".into());
        };
        let (from, to) = (self.needs.shape(*x), self.needs.shape(data.result));
        let channels = |order: &Permutation, shape: &[usize]| {
            Ok::<_, String>(channels_only(order, shape).ok_or("more than channels move")?.within(1))
        };
        let (inner, outer) = (channels(operand, from)?, channels(order, to)?);
        let operand = channels_only(operand, from).ok_or("more than channels move")?.order();
        let x = self.operand(*x, &operand, from)?;
        let (mut weight, mut groups) = (*weight, *groups);
        if !(inner.is_identity() && outer.is_identity()) {
            let depthwise = self.needs.is_depthwise(weight, groups);
            let mut tensor = self.func.consts[weight].clone();
            if !depthwise && groups > 1 {
                tensor = ungrouped(&tensor, groups);
                groups = 1;
            }
            let taps: usize = tensor.shape()[2..].iter().product();
            let inner = if depthwise { vec![0] } else { sources(&inner) };
            let (row, data) = (inner.len() * taps, tensor.data());
            let rows = outer.sources().flat_map(|o| inner.iter().map(move |i| o * row + i * taps));
            let data: Vec<f32> = rows.flat_map(|at| data[at..at + taps].iter().copied()).collect();
            let tensor = Tensor::new(tensor.shape(), data).map_err(|e| e.to_string())?;
            weight = self.func.add_const(tensor);
        }
        let bias = self.gathered_bias(*bias, &outer)?;
        Ok(Op::Conv2d { x, weight, bias, strides: *strides, pads: *pads, dilations: *dilations, groups })
    }

    fn product(
        &mut self,
        result: Value,
        [x, y]: [Value; 2],
        order: &Permutation,
        orders: &[Permutation],
    ) -> Result<Value, String> {
        let (from, to) = (self.needs.shape(x), self.needs.shape(result));
        let kind = self.needs.product(x, y);
        let Some(matrix) = self.needs.constant(y).filter(|_| kind != Product::Other) else {
            let x = self.operand(x, &orders[0], from)?;
            let y = self.operand(y, &orders[1], self.needs.shape(y))?;
            return self.push(Op::MatMul { x, y }, result);
        };
        let [inner, outer] = [matrix.shape()[0], matrix.shape()[1]];
        let stored = self.in_order(x, &orders[0])?;
        if kind == Product::Row {
            let x = self.shaped(stored, from)?;
            let (rows, columns) = (sources(&orders[0]), sources(order));
            let y = self.constant(gathered_rows(matrix, &rows, &columns)?)?;
            return self.push(Op::MatMul { x, y }, result);
        }
        let rows = self.needs.elements(x) / inner;
        let first = Parts::of(&order.normal(), to).is_some_and(|parts| parts.starts_with(to.len() - 1));
        if !first {
            let shape = if order.is_identity() { from.to_vec() } else { vec![rows, inner] };
            let x = self.shaped(stored, &shape)?;
            let y = self.operand(y, &orders[1], matrix.shape())?;
            return self.push(Op::MatMul { x, y }, result);
        }
        // Rows are pixels, in whatever order they are; an image of them keeps its shape.
        let plane = match from {
            [1, height, width, _] if order.normal().shape == [height * width, outer] => [*height, *width],
            _ => [rows, 1],
        };
        let x = self.shaped(stored, &[1, inner, plane[0], plane[1]])?;
        let weight = permuted(
            matrix,
            &Permutation { shape: vec![inner, outer], axes: vec![1, 0] },
            vec![outer, inner, 1, 1],
        )?;
        let weight = self.func.add_const(weight);
        let (strides, dilations) = ([1, 1], [1, 1]);
        let op = Op::Conv2d { x, weight, bias: None, strides, pads: [0; 4], dilations, groups: 1 };
        self.push(op, result)
    }

    /// A constant vector with its elements in another order.
    fn gathered(&mut self, id: Const, of: impl Fn(&[f32]) -> Vec<f32>) -> Result<Const, String> {
        let tensor = &self.func.consts[id];
        let data = of(tensor.data());
        if data == tensor.data() {
            return Ok(id);
        }
        let tensor = Tensor::new(tensor.shape(), data).map_err(|e| e.to_string())?;
        Ok(self.func.add_const(tensor))
    }

    fn gathered_bias(&mut self, bias: Option<Const>, order: &Permutation) -> Result<Option<Const>, String> {
        bias.map(|bias| self.gathered(bias, |data| order.apply(data))).transpose()
    }
}

fn sources(order: &Permutation) -> Vec<usize> {
    order.sources().collect()
}

/// The rows and columns of a matrix in another order.
fn gathered_rows(matrix: &Tensor, rows: &[usize], columns: &[usize]) -> Result<Tensor, String> {
    let (width, data) = (columns.len(), matrix.data());
    let data: Vec<f32> =
        rows.iter().flat_map(|row| columns.iter().map(move |column| data[row * width + column])).collect();
    Tensor::new(matrix.shape(), data).map_err(|e| e.to_string())
}

/// The elements of `tensor` in `order`, under `shape`.
fn permuted(tensor: &Tensor, order: &Permutation, shape: Vec<usize>) -> Result<Tensor, String> {
    let result = match order.is_identity() {
        true => tensor.reshaped(shape),
        false => Tensor::new(shape, order.apply(tensor.data())),
    };
    result.map_err(|e| e.to_string())
}

/// `tensor`, of shape `from`, repeated up to `to`.
fn repeated(tensor: &Tensor, from: &[usize], to: &[usize]) -> Tensor {
    Tensor::from_fn(to, |index| {
        let (mut rest, mut position, mut stride) = (index, 0, 1);
        for axis in (0..to.len()).rev() {
            position += rest % to[axis] % from[axis] * stride;
            stride *= from[axis];
            rest /= to[axis];
        }
        tensor.data()[position]
    })
}

/// The weight of a convolution in groups, written out for all channels.
fn ungrouped(weight: &Tensor, groups: usize) -> Tensor {
    let [outputs, per_group, kh, kw] = [0, 1, 2, 3].map(|dim| weight.shape().get(dim).copied().unwrap_or(1));
    let (taps, channels) = (kh * kw, per_group * groups);
    Tensor::from_fn([outputs, channels, kh, kw], |index| {
        let (output, channel, tap) = (index / (channels * taps), index / taps % channels, index % taps);
        match channel / per_group == output / (outputs / groups) {
            true => weight.data()[(output * per_group + channel % per_group) * taps + tap],
            false => 0.0,
        }
    })
}

/// One item per dimension, in stored order.
fn reordered(parts: Option<&Parts>, items: &[usize]) -> Result<Vec<usize>, String> {
    let dims = parts.and_then(Parts::dims).ok_or("dimensions are in pieces")?;
    Ok(dims.iter().map(|&dim| items[dim]).collect())
}

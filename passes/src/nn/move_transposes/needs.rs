//! Which orders of operands and results an op can be written for, without moving anything.

use fhec_ir::{
    entity::{Const, Value},
    func::{Func, OpData, StageOp},
    nn::{Nn, Op},
    permutation::Permutation,
    tensor::Tensor,
};

use super::order::{Parts, channels_only, resized, same};

/// Weights of a convolution in groups are written out for all channels up to this many elements.
const MAX_UNGROUPED: usize = 1 << 20;

/// A network, and what its ops ask of orders.
pub struct Needs<'f> {
    pub func: &'f Func<Nn>,
    /// By value: what it is, if it is a constant.
    constants: Vec<Option<&'f Tensor>>,
}

impl<'f> Needs<'f> {
    pub fn new(func: &'f Func<Nn>) -> Self {
        let mut constants = vec![None; func.value_count()];
        for data in func.ops() {
            if let Op::Constant { value } = data.op {
                constants[data.result.index()] = Some(&func.consts[value]);
            }
        }
        Needs { func, constants }
    }

    pub fn shape(&self, value: Value) -> &'f [usize] {
        &self.func.ty(value).shape
    }

    pub fn elements(&self, value: Value) -> usize {
        self.shape(value).iter().product()
    }

    pub fn constant(&self, value: Value) -> Option<&'f Tensor> {
        self.constants[value.index()]
    }

    /// The orders that the operands of an op must have so that it leaves its result in `order`;
    /// `None` where it cannot. What a weight can be permuted for is in the order that it has in
    /// `orders`, by value.
    pub fn operands(
        &self,
        data: &OpData<Nn>,
        order: &Permutation,
        orders: &[Permutation],
    ) -> Option<Vec<Permutation>> {
        let result = self.shape(data.result);
        let identity = |x: &Value| Permutation::identity(self.shape(*x));
        let found = |x: Value| &orders[x.index()];
        Some(match &data.op {
            Op::Constant { .. } => Vec::new(),
            Op::Activation { .. } | Op::Poly { .. } | Op::Reshape { .. } => vec![order.clone()],
            Op::Add { x, y } | Op::Sub { x, y } | Op::Mul { x, y } | Op::Div { x, y } => {
                vec![self.broadcast(order, result, *x)?, self.broadcast(order, result, *y)?]
            }
            Op::BatchNorm { .. } => {
                Parts::of(order, result)?.dims()?;
                vec![order.clone()]
            }
            Op::AxisMatrices { x, axes, .. } => {
                vec![self.whole_along(order, axes, result, self.shape(*x))?]
            }
            Op::Softmax { axis, .. } | Op::LogSoftmax { axis, .. } => {
                let parts = Parts::of(order, result)?;
                parts.dims()?;
                parts.is_whole(*axis).then(|| vec![order.clone()])?
            }
            Op::ReduceMean { x, axes, .. } => {
                let (from, kept) = (self.shape(*x), self.kept(*x, axes));
                let as_found = Parts::of(found(*x), from).filter(|parts| parts.dims().is_some());
                let leaves = as_found.and_then(|parts| parts.resized(from, &kept));
                match leaves {
                    Some(parts) if same(&parts.order(), order) => vec![found(*x).clone()],
                    _ => vec![self.changed(order, &kept, from)?],
                }
            }
            Op::Pad { .. } | Op::Slice { .. } | Op::Concat { .. } => {
                let operands = data.op.operands();
                let orders = operands.iter().map(|&x| self.changed(order, result, self.shape(x)));
                orders.collect::<Option<_>>()?
            }
            Op::MaxPool { x, .. } | Op::AveragePool { x, .. } => {
                let parts = channels_only(order, result)?;
                vec![parts.resized(result, self.shape(*x))?.order()]
            }
            Op::Conv2d { x, weight, groups, .. } => {
                let parts = channels_only(order, result)?;
                let from = self.shape(*x);
                if self.is_depthwise(*weight, *groups) {
                    return Some(vec![parts.resized(result, from)?.order()]);
                }
                let ungrouped =
                    *groups == 1 || self.func.consts[*weight].data().len() * groups <= MAX_UNGROUPED;
                if !ungrouped && !order.is_identity() {
                    return None;
                }
                match channels_only(found(*x), from).filter(|_| ungrouped) {
                    Some(_) => vec![found(*x).clone()],
                    None => vec![identity(x)],
                }
            }
            Op::Dense { x, .. } if result[0] == 1 => vec![found(*x).clone()],
            Op::MatMul { x, y } if self.product(*x, *y) == Product::Row => {
                vec![found(*x).clone(), identity(y)]
            }
            Op::MatMul { x, y } if self.product(*x, *y) == Product::Rows => {
                let parts = Parts::of(&order.normal(), result)?;
                let features = result.len() - 1;
                if !parts.is_whole(features) || !(parts.starts_with(features) || parts.ends_with(features)) {
                    return None;
                }
                vec![parts.resized(result, self.shape(*x))?.order(), identity(y)]
            }
            Op::Transpose { permutation, .. } => {
                vec![Parts::of(order, result)?.renamed(|dim| permutation[dim]).order()]
            }
            Op::Dense { .. } | Op::MatMul { .. } | Op::ConvTranspose2d { .. } | Op::ArgMax { .. } => {
                let operands = data.op.operands();
                order.is_identity().then(|| operands.iter().map(identity).collect())?
            }
        })
    }

    /// The order of the result of an op whose operand `x` is in `order`, if the op hands orders on.
    pub fn result(&self, data: &OpData<Nn>, x: Value, order: &Permutation) -> Option<Permutation> {
        let (from, to) = (self.shape(x), self.shape(data.result));
        match &data.op {
            Op::Activation { .. }
            | Op::Poly { .. }
            | Op::Reshape { .. }
            | Op::Softmax { .. }
            | Op::LogSoftmax { .. }
            | Op::BatchNorm { .. } => Some(order.clone()),
            Op::Add { .. } | Op::Sub { .. } | Op::Mul { .. } | Op::Div { .. } => {
                (from == to).then(|| order.clone())
            }
            Op::ReduceMean { axes, .. } => resized(order, from, &self.kept(x, axes)),
            Op::Pad { .. } | Op::Slice { .. } | Op::Concat { .. } => self.changed(order, from, to),
            Op::AxisMatrices { axes, .. } => self.whole_along(order, axes, from, to),
            Op::MaxPool { .. } | Op::AveragePool { .. } => resized(order, from, to),
            Op::Conv2d { weight, groups, .. } if self.is_depthwise(*weight, *groups) => {
                resized(order, from, to)
            }
            Op::MatMul { y, .. } if self.product(x, *y) == Product::Rows => resized(order, from, to),
            Op::Transpose { permutation, .. } => {
                let place = |dim: usize| permutation.iter().position(|&from| from == dim);
                Some(Parts::of(order, from)?.renamed(|dim| place(dim).expect("it is a permutation")).order())
            }
            Op::Constant { .. }
            | Op::Conv2d { .. }
            | Op::ConvTranspose2d { .. }
            | Op::ArgMax { .. }
            | Op::Dense { .. }
            | Op::MatMul { .. } => None,
        }
    }

    /// An order of the result of a product of rows with a matrix for which it is a convolution:
    /// features first.
    pub fn features_first(&self, data: &OpData<Nn>) -> Option<Permutation> {
        let Op::MatMul { x, y } = data.op else { return None };
        let shape = self.shape(data.result);
        let features = shape.len() - 1;
        (self.product(x, y) == Product::Rows).then(|| {
            // The dimension of the image, if there is one, stays in front.
            let image = usize::from(shape[0] == 1 && features > 0);
            let axes = (0..image).chain([features]).chain(image..features).collect();
            Permutation { shape: shape.to_vec(), axes }
        })
    }

    /// What kind of product `x` times `y` is.
    pub fn product(&self, x: Value, y: Value) -> Product {
        let (Some(matrix), [rows @ .., features]) = (self.constant(y), self.shape(x)) else {
            return Product::Other;
        };
        match *matrix.shape() {
            [_, _] if rows.iter().all(|&rows| rows == 1) => Product::Row,
            [_, columns] if columns > 1 && *features > 1 => Product::Rows,
            _ => Product::Other,
        }
    }

    /// Whether a convolution has one kernel per channel.
    pub fn is_depthwise(&self, weight: Const, groups: usize) -> bool {
        let shape = self.func.consts[weight].shape();
        groups > 1 && shape[0] == groups && shape[1] == 1
    }

    /// The shape of a mean of `x` that keeps its dimensions.
    pub fn kept(&self, x: Value, axes: &[usize]) -> Vec<usize> {
        let kept = |(axis, &size)| if axes.contains(&axis) { 1 } else { size };
        self.shape(x).iter().enumerate().map(kept).collect()
    }

    /// The order of an operand of shape `to` where only whole dimensions differ from those of
    /// `from`, which is in `order`.
    fn changed(&self, order: &Permutation, from: &[usize], to: &[usize]) -> Option<Permutation> {
        let parts = Parts::of(order, from)?;
        parts.dims()?;
        let whole = (0..from.len()).all(|dim| from[dim] == to[dim] || parts.is_whole(dim));
        whole.then(|| parts.resized(from, to))?.map(|parts| parts.order())
    }

    /// The order of a tensor of shape `to` that has the dimensions of one of shape `from` in
    /// `order`, if all of `axes`, which change, are whole there.
    fn whole_along(
        &self,
        order: &Permutation,
        axes: &[usize],
        from: &[usize],
        to: &[usize],
    ) -> Option<Permutation> {
        let parts = Parts::of(order, from)?;
        parts.dims()?;
        let whole = axes.iter().all(|&axis| parts.is_whole(axis));
        whole.then(|| parts.resized(from, to))?.map(|parts| parts.order())
    }

    /// The order of an operand that is repeated up to the result's shape.
    fn broadcast(&self, order: &Permutation, result: &[usize], x: Value) -> Option<Permutation> {
        let from = self.shape(x);
        if from == result {
            return Some(order.clone());
        }
        if self.constant(x).is_some() {
            return Some(Permutation::identity(from));
        }
        let parts = Parts::of(order, result)?;
        parts.dims()?;
        Some(parts.resized(result, &aligned(from, result.len()))?.order())
    }
}

/// A product of a value with a matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Product {
    /// Of one row with a constant matrix, as a dense layer is.
    Row,
    /// Of rows with a constant matrix, as a convolution over channels that come last is.
    Rows,
    /// Any other.
    Other,
}

/// `shape` with leading dimensions of length 1, up to `rank`.
pub fn aligned(shape: &[usize], rank: usize) -> Vec<usize> {
    let mut aligned = vec![1; rank.saturating_sub(shape.len())];
    aligned.extend(shape);
    aligned
}

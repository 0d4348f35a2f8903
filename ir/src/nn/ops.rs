//! The op table of the nn stage.

use super::activation::Activation;
use crate::entity::{Const, Value};
use crate::op_table::op_table;
use crate::polynomial::Polynomial;

op_table! {
    /// An op of a network. Shapes: `N` batch, `C` channels, `H` and `W` height and width.
    ///
    /// Two-dimensional windows take `strides`, `dilations` as `[h, w]` and `pads` as `[top, left,
    /// bottom, right]`.
    enum Op {
    /// Cross-correlation of `[N, C, H, W]` with `weight` `[M, C / groups, KH, KW]`, plus `bias`
    /// `[M]`.
    Conv2d "conv2d" (x) {
        /// `[M, C / groups, KH, KW]`.
        weight: Const,
        /// `[M]`.
        bias: Option<Const>,
        /// `[h, w]`.
        strides: [usize; 2],
        /// `[top, left, bottom, right]`, zeros.
        pads: [usize; 4],
        /// `[h, w]`.
        dilations: [usize; 2],
        /// Channel groups.
        groups: usize,
    }
    /// The transpose of a convolution, plus `bias` `[M]`: element `(c, i, j)` of `[N, C, H, W]`
    /// times `weight(c, o, k, l)` is added to `y(o, i * stride + k * dilation - pad, ...)`.
    ConvTranspose2d "conv_transpose2d" (x) {
        /// `[C, M / groups, KH, KW]`.
        weight: Const,
        /// `[M]`.
        bias: Option<Const>,
        /// `[h, w]`.
        strides: [usize; 2],
        /// `[top, left, bottom, right]`, cut off the result.
        pads: [usize; 4],
        /// `[h, w]`.
        dilations: [usize; 2],
        /// Channel groups.
        groups: usize,
        /// Rows below and columns to the right that the result has more.
        output_padding: [usize; 2],
    }
    /// A matrix `[M, K]` along each of some dimensions: `y` along it is the matrix times `x` along
    /// it. Resizing, mirrored pads, gathers and products from the left are such maps.
    AxisMatrices "axis_matrices" (x) {
        /// Dimensions, each once.
        axes: Vec<usize>,
        /// Per dimension of `axes`, `[M, K]`.
        weights: Vec<Const>,
    }
    /// `[N, K] -> [N, M]`: `y = x weight^T + bias`, weight `[M, K]`, bias `[M]`.
    Dense "dense" (x) {
        /// `[M, K]`.
        weight: Const,
        /// `[M]`.
        bias: Option<Const>,
    }
    /// Inference-time batch normalisation over dimension 1:
    /// `y = (x - mean) / sqrt(variance + epsilon) * scale + bias`, all `[C]`.
    BatchNorm "batch_norm" (x) {
        /// `[C]`.
        scale: Const,
        /// `[C]`.
        bias: Const,
        /// `[C]`.
        mean: Const,
        /// `[C]`.
        variance: Const,
        /// Added to the variance.
        epsilon: f64,
    }
    /// A constant tensor as a value.
    Constant "constant" () {
        /// Its data.
        value: Const,
    }
    /// Matrix product with numpy's rules for leading dimensions, both operands variable.
    MatMul "matmul" (x, y) {}
    /// `x + y` with numpy broadcasting.
    Add "add" (x, y) {}
    /// `x - y` with numpy broadcasting.
    Sub "sub" (x, y) {}
    /// `x * y` with numpy broadcasting.
    Mul "mul" (x, y) {}
    /// `x / y` with numpy broadcasting.
    Div "div" (x, y) {}
    /// `exp(x) / sum exp(x)` along `axis`.
    Softmax "softmax" (x) {
        /// Dimension the sum runs over.
        axis: usize,
    }
    /// The logarithm of [`Op::Softmax`].
    LogSoftmax "log_softmax" (x) {
        /// Dimension the sum runs over.
        axis: usize,
    }
    /// The position of the largest element along `axis`, the first if there are several.
    ArgMax "arg_max" (x) {
        /// Dimension that is searched.
        axis: usize,
        /// Whether that dimension stays, with length 1.
        keep_dims: bool,
    }
    /// A polynomial of each element; what `approximate` puts in place of an activation.
    Poly "poly" (x) {
        /// Coefficients and domain.
        polynomial: Polynomial,
    }
    /// Maximum over a window; pads never win.
    MaxPool "max_pool" (x) {
        /// `[h, w]`.
        kernel: [usize; 2],
        /// `[h, w]`.
        strides: [usize; 2],
        /// `[top, left, bottom, right]`.
        pads: [usize; 4],
        /// `[h, w]`.
        dilations: [usize; 2],
    }
    /// Mean over a window.
    AveragePool "average_pool" (x) {
        /// `[h, w]`.
        kernel: [usize; 2],
        /// `[h, w]`.
        strides: [usize; 2],
        /// `[top, left, bottom, right]`.
        pads: [usize; 4],
        /// Whether pads count in the divisor.
        count_include_pad: bool,
    }
    /// Mean over the given dimensions, kept with length 1 or dropped. A global average pool is
    /// `axes=[2, 3]`.
    ReduceMean "reduce_mean" (x) {
        /// Dimensions, increasing.
        axes: Vec<usize>,
        /// Whether the reduced dimensions stay.
        keep_dims: bool,
    }
    /// Constant padding, `before` and `after` per dimension.
    Pad "pad" (x) {
        /// Per dimension.
        before: Vec<usize>,
        /// Per dimension.
        after: Vec<usize>,
        /// Padding value.
        value: f64,
    }
    /// The same elements, row-major, under another shape.
    Reshape "reshape" (x) {
        /// New shape.
        shape: Vec<usize>,
    }
    /// Dimension `i` of the result is dimension `permutation[i]` of the operand.
    Transpose "transpose" (x) {
        /// A permutation of the dimensions.
        permutation: Vec<usize>,
    }
    /// Concatenation along `axis`.
    Concat "concat" (*xs) {
        /// Dimension that grows.
        axis: usize,
    }
    /// Every `steps`-th element from `starts` up to before `ends`, per dimension.
    Slice "slice" (x) {
        /// Per dimension.
        starts: Vec<usize>,
        /// Per dimension.
        ends: Vec<usize>,
        /// Per dimension, at least 1.
        steps: Vec<usize>,
    }
}
    /// A function of each element: a row of [`TABLE`](super::activation::TABLE).
    family Activation (x) {
        /// Which one, with its parameters.
        function: Activation,
    }
}

impl Op {
    /// `max(x, 0)`.
    pub fn relu(x: Value) -> Self {
        Op::Activation { x, function: Activation::RELU }
    }
}

//! Constants beside the e-graph: dense `f64` arrays, and what the constant terms mean.
//!
//! Folding is done in `f64` from the `f32` weights of the network and rounded once, at the end.

use fhec_ir::tensor::Tensor;

use super::language::{Geometry, Window};

/// A row-major array.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    /// Dimensions, outermost first.
    pub shape: Vec<usize>,
    /// Elements.
    pub data: Vec<f64>,
}

impl Array {
    /// An array with one dimension.
    pub fn vector(data: Vec<f64>) -> Array {
        Array { shape: vec![data.len()], data }
    }

    /// The elements of a tensor.
    pub fn from_tensor(tensor: &Tensor) -> Array {
        Array { shape: tensor.shape().to_vec(), data: tensor.data().iter().map(|&v| f64::from(v)).collect() }
    }

    /// Rounded to `f32`.
    pub fn to_tensor(&self) -> Tensor {
        Tensor::from_fn(self.shape.clone(), |i| self.data[i] as f32)
    }

    /// Elements per index of the first dimension.
    fn row(&self) -> usize {
        self.data.len() / self.shape[0].max(1)
    }

    fn zip(&self, other: &Array, f: impl Fn(f64, f64) -> f64) -> Array {
        assert_eq!(self.shape, other.shape, "element-wise constants have one shape");
        let data = self.data.iter().zip(&other.data).map(|(&a, &b)| f(a, b)).collect();
        Array { shape: self.shape.clone(), data }
    }

    /// a b, element by element.
    pub fn times(&self, other: &Array) -> Array {
        self.zip(other, |a, b| a * b)
    }

    /// a + b.
    pub fn plus(&self, other: &Array) -> Array {
        self.zip(other, |a, b| a + b)
    }

    /// Zeros of the same shape.
    pub fn zeros_like(&self) -> Array {
        Array { shape: self.shape.clone(), data: vec![0.0; self.data.len()] }
    }

    /// Every element `count` times in a row.
    pub fn repeated(&self, count: usize) -> Array {
        Array::vector(self.data.iter().flat_map(|&v| std::iter::repeat_n(v, count)).collect())
    }

    /// w(o, ...) s(o).
    pub fn scale_outputs(&self, scale: &Array) -> Array {
        let row = self.row();
        let data = self.data.iter().enumerate().map(|(i, w)| w * scale.data[i / row]).collect();
        Array { shape: self.shape.clone(), data }
    }

    /// The input channel of element `i` of a weight `[M, C / groups, ...]` for `channels` = C.
    fn input_channel(&self, i: usize, channels: usize) -> usize {
        let (outputs, per_group) = (self.shape[0], self.shape[1]);
        let groups = channels / per_group;
        let taps = self.row() / per_group;
        let output = i / self.row();
        output / (outputs / groups) * per_group + i / taps % per_group
    }

    /// w(o, c, ...) s(c).
    pub fn scale_inputs(&self, scale: &Array) -> Array {
        let channels = scale.data.len();
        let data = self.data.iter().enumerate();
        let data = data.map(|(i, w)| w * scale.data[self.input_channel(i, channels)]).collect();
        Array { shape: self.shape.clone(), data }
    }

    /// sum over c and taps of w(o, c, ...) t(c): what a constant input adds to each output.
    pub fn sum_inputs(&self, shift: &Array) -> Array {
        let (row, channels) = (self.row(), shift.data.len());
        let mut sums = vec![0.0; self.shape[0]];
        for (i, w) in self.data.iter().enumerate() {
            sums[i / row] += w * shift.data[self.input_channel(i, channels)];
        }
        Array::vector(sums)
    }

    /// The matrix product `self` `[M, K]` times `inner` `[K, J]`.
    pub fn compose(&self, inner: &Array) -> Array {
        let (rows, middle, columns) = (self.shape[0], self.shape[1], inner.shape[1]);
        let mut data = vec![0.0; rows * columns];
        for o in 0..rows {
            let out = &mut data[o * columns..(o + 1) * columns];
            for k in 0..middle {
                let w = self.data[o * middle + k];
                for (sum, v) in out.iter_mut().zip(&inner.data[k * columns..(k + 1) * columns]) {
                    *sum += w * v;
                }
            }
        }
        Array { shape: vec![rows, columns], data }
    }

    /// `[M, K]` to `[K, M]`.
    pub fn transposed(&self) -> Array {
        let (rows, columns) = (self.shape[0], self.shape[1]);
        let data = (0..rows * columns).map(|i| self.data[i % rows * columns + i / rows]).collect();
        Array { shape: vec![columns, rows], data }
    }

    /// Columns of a dense weight `[M, K]` that reads a flattened permutation of a tensor, in the
    /// order of the tensor itself, whose shape is `shape` (batch included).
    pub fn unpermute_columns(&self, permutation: &[usize], shape: &[usize]) -> Array {
        let mut data = vec![0.0; self.data.len()];
        let columns = self.shape[1];
        let permuted: Vec<usize> = permutation.iter().map(|&from| shape[from]).collect();
        for column in 0..columns {
            // Index of the column in the permuted tensor, carried to the tensor itself.
            let (mut rest, mut index) = (column, vec![0; shape.len()]);
            for axis in (0..shape.len()).rev() {
                index[permutation[axis]] = rest % permuted[axis];
                rest /= permuted[axis];
            }
            let from = index.iter().zip(shape).fold(0, |flat, (i, d)| flat * d + i);
            for row in 0..self.shape[0] {
                data[row * columns + from] = self.data[row * columns + column];
            }
        }
        Array { shape: self.shape.clone(), data }
    }

    /// A dense weight on the flattened result of an average pool, as one on the pool's flattened
    /// operand. `input` is `[C, H, W]`.
    pub fn unpool_columns(&self, window: &Window, input: [usize; 3]) -> Array {
        let [channels, height, width] = input;
        let [rows, columns] = window.result([height, width]);
        let mut data = vec![0.0; self.shape[0] * channels * height * width];
        for (i, w) in self.data.iter().enumerate() {
            let (plane, y, x) = (i / (rows * columns), i / columns % rows, i % columns);
            let taps = window.taps(y, x, [height, width]);
            let share = w / window.divisor(taps.len());
            for (ty, tx) in taps {
                data[(plane * height + ty) * width + tx] += share;
            }
        }
        Array { shape: vec![self.shape[0], channels * height * width], data }
    }

    /// A convolution weight on the result of an unpadded average pool, as one on the pool's
    /// operand: the taps move apart by the pool's strides (and the convolution's dilations), and
    /// each becomes a window of equal taps.
    pub fn spread_kernel(&self, window: &Window, dilations: [usize; 2]) -> Array {
        let [outputs, per_group, kh, kw] = [self.shape[0], self.shape[1], self.shape[2], self.shape[3]];
        let step = [window.strides[0] * dilations[0], window.strides[1] * dilations[1]];
        let (h, w) = ((kh - 1) * step[0] + window.kernel[0], (kw - 1) * step[1] + window.kernel[1]);
        let area = (window.kernel[0] * window.kernel[1]) as f64;
        let mut data = vec![0.0; outputs * per_group * h * w];
        for (i, value) in self.data.iter().enumerate() {
            let (plane, y, x) = (i / (kh * kw), i / kw % kh, i % kw);
            for dy in 0..window.kernel[0] {
                for dx in 0..window.kernel[1] {
                    data[(plane * h + y * step[0] + dy) * w + x * step[1] + dx] += value / area;
                }
            }
        }
        Array { shape: vec![outputs, per_group, h, w], data }
    }

    /// The weight of a convolution followed by an unpadded average pool, as one convolution without
    /// dilation.
    pub fn pool_kernel(&self, geometry: &Geometry, window: &Window) -> Array {
        let [outputs, per_group, kh, kw] = [self.shape[0], self.shape[1], self.shape[2], self.shape[3]];
        let [sy, sx] = geometry.strides;
        let [dy, dx] = geometry.dilations;
        let h = (kh - 1) * dy + 1 + (window.kernel[0] - 1) * sy;
        let w = (kw - 1) * dx + 1 + (window.kernel[1] - 1) * sx;
        let area = (window.kernel[0] * window.kernel[1]) as f64;
        let mut data = vec![0.0; outputs * per_group * h * w];
        for (i, value) in self.data.iter().enumerate() {
            let (plane, y, x) = (i / (kh * kw), i / kw % kh * dy, i % kw * dx);
            for u in 0..window.kernel[0] {
                for v in 0..window.kernel[1] {
                    data[(plane * h + y + u * sy) * w + x + v * sx] += value / area;
                }
            }
        }
        Array { shape: vec![outputs, per_group, h, w], data }
    }

    /// A dense weight `[M, C' H' W']` on the flattened result of a convolution, as one on its
    /// flattened operand `[C, H, W]`.
    pub fn unconvolve_columns(&self, kernel: &Array, geometry: &Geometry, input: [usize; 3]) -> Array {
        let [channels, height, width] = input;
        let [outputs, per_group, kh, kw] =
            [kernel.shape[0], kernel.shape[1], kernel.shape[2], kernel.shape[3]];
        let positions = self.shape[1] / outputs;
        let columns = geometry.result_width(width, kw);
        let per_output_group = outputs / geometry.groups;
        let mut data = vec![0.0; self.shape[0] * channels * height * width];
        for (i, value) in self.data.iter().enumerate() {
            let (row, output) = (i / self.shape[1], i % self.shape[1] / positions);
            let (y, x) = (i % positions / columns, i % columns);
            for c in 0..per_group {
                let channel = output / per_output_group * per_group + c;
                for ky in 0..kh {
                    let source = y * geometry.strides[0] + ky * geometry.dilations[0];
                    let Some(sy) = source.checked_sub(geometry.pads[0]).filter(|&sy| sy < height) else {
                        continue;
                    };
                    for kx in 0..kw {
                        let source = x * geometry.strides[1] + kx * geometry.dilations[1];
                        let Some(sx) = source.checked_sub(geometry.pads[1]).filter(|&sx| sx < width) else {
                            continue;
                        };
                        let weight = kernel.data[((output * per_group + c) * kh + ky) * kw + kx];
                        data[((row * channels + channel) * height + sy) * width + sx] += value * weight;
                    }
                }
            }
        }
        Array { shape: vec![self.shape[0], channels * height * width], data }
    }
}

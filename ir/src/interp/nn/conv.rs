//! `conv_transpose2d`, and `conv2d` as matrix products: the taps under each output position are
//! gathered into the columns of a matrix ("im2col"), a strip of output rows at a time so that the
//! matrix stays in cache.

use ndarray::linalg::general_mat_mul;
use ndarray::{ArrayView2, ArrayViewMut2, Axis, Slice};

use crate::tensor::Tensor;

/// Geometry of a two-dimensional window; see [`crate::nn::Op`] for the order of the numbers.
pub(super) struct Window {
    pub strides: [usize; 2],
    pub pads: [usize; 4],
    pub dilations: [usize; 2],
}

impl Window {
    /// Positions along axis `axis` (0 height, 1 width) at which tap `tap` falls on one of `length`
    /// elements, out of `outputs`: `start..end`, and the element under the first.
    pub fn valid(&self, axis: usize, tap: usize, length: usize, outputs: usize) -> (usize, usize, usize) {
        let (stride, pad) = (self.strides[axis], self.pads[axis]);
        let offset = tap * self.dilations[axis];
        // Position o reads element o * stride + offset - pad.
        let start = pad.saturating_sub(offset).div_ceil(stride).min(outputs);
        let end = (length + pad).saturating_sub(offset).div_ceil(stride).clamp(start, outputs);
        let first = if start < end { start * stride + offset - pad } else { 0 };
        (start, end, first)
    }
}

/// Largest im2col matrix, in elements: 1 MiB.
const STRIP_ELEMENTS: usize = 1 << 18;

/// Fewer output channels per group than this do not pay for gathering columns.
const DIRECT_BELOW: usize = 4;

pub(super) fn conv2d(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&[f32]>,
    window: &Window,
    groups: usize,
    shape: &[usize],
    scratch: &mut Vec<f32>,
) -> Vec<f32> {
    let (&[_, c, h, w], &[_, m, oh, ow]) = (x.shape(), shape) else { unreachable!("conv2d has rank 4") };
    let &[_, c_group, kh, kw] = weight.shape() else { unreachable!("conv2d weights have rank 4") };
    let (m_group, taps) = (m / groups, c_group * kh * kw);
    let mut out = vec![0.0; shape.iter().product()];
    if let (Some(bias), false) = (bias, out.is_empty()) {
        out.chunks_mut(oh * ow).zip(bias.iter().cycle()).for_each(|(plane, &b)| plane.fill(b));
    }
    if out.is_empty() || x.data().is_empty() {
        return out;
    }
    for (image, out) in x.data().chunks(c * h * w).zip(out.chunks_mut(m * oh * ow)) {
        for group in 0..groups {
            let image = &image[group * c_group * h * w..][..c_group * h * w];
            let out = &mut out[group * m_group * oh * ow..][..m_group * oh * ow];
            let weight = &weight.data()[group * m_group * taps..][..m_group * taps];
            let geometry = Geometry { window, input: [h, w], kernel: [kh, kw], output: [oh, ow] };
            if m_group < DIRECT_BELOW {
                direct(image, weight, out, &geometry);
            } else {
                by_matrix_product(image, weight, out, &geometry, scratch);
            }
        }
    }
    out
}

/// Every element spreads the kernel around its place.
pub(super) fn conv_transpose2d(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&[f32]>,
    window: &Window,
    groups: usize,
    shape: &[usize],
) -> Vec<f32> {
    let (&[_, c, h, w], &[_, m, oh, ow]) = (x.shape(), shape) else { unreachable!("images have rank 4") };
    let &[_, m_group, kh, kw] = weight.shape() else { unreachable!("a kernel has rank 4") };
    let mut out = vec![0.0; shape.iter().product()];
    if let Some(bias) = bias {
        out.chunks_mut(oh * ow).zip(bias.iter().cycle()).for_each(|(plane, &b)| plane.fill(b));
    }
    let taps = weight.data().iter().enumerate().filter(|(_, tap)| **tap != 0.0);
    for (index, &tap) in taps {
        let (l, k) = (index % kw, index / kw % kh);
        let (o, channel) = (index / (kw * kh) % m_group, index / (kw * kh * m_group));
        let o = channel / (c / groups) * m_group + o;
        // What a convolution reads where, this writes there.
        let (first_row, last_row, top) = window.valid(0, k, oh, h);
        let (first, last, left) = window.valid(1, l, ow, w);
        for (image, out) in x.data().chunks(c * h * w).zip(out.chunks_mut(m * oh * ow)) {
            for row in first_row..last_row {
                let x = &image[(channel * h + row) * w..][first..last];
                let y = top + (row - first_row) * window.strides[0];
                let out = &mut out[(o * oh + y) * ow..][..ow];
                let out = out.iter_mut().skip(left).step_by(window.strides[1]);
                out.zip(x).for_each(|(out, x)| *out += tap * x);
            }
        }
    }
    out
}

struct Geometry<'a> {
    window: &'a Window,
    input: [usize; 2],
    kernel: [usize; 2],
    output: [usize; 2],
}

impl Geometry<'_> {
    /// Whether every output element is a combination of the input elements at the same place.
    fn is_pointwise(&self) -> bool {
        self.kernel == [1, 1] && self.window.strides == [1, 1] && self.window.pads == [0; 4]
    }
}

/// `out += weight * columns(image)`.
fn by_matrix_product(
    image: &[f32],
    weight: &[f32],
    out: &mut [f32],
    geometry: &Geometry<'_>,
    scratch: &mut Vec<f32>,
) {
    let [h, w] = geometry.input;
    let [oh, ow] = geometry.output;
    let taps = image.len() / (h * w) * geometry.kernel[0] * geometry.kernel[1];
    let m = weight.len() / taps;
    let weight = view(weight, m, taps);
    let mut out = ArrayViewMut2::from_shape((m, oh * ow), out).expect("the output has m planes");
    if geometry.is_pointwise() {
        return general_mat_mul(1.0, &weight, &view(image, taps, h * w), 1.0, &mut out);
    }
    let strip = (STRIP_ELEMENTS / (taps * ow)).clamp(1, oh);
    if scratch.len() < taps * strip * ow {
        scratch.resize(taps * strip * ow, 0.0);
    }
    for top in (0..oh).step_by(strip) {
        let rows = strip.min(oh - top);
        let columns = &mut scratch[..taps * rows * ow];
        gather(image, columns, geometry, top, rows);
        let mut part = out.slice_axis_mut(Axis(1), Slice::from(top * ow..(top + rows) * ow));
        general_mat_mul(1.0, &weight, &view(columns, taps, rows * ow), 1.0, &mut part);
    }
}

fn view(data: &[f32], rows: usize, columns: usize) -> ArrayView2<'_, f32> {
    ArrayView2::from_shape((rows, columns), data).expect("rows times columns elements")
}

/// `columns[tap][position]`: what tap `(channel, ky, kx)` sees at the positions of output rows
/// `top..top + rows`.
fn gather(image: &[f32], columns: &mut [f32], geometry: &Geometry<'_>, top: usize, rows: usize) {
    let Geometry { window, input: [h, w], kernel: [kh, kw], output: [oh, ow] } = *geometry;
    for (tap, column) in columns.chunks_mut(rows * ow).enumerate() {
        let (channel, ky, kx) = (tap / (kh * kw), tap / kw % kh, tap % kw);
        let plane = &image[channel * h * w..][..h * w];
        let (y_start, y_end, y_first) = window.valid(0, ky, h, oh);
        let (x_start, x_end, x_first) = window.valid(1, kx, w, ow);
        for (row, line) in column.chunks_mut(ow).enumerate() {
            let oy = top + row;
            if !(y_start..y_end).contains(&oy) || x_start == x_end {
                line.fill(0.0);
                continue;
            }
            let source = &plane[(y_first + (oy - y_start) * window.strides[0]) * w..][..w];
            line[..x_start].fill(0.0);
            line[x_end..].fill(0.0);
            let line = &mut line[x_start..x_end];
            if window.strides[1] == 1 {
                line.copy_from_slice(&source[x_first..x_first + line.len()]);
            } else {
                let source = source[x_first..].iter().step_by(window.strides[1]);
                line.iter_mut().zip(source).for_each(|(to, &from)| *to = from);
            }
        }
    }
}

/// `out += weight * columns(image)`, tap by tap; for depthwise convolutions.
fn direct(image: &[f32], weight: &[f32], out: &mut [f32], geometry: &Geometry<'_>) {
    let Geometry { window, input: [h, w], kernel: [kh, kw], output: [oh, ow] } = *geometry;
    let taps = image.len() / (h * w) * kh * kw;
    for (weights, out) in weight.chunks(taps).zip(out.chunks_mut(oh * ow)) {
        for (tap, &factor) in weights.iter().enumerate() {
            let (channel, ky, kx) = (tap / (kh * kw), tap / kw % kh, tap % kw);
            let plane = &image[channel * h * w..][..h * w];
            let (y_start, y_end, y_first) = window.valid(0, ky, h, oh);
            let (x_start, x_end, x_first) = window.valid(1, kx, w, ow);
            if x_start == x_end {
                continue;
            }
            for oy in y_start..y_end {
                let source = &plane[(y_first + (oy - y_start) * window.strides[0]) * w..][x_first..w];
                let line = &mut out[oy * ow + x_start..oy * ow + x_end];
                if window.strides[1] == 1 {
                    line.iter_mut().zip(source).for_each(|(to, &from)| *to += factor * from);
                } else {
                    let source = source.iter().step_by(window.strides[1]);
                    line.iter_mut().zip(source).for_each(|(to, &from)| *to += factor * from);
                }
            }
        }
    }
}

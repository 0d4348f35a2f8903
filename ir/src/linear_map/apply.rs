//! Linear maps on tensors in the clear: direct loops over rows, fast enough to simulate thousands
//! of images.
//!
//! Every output element is summed in the order of [`LinearMap::for_each_entry`], so both give the
//! same bits.

use super::{LinearKind, LinearMap};
use crate::tensor::ConstPool;

impl LinearMap {
    /// The map on packed vectors in the clear: unpack, apply, pack. With a fold above 1, its
    /// partial sums; with one element per vector, of every slot by itself.
    pub fn apply(&self, consts: &ConstPool, input: &[Vec<f64>]) -> Vec<Vec<f64>> {
        if self.fold > 1 {
            return self.apply_folded(consts, input);
        }
        if self.is_slotwise() {
            return self.apply_to_copies(consts, input);
        }
        self.output.pack(&self.apply_to_tensor(consts, &self.input.unpack(input)))
    }

    /// The map of every slot by itself: with one element per vector, copies need not be equal.
    fn apply_to_copies(&self, consts: &ConstPool, input: &[Vec<f64>]) -> Vec<Vec<f64>> {
        let mut output = vec![vec![0.0; self.output.slots]; self.output.vectors()];
        for ((out, vector), diagonals) in self.diagonals(consts) {
            for weight in diagonals.values().map(|diagonal| diagonal[0]) {
                output[out].iter_mut().zip(&input[vector]).for_each(|(sum, x)| *sum += weight * x);
            }
        }
        output
    }

    /// The map on row-major elements `(c, y, x)`.
    ///
    /// # Panics
    /// If the map is invalid or `input` does not have the input layout's number of elements.
    pub fn apply_to_tensor(&self, consts: &ConstPool, input: &[f64]) -> Vec<f64> {
        assert_eq!(input.len(), self.input.elements(), "element count");
        let mut output = vec![0.0; self.output.elements()];
        match &self.kind {
            LinearKind::Conv2d { .. } => self.convolve(consts, input, &mut output),
            LinearKind::Dense { weight } => {
                for (out, row) in output.iter_mut().zip(consts[*weight].data().chunks_exact(input.len())) {
                    *out = row.iter().zip(input).fold(0.0, |sum, (&w, &x)| sum + f64::from(w) * x);
                }
            }
            LinearKind::Place { channel_offset } => {
                let [_, height, width] = self.input.shape;
                output[channel_offset * height * width..][..input.len()].copy_from_slice(input);
            }
            LinearKind::ConvTranspose2d { .. }
            | LinearKind::AxisMatrices { .. }
            | LinearKind::Transpose { .. } => {
                let ([_, in_h, in_w], [_, out_h, out_w]) = (self.input.shape, self.output.shape);
                self.for_each_entry(consts, |[oc, oy, ox], [ic, iy, ix], weight| {
                    output[(oc * out_h + oy) * out_w + ox] += weight * input[(ic * in_h + iy) * in_w + ix];
                });
            }
        }
        output
    }

    fn convolve(&self, consts: &ConstPool, input: &[f64], output: &mut [f64]) {
        let LinearKind::Conv2d { weight, strides, pads, dilations, groups } = &self.kind else { return };
        let ([_, height, width], [m, out_h, out_w]) = (self.input.shape, self.output.shape);
        let weight = &consts[*weight];
        let [_, c_per_group, kernel_h, kernel_w] = *weight.shape() else { return };
        for (index, &value) in weight.data().iter().enumerate() {
            if value == 0.0 {
                continue;
            }
            let value = f64::from(value);
            let (kx, ky) = (index % kernel_w, index / kernel_w % kernel_h);
            let (c, o) =
                (index / (kernel_w * kernel_h) % c_per_group, index / (kernel_w * kernel_h * c_per_group));
            let c = o / (m / groups) * c_per_group + c;
            let xs = window_range(kx * dilations[1], pads[1], strides[1], width, out_w);
            if xs.is_empty() {
                continue;
            }
            let start = xs.start * strides[1] + kx * dilations[1] - pads[1];
            for y in window_range(ky * dilations[0], pads[0], strides[0], height, out_h) {
                let in_y = y * strides[0] + ky * dilations[0] - pads[0];
                let row = &input[(c * height + in_y) * width..][start..width];
                let out = &mut output[(o * out_h + y) * out_w..][xs.clone()];
                if strides[1] == 1 {
                    out.iter_mut().zip(row).for_each(|(out, &x)| *out += value * x);
                } else {
                    out.iter_mut()
                        .zip(row.iter().step_by(strides[1]))
                        .for_each(|(out, &x)| *out += value * x);
                }
            }
        }
    }
}

/// Output positions whose input position `position * stride + offset - pad` lies in `0..size`.
fn window_range(offset: usize, pad: usize, stride: usize, size: usize, out: usize) -> std::ops::Range<usize> {
    let start = pad.saturating_sub(offset).div_ceil(stride);
    let end = (size + pad).saturating_sub(offset).div_ceil(stride).min(out);
    start.min(end)..end
}

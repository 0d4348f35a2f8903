//! Average pooling and means, as convolutions with equal weights.

use fhec_ir::entity::Value;
use fhec_ir::tensor::Tensor;

use super::Lowering;
use super::conv::Window;
use super::program::{Step, TensorId};
use super::shape::image_axis;

impl Lowering<'_> {
    pub(super) fn average_pool(
        &mut self,
        x: Value,
        kernel: [usize; 2],
        window: Window,
        count_include_pad: bool,
        name: Option<&str>,
    ) -> Result<TensorId, String> {
        let x = self.image(x)?;
        let [channels, height, width] = self.shape(x);
        let area = (kernel[0] * kernel[1]) as f32;
        let weight = Self::depthwise(channels, kernel, |_, _| 1.0 / area);
        let mean = self.window(x, weight, window, channels, name)?;
        if count_include_pad || window.pads == [0; 4] {
            return Ok(mean);
        }
        // Windows that reach into the pads divide by fewer elements.
        let [_, out_h, out_w] = self.shape(mean);
        let inside = |axis: usize, position: usize, length: usize| {
            let start = position * window.strides[axis];
            let pad = window.pads[axis];
            (start..start + kernel[axis]).filter(|&i| i >= pad && i < pad + length).count()
        };
        let correction = Tensor::from_fn([channels, out_h, out_w], |i| {
            let count = inside(0, i / out_w % out_h, height) * inside(1, i % out_w, width);
            if count == 0 { 0.0 } else { area / count as f32 }
        });
        let values = self.program.consts.add(correction);
        Ok(self.program.push_same(Step::MulPlain { x: mean, values }, name))
    }

    pub(super) fn reduce_mean(
        &mut self,
        x: Value,
        axes: &[usize],
        name: Option<&str>,
    ) -> Result<TensorId, String> {
        let rank = self.func.ty(x).shape.len();
        let batch = rank > 1 && axes.contains(&0);
        let x = self.image(x)?;
        let [channels, height, width] = self.shape(x);
        let mut over = [false; 3];
        for &axis in axes.iter().filter(|&&axis| !(batch && axis == 0)) {
            over[image_axis(rank, axis)?] = true;
        }
        let kernel = [if over[1] { height } else { 1 }, if over[2] { width } else { 1 }];
        if !over[0] {
            let area = (kernel[0] * kernel[1]) as f32;
            let weight = Self::depthwise(channels, kernel, |_, _| 1.0 / area);
            return self.window(x, weight, Window::STILL, channels, name);
        }
        let count = (channels * kernel[0] * kernel[1]) as f32;
        let weight = Tensor::from_fn([1, channels, kernel[0], kernel[1]], |_| 1.0 / count);
        self.window(x, weight, Window::STILL, 1, name)
    }
}

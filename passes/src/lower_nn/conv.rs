//! Windows that move over the image: convolutions, padding, slicing, broadcasting.

use fhec_ir::entity::{Const, Value};
use fhec_ir::linear_map::LinearKind;
use fhec_ir::nn::infer;
use fhec_ir::tensor::Tensor;

use super::Lowering;
use super::program::{Step, TensorId};
use super::shape::image_axis;

/// How a window moves.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    /// `[h, w]`.
    pub strides: [usize; 2],
    /// `[top, left, bottom, right]`.
    pub pads: [usize; 4],
    /// `[h, w]`.
    pub dilations: [usize; 2],
}

impl Window {
    pub(super) const STILL: Window = Window { strides: [1, 1], pads: [0; 4], dilations: [1, 1] };
}

impl Lowering<'_> {
    pub(super) fn conv2d(
        &mut self,
        x: Value,
        weight: Const,
        bias: Option<Const>,
        window: Window,
        groups: usize,
        name: Option<&str>,
    ) -> Result<TensorId, String> {
        let x = self.image(x)?;
        let weight = self.func.consts[weight].clone();
        let result = self.window(x, weight, window, groups, if bias.is_none() { name } else { None })?;
        self.add_bias(result, bias, name)
    }

    #[allow(clippy::too_many_arguments)] // the attributes of the op
    pub(super) fn conv_transpose2d(
        &mut self,
        x: Value,
        weight: Const,
        bias: Option<Const>,
        Window { strides, pads, dilations }: Window,
        groups: usize,
        output_padding: [usize; 2],
        name: Option<&str>,
    ) -> Result<TensorId, String> {
        let x = self.image(x)?;
        let weight = self.func.consts[weight].clone();
        let from = self.shape(x);
        let shape =
            infer::conv_transpose(from, weight.shape(), strides, pads, dilations, groups, output_padding)?;
        let weight = self.program.consts.add(weight);
        let kind = LinearKind::ConvTranspose2d { weight, strides, pads, dilations, groups, output_padding };
        let name_here = if bias.is_none() { name } else { None };
        let result = self.program.push(Step::Linear { x, kind }, shape, name_here);
        self.add_bias(result, bias, name)
    }

    /// A convolution step without bias.
    pub(super) fn window(
        &mut self,
        x: TensorId,
        weight: Tensor,
        window: Window,
        groups: usize,
        name: Option<&str>,
    ) -> Result<TensorId, String> {
        let [_, height, width] = self.shape(x);
        let [m, _, kh, kw] = *weight.shape() else {
            return Err(format!("a convolution's weight has 4 dimensions, found {:?}", weight.shape()));
        };
        let Window { strides, pads, dilations } = window;
        let count = infer::window;
        let height = count(height, kh, strides[0], pads[0] + pads[2], dilations[0])?;
        let width = count(width, kw, strides[1], pads[1] + pads[3], dilations[1])?;
        let weight = self.program.consts.add(weight);
        let kind = LinearKind::Conv2d { weight, strides, pads, dilations, groups };
        Ok(self.program.push(Step::Linear { x, kind }, [m, height, width], name))
    }

    /// Adds a bias per channel, if there is one that is not zero.
    pub(super) fn add_bias(
        &mut self,
        x: TensorId,
        bias: Option<Const>,
        name: Option<&str>,
    ) -> Result<TensorId, String> {
        let bias = bias.map(|bias| self.func.consts[bias].clone());
        match bias {
            Some(bias) if bias.data().iter().any(|&b| b != 0.0) => {
                let values = self.program.consts.add(bias);
                Ok(self.program.push_same(Step::AddPlain { x, values }, name))
            }
            _ => {
                self.program.tensors[x].name = name.map(str::to_string);
                Ok(x)
            }
        }
    }

    /// One weight per channel, the same for all, on each of `taps` positions of a `kernel` window.
    pub(super) fn depthwise(
        channels: usize,
        kernel: [usize; 2],
        tap: impl Fn(usize, usize) -> f32,
    ) -> Tensor {
        let [kh, kw] = kernel;
        Tensor::from_fn([channels, 1, kh, kw], |i| tap(i / kw % kh, i % kw))
    }

    /// Zeros around the image, `[top, left, bottom, right]`.
    pub(super) fn zero_pad(&mut self, x: TensorId, pads: [usize; 4], name: Option<&str>) -> TensorId {
        let [channels, height, width] = self.shape(x);
        let weight = self.program.consts.add(Self::depthwise(channels, [1, 1], |_, _| 1.0));
        let kind = LinearKind::Conv2d { weight, strides: [1, 1], pads, dilations: [1, 1], groups: channels };
        let shape = [channels, height + pads[0] + pads[2], width + pads[1] + pads[3]];
        self.program.push(Step::Linear { x, kind }, shape, name)
    }

    pub(super) fn pad(
        &mut self,
        x: Value,
        before: &[usize],
        after: &[usize],
        value: f64,
        name: Option<&str>,
    ) -> Result<TensorId, String> {
        let rank = before.len();
        let operand = self.image(x)?;
        let [channels, height, width] = self.shape(operand);
        let mut by = [(0, 0); 3];
        for axis in (0..rank).filter(|&axis| before[axis] + after[axis] > 0) {
            by[image_axis(rank, axis)?] = (before[axis], after[axis]);
        }
        let [(front, back), (top, bottom), (left, right)] = by;
        let mut result = operand;
        if (top, bottom, left, right) != (0, 0, 0, 0) {
            result = self.zero_pad(result, [top, left, bottom, right], None);
        }
        let [_, padded_h, padded_w] = self.shape(result);
        let whole = [channels + front + back, padded_h, padded_w];
        if (front, back) != (0, 0) {
            let kind = LinearKind::Place { channel_offset: front };
            result = self.program.push(Step::Linear { x: result, kind }, whole, None);
        }
        if value != 0.0 && result != operand {
            let inside = |start: usize, length: usize, i: usize| (start..start + length).contains(&i);
            let border = Tensor::from_fn(whole, |i| {
                let (c, y, x) = (i / (padded_h * padded_w), i / padded_w % padded_h, i % padded_w);
                let kept = inside(front, channels, c) && inside(top, height, y) && inside(left, width, x);
                if kept { 0.0 } else { value as f32 }
            });
            let values = self.program.consts.add(border);
            result = self.program.push_same(Step::AddPlain { x: result, values }, None);
        }
        if result != operand {
            self.program.tensors[result].name = name.map(str::to_string);
        }
        Ok(result)
    }

    /// A window as large as the steps leave room for, with a single tap.
    pub(super) fn slice(
        &mut self,
        x: Value,
        starts: &[usize],
        steps: &[usize],
        result: &[usize],
        name: Option<&str>,
    ) -> Result<TensorId, String> {
        let shape = self.func.ty(x).shape.clone();
        let operand = self.image(x)?;
        let image = self.shape(operand);
        let (mut start, mut step) = ([0; 3], [1; 3]);
        for axis in (0..shape.len()).filter(|&axis| shape[axis] != result[axis]) {
            let image_axis = image_axis(shape.len(), axis)?;
            (start[image_axis], step[image_axis]) = (starts[axis], steps[axis]);
        }
        let sliced = self.image_shape(result)?;
        if sliced == image {
            return Ok(operand);
        }
        let kernel = |axis: usize| image[axis] - (sliced[axis] - 1) * step[axis];
        let (kh, kw) = (kernel(1), kernel(2));
        let window = Window { strides: [step[1], step[2]], ..Window::STILL };
        if sliced[0] == image[0] {
            let one = |y, x| if (y, x) == (start[1], start[2]) { 1.0 } else { 0.0 };
            let weight = Self::depthwise(image[0], [kh, kw], one);
            return self.window(operand, weight, window, image[0], name);
        }
        let weight = Tensor::from_fn([sliced[0], image[0], kh, kw], |i| {
            let (o, c) = (i / (kh * kw * image[0]), i / (kh * kw) % image[0]);
            let tap = (i / kw % kh, i % kw) == (start[1], start[2]);
            if tap && c == start[0] + o * step[0] { 1.0 } else { 0.0 }
        });
        self.window(operand, weight, window, 1, name)
    }

    /// Repeats dimensions of length 1 up to `shape`.
    pub(super) fn broadcast(&mut self, x: TensorId, shape: [usize; 3]) -> Result<TensorId, String> {
        let from = self.shape(x);
        if from == shape {
            return Ok(x);
        }
        if (0..3).any(|i| from[i] != shape[i] && from[i] != 1) {
            return Err(format!("{from:?} does not broadcast to {shape:?}"));
        }
        // A window of ones that holds the one pixel wherever it stands.
        let reach = |axis: usize| if from[axis] == shape[axis] { 1 } else { shape[axis] };
        let (kh, kw) = (reach(1), reach(2));
        let window = Window { pads: [kh - 1, kw - 1, kh - 1, kw - 1], ..Window::STILL };
        let groups = if from[0] == shape[0] { from[0] } else { 1 };
        let weight = Tensor::from_fn([shape[0], from[0] / groups, kh, kw], |_| 1.0);
        self.window(x, weight, window, groups, None)
    }
}

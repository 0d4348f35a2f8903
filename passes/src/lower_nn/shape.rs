//! Shapes: which `[C, H, W]` a tensor of the network is, reshapes, concatenation.

use std::ops::Range;

use fhec_ir::entity::Value;
use fhec_ir::linear_map::LinearKind;

use super::program::{Step, TensorId};
use super::{Lowering, Operand};

impl Lowering<'_> {
    /// `[C, H, W]` of a tensor; ranks below 4 are `[F]`, `[1, F]`, `[1, C, W]`. What has no batch
    /// dimension of 1 in front, as matrices of a batch of them and tensors in the middle of being
    /// turned, is its row-major elements under three dimensions, none of which are channels.
    pub(super) fn image_shape(&self, shape: &[usize]) -> Result<[usize; 3], String> {
        let image = image_axes(shape).map(|axes| shape[axes].iter().product());
        if image.contains(&0) {
            return Err(format!("shape {shape:?} has no elements"));
        }
        Ok(image)
    }

    /// [`Lowering::image_shape`] of a tensor that an op asks for its channels, and so for its
    /// images.
    pub(super) fn one_image(&self, shape: &[usize]) -> Result<[usize; 3], String> {
        match *shape {
            [images, _, ..] if images > 1 => Err(format!(
                "shape {shape:?} holds {images} images; programs are compiled for one image at a time"
            )),
            _ => self.image_shape(shape),
        }
    }

    /// Nothing to do: whoever needs another shape than the elements are laid out in takes a view.
    pub(super) fn reshape(&mut self, x: Value, result: &[usize]) -> Result<Operand, String> {
        match self.operand(x)? {
            Operand::Constant(tensor) => {
                Ok(Operand::Constant(tensor.reshaped(result).map_err(|e| e.to_string())?))
            }
            tensor => {
                self.image_shape(result)?;
                Ok(tensor)
            }
        }
    }

    /// Each operand is placed into a tensor of the whole shape, and these are added.
    pub(super) fn concat(
        &mut self,
        xs: &[Value],
        axis: usize,
        result: &[usize],
        name: Option<&str>,
    ) -> Result<TensorId, String> {
        let whole = self.one_image(result)?;
        let mut offset = 0;
        let mut sum = None;
        for &value in xs {
            let shape = self.func.ty(value).shape.clone();
            let image_axis = image_axis(shape.len(), axis)?;
            let x = self.image(value)?;
            let part = self.shape(x);
            let placed = if image_axis == 0 {
                let step = Step::Linear { x, kind: LinearKind::Place { channel_offset: offset } };
                self.program.push(step, whole, None)
            } else {
                let mut pads = [0; 4];
                pads[image_axis - 1] = offset;
                pads[image_axis + 1] = whole[image_axis] - offset - part[image_axis];
                self.zero_pad(x, pads, None)
            };
            offset += part[image_axis];
            sum = Some(match sum {
                None => placed,
                Some(sum) => self.program.push_same(Step::Add { x: sum, y: placed }, None),
            });
        }
        let sum = sum.ok_or("there is nothing to concatenate")?;
        self.program.tensors[sum].name = name.map(str::to_string);
        Ok(sum)
    }
}

/// Which dimensions of a tensor of `shape` are the channels, the height and the width of its image.
pub(super) fn image_axes(shape: &[usize]) -> [Range<usize>; 3] {
    let rank = shape.len();
    let (channels, height) = match *shape {
        [] => (0, 0),
        [_] => (1, 1),
        [1, _] => (2, 2),
        [_, _] => (1, 1),
        [1, ..] | [_, _, _, _] => (2, rank - 1),
        _ => (1, rank - 1),
    };
    [0..channels, channels..height, height..rank]
}

/// Which of channel, height and width a dimension of the network's tensor is.
pub(super) fn image_axis(rank: usize, axis: usize) -> Result<usize, String> {
    match (rank, axis) {
        (1, 0) | (2..=4, 1) => Ok(0),
        (3, 2) => Ok(2),
        (4, 2..=3) => Ok(axis - 1),
        (_, 0) => Err("the batch dimension is not part of an image".into()),
        _ => Err(format!("dimension {axis} of a tensor of rank {rank}: at most 4 dimensions are supported")),
    }
}

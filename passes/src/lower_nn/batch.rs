//! Several images in the channels of every tensor.
//!
//! | | |
//! |---|---|
//! | Requires | a [`TensorProgram`] of one image |
//! | Ensures  | the same function of every image: tensors are `[images * C, H, W]`, image after image |
//! | Method   | a convolution has a group per image, with the same weights; a dense layer is a convolution with a window as large as its operand; a copy to other channels one with a window of one pixel. Everything else acts on each channel by itself, or on the row-major line |
//! | Tests    | `tests.rs` beside this file |
//!
//! Layouts are chosen afterwards and see a tensor with more channels: it fills the slots that a
//! single image's leaves, or more vectors.

use fhec_ir::entity::Const;
use fhec_ir::linear_map::LinearKind;
use fhec_ir::tensor::{ConstPool, Tensor};

use super::program::{Step, TensorProgram};

/// See the [module](self).
pub fn batch_images(program: TensorProgram, images: usize) -> TensorProgram {
    if images <= 1 {
        return program;
    }
    let mut consts = ConstPool::default();
    let shapes: Vec<[usize; 3]> = program.tensors.iter().map(|tensor| tensor.shape).collect();
    let mut tile = |shape: Option<Vec<usize>>, tensor: &Tensor| consts.add(tiled(tensor, shape, images));
    let steps = program.steps.iter().map(|(step, result)| {
        let shape = shapes[*result];
        let step = match step {
            Step::Linear { x, kind } => Step::Linear {
                x: *x,
                kind: grouped(kind, shapes[*x], shape, &program.consts, &mut tile, images),
            },
            Step::AddPlain { x, values } => {
                Step::AddPlain { x: *x, values: tile(None, &program.consts[*values]) }
            }
            Step::MulPlain { x, values } => {
                Step::MulPlain { x: *x, values: tile(None, &program.consts[*values]) }
            }
            other => other.clone(),
        };
        (step, *result)
    });
    let steps = steps.collect();
    let mut tensors = program.tensors.clone();
    tensors.iter_mut().for_each(|tensor| tensor.shape[0] *= images);
    TensorProgram { consts, tensors, steps, ..program }
}

/// The map `kind` from `[C, H, W]` `from` to `to`, of every image.
fn grouped(
    kind: &LinearKind,
    from @ [channels, height, width]: [usize; 3],
    to: [usize; 3],
    consts: &ConstPool,
    tile: &mut impl FnMut(Option<Vec<usize>>, &Tensor) -> Const,
    images: usize,
) -> LinearKind {
    let window = |weight| LinearKind::Conv2d {
        weight,
        strides: [1, 1],
        pads: [0; 4],
        dilations: [1, 1],
        groups: images,
    };
    match kind {
        LinearKind::Conv2d { weight, strides, pads, dilations, groups } => LinearKind::Conv2d {
            weight: tile(None, &consts[*weight]),
            strides: *strides,
            pads: *pads,
            dilations: *dilations,
            groups: groups * images,
        },
        LinearKind::Dense { weight } => {
            window(tile(Some(vec![to[0], channels, height, width]), &consts[*weight]))
        }
        LinearKind::Place { channel_offset } => {
            let weight = Tensor::from_fn([to[0], from[0], 1, 1], |index| {
                f32::from(u8::from(index / channels == channel_offset + index % channels))
            });
            window(tile(None, &weight))
        }
    }
}

/// `tensor`, seen under `shape`, `images` times along its first dimension.
fn tiled(tensor: &Tensor, shape: Option<Vec<usize>>, images: usize) -> Tensor {
    let mut shape = shape.unwrap_or_else(|| tensor.shape().to_vec());
    shape[0] *= images;
    let data = tensor.data();
    Tensor::from_fn(shape, |index| data[index % data.len()])
}

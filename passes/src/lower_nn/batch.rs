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
    let steps = program.steps.iter().map(|(step, result)| {
        let shape = shapes[*result];
        let step = match step {
            Step::Linear { x, kind } => Step::Linear {
                x: *x,
                kind: grouped(kind, shapes[*x], shape, &program.consts, &mut consts, images),
            },
            Step::AddPlain { x, values } => {
                Step::AddPlain { x: *x, values: consts.add(tiled(&program.consts[*values], images)) }
            }
            Step::MulPlain { x, values } => {
                Step::MulPlain { x: *x, values: consts.add(tiled(&program.consts[*values], images)) }
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
    own: &mut ConstPool,
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
            weight: own.add(tiled(&consts[*weight], images)),
            strides: *strides,
            pads: *pads,
            dilations: *dilations,
            groups: groups * images,
        },
        LinearKind::Dense { weight } => {
            let matrix = consts[*weight].reshaped([to[0], channels, height, width]);
            window(own.add(tiled(&matrix.expect("a row has a weight per element"), images)))
        }
        LinearKind::Place { channel_offset } => {
            let weight = Tensor::from_fn([to[0], from[0], 1, 1], |index| {
                f32::from(u8::from(index / channels == channel_offset + index % channels))
            });
            window(own.add(tiled(&weight, images)))
        }
        LinearKind::ConvTranspose2d { weight, strides, pads, dilations, groups, output_padding } => {
            LinearKind::ConvTranspose2d {
                weight: own.add(tiled(&consts[*weight], images)),
                strides: *strides,
                pads: *pads,
                dilations: *dilations,
                groups: groups * images,
                output_padding: *output_padding,
            }
        }
        LinearKind::AxisMatrices { axes, weights } => {
            let matrix = |(&axis, &weight): (&usize, &Const)| match axis {
                0 => own.add(block_diagonal(&consts[weight], images)),
                _ => own.add(consts[weight].clone()),
            };
            LinearKind::AxisMatrices {
                axes: axes.clone(),
                weights: axes.iter().zip(weights).map(matrix).collect(),
            }
        }
        LinearKind::Transpose { shape, permutation } => LinearKind::Transpose {
            shape: [&[images], &shape[..]].concat(),
            permutation: [0].into_iter().chain(permutation.iter().map(|axis| axis + 1)).collect(),
        },
    }
}

/// `tensor`, `images` times along its first dimension.
fn tiled(tensor: &Tensor, images: usize) -> Tensor {
    let mut shape = tensor.shape().to_vec();
    shape[0] *= images;
    let data = tensor.data();
    Tensor::from_fn(shape, |index| data[index % data.len()])
}

/// The matrix `[M, K]` `images` times along the diagonal.
fn block_diagonal(matrix: &Tensor, images: usize) -> Tensor {
    let &[m, k] = matrix.shape() else { unreachable!("a matrix has rank 2") };
    Tensor::from_fn([m * images, k * images], |index| {
        let (row, column) = (index / (k * images), index % (k * images));
        if row / m == column / k { matrix.data()[row % m * k + column % k] } else { 0.0 }
    })
}

//! MaxPool, AveragePool and their global forms.

use fhec_ir::nn::Op;
use fhec_ir::tensor::Tensor;

use super::super::error::ImportError;
use super::super::literal::Operand;
use super::super::node::Node;
use super::window::{Window, as_image, from_image};

/// The window of a pool over `x`, and the pads to add behind for `ceil_mode`.
fn pool_window(node: &mut Node<'_>, shape: &[usize]) -> Result<(Window, [usize; 2]), ImportError> {
    let kernel = node.int_list("kernel_shape")?.ok_or_else(|| node.invalid("kernel_shape is missing"))?;
    let kernel = match kernel.len() {
        1 => node.sizes::<1>(&kernel, "kernel_shape")?.to_vec(),
        2 => node.sizes::<2>(&kernel, "kernel_shape")?.to_vec(),
        dimensions => {
            return Err(node.unsupported(
                format!("a pool over {dimensions} dimensions"),
                "supported are images [N, C, H, W] and sequences [N, C, L]",
            ));
        }
    };
    let window = Window::read(node, shape, &kernel)?;
    let ceil = node.flag("ceil_mode", false)?;
    let extra = if ceil { window.ceil_pads() } else { [0, 0] };
    Ok((window, extra))
}

fn with_extra([top, left, bottom, right]: [usize; 4], [down, across]: [usize; 2]) -> [usize; 4] {
    [top, left, bottom.saturating_add(down), right.saturating_add(across)]
}

pub(super) fn max_pool(node: &mut Node<'_>) -> Result<Vec<Operand>, ImportError> {
    // The storage order is that of the second output, which is not computed.
    node.ignore(&["storage_order"]);
    let x = node.input(0)?;
    let shape = node.shape_of(&x);
    let (window, extra) = pool_window(node, &shape)?;
    let pads = with_extra(window.pads, extra);
    window.check_no_empty_position(node, pads)?;
    let image = as_image(node, &x)?;
    let Window { kernel, strides, dilations, .. } = window;
    let result = node.emit(&[&image], |_, v| Op::MaxPool { x: v[0], kernel, strides, pads, dilations })?;
    Ok(vec![from_image(node, result, shape.len())?])
}

pub(super) fn average_pool(node: &mut Node<'_>) -> Result<Vec<Operand>, ImportError> {
    let x = node.input(0)?;
    Ok(vec![averaged(node, &x)?])
}

/// The means that the attributes of the node describe.
pub(super) fn averaged(node: &mut Node<'_>, x: &Operand) -> Result<Operand, ImportError> {
    let shape = node.shape_of(x);
    let (window, extra) = pool_window(node, &shape)?;
    let count_include_pad = node.flag("count_include_pad", false)?;
    let image = as_image(node, x)?;
    let Window { pads, dilations, .. } = window;
    let result = if dilations != [1, 1] {
        if extra != [0, 0] || !(count_include_pad || pads == [0; 4]) {
            return Err(node.unsupported(
                "an average over a dilated window that leaves out pads",
                "use count_include_pad=1, no pads, or no dilations",
            ));
        }
        dilated_mean(node, &image, &window)?
    } else if count_include_pad && extra != [0, 0] {
        // Pads of the model count, those of ceil_mode do not: make the former elements.
        let before = vec![0, 0, pads[0], pads[1]];
        let after = vec![0, 0, pads[2], pads[3]];
        let padded = node.emit(&[&image], |_, v| Op::Pad { x: v[0], before, after, value: 0.0 })?;
        let pads = with_extra([0; 4], extra);
        mean(node, &padded, &window, pads, false)?
    } else {
        let pads = with_extra(pads, extra);
        if !count_include_pad {
            window.check_no_empty_position(node, pads)?;
        }
        mean(node, &image, &window, pads, count_include_pad)?
    };
    from_image(node, result, shape.len())
}

fn mean(
    node: &mut Node<'_>,
    x: &Operand,
    window: &Window,
    pads: [usize; 4],
    count_include_pad: bool,
) -> Result<Operand, ImportError> {
    let (kernel, strides) = (window.kernel, window.strides);
    node.emit(&[x], |_, v| Op::AveragePool { x: v[0], kernel, strides, pads, count_include_pad })
}

/// The mean over a dilated window is a depthwise convolution with equal weights.
fn dilated_mean(node: &mut Node<'_>, x: &Operand, window: &Window) -> Result<Operand, ImportError> {
    let channels = node.shape_of(x)[1];
    let [kh, kw] = window.kernel;
    let taps = channels.checked_mul(kh).and_then(|n| n.checked_mul(kw)).filter(|&n| n <= 1 << 24);
    taps.ok_or_else(|| node.invalid(format!("a window of {kh} x {kw} is too large")))?;
    let weight = Tensor::from_fn(vec![channels, 1, kh, kw], |_| 1.0 / (kh * kw) as f32);
    let Window { strides, pads, dilations, .. } = *window;
    node.emit(&[x], |func, v| Op::Conv2d {
        x: v[0],
        weight: func.add_const(weight),
        bias: None,
        strides,
        pads,
        dilations,
        groups: channels,
    })
}

pub(super) fn global_average_pool(node: &mut Node<'_>) -> Result<Vec<Operand>, ImportError> {
    let x = node.input(0)?;
    Ok(vec![averaged_over_all(node, &x)?])
}

/// The mean of each channel.
pub(super) fn averaged_over_all(node: &mut Node<'_>, x: &Operand) -> Result<Operand, ImportError> {
    let axes = (2..spatial_rank(node, x)?).collect();
    node.emit(&[x], |_, v| Op::ReduceMean { x: v[0], axes, keep_dims: true })
}

pub(super) fn global_max_pool(node: &mut Node<'_>) -> Result<Vec<Operand>, ImportError> {
    let x = node.input(0)?;
    let rank = spatial_rank(node, &x)?;
    let shape = node.shape_of(&x);
    // Any number of dimensions is one image: height the first of them, width all others.
    let (height, width) = (shape[2], shape[3..].iter().product::<usize>());
    let image = node.reshape(&x, vec![shape[0], shape[1], height, width])?;
    let (kernel, strides, dilations) = ([height, width], [1, 1], [1, 1]);
    let result =
        node.emit(&[&image], |_, v| Op::MaxPool { x: v[0], kernel, strides, pads: [0; 4], dilations })?;
    let mut kept = vec![1; rank];
    kept[..2].copy_from_slice(&shape[..2]);
    Ok(vec![node.reshape(&result, kept)?])
}

fn spatial_rank(node: &Node<'_>, x: &Operand) -> Result<usize, ImportError> {
    match node.shape_of(x).len() {
        rank @ 3.. => Ok(rank),
        rank => Err(node.invalid(format!("a pool over an image needs at least 3 dimensions, found {rank}"))),
    }
}

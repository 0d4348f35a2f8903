//! Gemm and MatMul.

use fhec_ir::nn::Op;
use fhec_ir::tensor::Tensor;

use super::super::error::ImportError;
use super::super::literal::Operand;
use super::super::node::{Node, constant};

/// `x [N, K] * weight [K, M] + bias`, with the weight transposed as `dense` wants it.
fn dense(
    node: &mut Node<'_>,
    x: &Operand,
    transposed: Tensor,
    bias: Option<Tensor>,
) -> Result<Operand, ImportError> {
    node.emit(&[x], |func, v| Op::Dense {
        x: v[0],
        weight: func.add_const(transposed),
        bias: bias.map(|bias| func.add_const(bias)),
    })
}

/// `alpha A' B' + beta C`.
pub(super) fn gemm(node: &mut Node<'_>) -> Result<Vec<Operand>, ImportError> {
    if node.opset() < 7 {
        // Whether C broadcasts; its shape says so anyway.
        node.ignore(&["broadcast"]);
    }
    let (alpha, beta) = (node.float_or("alpha", 1.0)?, node.float_or("beta", 1.0)?);
    let (trans_a, trans_b) = (node.flag("transA", false)?, node.flag("transB", false)?);
    let (a, b, c) = (node.input(0)?, node.input(1)?, node.optional(2));
    // Checked here, where they still have their names.
    for weight in [Some(&b), c.as_ref()].into_iter().flatten().filter(|w| matches!(w, Operand::Constant(_))) {
        node.finite(weight)?;
    }
    let (a_shape, b_shape) = (node.shape_of(&a), node.shape_of(&b));
    if a_shape.len() != 2 || b_shape.len() != 2 {
        return Err(node.invalid(format!("Gemm needs two matrices, found {a_shape:?} and {b_shape:?}")));
    }
    let a = if trans_a { node.transpose(&a, vec![1, 0])? } else { a };
    let rows = node.shape_of(&a)[0];
    let columns = b_shape[usize::from(!trans_b)];

    // C as it is added after scaling: folded into the bias if it is one row of constants.
    let c = c.map(|c| node.scaled(&c, beta)).transpose()?.filter(|_| beta != 0.0);
    let bias = c.as_ref().and_then(|c| constant_row(c, rows, columns));
    let product = match &b {
        Operand::Constant(_) => {
            let transposed = if trans_b { b } else { node.transpose(&b, vec![1, 0])? };
            let weight = node.scaled(&transposed, alpha)?;
            let weight = node.finite(&weight)?;
            let bias = bias.as_ref().map(|bias| node.finite(bias)).transpose()?;
            dense(node, &a, weight, bias)?
        }
        Operand::Variable(_) => {
            let b = if trans_b { node.transpose(&b, vec![1, 0])? } else { b };
            let product = product(node, &a, &b)?;
            node.scaled(&product, alpha)?
        }
    };
    let in_bias = bias.is_some() && matches!(node.input(1)?, Operand::Constant(_));
    let sum = match c.filter(|_| !in_bias) {
        None => product,
        Some(c) => node.add(&product, &c)?,
    };
    let shape = node.shape_of(&sum);
    if shape != [rows, columns] {
        return Err(node.invalid(format!("C broadcasts the product [{rows}, {columns}] to {shape:?}")));
    }
    Ok(vec![sum])
}

/// `c` as a vector of `columns` constants, if it broadcasts to `[rows, columns]` with equal rows.
fn constant_row(c: &Operand, rows: usize, columns: usize) -> Option<Operand> {
    let Operand::Constant(literal) = c else { return None };
    let one_row = match *literal.shape {
        [] => true,
        [width] | [1, width] => width == columns || width == 1,
        [height, width] => height == rows && rows == 1 && (width == columns || width == 1),
        _ => false,
    };
    let last = literal.len().checked_sub(1)?;
    one_row.then(|| constant(literal.select(vec![columns], (0..columns).map(|i| i.min(last)))))
}

pub(super) fn matmul(node: &mut Node<'_>) -> Result<Vec<Operand>, ImportError> {
    let (x, y) = (node.input(0)?, node.input(1)?);
    Ok(vec![product(node, &x, &y)?])
}

/// The matrix product with numpy's rules. With a constant it is linear: a dense layer, a product of
/// rows with a matrix, a matrix along a dimension, or a convolution with a group for each matrix of
/// a batch.
pub(super) fn product(node: &mut Node<'_>, x: &Operand, y: &Operand) -> Result<Operand, ImportError> {
    let (x_shape, y_shape) = (node.shape_of(x), node.shape_of(y));
    match (x, y, &*x_shape, &*y_shape) {
        (Operand::Variable(_), Operand::Constant(_), [lead @ .., inner], [ones @ .., height, width])
            if inner == height
                && ones.iter().all(|&d| d == 1)
                && (ones.is_empty() || ones.len() < x_shape.len() - 1) =>
        {
            let matrix = node.reshape(y, vec![*height, *width])?;
            node.finite(&matrix)?;
            if lead.iter().any(|&d| d != 1) {
                return node.emit(&[x, &matrix], |_, v| Op::MatMul { x: v[0], y: v[1] });
            }
            let transposed = node.transpose(&matrix, vec![1, 0])?;
            let weight = node.finite(&transposed)?;
            let row = node.reshape(x, vec![1, *inner])?;
            let product = dense(node, &row, weight, None)?;
            node.reshape(&product, [lead, &[*width]].concat())
        }
        (Operand::Constant(_), Operand::Variable(_), [ones @ .., height, width], [lead @ .., inner, _])
            if width == inner && ones.iter().all(|&d| d == 1) && ones.len() <= lead.len() =>
        {
            let matrix = node.reshape(x, vec![*height, *width])?;
            let weight = node.finite(&matrix)?;
            node.axis_matrices(y, vec![(lead.len(), weight)])
        }
        (Operand::Constant(_), Operand::Variable(_), [_, .., _, _], [_, .., _, _]) => {
            match batched(node, x, y)? {
                Some(result) => Ok(result),
                None => node.emit(&[x, y], |_, v| Op::MatMul { x: v[0], y: v[1] }),
            }
        }
        (Operand::Variable(_), Operand::Constant(_), [_, .., _, _], [_, .., _, _]) => {
            // The transpose of the product is that of the transposes, the other way round.
            let turned = |node: &mut Node<'_>, z: &Operand| {
                let rank = node.shape_of(z).len();
                let permutation = (0..rank - 2).chain([rank - 1, rank - 2]).collect();
                node.transpose(z, permutation)
            };
            let (left, right) = (turned(node, y)?, turned(node, x)?);
            match batched(node, &left, &right)? {
                Some(result) => turned(node, &result),
                None => node.emit(&[x, y], |_, v| Op::MatMul { x: v[0], y: v[1] }),
            }
        }
        _ => node.emit(&[x, y], |_, v| Op::MatMul { x: v[0], y: v[1] }),
    }
}

/// A batch of constant matrices times one of variable ones, `[.., M, K] * [.., K, N]`, as a
/// convolution with a group per matrix; `None` if the shapes do not fit, or dimensions are
/// stretched one by one.
fn batched(node: &mut Node<'_>, matrices: &Operand, y: &Operand) -> Result<Option<Operand>, ImportError> {
    let (x_shape, y_shape) = (node.shape_of(matrices), node.shape_of(y));
    let ([lead @ .., m, k], [y_lead @ .., inner, n]) = (&*x_shape, &*y_shape) else { return Ok(None) };
    let batch: usize = lead.iter().product();
    let same = lead == y_lead;
    let one = y_lead.iter().all(|&d| d == 1) && y_lead.len() <= lead.len();
    if k != inner || !(same || one) {
        return Ok(None);
    }
    let weight = node.reshape(matrices, vec![batch * m, *k, 1, 1])?;
    let weight = node.finite(&weight)?;
    let groups = if same { batch } else { 1 };
    let image = node.reshape(y, vec![1, groups * k, 1, *n])?;
    let result = node.emit(&[&image], |func, v| Op::Conv2d {
        x: v[0],
        weight: func.add_const(weight),
        bias: None,
        strides: [1, 1],
        pads: [0; 4],
        dilations: [1, 1],
        groups,
    })?;
    node.reshape(&result, [lead, &[*m, *n]].concat()).map(Some)
}

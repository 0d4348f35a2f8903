//! Gemm and MatMul.

use fhec_ir::nn::Op;
use fhec_ir::tensor::Tensor;

use super::super::error::ImportError;
use super::super::literal::{Literal, Operand};
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

fn scalar(value: f64) -> Operand {
    constant(Literal::float(&Tensor::scalar(value as f32)))
}

fn scaled(node: &mut Node<'_>, x: Operand, factor: f64) -> Result<Operand, ImportError> {
    match factor == 1.0 {
        true => Ok(x),
        false => node.emit(&[&x, &scalar(factor)], |_, v| Op::Mul { x: v[0], y: v[1] }),
    }
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
    let c = c.map(|c| scaled(node, c, beta)).transpose()?.filter(|_| beta != 0.0);
    let bias = c.as_ref().and_then(|c| constant_row(c, rows, columns));
    let product = match &b {
        Operand::Constant(_) => {
            let transposed = if trans_b { b } else { node.transpose(&b, vec![1, 0])? };
            let weight = scaled(node, transposed, alpha)?;
            let weight = node.finite(&weight)?;
            let bias = bias.as_ref().map(|bias| node.finite(bias)).transpose()?;
            dense(node, &a, weight, bias)?
        }
        Operand::Variable(_) => {
            let b = if trans_b { node.transpose(&b, vec![1, 0])? } else { b };
            let product = node.emit(&[&a, &b], |_, v| Op::MatMul { x: v[0], y: v[1] })?;
            scaled(node, product, alpha)?
        }
    };
    let in_bias = bias.is_some() && matches!(node.input(1)?, Operand::Constant(_));
    let sum = match c.filter(|_| !in_bias) {
        None => product,
        Some(c) => node.emit(&[&product, &c], |_, v| Op::Add { x: v[0], y: v[1] })?,
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
    let (x_shape, y_shape) = (node.shape_of(&x), node.shape_of(&y));
    // A constant matrix on the right of one or several rows is a dense layer.
    let result = match (&x, &y, &*x_shape, &*y_shape) {
        (Operand::Variable(_), Operand::Constant(_), [lead @ .., inner], &[height, width])
            if *inner == height
                && lead.split_last().is_none_or(|(_, outer)| outer.iter().all(|&d| d == 1)) =>
        {
            node.finite(&y)?;
            let transposed = node.transpose(&y, vec![1, 0])?;
            let weight = node.finite(&transposed)?;
            let rows = lead.last().copied().unwrap_or(1);
            let matrix = node.reshape(&x, vec![rows, height])?;
            let product = dense(node, &matrix, weight, None)?;
            let mut shape = lead.to_vec();
            shape.push(width);
            node.reshape(&product, shape)?
        }
        _ => node.emit(&[&x, &y], |_, v| Op::MatMul { x: v[0], y: v[1] })?,
    };
    Ok(vec![result])
}

//! Large pictures that are read with strides become small ones of more channels.
//!
//! | | |
//! |---|---|
//! | Stage    | nn → nn |
//! | Requires | a verified function |
//! | Ensures  | the same function; no input of more than [`ONE_VECTOR`] pixels is read by strided convolutions alone |
//! | Leaves   | inputs that anything else reads, or whose sides the strides do not divide |
//! | Method   | pixel `(s y + i, s x + j)` of channel `c` becomes pixel `(y, x)` of channel `(c s + i) s + j`: a reshape, a transpose and a reshape next to the input, which are free, since the client puts the numbers in order. A tap of the convolution becomes one of a smaller window |
//! | Tests    | below |
//!
//! A plane that does not fit one vector of slots has its rows in several: a convolution would need
//! other diagonals at every seam. The phases of a stride are planes that fit.

use std::collections::BTreeMap;

use fhec_ir::{
    entity::Value,
    func::{Func, Rewriter, StageOp},
    nn::{Nn, Op},
    tensor::Tensor,
};

use crate::{
    error::PassError,
    report::{Passed, Report},
};

const PASS: &str = "split-phases";

/// Pixels of the largest plane that stays whole: the slots of a vector of the ring that networks
/// with bootstraps mostly take.
pub const ONE_VECTOR: usize = 1 << 14;

/// Returns the rewritten function; the report counts inputs and convolutions.
pub fn split_phases(func: &Func<Nn>) -> Result<Passed<Nn>, PassError> {
    let mut report = Report::new(PASS);
    let split: BTreeMap<Value, [usize; 2]> =
        func.inputs().iter().filter_map(|&input| Some((input, phases(func, input)?))).collect();
    if split.is_empty() {
        return Ok(Passed::new(func.clone(), report));
    }
    let mut rewriter = Rewriter::same_stage(func);
    // By input: its phases.
    let mut made: BTreeMap<Value, Value> = BTreeMap::new();
    for data in func.ops() {
        let rewritten = match &data.op {
            Op::Conv2d { x, .. } if split.contains_key(x) => {
                let phases = split[x];
                let planes = match made.get(x) {
                    Some(&planes) => Ok(planes),
                    None => {
                        report.count("inputs", 1);
                        let planes = apart(&mut rewriter, func, *x, phases);
                        made.extend(planes.iter().map(|&planes| (*x, planes)));
                        planes
                    }
                };
                report.count("convolutions", 1);
                let smaller = planes.and_then(|planes| smaller(&mut rewriter, &data.op, planes, phases));
                smaller.and_then(|op| {
                    let value = rewriter.func.push_named(op, func.value_name(data.result))?;
                    rewriter.replace(data.result, value);
                    Ok(())
                })
            }
            _ => rewriter.copy(func, data).map(|_| ()),
        };
        rewritten.map_err(PassError::malformed(PASS))?;
    }
    Ok(Passed::new(rewriter.finish(func), report))
}

/// The strides that all readers of `input` share, if it is to be split by them.
fn phases(func: &Func<Nn>, input: Value) -> Option<[usize; 2]> {
    let &[1, _, height, width] = &func.ty(input).shape[..] else { return None };
    if height * width <= ONE_VECTOR || func.outputs().contains(&input) {
        return None;
    }
    let mut common = [0, 0];
    for data in func.ops().iter().filter(|data| data.op.operands().contains(&input)) {
        let Op::Conv2d { strides, dilations: [1, 1], groups: 1, .. } = data.op else { return None };
        common = [0, 1].map(|axis| gcd(common[axis], strides[axis]));
    }
    let divides = |length: usize, phases: usize| phases > 0 && length.is_multiple_of(phases);
    (common != [1, 1] && divides(height, common[0]) && divides(width, common[1])).then_some(common)
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// `input` with its phases as channels.
fn apart(
    rewriter: &mut Rewriter<Nn>,
    func: &Func<Nn>,
    input: Value,
    [rows, columns]: [usize; 2],
) -> Result<Value, String> {
    let shape = &func.ty(input).shape;
    let [channels, height, width] = [shape[1], shape[2] / rows, shape[3] / columns];
    let x = rewriter.get(input);
    let parts = vec![1, channels, height, rows, width, columns];
    let x = rewriter.func.push(Op::Reshape { x, shape: parts })?;
    let x = rewriter.func.push(Op::Transpose { x, permutation: vec![0, 1, 3, 5, 2, 4] })?;
    let shape = vec![1, channels * rows * columns, height, width];
    rewriter.func.push(Op::Reshape { x, shape })
}

/// The convolution of the phases. Tap `k` of an axis with `pad` zeros before it is
/// `k - pad = s t + i` pixels on: in phase `i`, `t` pixels of it on.
fn smaller(rewriter: &mut Rewriter<Nn>, op: &Op, x: Value, phases: [usize; 2]) -> Result<Op, String> {
    let Op::Conv2d { weight, bias, strides, pads, .. } = *op else { return Err("no convolution".into()) };
    let weight = rewriter.func.consts[weight].clone();
    let &[outputs, channels, kernel_h, kernel_w] = weight.shape() else {
        return Err("a weight needs 4 dimensions".into());
    };
    let kernel = [kernel_h, kernel_w];
    let before = [0, 1].map(|axis| pads[axis].div_ceil(phases[axis]));
    // Tap and phase of the smaller window.
    let place = |axis: usize, tap: usize| {
        let place = before[axis] * phases[axis] + tap - pads[axis];
        (place / phases[axis], place % phases[axis])
    };
    let taps = [0, 1].map(|axis| place(axis, kernel[axis] - 1).0 + 1);
    let planes = phases[0] * phases[1];
    let shape = [outputs, channels * planes, taps[0], taps[1]];
    let mut values = vec![0.0; shape.iter().product()];
    for (index, &value) in weight.data().iter().enumerate() {
        let (channel, tap) = (index / (kernel_h * kernel_w), index % (kernel_h * kernel_w));
        let [(row, i), (column, j)] = [place(0, tap / kernel_w), place(1, tap % kernel_w)];
        let plane = channel * planes + i * phases[1] + j;
        values[(plane * taps[0] + row) * taps[1] + column] = value;
    }
    let strides_left = [0, 1].map(|axis| strides[axis] / phases[axis]);
    // As many windows as before.
    let after = [0, 1].map(|axis| {
        let length = rewriter.func.ty(x).shape[2 + axis];
        let reach = length * phases[axis] + pads[axis] + pads[axis + 2] - kernel[axis];
        let read = reach / strides[axis] * strides_left[axis] + taps[axis];
        read.saturating_sub(length + before[axis])
    });
    let weight = Tensor::new(shape, values).map_err(|error| error.to_string())?;
    Ok(Op::Conv2d {
        x,
        weight: rewriter.func.add_const(weight),
        bias,
        strides: strides_left,
        pads: [before[0], before[1], after[0], after[1]],
        dilations: [1, 1],
        groups: 1,
    })
}

#[cfg(test)]
mod tests {
    use fhec_ir::interp::nn;
    use fhec_ir::text::{ConstSource, parse_func};
    use fhec_ir::verify::verify;

    use super::*;

    fn network(
        size: [usize; 2],
        kernel: usize,
        strides: [usize; 2],
        pads: [usize; 4],
        end: &str,
    ) -> Func<Nn> {
        let [height, width] = size;
        let [rows, columns] = strides;
        let text = format!(
            "func nn test {{ const @0 : f32[3, 2, {kernel}, {kernel}] = random(1)
             input %0 : f32[1, 2, {height}, {width}]
             %1 = conv2d(%0) {{weight=@0, strides=[{rows}, {columns}], pads={pads:?}, dilations=[1, 1],
             groups=1}} \"c\" {end} }}"
        );
        parse_func(&text, &ConstSource::default()).unwrap()
    }

    #[test]
    fn convolutions_of_phases_are_the_same() {
        for (size, kernel, strides, pads) in [
            ([224, 224], 7, [2, 2], [3; 4]),
            ([132, 130], 3, [2, 2], [1; 4]),
            ([132, 130], 3, [4, 2], [1, 0, 2, 1]),
            ([129, 129], 4, [3, 3], [0; 4]),
            ([130, 128], 3, [2, 1], [0, 1, 1, 1]),
            ([130, 130], 2, [2, 2], [0, 0, 0, 2]),
        ] {
            let func = network(size, kernel, strides, pads, "return %1");
            let Passed { func: split, report, .. } = split_phases(&func).unwrap();
            verify(&split).unwrap();
            assert_eq!(report.counts.get("convolutions"), Some(&1));
            assert!(
                split
                    .ops()
                    .iter()
                    .any(|data| { matches!(data.op, Op::Conv2d { strides: left, .. } if left != strides) })
            );
            let shape = [1, 2, size[0], size[1]];
            let image = Tensor::from_fn(shape, |i| ((i * 7919 + 3) % 2003) as f32 / 1001.5 - 1.0);
            let expected = nn::run(&func, std::slice::from_ref(&image)).unwrap();
            let found = nn::run(&split, &[image]).unwrap();
            assert_eq!(found[0].shape(), expected[0].shape(), "{size:?} {kernel} {strides:?}");
            for (found, expected) in found[0].data().iter().zip(expected[0].data()) {
                assert!((found - expected).abs() < 1e-4, "{found} instead of {expected}");
            }
        }
    }

    #[test]
    fn what_fits_one_vector_or_is_read_otherwise_stays() {
        for func in [
            network([128, 128], 3, [2, 2], [1; 4], "return %1"),
            network([131, 130], 3, [2, 2], [1; 4], "return %1"),
            network([132, 130], 3, [1, 2], [1; 4], "%2 = relu(%0) return %1, %2"),
            network([132, 130], 3, [1, 1], [1; 4], "return %1"),
        ] {
            assert_eq!(split_phases(&func).unwrap().func.ops().len(), func.ops().len());
        }
    }
}

//! Max-pooling as ReLUs of differences.
//!
//! | | |
//! |---|---|
//! | Stage    | nn → nn |
//! | Requires | a verified function |
//! | Ensures  | the same function; no `max_pool` is left, but for those below |
//! | Leaves   | windows of more than [`MOST_TAPS`] taps that are apart, over values that may be negative, with pads |
//! | Method   | `max(a, b) = b + relu(a - b)`, in one of three ways. *Line by line*: windows of 2, 4, 8 taps and so on grow from each other along the width, then along the height; a window of 3 by 3 takes 4 ReLUs. All are made at every position, and the last ones only where the pool looks: ciphertexts keep their layout on the way. *Strided*, where a tensor takes many ciphertexts: along the height, pixel after pixel at the stride of the pool, then along the width; 4 ReLUs of a window of 3 by 3 too, two of half the tensor and two of a quarter. *Together*, where none of these can be: pair by pair at the stride of the pool, 8 ReLUs of a window of 3 by 3. A ReLU before it that nothing else reads comes after it then: `max` and ReLU commute, and a pool leaves fewer elements. What is compared is a convolution of the operand, one for `b` and one for `a - b`; what comes before them folds into both. Pads are zeros for a convolution, which is right where no value is negative. Elsewhere a matrix along height or width picks each pixel, and in place of a pad the nearest pixel of the window |
//! | Tests    | below |

use std::collections::BTreeSet;

use fhec_ir::{
    entity::Value,
    func::{Func, OpData, Rewriter, StageOp},
    nn::{Activation, Nn, Op, signs},
    tensor::Tensor,
};

use crate::{
    error::PassError,
    report::{Passed, Report},
};

const PASS: &str = "expand-max-pools";
/// Pixels of the largest window whose pixels are compared pair by pair.
pub const MOST_TAPS: usize = 25;
/// Numbers that one ciphertext of the largest ring holds. A tensor of more takes as many ReLUs per
/// comparison as ciphertexts, and fewer of them after the stride of a pool.
const ONE_CIPHERTEXT: usize = 1 << 15;
/// Pixels of a large tensor's window that are compared pair by pair.
const FEW_TAPS: usize = 9;

/// Returns the rewritten function; the report counts pools and ReLUs.
pub fn expand_max_pools(func: &Func<Nn>) -> Result<Passed<Nn>, PassError> {
    let mut report = Report::new(PASS);
    let mut rewriter = Rewriter::same_stage(func);
    let not_negative = signs::not_negative(func);
    let pools: Vec<Option<Pool<'_>>> =
        func.ops().iter().map(|data| Pool::of(func, data, &not_negative)).collect();
    // ReLUs that a pool takes over.
    let taken: BTreeSet<Value> = pools.iter().flatten().filter_map(|pool| pool.relu).collect();
    for (data, pool) in func.ops().iter().zip(&pools) {
        if taken.contains(&data.result) {
            continue;
        }
        let made = match pool {
            Some(pool) => pool.expand(&mut rewriter, &mut report),
            None => rewriter.copy(func, data).map(|_| ()),
        };
        made.map_err(|message| PassError::Malformed { pass: PASS, message })?;
    }
    Ok(Passed::new(rewriter.finish(func), report))
}

/// A pool that can be expanded.
struct Pool<'f> {
    func: &'f Func<Nn>,
    data: &'f OpData<Nn>,
    x: Value,
    channels: usize,
    kernel: [usize; 2],
    strides: [usize; 2],
    pads: [usize; 4],
    dilations: [usize; 2],
    /// The ReLU between `x` and the pool, which nothing else reads: it comes after the pool.
    relu: Option<Value>,
    /// Whether pads are to be left out of the maximum, as opposed to zeros that never win.
    without_pads: bool,
    way: Way,
}

/// How pixels of a window are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// Windows grow line by line, at every position.
    Lines,
    /// Pixel after pixel at the stride of the pool, first along the height, then along the width.
    Strided,
    /// Pair by pair at the stride of the pool.
    Together,
}

impl<'f> Pool<'f> {
    fn of(func: &'f Func<Nn>, data: &'f OpData<Nn>, not_negative: &[bool]) -> Option<Self> {
        let &Op::MaxPool { x, kernel, strides, pads, dilations } = &data.op else { return None };
        let taps = kernel[0].checked_mul(kernel[1])?;
        let shape = &func.ty(x).shape;
        let without_pads = pads != [0; 4] && !not_negative[x.index()];
        let channels = *shape.get(1)?;
        // The pixel nearest to a pad is one of every window that holds the pad, unless taps jump
        // over it, or there is one tap.
        let nearest_is_seen = |axis: usize| {
            let padded = pads[axis] + pads[axis + 2] > 0;
            !padded || kernel[axis] > 1 && (dilations[axis] == 1 || !without_pads)
        };
        let grows = nearest_is_seen(0) && nearest_is_seen(1) && taps > 1;
        let large = shape.iter().product::<usize>() > ONE_CIPHERTEXT && strides != [1, 1];
        let way = match large && taps <= FEW_TAPS {
            false if grows => Way::Lines,
            true if !without_pads && dilations == [1, 1] => Way::Strided,
            _ => Way::Together,
        };
        // Zeros in place of pads lose against what the ReLU leaves, before it and after.
        let before = relu_before(func, x).filter(|_| way == Way::Strided);
        let (x, relu) = (before.unwrap_or(x), before.map(|_| x));
        let pool =
            Pool { func, data, x, channels, kernel, strides, pads, dilations, relu, without_pads, way };
        let sees_pixels = || [0, 1].into_iter().all(|axis| pool.picked(axis, 0).is_some());
        ((way == Way::Lines || taps <= MOST_TAPS) && (!without_pads || sees_pixels())).then_some(pool)
    }

    /// For every position of the window along height (0) or width (1) the pixel under its tap
    /// `tap`, or the nearest one that a tap of it falls on; `None` if there are positions without
    /// pixels.
    fn picked(&self, axis: usize, tap: usize) -> Option<Vec<usize>> {
        let length = self.func.ty(self.x).shape[2 + axis];
        let positions = self.func.ty(self.data.result).shape[2 + axis];
        let pixel = |position: usize, tap: usize| {
            let place =
                (position * self.strides[axis] + tap * self.dilations[axis]).checked_sub(self.pads[axis]);
            place.filter(|&place| place < length)
        };
        let nearest = |position: usize| {
            let seen = (0..self.kernel[axis]).filter(|&other| pixel(position, other).is_some());
            pixel(position, seen.min_by_key(|other| other.abs_diff(tap))?)
        };
        (0..positions).map(nearest).collect()
    }

    fn expand(&self, rewriter: &mut Rewriter<Nn>, report: &mut Report) -> Result<(), String> {
        let name = self.func.value_name(self.data.result).map(str::to_string);
        let mut named = 0;
        let mut next_name = |what: &str| {
            named += 1;
            name.as_ref().map(|name| format!("{name}/{what}_{named}"))
        };
        report.count("max_pool", 1);
        let mut value = match self.way {
            Way::Lines => self.grow(rewriter, report, &mut next_name)?,
            Way::Strided => self.stride(rewriter, report, &mut next_name)?,
            Way::Together => self.compare(rewriter, report, &mut next_name)?,
        };
        if self.relu.is_some() {
            value = rewriter.func.push(Op::relu(value))?;
        }
        rewriter.func.set_value_name(value, name);
        rewriter.replace(self.data.result, value);
        Ok(())
    }

    /// All pixels of the window at the stride of the pool, pair by pair.
    fn compare(
        &self,
        rewriter: &mut Rewriter<Nn>,
        report: &mut Report,
        next_name: &mut impl FnMut(&str) -> Option<String>,
    ) -> Result<Value, String> {
        let taps: Vec<usize> = (0..self.kernel[0] * self.kernel[1]).collect();
        let mut values = Vec::new();
        for pair in taps.chunks(2) {
            let last = self.window(rewriter, &[(pair[pair.len() - 1], 1.0)], next_name("pixel"))?;
            values.push(match pair {
                &[a, b] => {
                    let difference = if self.without_pads {
                        let first = self.window(rewriter, &[(a, 1.0)], next_name("pixel"))?;
                        let op = Op::Sub { x: first, y: last };
                        rewriter.func.push_named(op, next_name("difference").as_deref())?
                    } else {
                        self.window(rewriter, &[(a, 1.0), (b, -1.0)], next_name("difference"))?
                    };
                    larger(rewriter, difference, last, next_name)?
                }
                _ => last,
            });
            report.count("relu", pair.len() - 1);
        }
        while values.len() > 1 {
            let mut larger_ones = Vec::new();
            for pair in values.chunks(2) {
                larger_ones.push(match pair {
                    &[a, b] => {
                        report.count("relu", 1);
                        let op = Op::Sub { x: a, y: b };
                        let difference = rewriter.func.push_named(op, next_name("difference").as_deref())?;
                        larger(rewriter, difference, b, next_name)?
                    }
                    _ => pair[0],
                });
            }
            values = larger_ones;
        }
        values.first().copied().ok_or_else(|| "a window without pixels".to_string())
    }

    /// The largest pixel of each column of the window, then of each row of these, one pixel after
    /// the other.
    fn stride(
        &self,
        rewriter: &mut Rewriter<Nn>,
        report: &mut Report,
        next_name: &mut impl FnMut(&str) -> Option<String>,
    ) -> Result<Value, String> {
        let mut value = rewriter.get(self.x);
        for axis in [0, 1] {
            let along = |own: usize, other: usize| if axis == 0 { [own, other] } else { [other, own] };
            let strides = along(self.strides[axis], 1);
            let [before, after] = [self.pads[axis], self.pads[axis + 2]].map(|pad| along(pad, 0));
            let (kernel, pads) = (along(self.kernel[axis], 1), [before[0], before[1], after[0], after[1]]);
            let window = Window { channels: self.channels, kernel, strides, pads, dilations: [1, 1] };
            let x = value;
            let last = self.kernel[axis] - 1;
            value = window.sum(rewriter, x, &[(last, 1.0)], next_name("pixel"))?;
            for tap in (0..last).rev() {
                report.count("relu", 1);
                let difference = match tap + 1 == last {
                    true => {
                        let taps = [(tap, 1.0), (last, -1.0)];
                        window.sum(rewriter, x, &taps, next_name("difference"))?
                    }
                    false => {
                        let pixel = window.sum(rewriter, x, &[(tap, 1.0)], next_name("pixel"))?;
                        let op = Op::Sub { x: pixel, y: value };
                        rewriter.func.push_named(op, next_name("difference").as_deref())?
                    }
                };
                value = larger(rewriter, difference, value, next_name)?;
            }
        }
        Ok(value)
    }

    /// Windows that grow by doubling: each is the larger of two of those before, which overlap in
    /// the last.
    fn grow(
        &self,
        rewriter: &mut Rewriter<Nn>,
        report: &mut Report,
        next_name: &mut impl FnMut(&str) -> Option<String>,
    ) -> Result<Value, String> {
        let mut pairs = Vec::new();
        for axis in [1, 0] {
            let mut pads = [self.pads[axis], self.pads[axis + 2]];
            let mut taps = 1;
            while taps < self.kernel[axis] {
                let next = self.kernel[axis].min(2 * taps);
                let apart = (next - taps) * self.dilations[axis];
                pairs.push(Pair { axis, apart, pads, strides: [1, 1], edges: self.without_pads });
                (taps, pads) = (next, [0, 0]);
            }
        }
        if let Some(last) = pairs.last_mut() {
            last.strides = self.strides;
        }
        report.count("relu", pairs.len());
        let mut value = rewriter.get(self.x);
        for pair in pairs {
            let last = pair.sum(rewriter, value, [0.0, 1.0], next_name("pixel"))?;
            let difference = pair.sum(rewriter, value, [1.0, -1.0], next_name("difference"))?;
            value = larger(rewriter, difference, last, next_name)?;
        }
        Ok(value)
    }

    /// The weighted sum of some pixels of the window, channel by channel; only one where pads are
    /// left out.
    fn window(
        &self,
        rewriter: &mut Rewriter<Nn>,
        pixels: &[(usize, f32)],
        name: Option<String>,
    ) -> Result<Value, String> {
        if let (true, &[(tap, _)]) = (self.without_pads, pixels) {
            let taps = [tap / self.kernel[1], tap % self.kernel[1]];
            let mut matrix = |axis: usize| {
                let picked = self.picked(axis, taps[axis]).ok_or("a window holds pads only")?;
                let length = self.func.ty(self.x).shape[2 + axis];
                let one = |i: usize| if picked[i / length] == i % length { 1.0 } else { 0.0 };
                Ok(rewriter.func.add_const(Tensor::from_fn([picked.len(), length], one)))
            };
            let weights = [0, 1].into_iter().map(&mut matrix).collect::<Result<Vec<_>, String>>()?;
            let op = Op::AxisMatrices { x: rewriter.get(self.x), axes: vec![2, 3], weights };
            return rewriter.func.push_named(op, name.as_deref());
        }
        let &Pool { channels, kernel, strides, pads, dilations, .. } = self;
        let x = rewriter.get(self.x);
        Window { channels, kernel, strides, pads, dilations }.sum(rewriter, x, pixels, name)
    }
}

/// A window that moves over every channel by itself.
struct Window {
    channels: usize,
    kernel: [usize; 2],
    strides: [usize; 2],
    pads: [usize; 4],
    dilations: [usize; 2],
}

impl Window {
    /// The weighted sum of some pixels of the window, by their number in it; pads are zeros.
    fn sum(
        &self,
        rewriter: &mut Rewriter<Nn>,
        x: Value,
        pixels: &[(usize, f32)],
        name: Option<String>,
    ) -> Result<Value, String> {
        let &Window { channels, kernel, strides, pads, dilations } = self;
        let taps = kernel[0] * kernel[1];
        let at = |index: usize| pixels.iter().find(|(tap, _)| *tap == index % taps).map_or(0.0, |(_, w)| *w);
        let weight = rewriter.func.add_const(Tensor::from_fn([channels, 1, kernel[0], kernel[1]], at));
        let op = Op::Conv2d { x, weight, bias: None, strides, pads, dilations, groups: channels };
        rewriter.func.push_named(op, name.as_deref())
    }
}

/// Two elements of a line, at every position of a tensor `[1, C, H, W]` or at every second, third
/// and so on.
struct Pair {
    /// Of the line: 0 for height, 1 for width.
    axis: usize,
    /// Elements from the first to the second.
    apart: usize,
    /// Before and after the line.
    pads: [usize; 2],
    strides: [usize; 2],
    /// Whether the ends of the line stand in for pads, as opposed to zeros.
    edges: bool,
}

impl Pair {
    /// The sum of both elements with weights, channel by channel.
    fn sum(
        &self,
        rewriter: &mut Rewriter<Nn>,
        x: Value,
        weights: [f32; 2],
        name: Option<String>,
    ) -> Result<Value, String> {
        let Pair { axis, apart, pads, strides, edges } = *self;
        let shape = rewriter.func.ty(x).shape.clone();
        if edges && pads != [0, 0] {
            let mut matrices = Vec::new();
            for along in [0, 1] {
                let (length, stride) = (shape[2 + along], strides[along]);
                let taps =
                    if along == axis { &[(0, weights[0]), (apart, weights[1])][..] } else { &[(0, 1.0)] };
                let (before, padded) = if along == axis { (pads[0], pads[0] + pads[1]) } else { (0, 0) };
                let reach = if along == axis { apart } else { 0 };
                let positions = (length + padded - reach - 1) / stride + 1;
                let mut rows = vec![0.0; positions * length];
                for position in 0..positions {
                    for &(tap, weight) in taps {
                        let place = (position * stride + tap).saturating_sub(before).min(length - 1);
                        rows[position * length + place] += weight;
                    }
                }
                let matrix = Tensor::new([positions, length], rows).map_err(|error| error.to_string())?;
                matrices.push(rewriter.func.add_const(matrix));
            }
            let op = Op::AxisMatrices { x, axes: vec![2, 3], weights: matrices };
            return rewriter.func.push_named(op, name.as_deref());
        }
        let along = |own: usize, other: usize| if axis == 0 { [own, other] } else { [other, own] };
        let [before, after] = pads.map(|pad| along(pad, 0));
        let pads = [before[0], before[1], after[0], after[1]];
        let (channels, kernel, dilations) = (shape[1], along(2, 1), along(apart, 1));
        let window = Window { channels, kernel, strides, pads, dilations };
        window.sum(rewriter, x, &[(0, weights[0]), (1, weights[1])], name)
    }
}

/// What a ReLU that makes `value` reads, if nothing but one op reads `value`.
fn relu_before(func: &Func<Nn>, value: Value) -> Option<Value> {
    let makes = func.ops().iter().find(|data| data.result == value)?;
    let Op::Activation { x, function } = &makes.op else { return None };
    let reads = func.ops().iter().flat_map(|data| data.op.operands()).filter(|&operand| operand == value);
    let alone = reads.count() == 1 && !func.outputs().contains(&value);
    (alone && *function == Activation::RELU).then_some(*x)
}

/// `b + relu(difference)`: the larger of `b` and what `difference` is the distance to.
fn larger(
    rewriter: &mut Rewriter<Nn>,
    difference: Value,
    b: Value,
    next_name: &mut impl FnMut(&str) -> Option<String>,
) -> Result<Value, String> {
    let relu = rewriter.func.push_named(Op::relu(difference), next_name("relu").as_deref())?;
    rewriter.func.push_named(Op::Add { x: b, y: relu }, next_name("max").as_deref())
}

#[cfg(test)]
mod tests {
    use fhec_ir::interp::nn;
    use fhec_ir::text::{ConstSource, parse_func};
    use fhec_ir::verify::verify;

    use super::*;

    fn parse(body: &str) -> Func<Nn> {
        parse_func(&format!("func nn test {{ {body} }}"), &ConstSource::default()).unwrap()
    }

    fn pools(func: &Func<Nn>) -> usize {
        func.ops().iter().filter(|data| matches!(data.op, Op::MaxPool { .. })).count()
    }

    #[test]
    fn expanded_pools_compute_the_same() {
        for (pool, relus) in [
            ("kernel=[2, 2], strides=[2, 2], pads=[0, 0, 0, 0], dilations=[1, 1]", 2),
            ("kernel=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1], dilations=[1, 1]", 4),
            ("kernel=[3, 2], strides=[1, 2], pads=[0, 1, 2, 0], dilations=[2, 1]", 3),
            ("kernel=[1, 2], strides=[1, 1], pads=[0, 0, 0, 0], dilations=[1, 3]", 1),
            ("kernel=[1, 2], strides=[2, 2], pads=[0, 0, 0, 0], dilations=[1, 1]", 1),
            ("kernel=[3, 1], strides=[2, 3], pads=[1, 0, 1, 0], dilations=[1, 1]", 2),
            ("kernel=[1, 1], strides=[2, 2], pads=[0, 0, 0, 0], dilations=[1, 1]", 0),
            ("kernel=[9, 8], strides=[1, 1], pads=[0, 0, 0, 0], dilations=[1, 1]", 7),
            ("kernel=[4, 5], strides=[4, 2], pads=[0, 0, 0, 1], dilations=[1, 1]", 5),
            ("kernel=[5, 7], strides=[1, 1], pads=[2, 3, 2, 3], dilations=[1, 1]", 6),
            ("kernel=[4, 4], strides=[3, 2], pads=[2, 3, 1, 2], dilations=[2, 3]", 4),
            ("kernel=[13, 13], strides=[1, 1], pads=[6, 6, 6, 6], dilations=[1, 1]", 8),
        ] {
            let func = parse(&format!(
                "input %0 : f32[1, 3, 9, 8] \"x\" %1 = relu(%0) \"r\" %2 = max_pool(%1) {{{pool}}} \"p\" %3 = add(%2, %2) return %3, %2"
            ));
            let Passed { func: expanded, report, .. } = expand_max_pools(&func).unwrap();
            verify(&expanded).unwrap();
            assert_eq!(pools(&expanded), 0);
            assert_eq!(report.counts.get("relu").copied().unwrap_or(0), relus, "{pool}");
            assert_eq!(expanded.value_name(expanded.outputs()[1]), Some("p"));
            let image = Tensor::from_fn([1, 3, 9, 8], |i| ((i * 7919 + 3) % 2003) as f32 / 1001.5 - 1.0);
            let expected = nn::run(&func, std::slice::from_ref(&image)).unwrap();
            let found = nn::run(&expanded, &[image]).unwrap();
            for (found, expected) in found[0].data().iter().zip(expected[0].data()) {
                assert!((found - expected).abs() < 1e-6, "{found} instead of {expected}");
            }
        }
    }

    #[test]
    fn pads_are_left_out_of_the_maximum_of_values_that_may_be_negative() {
        for pool in [
            "kernel=[2, 2], strides=[2, 2], pads=[1, 1, 1, 1], dilations=[1, 1]",
            "kernel=[3, 3], strides=[2, 2], pads=[0, 0, 2, 1], dilations=[1, 1]",
            "kernel=[3, 2], strides=[1, 2], pads=[2, 1, 2, 0], dilations=[2, 3]",
            "kernel=[13, 13], strides=[1, 1], pads=[6, 6, 6, 6], dilations=[1, 1]",
            "kernel=[5, 4], strides=[2, 3], pads=[2, 2, 3, 1], dilations=[1, 1]",
            "kernel=[4, 1], strides=[2, 2], pads=[3, 0, 1, 0], dilations=[1, 1]",
            "kernel=[4, 5], strides=[1, 2], pads=[2, 2, 3, 1], dilations=[2, 2]",
            "kernel=[4, 8], strides=[1, 1], pads=[0, 0, 0, 0], dilations=[2, 1]",
        ] {
            let func = parse(&format!("input %0 : f32[1, 3, 9, 8] %1 = max_pool(%0) {{{pool}}} return %1"));
            let expanded = expand_max_pools(&func).unwrap().func;
            verify(&expanded).unwrap();
            assert_eq!(pools(&expanded), 0);
            let image = Tensor::from_fn([1, 3, 9, 8], |i| ((i * 7919 + 3) % 2003) as f32 / 1001.5 - 3.0);
            let expected = nn::run(&func, std::slice::from_ref(&image)).unwrap();
            let found = nn::run(&expanded, &[image]).unwrap();
            for (found, expected) in found[0].data().iter().zip(expected[0].data()) {
                assert!((found - expected).abs() < 1e-6, "{found} instead of {expected}");
            }
        }
    }

    /// At the stride of the pool a large tensor is a quarter. What was negative before the ReLU is
    /// compared as it is, and the ReLU comes last, of a quarter; where something else reads it, it
    /// stays. Pads that must not win leave all to pairs.
    #[test]
    fn pixels_of_large_tensors_are_compared_at_the_stride_of_the_pool() {
        let pool = "kernel=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1], dilations=[1, 1]";
        let relu = "%1 = relu(%0)";
        for (size, before, end, relus, sizes) in [
            (112, relu, "return %2", 4, &[56 * 112, 56 * 112, 56 * 56, 56 * 56, 56 * 56][..]),
            (112, relu, "return %1, %2", 4, &[112 * 112, 56 * 112, 56 * 112, 56 * 56, 56 * 56]),
            (112, "%1 = add(%0, %0)", "return %2", 8, &[56 * 56; 8]),
            // Line by line: every position, and the last ones at the stride.
            (56, relu, "return %2", 4, &[56 * 56, 56 * 57, 56 * 56, 57 * 56, 28 * 28]),
        ] {
            let func = parse(&format!(
                "input %0 : f32[1, 8, {size}, {size}] {before} %2 = max_pool(%1) {{{pool}}} {end}"
            ));
            let Passed { func: expanded, report, .. } = expand_max_pools(&func).unwrap();
            assert_eq!(report.counts.get("relu"), Some(&relus), "{size}");
            let of_relus = expanded.ops().iter().filter(|data| matches!(data.op, Op::Activation { .. }));
            let found: Vec<usize> =
                of_relus.map(|data| expanded.ty(data.result).shape[2..].iter().product()).collect();
            assert_eq!(found, sizes);
            let shape = [1, 8, size, size];
            let image = Tensor::from_fn(shape, |i| ((i * 7919 + 3) % 2003) as f32 / 1001.5 - 1.2);
            let expected = nn::run(&func, std::slice::from_ref(&image)).unwrap();
            let found = nn::run(&expanded, &[image]).unwrap();
            for (found, expected) in found.iter().zip(&expected) {
                for (found, expected) in found.data().iter().zip(expected.data()) {
                    assert!((found - expected).abs() < 1e-6, "{found} instead of {expected}");
                }
            }
        }
    }

    #[test]
    fn long_windows_of_taps_that_are_apart_are_left() {
        let pool = "kernel=[1, 40], strides=[1, 1], pads=[0, 39, 0, 39], dilations=[1, 2]";
        let func = parse(&format!("input %0 : f32[1, 2, 2, 90] %1 = max_pool(%0) {{{pool}}} return %1"));
        assert_eq!(pools(&expand_max_pools(&func).unwrap().func), 1);
    }
}

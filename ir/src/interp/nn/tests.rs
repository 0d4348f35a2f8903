//! Every op against its definition, written as plain index sums over small random tensors.

use super::*;
use crate::nn::{Activation, TensorType};
use crate::polynomial::Polynomial;

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    fn tensor(&mut self, shape: &[usize]) -> Tensor {
        Tensor::from_fn(shape, |_| (self.next() >> 40) as f32 / (1 << 23) as f32 - 1.0)
    }
}

fn func_of(inputs: &[&Tensor], build: impl FnOnce(&mut Func<Nn>, &[Value]) -> Op) -> Func<Nn> {
    let mut func = Func::new("test");
    let values: Vec<Value> =
        inputs.iter().map(|x| func.add_input(TensorType::new(x.shape()), None)).collect();
    let op = build(&mut func, &values);
    let result = func.push(op).unwrap();
    func.set_outputs(vec![result]);
    func
}

fn eval_op(inputs: &[&Tensor], build: impl FnOnce(&mut Func<Nn>, &[Value]) -> Op) -> Tensor {
    let func = func_of(inputs, build);
    let inputs: Vec<Tensor> = inputs.iter().map(|&x| x.clone()).collect();
    run(&func, &inputs).unwrap().remove(0)
}

/// Multi-index of the flat `index`.
fn unravel(shape: &[usize], mut index: usize) -> Vec<usize> {
    let mut at = vec![0; shape.len()];
    for axis in (0..shape.len()).rev() {
        (at[axis], index) = (index % shape[axis], index / shape[axis]);
    }
    at
}

/// Element at a multi-index, `None` outside.
fn at(x: &Tensor, index: &[isize]) -> Option<f32> {
    let mut flat = 0;
    for (&i, &length) in index.iter().zip(x.shape()) {
        if i < 0 || i >= length as isize {
            return None;
        }
        flat = flat * length + i as usize;
    }
    Some(x.data()[flat])
}

fn assert_close(found: &Tensor, expected: impl Fn(&[usize]) -> f64, tolerance: f64) {
    for (flat, &y) in found.data().iter().enumerate() {
        let index = unravel(found.shape(), flat);
        let want = expected(&index);
        assert!((f64::from(y) - want).abs() <= tolerance, "at {index:?}: {y}, expected {want}");
    }
}

struct Case {
    x: Tensor,
    kernel: [usize; 2],
    strides: [usize; 2],
    pads: [usize; 4],
    dilations: [usize; 2],
}

impl Case {
    /// Elements (or pads, `None`) under the window at output `(y, x)` of `channel`.
    fn window(&self, n: usize, channel: usize, y: usize, x: usize) -> Vec<Option<f32>> {
        let place = |axis: usize, position: usize, tap: usize| {
            (position * self.strides[axis] + tap * self.dilations[axis]) as isize - self.pads[axis] as isize
        };
        let mut taps = Vec::new();
        for ky in 0..self.kernel[0] {
            for kx in 0..self.kernel[1] {
                taps.push(at(&self.x, &[n as isize, channel as isize, place(0, y, ky), place(1, x, kx)]));
            }
        }
        taps
    }
}

/// Random geometries whose window fits.
fn cases(seed: u64, channels: usize, count: usize) -> (Random, Vec<Case>) {
    let mut random = Random(seed);
    let mut cases = Vec::new();
    while cases.len() < count {
        let mut pair = |low: usize, high: usize| [0, 1].map(|_| low + random.below(high - low + 1));
        let ([h, w], kernel) = (pair(1, 9), pair(1, 5));
        let (strides, dilations) = (pair(1, 3), pair(1, 3));
        let ([top, left], [bottom, right]) = (pair(0, 4), pair(0, 4));
        let fits =
            |axis: usize, length: usize, pads: usize| (kernel[axis] - 1) * dilations[axis] < length + pads;
        if fits(0, h, top + bottom) && fits(1, w, left + right) {
            let x = random.tensor(&[1 + cases.len() % 2, channels, h, w]);
            cases.push(Case { x, kernel, strides, pads: [top, left, bottom, right], dilations });
        }
    }
    (random, cases)
}

#[test]
fn conv2d_is_its_definition_for_any_geometry() {
    // Groups and output channels that take the matrix product and the direct path.
    for (groups, m, channels) in [(1, 5, 3), (2, 8, 4), (4, 4, 4), (2, 6, 2), (1, 1, 1)] {
        let (mut random, cases) = cases(groups as u64 + 10 * m as u64, channels, 60);
        for case in cases {
            let (c_group, m_group) = (channels / groups, m / groups);
            let weight = random.tensor(&[m, c_group, case.kernel[0], case.kernel[1]]);
            let bias = random.tensor(&[m]);
            let found = eval_op(&[&case.x], |func, x| Op::Conv2d {
                x: x[0],
                weight: func.add_const(weight.clone()),
                bias: Some(func.add_const(bias.clone())),
                strides: case.strides,
                pads: case.pads,
                dilations: case.dilations,
                groups,
            });
            let taps = case.kernel[0] * case.kernel[1];
            let expected = |i: &[usize]| {
                let group = i[1] / m_group;
                let sum: f64 = (0..c_group)
                    .flat_map(|c| {
                        let weights = &weight.data()[(i[1] * c_group + c) * taps..][..taps];
                        case.window(i[0], group * c_group + c, i[2], i[3])
                            .into_iter()
                            .zip(weights.to_vec())
                            .map(|(x, w)| f64::from(x.unwrap_or(0.0)) * f64::from(w))
                    })
                    .sum();
                sum + f64::from(bias.data()[i[1]])
            };
            assert_close(&found, expected, 1e-5);
        }
    }
}

#[test]
fn conv2d_in_strips_equals_itself_in_one_piece() {
    // 64 channels of 64 x 64 with 25 taps: 1,600 rows, so strips of two output rows.
    let mut random = Random(3);
    let x = random.tensor(&[1, 64, 64, 64]);
    let weight = random.tensor(&[4, 64, 5, 5]);
    let found = eval_op(&[&x], |func, v| Op::Conv2d {
        x: v[0],
        weight: func.add_const(weight.clone()),
        bias: None,
        strides: [1, 1],
        pads: [2; 4],
        dilations: [1, 1],
        groups: 1,
    });
    let case = Case { x, kernel: [5, 5], strides: [1, 1], pads: [2; 4], dilations: [1, 1] };
    for place in [[0, 0, 0, 0], [0, 3, 63, 63], [0, 1, 31, 7], [0, 2, 32, 63], [0, 0, 33, 0]] {
        let mut want = 0.0;
        for c in 0..64 {
            let taps = case.window(0, c, place[2], place[3]);
            let weights = &weight.data()[(place[1] * 64 + c) * 25..][..25];
            want += taps
                .iter()
                .zip(weights)
                .map(|(x, &w)| f64::from(x.unwrap_or(0.0)) * f64::from(w))
                .sum::<f64>();
        }
        let found = at(&found, &place.map(|i| i as isize)).unwrap();
        assert!((f64::from(found) - want).abs() < 1e-4, "{place:?}: {found}, expected {want}");
    }
}

#[test]
fn pools_are_their_definitions_for_any_geometry() {
    for case in cases(5, 2, 200).1 {
        let Case { kernel, strides, pads, dilations, .. } = case;
        let max = eval_op(&[&case.x], |_, x| Op::MaxPool { x: x[0], kernel, strides, pads, dilations });
        assert_eq!(max.data().len(), max.shape().iter().product::<usize>());
        for (flat, &found) in max.data().iter().enumerate() {
            let i = unravel(max.shape(), flat);
            let taps = case.window(i[0], i[1], i[2], i[3]);
            let want = taps.into_iter().flatten().fold(f32::NEG_INFINITY, f32::max);
            assert_eq!(found, want);
        }
    }
    for mut case in cases(6, 2, 300).1 {
        case.dilations = [1, 1];
        let Case { kernel, strides, pads, .. } = case;
        for count_include_pad in [false, true] {
            let mean = eval_op(&[&case.x], |_, x| Op::AveragePool {
                x: x[0],
                kernel,
                strides,
                pads,
                count_include_pad,
            });
            let expected = |i: &[usize]| {
                let taps = case.window(i[0], i[1], i[2], i[3]);
                let inside: Vec<f64> = taps.iter().flatten().map(|&x| f64::from(x)).collect();
                let count = if count_include_pad { taps.len() } else { inside.len().max(1) };
                inside.iter().sum::<f64>() / count as f64
            };
            assert_close(&mean, expected, 1e-6);
        }
    }
}

#[test]
fn arithmetic_broadcasts_like_numpy() {
    let mut random = Random(8);
    let shapes: [(&[usize], &[usize]); 9] = [
        (&[2, 3, 4], &[2, 3, 4]),
        (&[2, 3, 4], &[3, 1]),
        (&[3, 1], &[2, 3, 4]),
        (&[2, 1, 4], &[1, 3, 1]),
        (&[1], &[2, 3]),
        (&[], &[2, 3]),
        (&[], &[]),
        (&[2, 0], &[1, 1]),
        (&[1, 3, 2, 1], &[2, 1, 1, 5]),
    ];
    for (a, b) in shapes {
        let (x, y) = (random.tensor(a), random.tensor(b));
        let pick = |t: &Tensor, i: &[usize]| {
            let tail = &i[i.len() - t.shape().len()..];
            let clamped: Vec<isize> =
                tail.iter().zip(t.shape()).map(|(&i, &d)| if d == 1 { 0 } else { i as isize }).collect();
            f64::from(at(t, &clamped).unwrap())
        };
        let sum = eval_op(&[&x, &y], |_, v| Op::Add { x: v[0], y: v[1] });
        assert_close(&sum, |i| pick(&x, i) + pick(&y, i), 1e-6);
        let difference = eval_op(&[&x, &y], |_, v| Op::Sub { x: v[0], y: v[1] });
        assert_close(&difference, |i| pick(&x, i) - pick(&y, i), 1e-6);
        let product = eval_op(&[&x, &y], |_, v| Op::Mul { x: v[0], y: v[1] });
        assert_close(&product, |i| pick(&x, i) * pick(&y, i), 1e-6);
        let quotient = eval_op(&[&x, &y], |_, v| Op::Div { x: v[0], y: v[1] });
        for (flat, &found) in quotient.data().iter().enumerate() {
            let i = unravel(quotient.shape(), flat);
            assert_eq!(found, pick(&x, &i) as f32 / pick(&y, &i) as f32);
        }
    }
}

#[test]
fn matrix_products() {
    let mut random = Random(9);
    let shapes: [(&[usize], &[usize]); 6] = [
        (&[2, 3], &[3, 4]),
        (&[5, 1, 2, 3], &[4, 3, 6]),
        (&[3], &[3, 4]),
        (&[2, 3], &[3]),
        (&[3], &[3]),
        (&[2, 2, 3], &[3]),
    ];
    for (a, b) in shapes {
        let (x, y) = (random.tensor(a), random.tensor(b));
        let found = eval_op(&[&x, &y], |_, v| Op::MatMul { x: v[0], y: v[1] });
        let inner = *a.last().unwrap();
        let expected = |i: &[usize]| {
            let (mut rest, mut row, mut column) = (i.to_vec(), vec![], vec![]);
            if b.len() > 1 {
                column = vec![rest.pop().unwrap()];
            }
            if a.len() > 1 {
                row = vec![rest.pop().unwrap()];
            }
            let lead = |shape: &[usize]| -> Vec<isize> {
                let lead = &shape[..shape.len().saturating_sub(2)];
                let tail = &rest[rest.len() - lead.len()..];
                tail.iter().zip(lead).map(|(&i, &d)| if d == 1 { 0 } else { i as isize }).collect()
            };
            (0..inner)
                .map(|k| {
                    let (mut ix, mut iy) = (lead(a), lead(b));
                    ix.extend(row.iter().map(|&r| r as isize));
                    ix.push(k as isize);
                    iy.push(k as isize);
                    iy.extend(column.iter().map(|&c| c as isize));
                    f64::from(at(&x, &ix).unwrap()) * f64::from(at(&y, &iy).unwrap())
                })
                .sum()
        };
        assert_close(&found, expected, 1e-6);
    }
    let (x, weight, bias) = (random.tensor(&[3, 7]), random.tensor(&[4, 7]), random.tensor(&[4]));
    let found = eval_op(&[&x], |func, v| Op::Dense {
        x: v[0],
        weight: func.add_const(weight.clone()),
        bias: Some(func.add_const(bias.clone())),
    });
    let product =
        |i: &[usize], k: usize| f64::from(x.data()[i[0] * 7 + k]) * f64::from(weight.data()[i[1] * 7 + k]);
    let expected = |i: &[usize]| (0..7).map(|k| product(i, k)).sum::<f64>() + f64::from(bias.data()[i[1]]);
    assert_close(&found, expected, 1e-5);
}

#[test]
fn reductions_and_batch_normalisation() {
    let mut random = Random(11);
    let x = random.tensor(&[2, 3, 4, 5]);
    let mean = eval_op(&[&x], |_, v| Op::ReduceMean { x: v[0], axes: vec![1, 3], keep_dims: false });
    assert_eq!(mean.shape(), [2, 4]);
    let expected = |i: &[usize]| {
        let terms = (0..15).map(|k| at(&x, &[i[0] as isize, k / 5, i[1] as isize, k % 5]).unwrap());
        terms.map(f64::from).sum::<f64>() / 15.0
    };
    assert_close(&mean, expected, 1e-6);

    for axis in 0..4 {
        let soft = eval_op(&[&x], |_, v| Op::Softmax { x: v[0], axis });
        let expected = |i: &[usize]| {
            let term = |k: usize| {
                let mut index: Vec<isize> = i.iter().map(|&i| i as isize).collect();
                index[axis] = k as isize;
                f64::from(at(&x, &index).unwrap()).exp()
            };
            term(i[axis]) / (0..x.shape()[axis]).map(term).sum::<f64>()
        };
        assert_close(&soft, expected, 1e-6);
    }
    // Without subtracting the maximum this overflows.
    let large = Tensor::new(vec![1, 2], vec![1000.0, 1001.0]).unwrap();
    let soft = eval_op(&[&large], |_, v| Op::Softmax { x: v[0], axis: 1 });
    assert!((soft.data()[1] - 0.731_058_6).abs() < 1e-6);

    let parameters: Vec<Tensor> = (0..4).map(|_| random.tensor(&[3])).collect();
    let variance = Tensor::from_fn(vec![3], |i| parameters[3].data()[i].abs());
    let found = eval_op(&[&x], |func, v| Op::BatchNorm {
        x: v[0],
        scale: func.add_const(parameters[0].clone()),
        bias: func.add_const(parameters[1].clone()),
        mean: func.add_const(parameters[2].clone()),
        variance: func.add_const(variance.clone()),
        epsilon: 1e-3,
    });
    let of = |t: &Tensor, c: usize| f64::from(t.data()[c]);
    let expected = |i: &[usize]| {
        let x = f64::from(at(&x, &[i[0], i[1], i[2], i[3]].map(|i| i as isize)).unwrap());
        (x - of(&parameters[2], i[1])) / (of(&variance, i[1]) + 1e-3).sqrt() * of(&parameters[0], i[1])
            + of(&parameters[1], i[1])
    };
    assert_close(&found, expected, 1e-5);
}

#[test]
fn movements() {
    let mut random = Random(12);
    let x = random.tensor(&[2, 3, 4]);
    let place = |i: &[usize]| i.iter().map(|&i| i as isize).collect::<Vec<_>>();
    let value = |i: &[isize]| f64::from(at(&x, i).unwrap());

    let turned = eval_op(&[&x], |_, v| Op::Transpose { x: v[0], permutation: vec![2, 0, 1] });
    assert_eq!(turned.shape(), [4, 2, 3]);
    assert_close(&turned, |i| value(&place(&[i[1], i[2], i[0]])), 0.0);

    let (before, after) = (vec![1, 0, 2], vec![0, 1, 3]);
    let padded = eval_op(&[&x], |_, v| Op::Pad { x: v[0], before, after, value: 0.5 });
    assert_eq!(padded.shape(), [3, 4, 9]);
    let expected = |i: &[usize]| {
        let source = [i[0] as isize - 1, i[1] as isize, i[2] as isize - 2];
        at(&x, &source).map_or(0.5, f64::from)
    };
    assert_close(&padded, expected, 0.0);

    let (starts, ends, steps) = (vec![0, 1, 1], vec![2, 3, 4], vec![1, 1, 2]);
    let cut = eval_op(&[&x], |_, v| Op::Slice { x: v[0], starts, ends, steps });
    assert_eq!(cut.shape(), [2, 2, 2]);
    assert_close(&cut, |i| value(&place(&[i[0], i[1] + 1, 2 * i[2] + 1])), 0.0);

    let y = random.tensor(&[2, 5, 4]);
    let joined = eval_op(&[&x, &y], |_, v| Op::Concat { xs: v.to_vec(), axis: 1 });
    assert_eq!(joined.shape(), [2, 8, 4]);
    let expected = |i: &[usize]| match i[1] {
        0..3 => value(&place(i)),
        _ => f64::from(at(&y, &place(&[i[0], i[1] - 3, i[2]])).unwrap()),
    };
    assert_close(&joined, expected, 0.0);

    let flat = eval_op(&[&x], |_, v| Op::Reshape { x: v[0], shape: vec![24] });
    assert_eq!((flat.shape(), flat.data()), (&[24][..], x.data()));
    let scalar = eval_op(&[], |func, _| Op::Constant { value: func.add_const(Tensor::scalar(2.5)) });
    assert_eq!((scalar.shape(), scalar.data()), (&[][..], &[2.5][..]));
}

#[test]
fn activations() {
    let x = Tensor::new(vec![5], vec![-2.0, -0.5, 0.0, 1.5, f32::NAN]).unwrap();
    let check = |function: Activation, expected: [f32; 4]| {
        let found = eval_op(&[&x], |_, v| Op::Activation { x: v[0], function });
        for (found, want) in found.data().iter().zip(expected) {
            assert!((found - want).abs() < 1e-6, "{found}, expected {want}");
        }
        assert!(found.data()[4].is_nan());
    };
    check(Activation::RELU, [0.0, 0.0, 0.0, 1.5]);
    check(Activation::leaky_relu(0.1), [-0.2, -0.05, 0.0, 1.5]);
    check(Activation::clip(-1.0, 1.0), [-1.0, -0.5, 0.0, 1.0]);
    check(Activation::clip(1.0, -1.0), [-1.0; 4]);
    check(Activation::SIGMOID, [0.119_202_92, 0.377_540_67, 0.5, 0.817_574_5]);
    check(Activation::TANH, [-0.964_027_6, -0.462_117_16, 0.0, 0.905_148_27]);
    check(Activation::SILU, [-0.238_405_84, -0.188_770_33, 0.0, 1.226_361_8]);
    check(Activation::gelu(false), [-0.045_500_264, -0.154_268_77, 0.0, 1.399_789_2]);
    check(Activation::gelu(true), [-0.045_402_306, -0.154_286, 0.0, 1.399_571_7]);
    check(Activation::EXP, [0.135_335_28, 0.606_530_66, 1.0, 4.481_689]);
}

#[test]
fn polynomials_equal_their_scalar_evaluation() {
    let polynomial = Polynomial::chebyshev(vec![0.3, -0.2, 0.1, 0.7, -0.05], [-2.0, 3.0]).unwrap();
    let x = Random(13).tensor(&[1, 37]);
    let found = eval_op(&[&x], |_, v| Op::Poly { x: v[0], polynomial: polynomial.clone() });
    for (x, y) in x.data().iter().zip(found.data()) {
        assert_eq!(*y, polynomial.eval(f64::from(*x)) as f32);
    }
}

#[test]
fn a_batch_is_the_concatenation_of_single_runs() {
    let mut random = Random(14);
    let batch = random.tensor(&[3, 2, 4]);
    let first = Tensor::new(vec![1, 2, 4], batch.data()[..8].to_vec()).unwrap();
    // A reshape that merges the batch into another dimension has one meaning only run by run.
    let func = func_of(&[&first], |_, x| Op::Reshape { x: x[0], shape: vec![2, 4] });
    let outputs = run(&func, std::slice::from_ref(&batch)).unwrap();
    assert_eq!((outputs[0].shape(), outputs[0].data()), (&[6, 4][..], batch.data()));
    let mut seen = Vec::new();
    run_observed(&func, &[batch], &mut |value, tensor| seen.push((value, tensor.shape().to_vec()))).unwrap();
    let once = [(Value::new(0), vec![1, 2, 4]), (Value::new(1), vec![2, 4])];
    assert_eq!(seen, [once.clone(), once.clone(), once].concat());
}

fn assert_malformed(func: &Func<Nn>, x: &Tensor, expected: &str) {
    match run(func, std::slice::from_ref(x)) {
        Err(InterpError::Malformed(message)) => assert!(message.starts_with(expected), "{message}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn misfits_are_errors() {
    let x = Tensor::from_fn(vec![1, 3], |i| i as f32);
    let func = func_of(&[&x], |_, v| Op::relu(v[0]));
    assert_eq!(run(&func, &[]), Err(InterpError::InputCount { expected: 1, found: 0 }));
    let wrong = Tensor::from_fn(vec![1, 4], |i| i as f32);
    assert!(matches!(run(&func, &[wrong]), Err(InterpError::InputShape { .. })));
    let empty = Tensor::from_fn(vec![0, 3], |i| i as f32);
    assert!(matches!(run(&func, &[empty]), Err(InterpError::InputShape { .. })));

    let mut lying = func.clone();
    let value = lying.push_typed(Op::relu(Value::new(0)), TensorType::new([7]), None);
    lying.set_outputs(vec![value]);
    assert_malformed(&lying, &x, "op 1 (relu): the result is declared [7]");

    let mut early = Func::<Nn>::new("early");
    let input = early.add_input(TensorType::new([1]), None);
    early.push_typed(Op::Add { x: input, y: Value::new(2) }, TensorType::new([1]), None);
    early.push_typed(Op::relu(input), TensorType::new([1]), None);
    let one = Tensor::new(vec![1], vec![1.0]).unwrap();
    assert_malformed(&early, &one, "op 0 (add): operand %2 is not defined");

    let mut endless = func.clone();
    endless.set_outputs(vec![Value::new(9)]);
    assert_malformed(&endless, &x, "output %9 is not defined");

    let huge = func_of(&[&x], |_, v| Op::Pad {
        x: v[0],
        before: vec![0, 0],
        after: vec![1 << 20, 1 << 20],
        value: 0.0,
    });
    assert!(matches!(run(&huge, &[x]), Err(InterpError::TooLarge { .. })));
}

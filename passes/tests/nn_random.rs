//! Passes keep the meaning of random networks: hundreds of small programs over all ops, run before
//! and after.

use fhec_ir::fact::{INPUT_FACTORS, OUTPUT_FACTOR};
use fhec_ir::{
    entity::Value,
    func::{Func, StageOp},
    interp,
    nn::activation::TABLE,
    nn::{Activation, Nn, Op, TensorType},
    polynomial::Polynomial,
    tensor::{Tensor, element_count},
    verify::verify,
};
use fhec_passes::{
    nn::{
        collect_polynomials::collect_polynomials,
        move_transposes::move_transposes,
        normalize_ranges::{normalize_ranges, stored_inputs},
        scaling::Scaling,
        simplify::{Options, simplify},
    },
    report::Passed,
};

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    /// From `low` to `high`, both possible.
    fn from(&mut self, low: usize, high: usize) -> usize {
        low + self.below(high - low + 1)
    }

    fn real(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    }

    fn coin(&mut self) -> bool {
        self.below(2) == 0
    }

    fn tensor(&mut self, shape: &[usize]) -> Tensor {
        Tensor::from_fn(shape, |_| self.real() as f32)
    }
}

struct Generator {
    random: Random,
    func: Func<Nn>,
    /// All but constants.
    values: Vec<Value>,
}

/// What networks are made of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ops {
    /// What folds.
    Linear,
    /// All ops.
    All,
    /// All ops, with transposes, and with reshapes that split dimensions, between them.
    Moving,
}

impl Generator {
    fn network(seed: u64, ops: Ops) -> Func<Nn> {
        let mut generator = Generator { random: Random(seed), func: Func::new("random"), values: Vec::new() };
        let shape: Vec<usize> = match generator.random.below(4) {
            0 => vec![1, generator.random.from(1, 6)],
            _ => {
                let [c, h, w] = [4, 9, 9].map(|most| generator.random.from(1, most));
                vec![1, c, h, w]
            }
        };
        let input = generator.func.add_input(TensorType::new(shape), Some("x"));
        generator.values.push(input);
        let count = generator.random.from(2, 9);
        let mut tries = 0;
        while generator.values.len() <= count && tries < 200 {
            tries += 1;
            generator.step(ops);
        }
        let last = generator.values[generator.values.len() - 1];
        let outputs = if generator.random.below(4) == 0 { vec![last, generator.pick()] } else { vec![last] };
        generator.func.set_outputs(outputs);
        generator.func
    }

    /// Mostly the latest value, so that chains form.
    fn pick(&mut self) -> Value {
        let count = self.values.len();
        let back = if self.random.below(3) > 0 { 0 } else { self.random.below(count) };
        self.values[count - 1 - back]
    }

    fn constant(&mut self, shape: &[usize]) -> Value {
        let tensor = match self.random.below(6) {
            0 => Tensor::from_fn(shape, |_| 1.0),
            1 => Tensor::from_fn(shape, |_| 0.0),
            _ => self.random.tensor(shape),
        };
        let value = self.func.add_const(tensor);
        self.func.push(Op::Constant { value }).unwrap()
    }

    /// Appends an op if the one drawn fits.
    fn step(&mut self, ops: Ops) {
        let x = self.pick();
        let shape = self.func.ty(x).shape.clone();
        let op = match ops {
            Ops::Moving if self.random.coin() => self.moving_op(x, &shape),
            Ops::All | Ops::Moving if self.random.below(3) == 0 => self.other_op(x, &shape),
            _ => self.linear_op(x, &shape),
        };
        let Some(op) = op else { return };
        let Ok(value) = self.func.push(op) else { return };
        if element_count(&self.func.ty(value).shape).is_some_and(|count| (1..=4096).contains(&count)) {
            self.values.push(value);
        }
    }

    fn window(&mut self) -> ([usize; 2], [usize; 2], [usize; 4]) {
        let kernel = [self.random.from(1, 3), self.random.from(1, 3)];
        let strides =
            if self.random.coin() { kernel } else { [self.random.from(1, 3), self.random.from(1, 2)] };
        let pads = if self.random.coin() {
            [0; 4]
        } else {
            std::array::from_fn(|i| self.random.below(kernel[i % 2]))
        };
        (kernel, strides, pads)
    }

    fn linear_op(&mut self, x: Value, shape: &[usize]) -> Option<Op> {
        let channels = *shape.get(1)?;
        let planes = shape.len() == 4;
        Some(match self.random.below(12) {
            0 | 1 if planes => {
                let (kernel, strides, pads) = self.window();
                let groups = if channels.is_multiple_of(2) && self.random.coin() { 2 } else { 1 };
                let outputs = groups * self.random.from(1, 2);
                let dilations = [self.random.from(1, 2), self.random.from(1, 2)];
                let weight = self.random.tensor(&[outputs, channels / groups, kernel[0], kernel[1]]);
                let weight = self.func.add_const(weight);
                let bias = self.random.tensor(&[outputs]);
                let bias = self.random.coin().then(|| self.func.add_const(bias));
                Op::Conv2d { x, weight, bias, strides, pads, dilations, groups }
            }
            2 => {
                let mut vector = |low: f64| {
                    let tensor = Tensor::from_fn([channels], |_| (self.random.real() + low) as f32);
                    self.func.add_const(tensor)
                };
                let (scale, bias, mean, variance) = (vector(0.5), vector(0.0), vector(0.0), vector(1.5));
                Op::BatchNorm { x, scale, bias, mean, variance, epsilon: 1e-3 }
            }
            3 | 4 => {
                let wide: Vec<usize> = match self.random.below(4) {
                    0 => vec![],
                    1 => vec![1],
                    2 => shape.to_vec(),
                    _ => [&[channels][..], &vec![1; shape.len() - 2]].concat(),
                };
                let y = self.constant(&wide);
                match self.random.below(6) {
                    0 => Op::Add { x, y },
                    1 => Op::Add { x: y, y: x },
                    2 => Op::Sub { x, y },
                    3 => Op::Sub { x: y, y: x },
                    4 => Op::Mul { x, y },
                    _ => Op::Mul { x: y, y: x },
                }
            }
            5 => {
                let divisor = Tensor::scalar(1.5 + self.random.real() as f32);
                let value = self.func.add_const(divisor);
                let y = self.func.push(Op::Constant { value }).ok()?;
                Op::Div { x, y }
            }
            6 if planes => {
                let (kernel, strides, pads) = self.window();
                Op::AveragePool { x, kernel, strides, pads, count_include_pad: self.random.coin() }
            }
            7 if planes => Op::ReduceMean { x, axes: vec![2, 3], keep_dims: self.random.coin() },
            8 if planes => {
                let mut side = || vec![0, 0, self.random.below(3), self.random.below(3)];
                let (before, after) = (side(), side());
                let value = if self.random.coin() { 0.0 } else { self.random.real() };
                Op::Pad { x, before, after, value }
            }
            9 if shape.len() == 2 => {
                let outputs = self.random.from(1, 5);
                let weight = self.random.tensor(&[outputs, shape[1]]);
                let weight = self.func.add_const(weight);
                let bias = self.random.tensor(&[outputs]);
                let bias = self.random.coin().then(|| self.func.add_const(bias));
                Op::Dense { x, weight, bias }
            }
            9 => Op::Reshape { x, shape: vec![shape[0], element_count(&shape[1..])?] },
            10 => {
                let mut permutation: Vec<usize> = (0..shape.len()).collect();
                for i in (2..shape.len()).rev() {
                    permutation.swap(i, 1 + self.random.below(i));
                }
                Op::Transpose { x, permutation }
            }
            11 => {
                let same: Vec<Value> =
                    self.values.iter().copied().filter(|&v| self.func.ty(v).shape == shape).collect();
                let y = same[self.random.below(same.len().checked_sub(1)? + 1)];
                if self.random.coin() { Op::Add { x, y } } else { Op::Sub { x, y } }
            }
            _ => return None,
        })
    }

    /// Any order of dimensions; the first one mostly stays.
    fn permutation(&mut self, rank: usize) -> Vec<usize> {
        let fixed = usize::from(self.random.below(8) > 0);
        let mut permutation: Vec<usize> = (0..rank).collect();
        for i in (fixed + 1..rank).rev() {
            permutation.swap(i, self.random.from(fixed, i));
        }
        permutation
    }

    /// An op along any dimension, or one that moves elements.
    fn moving_op(&mut self, x: Value, shape: &[usize]) -> Option<Op> {
        let axis = self.random.below(shape.len().max(1));
        let length = *shape.get(axis)?;
        Some(match self.random.below(16) {
            0..=2 => Op::Transpose { x, permutation: self.permutation(shape.len()) },
            // There and back, with an op between.
            3..=5 if shape.len() == 4 => {
                let to = self.func.push(Op::Transpose { x, permutation: vec![0, 3, 1, 2] }).ok()?;
                let shape = self.func.ty(to).shape.clone();
                let op = self.linear_op(to, &shape)?;
                let x = self.func.push(op).ok()?;
                (self.func.ty(x).shape.len() == 4)
                    .then(|| Op::Transpose { x, permutation: vec![0, 2, 3, 1] })?
            }
            // A shuffle of a dimension.
            6 | 7 => {
                let groups = [2, 3].into_iter().find(|groups| length.is_multiple_of(*groups))?;
                let split = [&shape[..axis], &[groups, length / groups], &shape[axis + 1..]].concat();
                let mut permutation: Vec<usize> = (0..split.len()).collect();
                permutation.swap(axis, axis + 1);
                let x = self.func.push(Op::Reshape { x, shape: split }).ok()?;
                let x = self.func.push(Op::Transpose { x, permutation }).ok()?;
                Op::Reshape { x, shape: shape.to_vec() }
            }
            8 => {
                let merged = length * shape.get(axis + 1)?;
                let shape = [&shape[..axis], &[merged], &shape[axis + 2..]].concat();
                Op::Reshape { x, shape }
            }
            9 => Op::Reshape { x, shape: [&shape[..axis], &[1], &shape[axis..]].concat() },
            10 => {
                let y = self.constant(&[*shape.last()?, 3]);
                Op::MatMul { x, y }
            }
            11 => Op::Softmax { x, axis },
            12 => {
                let axes = (0..shape.len()).filter(|axis| *axis > 0 && self.random.coin()).collect();
                Op::ReduceMean { x, axes, keep_dims: self.random.coin() }
            }
            13 => {
                let other = Op::Slice {
                    x,
                    starts: vec![0; shape.len()],
                    ends: (0..shape.len()).map(|dim| if dim == axis { 1 } else { shape[dim] }).collect(),
                    steps: vec![1; shape.len()],
                };
                let part = self.func.push(other).ok()?;
                Op::Concat { xs: vec![x, part], axis }
            }
            14 => {
                let mut side = || {
                    let mut side = vec![0; shape.len()];
                    side[axis] = self.random.below(3);
                    side
                };
                Op::Pad { x, before: side(), after: side(), value: 0.5 }
            }
            _ => {
                let wide: Vec<usize> =
                    shape.iter().map(|&size| if self.random.coin() { size } else { 1 }).collect();
                let leading = self.random.below(shape.len());
                let y = match self.random.coin() {
                    true => self.constant(&wide[leading..]),
                    false => {
                        let axes = (0..shape.len()).filter(|&dim| wide[dim] == 1).collect();
                        self.func.push(Op::ReduceMean { x, axes, keep_dims: true }).ok()?
                    }
                };
                if self.random.coin() { Op::Mul { x, y } } else { Op::Sub { x: y, y: x } }
            }
        })
    }

    fn other_op(&mut self, x: Value, shape: &[usize]) -> Option<Op> {
        let same: Vec<Value> =
            self.values.iter().copied().filter(|&v| self.func.ty(v).shape == shape).collect();
        let y = same[self.random.below(same.len())];
        Some(match self.random.below(16) {
            0 => Op::relu(x),
            1 => Op::Activation { x, function: Activation::leaky_relu(0.1) },
            2 => {
                let high = if self.random.coin() { f64::INFINITY } else { 0.75 };
                Op::Activation { x, function: Activation::clip(-0.5, high) }
            }
            3 => Op::Activation { x, function: Activation::SIGMOID },
            4 => Op::Activation { x, function: Activation::TANH },
            5 => Op::Activation { x, function: Activation::SILU },
            6 => {
                let row = TABLE[self.random.below(TABLE.len())];
                let parameters: Vec<f64> = row.parameters.iter().map(|p| p.default).collect();
                let function = Activation::new(row, &parameters).ok()?;
                // Values may be negative, where not every function is defined.
                if function.around([1.0, 2.0]).is_some() {
                    return None;
                }
                Op::Activation { x, function }
            }
            7 => Op::Softmax { x, axis: 1 },
            8 | 9 => Op::Mul { x, y },
            10 if shape.len() == 4 => {
                let (kernel, strides, pads) = self.window();
                Op::MaxPool { x, kernel, strides, pads, dilations: [1, 1] }
            }
            11 => Op::Concat { xs: vec![x, y, x], axis: 1 },
            12 => {
                let starts = shape.iter().map(|&d| self.random.below(d.min(2))).collect();
                Op::Slice { x, starts, ends: shape.to_vec(), steps: vec![1; shape.len()] }
            }
            13 => {
                let coefficients = (0..4).map(|_| self.random.real()).collect();
                let polynomial = Polynomial::chebyshev(coefficients, [-1.0, 2.0]).ok()?;
                Op::Poly { x, polynomial }
            }
            14 if shape.len() == 2 => {
                let y = self.constant(&[shape[1], 3]);
                Op::MatMul { x, y }
            }
            _ => return None,
        })
    }
}

fn inputs(func: &Func<Nn>, seed: u64) -> Vec<Tensor> {
    let mut random = Random(seed ^ 0xabcd);
    func.inputs().iter().map(|&input| random.tensor(&func.ty(input).shape)).collect()
}

/// Whether both programs compute the same, outputs of the second multiplied with `factor`.
fn compare(seed: u64, before: &Func<Nn>, after: &Func<Nn>, factor: f64) {
    verify(after).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
    let inputs = inputs(before, seed);
    let old = interp::nn::run(before, &inputs).unwrap();
    let stored = match after.has_fact(INPUT_FACTORS) {
        true => stored_inputs(after, &inputs).unwrap(),
        false => inputs.clone(),
    };
    let new = interp::nn::run(after, &stored).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
    // Rounding is measured against the largest value on the way: sums may cancel.
    let mut scale = 1.0f64;
    interp::nn::run_observed(before, &inputs, &mut |_, tensor| {
        scale = tensor.data().iter().fold(scale, |m, v| m.max(f64::from(v.abs())));
    })
    .unwrap();
    for (old, new) in old.iter().zip(&new) {
        assert_eq!(old.shape(), new.shape(), "seed {seed}");
        for (a, b) in old.data().iter().zip(new.data()) {
            let difference = (f64::from(*a) - f64::from(*b) * factor).abs();
            assert!(
                difference <= 2e-5 * scale,
                "seed {seed}: {a} became {}\n{}\n{}",
                f64::from(*b) * factor,
                fhec_ir::text::print_func(before),
                fhec_ir::text::print_func(after)
            );
        }
    }
}

#[test]
fn simplify_keeps_the_meaning_of_random_networks() {
    let mut folded = 0;
    for seed in 0..600 {
        let func = Generator::network(seed, if seed % 2 == 0 { Ops::Linear } else { Ops::All });
        let collected = collect_polynomials(&func).unwrap().func;
        compare(seed, &func, &collected, 1.0);
        let Passed { func: simplified, report, .. } = simplify(&collected, &Options::default()).unwrap();
        compare(seed, &collected, &simplified, 1.0);
        folded += usize::from(simplified.ops().len() < func.ops().len());
        assert!(report.notes.is_empty(), "seed {seed}: {:?}", report.notes);
        let batch_norm = simplified.ops().iter().any(|data| data.op.mnemonic() == "batch_norm");
        assert!(!batch_norm, "seed {seed}");
        let again = simplify(&collected, &Options::default()).unwrap().func;
        assert_eq!(simplified, again, "seed {seed}");
    }
    assert!(folded > 300, "only {folded} networks became smaller");
}

#[test]
fn normalize_ranges_keeps_the_meaning_for_any_factors() {
    for seed in 0..400 {
        let func = Generator::network(seed, Ops::All);
        let mut random = Random(seed);
        // From 1/4 to 4; the meaning does not depend on factors being well chosen.
        let factors = (0..func.value_count()).map(|_| (2.0 * random.real()).exp2()).collect();
        let normalized = normalize_ranges(&func, &Scaling::new(factors)).unwrap().func;
        let factor = normalized.fact(OUTPUT_FACTOR).unwrap();
        compare(seed, &func, &normalized, factor);
        for data in normalized.ops() {
            if let Op::Poly { polynomial, .. } = &data.op {
                assert_eq!(polynomial.domain(), [-1.0, 1.0], "seed {seed}");
            }
        }
    }
}

#[test]
fn move_transposes_keeps_the_meaning_of_random_networks() {
    let transposes =
        |func: &Func<Nn>| func.ops().iter().filter(|data| matches!(data.op, Op::Transpose { .. })).count();
    let (mut before, mut after) = (0, 0);
    for seed in 0..3000 {
        let func = Generator::network(seed, if seed % 4 == 0 { Ops::All } else { Ops::Moving });
        let moved = move_transposes(&func).unwrap_or_else(|e| panic!("seed {seed}: {e}")).func;
        compare(seed, &func, &moved, 1.0);
        before += transposes(&func);
        after += transposes(&moved);
        assert_eq!(move_transposes(&func).unwrap().func, moved, "seed {seed}");
    }
    assert!(2 * after < before, "{before} transposes became {after}");
}

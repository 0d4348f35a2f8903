//! The passes on the nn stage, one after another, on networks of the sizes that matter.

use std::collections::BTreeMap;

use fhec_ir::fact::OUTPUT_FACTOR;
use fhec_ir::{
    entity::Value,
    func::Func,
    interp,
    nn::{Nn, Op, TensorType},
    tensor::Tensor,
};
use fhec_passes::{
    error::PassError,
    nn::{
        approximate::ReluMethod,
        calibrate::{Range, Source},
        normalize_ranges::stored_inputs,
    },
    pipeline::{NnOptions, NnResult, run_nn},
};

/// Numbers in [-1, 1) from a fixed generator (SplitMix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 40) as f32 / (1 << 23) as f32 - 1.0
    }

    fn tensor(&mut self, shape: &[usize], scale: f32) -> Tensor {
        Tensor::from_fn(shape, |_| scale * self.next())
    }
}

/// Builds networks with random weights whose activations keep their size.
struct Builder {
    func: Func<Nn>,
    random: Random,
}

impl Builder {
    fn push(&mut self, op: Op) -> Value {
        self.func.push(op).expect("a valid op")
    }

    fn conv_batch_norm(&mut self, x: Value, [c, m, k, stride]: [usize; 4]) -> Value {
        let gain = (3.0 * 2.0 / (c * k * k) as f32).sqrt();
        let weight = self.random.tensor(&[m, c, k, k], gain);
        let weight = self.func.add_const(weight);
        let pads = [k / 2; 4];
        let conv =
            Op::Conv2d { x, weight, bias: None, strides: [stride; 2], pads, dilations: [1; 2], groups: 1 };
        let x = self.push(conv);
        let vector = |random: &mut Random, centre: f32, spread: f32| {
            Tensor::from_fn([m], |_| centre + spread * random.next())
        };
        let [scale, bias, mean, variance] = [(0.9, 0.2), (0.0, 0.2), (0.0, 0.2), (1.0, 0.3)]
            .map(|(centre, spread)| vector(&mut self.random, centre, spread))
            .map(|tensor| self.func.add_const(tensor));
        self.push(Op::BatchNorm { x, scale, bias, mean, variance, epsilon: 1e-5 })
    }

    fn dense(&mut self, x: Value, [inputs, outputs]: [usize; 2]) -> Value {
        let weight = self.random.tensor(&[outputs, inputs], (3.0 / inputs as f32).sqrt());
        let bias = self.random.tensor(&[outputs], 0.1);
        let (weight, bias) = (self.func.add_const(weight), Some(self.func.add_const(bias)));
        self.push(Op::Dense { x, weight, bias })
    }
}

/// ResNet-20 for 32x32 images (He et al. 2015), projection shortcuts, softmax at the end.
fn resnet20() -> Func<Nn> {
    let mut b = Builder { func: Func::new("resnet20"), random: Random(7) };
    let input = b.func.add_input(TensorType::new([1, 3, 32, 32]), Some("image"));
    let first = b.conv_batch_norm(input, [3, 16, 3, 1]);
    let mut x = b.push(Op::relu(first));
    for (stage, (from, to)) in [(16, 16), (16, 32), (32, 64)].into_iter().enumerate() {
        for block in 0..3 {
            let (c, stride) = if block == 0 { (from, 1 + usize::from(stage > 0)) } else { (to, 1) };
            let y = b.conv_batch_norm(x, [c, to, 3, stride]);
            let y = b.push(Op::relu(y));
            let y = b.conv_batch_norm(y, [to, to, 3, 1]);
            let shortcut = if c == to { x } else { b.conv_batch_norm(x, [c, to, 1, stride]) };
            let sum = b.push(Op::Add { x: y, y: shortcut });
            x = b.push(Op::relu(sum));
        }
    }
    let pooled = b.push(Op::ReduceMean { x, axes: vec![2, 3], keep_dims: true });
    let flat = b.push(Op::Reshape { x: pooled, shape: vec![1, 64] });
    let logits = b.dense(flat, [64, 10]);
    let probabilities = b.push(Op::Softmax { x: logits, axis: 1 });
    b.func.set_outputs(vec![probabilities]);
    b.func
}

/// conv, BN, ReLU, pool, twice, and a dense layer: the shape of an MNIST network.
fn small_cnn() -> Func<Nn> {
    let mut b = Builder { func: Func::new("small"), random: Random(9) };
    let pool =
        |x| Op::AveragePool { x, kernel: [2; 2], strides: [2; 2], pads: [0; 4], count_include_pad: false };
    let input = b.func.add_input(TensorType::new([1, 1, 28, 28]), Some("image"));
    let x = b.conv_batch_norm(input, [1, 8, 5, 1]);
    let x = b.push(Op::relu(x));
    let x = b.push(pool(x));
    let x = b.conv_batch_norm(x, [8, 16, 5, 1]);
    let x = b.push(Op::relu(x));
    let x = b.push(pool(x));
    let x = b.push(Op::Reshape { x, shape: vec![1, 784] });
    let x = b.dense(x, [784, 10]);
    b.func.set_outputs(vec![x]);
    b.func
}

fn images(func: &Func<Nn>, count: usize, seed: u64) -> Vec<Vec<Tensor>> {
    let mut random = Random(seed);
    let one = |_| func.inputs().iter().map(|&i| random.tensor(&func.ty(i).shape, 2.0)).collect();
    (0..count).map(one).collect()
}

fn compile(func: &Func<Nn>, source: &Source<'_>, relu: ReluMethod) -> NnResult {
    let mut options = NnOptions::default();
    options.approximate.relu = relu;
    let mut seen = Vec::new();
    let result = run_nn(func, source, &options, &mut |pass, _| seen.push(pass)).unwrap();
    assert_eq!(
        seen,
        [
            "drop-softmax",
            "move-transposes",
            "collect-polynomials",
            "expand-max-pools",
            "simplify",
            "split-phases",
            "approximate",
            "normalize-ranges"
        ]
    );
    result
}

/// The largest difference of the outputs, and the largest output.
fn difference(result: &NnResult, images: &[Vec<Tensor>]) -> (f64, f64) {
    let factor: f64 = result.func.fact(OUTPUT_FACTOR).unwrap();
    let (mut worst, mut largest) = (0.0f64, 0.0f64);
    for image in images {
        let exact = interp::nn::run(&result.reference, image).unwrap();
        let stored = stored_inputs(&result.func, image).unwrap();
        let stored = interp::nn::run(&result.func, &stored).unwrap();
        for (e, s) in exact[0].data().iter().zip(stored[0].data()) {
            worst = worst.max((f64::from(*e) - f64::from(*s) * factor).abs());
            largest = largest.max(f64::from(e.abs()));
        }
    }
    (worst, largest)
}

fn count(func: &Func<Nn>, what: impl Fn(&Op) -> bool) -> usize {
    func.ops().iter().filter(|data| what(&data.op)).count()
}

#[test]
fn resnet20_becomes_linear_maps_and_polynomials() {
    let func = resnet20();
    let calibration = images(&func, 8, 1);
    let result = compile(&func, &Source::Images(&calibration), ReluMethod::Alpha(13.0));
    // 19 convolutions of the main path, 2 shortcuts; pool and classifier are one dense map.
    assert_eq!(count(&result.reference, |op| matches!(op, Op::Conv2d { .. })), 21);
    assert_eq!(count(&result.reference, |op| matches!(op, Op::Dense { .. })), 1);
    assert_eq!(count(&result.reference, |op| matches!(op, Op::Add { .. })), 9);
    assert_eq!(count(&result.reference, |op| matches!(op, Op::Activation { .. })), 19);
    assert_eq!(result.reference.ops().len(), 21 + 1 + 9 + 19 + 1);
    // Each ReLU is three polynomials and a product; nothing else was added.
    assert_eq!(count(&result.func, |op| matches!(op, Op::Poly { .. })), 3 * 19);
    assert_eq!(count(&result.func, |op| matches!(op, Op::Mul { .. })), 19);
    assert_eq!(result.func.ops().len(), 21 + 1 + 9 + 4 * 19 + 1);
    for data in result.func.ops() {
        if let Op::Poly { polynomial, .. } = &data.op {
            assert_eq!(polynomial.domain(), [-1.0, 1.0]);
        }
    }
    let (worst, largest) = difference(&result, &images(&func, 2, 2));
    assert!(worst < 0.02 * largest, "logits differ by {worst}, the largest is {largest}");
    // Stored values are at most 1 where ranges hold; the polynomial before a product into a sum's
    // factor alone may exceed it, by the ratio of the two factors.
    let products: Vec<Value> = result
        .func
        .ops()
        .iter()
        .filter_map(|data| match data.op {
            Op::Mul { y, .. } => Some(y),
            _ => None,
        })
        .collect();
    let (mut stored, mut steps) = (0.0f32, 0.0f32);
    let calibrated = stored_inputs(&result.func, &calibration[0]).unwrap();
    interp::nn::run_observed(&result.func, &calibrated, &mut |value, tensor| {
        let size = tensor.data().iter().fold(0.0f32, |m, v| m.max(v.abs()));
        match () {
            () if products.contains(&value) => steps = steps.max(size),
            () => stored = stored.max(size),
        }
    })
    .unwrap();
    assert!(stored <= 1.0 + 1e-3, "a stored value of {stored}");
    assert!(steps <= 2.0, "a stored factor of {steps}");
    // And more precise ReLUs bring logits closer.
    let image = images(&func, 1, 3).remove(0);
    let finer = compile(&func, &Source::Images(&calibration), ReluMethod::Degrees(vec![15, 27, 31, 31]));
    let (coarse, _) = difference(&result, std::slice::from_ref(&image));
    let (fine, _) = difference(&finer, std::slice::from_ref(&image));
    assert!(fine < coarse / 8.0, "{fine} against {coarse}");
}

#[test]
fn a_small_cnn_is_two_activations_and_three_linear_maps() {
    let func = small_cnn();
    let calibration = images(&func, 32, 1);
    let result = compile(&func, &Source::Images(&calibration), ReluMethod::Alpha(13.0));
    assert_eq!(count(&result.reference, |op| matches!(op, Op::Conv2d { .. })), 2);
    assert_eq!(count(&result.reference, |op| matches!(op, Op::AveragePool { .. })), 0);
    assert_eq!(result.reference.ops().len(), 2 + 2 + 2);
    let (worst, largest) = difference(&result, &images(&func, 8, 2));
    assert!(worst < 2e-3 * largest, "logits differ by {worst}, the largest is {largest}");
    let same = compile(&func, &Source::Images(&calibration), ReluMethod::Alpha(13.0));
    assert_eq!(result.func, same.func, "compiling twice gives one program");
}

#[test]
fn sound_ranges_and_tables_stand_in_for_images() {
    let func = small_cnn();
    let result = compile(&func, &Source::Intervals(Range::new(-2.0, 2.0)), ReluMethod::Alpha(14.0));
    let (worst, largest) = difference(&result, &images(&func, 2, 2));
    assert!(worst < 0.1 * largest, "logits differ by {worst}, the largest is {largest}");

    // Names of activation inputs survive folding, so that a table of ranges by name finds them.
    let mut named = func.clone();
    for (index, data) in func.ops().iter().enumerate() {
        if matches!(data.op, Op::BatchNorm { .. }) {
            named.set_value_name(data.result, Some(format!("norm{index}")));
        }
    }
    let ranges: BTreeMap<String, Range> =
        ["norm1", "norm5"].map(|name| (name.to_string(), Range::new(-9.0, 9.0))).into();
    let source = Source::Table { ranges: &ranges, input: Range::new(-2.0, 2.0) };
    let result = compile(&named, &source, ReluMethod::Alpha(13.0));
    let calibrate = result.reports.iter().find(|report| report.pass == "calibrate").unwrap();
    assert_eq!(calibrate.counts["values from the table"], 2);
    let (worst, largest) = difference(&result, &images(&func, 2, 2));
    assert!(worst < 0.01 * largest, "logits differ by {worst}, the largest is {largest}");
}

#[test]
fn bad_input_is_refused() {
    let func = small_cnn();
    let run = |func: &Func<Nn>, source: &Source<'_>, change: &dyn Fn(&mut NnOptions)| {
        let mut options = NnOptions::default();
        change(&mut options);
        run_nn(func, source, &options, &mut |_, _| ()).err()
    };
    let none: Vec<Vec<Tensor>> = Vec::new();
    let error = run(&func, &Source::Images(&none), &|_| ());
    assert!(matches!(error, Some(PassError::Option { option: "calibration", .. })), "{error:?}");
    let small = vec![vec![Tensor::from_fn([1, 1, 5, 5], |_| 0.0)]];
    assert!(matches!(run(&func, &Source::Images(&small), &|_| ()), Some(PassError::Calibration(_))));
    let nan = vec![vec![Tensor::from_fn([1, 1, 28, 28], |i| if i == 5 { f32::NAN } else { 0.0 })]];
    let error = run(&func, &Source::Images(&nan), &|_| ());
    assert!(matches!(error, Some(PassError::NonFiniteActivation { image: 0, .. })), "{error:?}");
    let good = images(&func, 1, 1);
    for (option, change) in [
        ("margin", (&|o: &mut NnOptions| o.calibrate.margin = 0.5) as &dyn Fn(&mut NnOptions)),
        ("relu-alpha", &|o| o.approximate.relu = ReluMethod::Alpha(f64::NAN)),
        ("relu-degrees", &|o| o.approximate.relu = ReluMethod::Degrees(vec![7, 8])),
        ("relu-even-degree", &|o| o.approximate.relu = ReluMethod::Even(3)),
        ("noise", &|o| o.approximate.noise = -1.0),
    ] {
        let error = run(&func, &Source::Images(&good), change);
        assert!(
            matches!(&error, Some(PassError::Option { option: found, .. }) if *found == option),
            "{error:?}"
        );
    }
    // What cannot be lowered is said before the network is run: these images could not be.
    let mut pooled = Func::<Nn>::new("pooled");
    let x = pooled.add_input(TensorType::new([1, 1, 28, 28]), Some("image"));
    let pool = Op::MaxPool { x, kernel: [6, 6], strides: [2, 2], pads: [1; 4], dilations: [2, 2] };
    let y = pooled.push_named(pool, Some("features/pool")).unwrap();
    pooled.set_outputs(vec![y]);
    let error = run(&pooled, &Source::Images(&nan), &|_| ());
    let named =
        matches!(&error, Some(PassError::Lower(e)) if (&*e.op, &*e.value) == ("max_pool", "features/pool"));
    assert!(named, "{error:?}");
    let hopeless = run(&func, &Source::Images(&good), &|o| o.approximate.max_depth = 4);
    assert!(matches!(hopeless, Some(PassError::Approximation { .. })), "{hopeless:?}");
}

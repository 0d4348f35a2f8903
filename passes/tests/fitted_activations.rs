//! Fitted activations on a residual network with strided and padded convolutions: equalisation,
//! fit, approximation, scaling.

use std::collections::BTreeMap;

use fhec_ir::ckks::Ckks;
use fhec_ir::fact::OUTPUT_FACTOR;
use fhec_ir::noise::EncryptionKind;
use fhec_ir::params::Params;
use fhec_ir::{
    entity::Value,
    func::{Func, StageOp},
    interp,
    nn::{Activation, Nn, Op, TensorType},
    tensor::Tensor,
    verify::verify,
};
use fhec_passes::{
    analysis::{circuit_shapes::CircuitShapes, noise::noise},
    approximation::least_squares::Form,
    compile::compile,
    error::PassError,
    nn::{
        activations::Activations,
        agreement::{Agreement, Outputs, compare, outputs},
        approximate::{self, ReluMethod, approximate},
        calibrate::{self, Range, Ranges, Source, calibrate},
        equalize_channels::{Tail, bounds_after, channel_bounds, channel_factors, equalize_channels},
        fit_activations::{self, Fits, fit_activations, fitted_activations},
        fit_network::Fitting,
        normalize_ranges::{normalize_ranges, stored_inputs},
        scaling::{Scaling, scaling},
    },
    options::{CompileOptions, Knowledge, NoiseProbe, Relu},
    pipeline::{NnOptions, NnResult, run_nn},
    report::Passed,
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
}

struct Builder {
    func: Func<Nn>,
    random: Random,
}

impl Builder {
    /// A convolution whose output channels differ in size by up to 8.
    fn conv(&mut self, x: Value, [c, m, k, stride]: [usize; 4]) -> Value {
        let gain = (3.0 * 2.0 / (c * k * k) as f32).sqrt();
        let sizes: Vec<f32> = (0..m).map(|_| (1.5 * self.random.next() - 1.5).exp2()).collect();
        let taps = c * k * k;
        let weight = Tensor::from_fn([m, c, k, k], |i| gain * sizes[i / taps] * self.random.next());
        let bias = Tensor::from_fn([m], |_| 0.1 * self.random.next());
        let (weight, bias) = (self.func.add_const(weight), Some(self.func.add_const(bias)));
        self.push(Op::Conv2d {
            x,
            weight,
            bias,
            strides: [stride; 2],
            pads: [k / 2; 4],
            dilations: [1; 2],
            groups: 1,
        })
    }

    fn push(&mut self, op: Op) -> Value {
        self.func.push(op).expect("a valid op")
    }
}

/// Two residual blocks, one with a projection, on 8x8 pictures; the last activation is leaky.
fn residual() -> Func<Nn> {
    let mut b = Builder { func: Func::new("residual"), random: Random(3) };
    let image = b.func.add_input(TensorType::new([1, 3, 8, 8]), Some("image"));
    let x = b.conv(image, [3, 8, 3, 1]);
    let x = b.push(Op::relu(x));
    let y = b.conv(x, [8, 8, 3, 1]);
    let y = b.push(Op::relu(y));
    let y = b.conv(y, [8, 8, 3, 1]);
    let sum = b.push(Op::Add { x: y, y: x });
    let x = b.push(Op::relu(sum));
    let y = b.conv(x, [8, 12, 3, 2]);
    let shortcut = b.conv(x, [8, 12, 1, 2]);
    let sum = b.push(Op::Add { x: y, y: shortcut });
    let x = b.push(Op::Activation { x: sum, function: Activation::leaky_relu(0.1) });
    let x = b.push(Op::ReduceMean { x, axes: vec![2, 3], keep_dims: true });
    let x = b.push(Op::Reshape { x, shape: vec![1, 12] });
    let weight = Tensor::from_fn([5, 12], |_| b.random.next());
    let weight = b.func.add_const(weight);
    let logits = b.push(Op::Dense { x, weight, bias: None });
    b.func.set_outputs(vec![logits]);
    b.func
}

/// Convolutions with a clip, a hard swish and an ELU between them.
fn with_corners() -> Func<Nn> {
    let mut b = Builder { func: Func::new("corners"), random: Random(5) };
    let x = b.func.add_input(TensorType::new([1, 3, 8, 8]), Some("image"));
    let x = b.conv(x, [3, 8, 3, 1]);
    let x = b.push(Op::Activation { x, function: Activation::clip(0.0, 0.25) });
    let x = b.conv(x, [8, 8, 3, 1]);
    let hard_swish = Activation::new(Activation::of_onnx("HardSwish").unwrap(), &[]).unwrap();
    let x = b.push(Op::Activation { x, function: hard_swish });
    let x = b.conv(x, [8, 12, 3, 2]);
    let elu = Activation::new(Activation::of_onnx("Elu").unwrap(), &[0.3]).unwrap();
    let x = b.push(Op::Activation { x, function: elu });
    let x = b.push(Op::ReduceMean { x, axes: vec![2, 3], keep_dims: true });
    let x = b.push(Op::Reshape { x, shape: vec![1, 12] });
    let weight = Tensor::from_fn([5, 12], |_| b.random.next());
    let weight = b.func.add_const(weight);
    let logits = b.push(Op::Dense { x, weight, bias: None });
    b.func.set_outputs(vec![logits]);
    b.func
}

fn images(count: usize, seed: u64) -> Vec<Vec<Tensor>> {
    let mut random = Random(seed);
    (0..count).map(|_| vec![Tensor::from_fn([1, 3, 8, 8], |_| 2.0 * random.next())]).collect()
}

fn calibrated(func: &Func<Nn>, images: &[Vec<Tensor>]) -> (Ranges, Scaling) {
    let ranges = calibrate(func, &Source::Images(images), &calibrate::Options::default()).unwrap().0;
    let factors = scaling(func, &ranges, &fitted_activations(func));
    (ranges, factors)
}

fn with_fits(func: &Func<Nn>, ranges: &Ranges, factors: &Scaling, fits: Fits) -> (Func<Nn>, Scaling) {
    let options = approximate::Options {
        relu: ReluMethod::Fitted { fits, otherwise: 30 },
        ..approximate::Options::default()
    };
    let (approximated, new_factors) = approximate(func, ranges, factors, &options).unwrap();
    verify(&approximated.func).unwrap();
    (approximated.func, new_factors)
}

fn judge(reference: &Func<Nn>, approximated: &Func<Nn>, images: &[Vec<Tensor>]) -> Agreement {
    compare(&outputs(reference, images).unwrap(), &outputs(approximated, images).unwrap(), Outputs::Classes)
}

fn count(func: &Func<Nn>, name: &str) -> usize {
    func.ops().iter().filter(|data| data.op.mnemonic() == name).count()
}

#[test]
fn equalised_channels_compute_the_same() {
    let func = residual();
    let samples = images(60, 1);
    let tail = Tail { leaving: 1e9, margin: 1.0 };
    let magnitudes = channel_bounds(&func, &samples, tail).unwrap();
    let factors = channel_factors(&func, &magnitudes, 1.0 / 16.0);
    let Passed { func: equal, report, .. } = equalize_channels(&func, &factors).unwrap();
    verify(&equal).unwrap();
    assert_eq!(equal.ops().len(), func.ops().len());
    // Every convolution and the dense layer touch a channel that is scaled.
    assert_eq!(report.counts["weights scaled"], 6);
    let difference = judge(&func, &equal, &images(20, 2));
    assert!(difference.largest_difference < 1e-4, "{difference:?}");
    // Channels of the inner activation, which shares its factors with no other, are now equally
    // large.
    let inner = fitted_activations(&equal)[1];
    let operand = equal.ops().iter().find(|data| data.result == inner).unwrap().op.operands()[0];
    let spread = |magnitudes: &[f64]| {
        let largest = magnitudes.iter().fold(0.0f64, |a, b| a.max(*b));
        magnitudes.iter().fold(f64::INFINITY, |a, b| a.min(*b)) / largest
    };
    let after = channel_bounds(&equal, &samples, tail).unwrap();
    assert!(spread(&magnitudes[operand.index()].channels) < 0.5);
    assert!(spread(&after[operand.index()].channels) > 0.999);
    let largest = after[operand.index()].channels.iter().fold(0.0f64, |a, b| a.max(*b));
    let predicted = bounds_after(&magnitudes, &factors)[operand.index()].unwrap();
    assert!((predicted / largest - 1.0).abs() < 1e-5);
}

#[test]
fn fits_follow_the_network_at_no_cost() {
    let func = residual();
    let samples = images(80, 1);
    let test = images(80, 2);
    let (ranges, factors) = calibrated(&func, &samples);
    let mut last = f64::INFINITY;
    for degree in [6, 14, 30, 62] {
        let fits = fit_activations(&func, &samples, &factors, &[degree; 4], &Default::default()).unwrap();
        assert!(fits.values().all(|fit| fit.polynomial.degree() == degree));
        let (approximated, new_factors) = with_fits(&func, &ranges, &factors, fits);
        // One polynomial and one addition of constants per activation; nothing is multiplied.
        let found = ["poly", "mul", "add", "relu", "leaky_relu"].map(|op| count(&approximated, op));
        assert_eq!(found, [4, 0, 2 + 4, 0, 0]);
        let fitted = judge(&func, &approximated, &test);
        assert!(fitted.mean_difference < 0.8 * last && fitted.diverged == 0, "{degree}: {fitted:?}");
        last = fitted.mean_difference;
        let minimax = approximate::Options { relu: ReluMethod::Even(degree), ..Default::default() };
        let (minimax, _) = approximate(&func, &ranges, &factors, &minimax).unwrap();
        let minimax = judge(&func, &minimax.func, &test);
        assert!(fitted.mean_difference < 0.7 * minimax.mean_difference, "{fitted:?} against {minimax:?}");

        // The same on stored values: no product is inserted, and outputs are off by a factor only.
        let Passed { func: stored, report, .. } = normalize_ranges(&approximated, &new_factors).unwrap();
        assert!(!report.counts.contains_key("scaling products inserted"));
        let factor = stored.fact(OUTPUT_FACTOR).unwrap() as f32;
        for image in &test[..10] {
            let plain = interp::nn::run(&approximated, image).unwrap().remove(0);
            let scaled = interp::nn::run(&stored, &stored_inputs(&stored, image).unwrap()).unwrap().remove(0);
            let close = |(a, b): (&f32, &f32)| (a - b * factor).abs() < 1e-3 * (1.0 + a.abs());
            assert!(plain.data().iter().zip(scaled.data()).all(close));
        }
    }
}

/// Whatever has a corner becomes one polynomial, on a domain that the operand alone decides.
#[test]
fn clips_gates_and_exponentials_are_fitted() {
    let func = with_corners();
    assert_eq!(fitted_activations(&func).len(), 3);
    let samples = images(80, 1);
    let test = images(80, 2);
    let (ranges, factors) = calibrated(&func, &samples);
    for value in fitted_activations(&func) {
        let operand = func.ops().iter().find(|data| data.result == value).unwrap().op.operands()[0];
        assert_eq!(factors.factor(operand), ranges.bound(operand));
    }
    let [coarse, fine] = [7, 31].map(|degree| {
        let fits = fit_activations(&func, &samples, &factors, &[degree; 3], &Default::default()).unwrap();
        let (approximated, _) = with_fits(&func, &ranges, &factors, fits);
        assert_eq!(["poly", "mul", "clip"].map(|op| count(&approximated, op)), [3, 0, 0]);
        judge(&func, &approximated, &test)
    });
    assert!(coarse.diverged == 0 && fine.diverged == 0);
    assert!(fine.mean_difference < 0.7 * coarse.mean_difference, "{coarse:?}, {fine:?}");
    let result = run(&func, &Source::Images(&samples), Fitting::Agreement(0.9)).unwrap();
    let known = result.activations.unwrap();
    let intervals = Source::Intervals(Range::new(-2.0, 2.0));
    let again = run(&func, &intervals, Fitting::Known(known.clone())).unwrap();
    assert_eq!(depths(&again.func), known.depths().collect::<Vec<_>>());
    assert_eq!(count(&again.func, "mul"), 0);
}

/// The bound of a tensor whose channels are not scaled follows from the peaks of the tensor.
#[test]
fn a_tensor_reaches_less_far_than_its_largest_estimate() {
    let func = with_corners();
    let bounds = channel_bounds(&func, &images(40, 1), Tail::default()).unwrap();
    let factors = vec![Vec::new(); func.value_count()];
    for (value, (bounds, after)) in bounds.iter().zip(bounds_after(&bounds, &factors)).enumerate() {
        let largest = bounds.channels.iter().copied().reduce(f64::max);
        assert_eq!(after.is_some(), largest.is_some(), "value {value}");
        if let (Some(after), Some(largest)) = (after, largest) {
            assert!(after < largest && after == bounds.whole, "value {value}: {after} of {largest}");
        }
    }
}

/// What the walk predicts is what the rewritten network does: on the samples, channels have the
/// means they should.
#[test]
fn shifts_make_means_right() {
    let func = residual();
    let samples = images(40, 1);
    let (ranges, factors) = calibrated(&func, &samples);
    let fits = fit_activations(&func, &samples, &factors, &[6; 4], &Default::default()).unwrap();
    let (approximated, _) = with_fits(&func, &ranges, &factors, fits);
    let last = *fitted_activations(&func).last().unwrap();
    let means = |func: &Func<Nn>, wanted: Value| {
        let mut sums = vec![0.0f64; 12];
        for image in &samples {
            interp::nn::run_observed(func, image, &mut |value, tensor| {
                if value == wanted {
                    for (i, v) in tensor.data().iter().enumerate() {
                        sums[i / 16] += f64::from(*v) / (16.0 * samples.len() as f64);
                    }
                }
            })
            .unwrap();
        }
        sums
    };
    // The last addition is that of the last activation's shift.
    let shifted = approximated.ops().iter().rfind(|data| data.op.mnemonic() == "add").unwrap().result;
    for (a, b) in means(&func, last).iter().zip(means(&approximated, shifted)) {
        assert!((a - b).abs() < 1e-5, "{a} and {b}");
    }
}

#[test]
fn threads_change_nothing() {
    let func = residual();
    let samples = images(50, 1);
    let (_, factors) = calibrated(&func, &samples);
    let fit = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| fit_activations(&func, &samples, &factors, &[14; 4], &Default::default()).unwrap())
    };
    let one = fit(1);
    for fits in [fit(2), fit(5)] {
        for (a, b) in one.values().zip(fits.values()) {
            // Equal numbers have equal bits but for the sign of zero, which no sum here depends on.
            assert_eq!(a, b);
        }
    }
}

#[test]
fn what_cannot_be_fitted_is_refused() {
    let func = residual();
    let samples = images(4, 1);
    let (_, factors) = calibrated(&func, &samples);
    let defaults = fit_activations::Options::default();
    let refused = |images: &[Vec<Tensor>], degrees: &[usize], options: &fit_activations::Options| {
        match fit_activations(&func, images, &factors, degrees, options) {
            Err(PassError::Option { option, .. }) => option,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(refused(&samples, &[6; 3], &defaults), "degrees");
    assert_eq!(refused(&samples, &[1; 4], &defaults), "degrees");
    assert_eq!(refused(&[], &[6; 4], &defaults), "calibration");
    let options = fit_activations::Options { tails: 0.0, form: Form::Full, shift: false };
    assert_eq!(refused(&samples, &[6; 4], &options), "tails");
    let wrong = vec![vec![Tensor::scalar(1.0)]];
    let error = fit_activations(&func, &wrong, &factors, &[6; 4], &defaults).unwrap_err();
    assert!(matches!(error, PassError::Calibration(_)), "{error}");
    // Factors that are too small for what occurs.
    let small = Scaling::new((0..func.value_count()).map(|i| factors.factor(Value::new(i)) / 8.0).collect());
    let error = fit_activations(&func, &samples, &small, &[6; 4], &defaults).unwrap_err();
    assert!(matches!(error, PassError::LeavesDomain { .. }), "{error}");
}

fn run(func: &Func<Nn>, source: &Source<'_>, fitting: Fitting) -> Result<NnResult, PassError> {
    let mut options = NnOptions::default();
    options.fit.fitting = fitting;
    run_nn(func, source, &options, &mut |_, _| ())
}

/// What two networks' polynomials take, in levels, activation by activation.
fn depths(func: &Func<Nn>) -> Vec<u32> {
    let depth = |op: &Op| if let Op::Poly { polynomial, .. } = op { Some(polynomial.depth()) } else { None };
    func.ops().iter().filter_map(|data| depth(&data.op)).collect()
}

#[test]
fn the_least_depth_is_chosen() {
    let func = residual();
    let samples = images(200, 1);
    let source = Source::Images(&samples);
    let mut last = 0;
    for target in [0.7, 0.9, 0.99] {
        let result = run(&func, &source, Fitting::Agreement(target)).unwrap();
        let activations = result.activations.unwrap();
        assert_eq!((activations.fitted_images, activations.judged_images), (80, 120));
        let share = activations.agreeing_images as f64 / 120.0;
        assert!(share >= target, "{share} for {target}");
        assert_eq!(activations.depths().collect::<Vec<_>>(), depths(&result.func));
        let total: u32 = activations.depths().sum();
        assert!(total >= last);
        last = total;
        // What was judged is what was built.
        let factor = result.func.fact(OUTPUT_FACTOR).unwrap() as f32;
        let judged: Vec<_> =
            samples.iter().enumerate().filter(|(i, _)| i % 5 >= 2).map(|(_, x)| x.clone()).collect();
        let agreement = |func: &Func<Nn>, factor: f32| {
            let scaled = |outputs: Vec<f32>| outputs.iter().map(|v| v * factor).collect::<Vec<f32>>();
            let stored: Vec<_> = judged.iter().map(|image| stored_inputs(func, image).unwrap()).collect();
            let found: Vec<_> = outputs(func, &stored).unwrap().into_iter().map(scaled).collect();
            compare(&outputs(&result.reference, &judged).unwrap(), &found, Outputs::Classes)
        };
        let again = agreement(&result.func, factor);
        assert!(again.agreeing.abs_diff(activations.agreeing_images) <= 1, "{again:?}");
        // A level less everywhere is not enough.
        let deepest = activations.depths().max().unwrap();
        if deepest > 3 {
            let lower = run(&func, &source, Fitting::Depth(deepest - 1)).unwrap();
            let factor = lower.func.fact(OUTPUT_FACTOR).unwrap() as f32;
            assert!(!agreement(&lower.func, factor).reaches(target));
        }
    }
}

/// Other fits are offered beside the one that was asked for, and each is a whole network.
#[test]
fn coarser_fits_are_networks_with_fewer_levels_that_agree_less() {
    let func = residual();
    let samples = images(200, 1);
    let result = run(&func, &Source::Images(&samples), Fitting::Agreement(0.99)).unwrap();
    let changes = |fitted: &Activations| fitted.class_changes.unwrap().approximated;
    let own = result.activations.unwrap();
    let levels = |fitted: &Activations| fitted.depths().sum::<u32>();
    let coarser: Vec<_> =
        result.others.iter().filter(|other| levels(&other.activations) < levels(&own)).collect();
    assert!(!coarser.is_empty());
    let mut last = changes(&own);
    for other in coarser {
        assert_eq!(other.activations.depths().collect::<Vec<_>>(), depths(&other.func));
        assert!(changes(&other.activations) > last);
        last = changes(&other.activations);
    }
}

/// Noise that takes more than was predicted is answered with more precise parameters.
#[test]
fn simulated_noise_decides_how_precise_a_program_is() {
    let func = residual();
    let samples = images(200, 1);
    let options = CompileOptions { relu: Relu::Agreement(99.0), ..CompileOptions::default() };
    let compiled = |times: f64| {
        let noise = |program: &Func<Ckks>, params: &Params| {
            let mut shapes = CircuitShapes::default();
            let kind = EncryptionKind::PublicKey;
            let predicted = noise(program, params, kind, &mut shapes)[program.outputs()[0].index()].stddev;
            let factor = program.fact(OUTPUT_FACTOR).unwrap();
            Some(times * predicted * factor * std::f64::consts::FRAC_2_SQRT_PI)
        };
        let known = Knowledge { noise: Some(NoiseProbe(&noise)), ..Source::Images(&samples).into() };
        let compiled = compile(&func, &known, &options, &mut |_, _| ()).unwrap();
        let plan = compiled.plan;
        assert_eq!(plan.fits.iter().filter(|row| row.chosen).count(), 1);
        let chosen = plan.fits.iter().find(|row| row.chosen).unwrap();
        assert_eq!(plan.agreement.unwrap().expected, Some(chosen.agreement));
        assert_eq!((chosen.seconds, chosen.log_n), (plan.predicted_seconds, plan.log_n));
        assert!(plan.fits.is_sorted_by(|a, b| a.agreement >= b.agreement));
        (chosen.agreement, plan.predicted_log2_error)
    };
    let (agreement, error) = compiled(1.0);
    assert!(agreement >= 0.99, "{agreement}");
    let (agreement_of_less, _) = compiled(0.5);
    assert!(agreement_of_less >= 0.99, "{agreement_of_less}");
    let (agreement_of_more, error_of_more) = compiled(16.0);
    assert!(agreement_of_more >= 0.99 && error_of_more <= error, "{agreement_of_more}, 2^{error_of_more}");
}

/// A compile without images from what one with images found.
#[test]
fn known_polynomials_give_the_same_network() {
    let func = residual();
    let samples = images(60, 1);
    let first = run(&func, &Source::Images(&samples), Fitting::Depth(4)).unwrap();
    let activations = first.activations.clone().unwrap();
    let text = serde_json::to_string(&activations).unwrap();
    let read: Activations = serde_json::from_str(&text).unwrap();
    assert_eq!(read, activations);
    let none = BTreeMap::new();
    let input = Range::new(-2.0, 2.0);
    for source in [Source::Intervals(input), Source::Table { ranges: &none, input }] {
        let second = run(&func, &source, Fitting::Known(read.clone())).unwrap();
        assert_eq!(depths(&second.func), depths(&first.func));
        assert!(count(&second.func, "mul") == 0 && count(&first.func, "mul") == 0);
        for image in images(10, 2) {
            let [a, b] = [&first, &second].map(|result| {
                let factor = result.func.fact(OUTPUT_FACTOR).unwrap() as f32;
                let image = stored_inputs(&result.func, &image).unwrap();
                let stored = interp::nn::run(&result.func, &image).unwrap().remove(0);
                stored.data().iter().map(|v| v * factor).collect::<Vec<f32>>()
            });
            assert!(a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 1e-4), "{a:?} and {b:?}");
        }
    }
    let refused = |change: &dyn Fn(&mut Activations)| {
        let mut wrong = read.clone();
        change(&mut wrong);
        let error = run(&func, &Source::Intervals(input), Fitting::Known(wrong)).unwrap_err();
        assert!(matches!(error, PassError::Activations { .. }), "{error}");
    };
    refused(&|a| drop(a.activations.pop()));
    refused(&|a| a.activations[1].activation = "other".into());
    refused(&|a| a.activations[1].bound = -1.0);
    refused(&|a| a.activations[1].chebyshev[3] = f32::NAN);
    refused(&|a| a.activations[1].shift.push(0.0));
    refused(&|a| a.activations[1].factors[0] = 0.0);
    // The first and third activations share their channels by the addition between them.
    refused(&|a| a.activations[0].factors[0] *= 2.0);
}

#[test]
fn without_images_there_is_minimax_or_an_error() {
    let func = residual();
    let source = Source::Intervals(Range::new(-2.0, 2.0));
    let result = run(&func, &source, Fitting::Depth(5)).unwrap();
    assert!(result.activations.is_none() && depths(&result.func) == [5; 4]);
    for (fitting, name) in [(Fitting::Agreement(0.9), "agreement"), (Fitting::Depth(1), "relu-depth")] {
        match run(&func, &source, fitting) {
            Err(PassError::Option { option, .. }) => assert_eq!(option, name),
            other => panic!("{other:?}"),
        }
    }
}

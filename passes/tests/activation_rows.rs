//! Every row of the table of activations from the network to the packed program, and a row that is
//! in no table: that it runs shows that a row is all it takes.

use fhec_ir::fact::{Fact, INPUT_LAYOUTS, OUTPUT_FACTOR, OUTPUT_LAYOUTS};
use fhec_ir::func::Func;
use fhec_ir::interp::{nn, run_packed};
use fhec_ir::layout::Layout;
use fhec_ir::nn::activation::{Form, Function, Image, Kind, Parameter, Parity, Smooth, TABLE};
use fhec_ir::nn::expression::Expression::X;
use fhec_ir::nn::expression::number;
use fhec_ir::nn::{Activation, Nn, Op, TensorType};
use fhec_ir::tensor::Tensor;
use fhec_passes::lower_nn::{LayoutOptions, lower_nn};
use fhec_passes::nn::approximate::ReluMethod;
use fhec_passes::nn::calibrate::{Range, Source};
use fhec_passes::nn::normalize_ranges::stored_inputs;
use fhec_passes::pipeline::{NnOptions, run_nn};

/// `1 - e^(-alpha x^2)`: of no use to networks, and in no table.
static DIP: Function = Function {
    name: "dip",
    onnx: "Dip",
    parameters: &[Parameter { name: "alpha", kind: Kind::Number, default: 1.0 }],
    value: |p, x| -(-p[0] * x * x).exp_m1(),
    form: |p| {
        Form::Smooth(Smooth {
            constant: 1.0,
            slope: 0.0,
            rectifier: 0.0,
            parity: Parity::Even,
            rest: -(X * X * number(-p[0])).exp(),
        })
    },
    image: |_| Image::Bent,
};

/// Smooth functions and compositions are off by 2^-12 of the range per element, and a result is a
/// sum of twelve.
const TOLERANCE: f64 = 5e-3;

fn tensor(shape: &[usize], seed: usize, size: f32) -> Tensor {
    Tensor::from_fn(shape, |i| size * ((((i + 131 * seed) * 7919 + 3) % 2003) as f32 / 1001.0 - 1.0))
}

/// Whether a function is defined for positive operands alone.
fn is_of_positive(function: Activation) -> bool {
    function.around([1.0, 2.0]).is_some()
}

/// A dense layer whose results go up to about 5 in size, or from about 1 to 13 where they must be
/// positive, the activation, and another dense layer.
fn network(function: Activation) -> Func<Nn> {
    let mut func = Func::new("small");
    let x = func.add_input(TensorType::new([1, 16]), Some("x"));
    let dense = |func: &mut Func<Nn>, x, [m, k]: [usize; 2], size, name| {
        let weight = func.add_const(tensor(&[m, k], m, size));
        let offset = if is_of_positive(function) && name == "before" { 7.0 } else { 0.0 };
        let bias = tensor(&[m], k, size);
        let bias = Some(func.add_const(Tensor::from_fn([m], |i| bias.data()[i] + offset)));
        func.push_named(Op::Dense { x, weight, bias }, Some(name)).unwrap()
    };
    let before = dense(&mut func, x, [12, 16], 0.9, "before");
    let after = func.push_named(Op::Activation { x: before, function }, Some("after")).unwrap();
    let y = dense(&mut func, after, [5, 12], 0.3, "y");
    func.set_outputs(vec![y]);
    func
}

/// The largest difference of `found` from `exact`.
fn distance(exact: &Tensor, found: impl Iterator<Item = f64>) -> f64 {
    let differences = exact.data().iter().zip(found).map(|(e, f)| (f64::from(*e) - f).abs());
    differences.fold(0.0, |m, d| if d.is_nan() { f64::INFINITY } else { m.max(d) })
}

/// Calibrates, approximates and lowers the network, and compares it with the exact one after each.
fn runs(function: Activation, method: &ReluMethod, tolerance: f64) {
    let exact = network(function);
    let images: Vec<Vec<Tensor>> = (0..24).map(|seed| vec![tensor(&[1, 16], seed, 1.0)]).collect();

    // The interpreter: the value of the row, element by element.
    let mut values = Vec::new();
    nn::run_observed(&exact, &images[0], &mut |value, tensor| {
        if exact.value_name(value).is_some_and(|name| name == "before" || name == "after") {
            values.push(tensor.data().to_vec());
        }
    })
    .unwrap();
    assert_eq!(values.len(), 2, "{function}");
    for (x, y) in values[0].iter().zip(&values[1]) {
        let value = function.value(f64::from(*x));
        assert!((value - f64::from(*y)).abs() < 1e-7 * value.abs().max(1.0), "{function} at {x}: {y}");
    }

    let results: Vec<Tensor> = images.iter().map(|image| nn::run(&exact, image).unwrap().remove(0)).collect();
    let largest = results.iter().flat_map(Tensor::data).fold(0.0f64, |m, x| m.max(f64::from(x.abs())));

    let mut options = NnOptions::default();
    options.approximate.relu = method.clone();
    // Intervals are a few times as wide as what occurs, and errors are relative to the width of
    // results.
    let intervals = Source::Intervals(Range::new(-1.0, 1.0));
    let wide = if function == Activation::EXP { f64::INFINITY } else { 8.0 * tolerance };
    for (source, tolerance) in [(&Source::Images(&images), tolerance), (&intervals, wide)] {
        if is_of_positive(function) && matches!(source, Source::Intervals(_)) {
            let refused = run_nn(&exact, source, &options, &mut |_, _| ()).unwrap_err().to_string();
            assert!(refused.contains("after"), "{refused}");
            continue;
        }
        let result = run_nn(&exact, source, &options, &mut |_, _| ()).unwrap();
        assert_eq!(result.ranges[0].activation, function.function().name);
        let left = |op: &Op| matches!(op, Op::Activation { .. });
        assert!(!result.func.ops().iter().any(|data| left(&data.op)), "{function}");
        let factor: f64 = result.func.fact(OUTPUT_FACTOR).unwrap();

        let packed = lower_nn(&result.func, &LayoutOptions::for_slots(512)).unwrap();
        let layouts = |fact: Fact<Vec<Layout>>| packed.fact(fact).unwrap();
        let (input, output) = (layouts(INPUT_LAYOUTS), layouts(OUTPUT_LAYOUTS));
        for (image, expected) in images.iter().zip(&results) {
            let stored = stored_inputs(&result.func, image).unwrap();
            let approximated = nn::run(&result.func, &stored).unwrap().remove(0);
            let approximated = approximated.data().iter().map(|x| f64::from(*x) * factor);
            let found = distance(expected, approximated) / largest;
            assert!(found < tolerance, "{function} with {method:?}: {found:.2e}");
            let elements: Vec<f64> = stored[0].data().iter().map(|x| f64::from(*x)).collect();
            let slots = run_packed(&packed, &[input[0].pack(&elements)]).unwrap();
            let found = distance(expected, output[0].unpack(&slots[0]).into_iter().map(|x| x * factor));
            let found = found / largest;
            assert!(found < tolerance, "{function} with {method:?}, packed: {found:.2e}");
        }
    }
}

#[test]
fn a_row_is_all_that_an_activation_takes() {
    runs(Activation::new(&DIP, &[0.25]).unwrap(), &ReluMethod::Alpha(13.0), TOLERANCE);
}

#[test]
fn every_row_runs() {
    for function in TABLE {
        let parameters = function.parameters.iter().map(|parameter| match parameter.kind {
            Kind::Bound if ["from", "to"].contains(&parameter.name) => parameter.default,
            Kind::Bound if parameter.default < 0.0 => -0.75,
            Kind::Bound => 1.5,
            _ => parameter.default,
        });
        let parameters: Vec<f64> = parameters.collect();
        let activation = Activation::new(function, &parameters).unwrap();
        runs(activation, &ReluMethod::Alpha(13.0), TOLERANCE);
        // A single polynomial for ReLU is off by 2^-10.
        runs(activation, &ReluMethod::Even(126), 8.0 * TOLERANCE);
    }
    let powers = [-1.0, -0.5, 1.5].map(Activation::power);
    for function in powers.into_iter().chain([
        Activation::leaky_relu(-0.5),
        Activation::swish(2.0),
        Activation::gelu(true),
    ]) {
        runs(function, &ReluMethod::Alpha(13.0), TOLERANCE);
    }
}

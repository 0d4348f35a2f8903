//! Roots, quotients and logarithms of values that reach zero: a right answer, or one error that
//! says what to do.

use fhec_ir::fact::OUTPUT_FACTOR;
use fhec_ir::func::Func;
use fhec_ir::interp::nn;
use fhec_ir::nn::Nn;
use fhec_ir::tensor::Tensor;
use fhec_ir::text::{ConstSource, parse_func};
use fhec_passes::error::PassError;
use fhec_passes::nn::calibrate::Source;
use fhec_passes::nn::normalize_ranges::stored_inputs;
use fhec_passes::pipeline::{NnOptions, NnResult, run_nn};

/// An activation of squares.
fn network(activation: &str) -> Func<Nn> {
    let text = format!(
        "func nn squares {{ input %0 : f32[1, 16] \"x\" %1 = mul(%0, %0) \"square\"
        %2 = {activation} \"result\" return %2 }}"
    );
    parse_func(&text, &ConstSource::default()).expect("it is a network")
}

/// Numbers between -3 and 3 with a zero in each image, or none.
fn images(zero: bool) -> Vec<Vec<Tensor>> {
    let number = |image: usize, i: usize| match (i, zero) {
        (0, true) => 0.0,
        _ => (((image * 37 + i * 101) % 60) as f32 + 0.5) / 10.0 - 3.0,
    };
    (0..20).map(|image| vec![Tensor::from_fn([1, 16], |i| number(image, i))]).collect()
}

fn passed(activation: &str, images: &[Vec<Tensor>]) -> Result<NnResult, PassError> {
    run_nn(&network(activation), &Source::Images(images), &NnOptions::default(), &mut |_, _| ())
}

#[test]
fn roots_reach_zero() {
    let images = images(true);
    let exact = network("power(%1) {exponent=0.5, from=-inf, to=inf}");
    let result = passed("power(%1) {exponent=0.5, from=-inf, to=inf}", &images).unwrap();
    let factor: f64 = result.func.fact(OUTPUT_FACTOR).unwrap();
    for image in &images {
        let expected = nn::run(&exact, image).unwrap();
        let found = nn::run(&result.func, &stored_inputs(&result.func, image).unwrap()).unwrap();
        for (expected, found) in expected[0].data().iter().zip(found[0].data()) {
            let error = (f64::from(*found) * factor - f64::from(*expected)).abs();
            // The root of 2^-14 of the range at 0, and less elsewhere.
            assert!(error < 3.0 * 1.5 / 64.0, "{expected}: {error}");
            assert!(*expected < 0.3 || error < 3.0 / 512.0, "{expected}: {error}");
        }
    }
}

#[test]
fn what_is_not_defined_at_zero_is_an_error_that_helps() {
    for activation in ["power(%1) {exponent=-1.0, from=-inf, to=inf}", "log(%1) {from=-inf, to=inf}"] {
        passed(activation, &images(false)).unwrap();
        // The plain network has no number there either.
        let error = passed(activation, &images(true)).unwrap_err();
        assert!(matches!(error, PassError::NonFiniteActivation { .. }), "{error}");
        assert!(error.to_string().contains("result is not finite on image 0"), "{error}");
        assert!(error.to_string().contains("epsilon"), "{error}");
    }
    // Of numbers on both sides of zero, none of which is zero.
    let both = network("power(%0) {exponent=-1.0, from=-inf, to=inf}");
    let error = run_nn(&both, &Source::Images(&images(false)), &NnOptions::default(), &mut |_, _| ());
    let message = error.unwrap_err().to_string();
    for part in
        ["result is Reciprocal", "[-2.9", "a quotient by 0 is not defined", "epsilon", "--calibration"]
    {
        assert!(message.contains(part), "{part}: {message}");
    }
}

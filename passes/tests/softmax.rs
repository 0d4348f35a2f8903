//! A softmax under encryption: the network after approximation, and the packed program in every
//! packing, against the exact one.

use fhec_ir::fact::{INPUT_LAYOUTS, OUTPUT_FACTOR, OUTPUT_LAYOUTS};
use fhec_ir::func::Func;
use fhec_ir::interp::{nn, run_packed};
use fhec_ir::layout::Layout;
use fhec_ir::nn::Nn;
use fhec_ir::tensor::Tensor;
use fhec_ir::text::{ConstSource, parse_func};
use fhec_passes::lower_nn::{LayoutOptions, Packing, lower_nn};
use fhec_passes::nn::calibrate::Source;
use fhec_passes::nn::normalize_ranges::stored_inputs;
use fhec_passes::nn::softmax::{SoftmaxNames, append_softmax};
use fhec_passes::pipeline::{NnOptions, run_nn};

/// A dense layer whose ten results go up to about 20 in size.
fn classifier() -> Func<Nn> {
    let text = "func nn classifier {
        const @0 : f32[10, 16] = random(1) const @1 : f32[10] = random(2)
        input %0 : f32[1, 16] \"features\"
        %1 = dense(%0) {weight=@0, bias=@1} \"logits\"
        return %1 }";
    parse_func(text, &ConstSource::default()).unwrap()
}

fn images(count: usize) -> Vec<Vec<Tensor>> {
    let image = |seed: usize| {
        Tensor::from_fn([1, 16], |i| (((i + 17 * seed) * 7919 + 3) % 2003) as f32 / 250.0 - 4.0)
    };
    (0..count).map(|seed| vec![image(seed)]).collect()
}

fn doubles(tensor: &Tensor) -> Vec<f64> {
    tensor.data().iter().map(|&x| f64::from(x)).collect()
}

#[test]
fn probabilities_are_those_of_the_exact_softmax() {
    let mut network = classifier();
    assert_eq!(append_softmax(&mut network).unwrap(), ("logits".into(), "logits/over_temperature".into()));
    // A softmax that is there is replaced, not repeated.
    let once = network.clone();
    let shape = network.ty(network.outputs()[0]).shape.clone();
    assert_eq!(shape, [1, 10]);
    let images = images(40);
    let options = NnOptions { encrypt_softmax: true, ..NnOptions::default() };
    let result = run_nn(&once, &Source::Images(&images), &options, &mut |_, _| ()).unwrap();
    let names = SoftmaxNames::of(&result.func).unwrap();
    assert_eq!(
        (names.logits.as_str(), names.probabilities.as_str()),
        ("logits/over_temperature", "probabilities")
    );
    let factor: f64 = result.func.fact(OUTPUT_FACTOR).unwrap();
    let mut largest_logit = 0.0f32;
    for image in &images {
        let logits = nn::run(&classifier(), image).unwrap();
        largest_logit = logits[0].data().iter().fold(largest_logit, |m, x| m.max(x.abs()));
        // exp(x / 4) over its sum, in doubles.
        let powers: Vec<f64> = doubles(&logits[0]).iter().map(|x| (x / 4.0).exp()).collect();
        let sum: f64 = powers.iter().sum();
        let exact: Vec<f64> = powers.iter().map(|x| x / sum).collect();
        let close = |found: &[f64], tolerance: f64| {
            for (found, exact) in found.iter().zip(&exact) {
                assert!((found - exact).abs() < tolerance, "{found} instead of {exact}");
            }
        };
        let plain = nn::run(&once, image).unwrap();
        close(&doubles(&plain[0]), 1e-6);
        let found = nn::run(&result.func, &stored_inputs(&result.func, image).unwrap()).unwrap();
        let found: Vec<f64> = doubles(&found[0]).iter().map(|x| x * factor).collect();
        // The iteration stops at a relative error of (1 - y)^8192 for y at least 10^-3; single
        // precision adds to it.
        close(&found, 3e-4);
    }
    assert!(largest_logit > 15.0, "the test needs logits of some size, found {largest_logit}");

    for packing in [Packing::Auto, Packing::Multiplexed, Packing::Channel] {
        let options = LayoutOptions { packing, ..LayoutOptions::for_slots(1 << 10) };
        let packed = lower_nn(&result.func, &options).unwrap();
        let [input]: [Layout; 1] = packed.fact(INPUT_LAYOUTS).unwrap().try_into().unwrap();
        let [output]: [Layout; 1] = packed.fact(OUTPUT_LAYOUTS).unwrap().try_into().unwrap();
        assert_eq!(output.vectors(), if packing == Packing::Channel { 10 } else { 1 });
        let stored = stored_inputs(&result.func, &images[0]).unwrap();
        let expected = nn::run(&result.func, &stored).unwrap();
        let found = run_packed(&packed, &[input.pack(&doubles(&stored[0]))]).unwrap();
        for (found, expected) in output.unpack(&found[0]).iter().zip(doubles(&expected[0])) {
            assert!((found - expected).abs() < 1e-4, "{packing:?}: {found} instead of {expected}");
        }
    }
}

/// What makes codes of the probabilities goes with the softmax that made them.
#[test]
fn a_softmax_under_codes_is_replaced() {
    let network = |last: &str| -> Func<Nn> {
        let text = format!(
            "func nn codes {{
              const @0 : f32[] = [-256.0]
              input %0 : f32[1, 4] \"logits\"
              %1 = softmax(%0) {{axis=1}}
              %2 = constant() {{value=@0}}
              %3 = mul(%1, %2)
              %4 = add(%3, %2)
              return {last}
            }}"
        );
        parse_func(&text, &ConstSource::default()).unwrap()
    };
    let logits = Tensor::new([1, 4], vec![1.0, -2.0, 0.5, 3.0]).unwrap();
    let [of_codes, of_probabilities] = ["%4", "%1"].map(|last| {
        let mut network = network(last);
        assert_eq!(append_softmax(&mut network).unwrap().0, "logits");
        nn::run(&network, std::slice::from_ref(&logits)).unwrap().remove(0)
    });
    assert_eq!(of_codes, of_probabilities);
    let sum: f32 = logits.data().iter().map(|x| (x / 4.0).exp()).sum();
    assert!((of_codes.data()[3] - 0.75f32.exp() / sum).abs() < 1e-6);
}

#[test]
fn networks_without_one_list_of_classes_have_no_softmax() {
    let text = "func nn image { input %0 : f32[1, 3, 4, 4] %1 = relu(%0) return %1 }";
    let mut network: Func<Nn> = parse_func(text, &ConstSource::default()).unwrap();
    assert!(append_softmax(&mut network).unwrap_err().contains("[1, 3, 4, 4]"));
}

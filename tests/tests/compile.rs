//! Whole compiles of the networks in `models/`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use fhec_compiler::onnx;
use fhec_ir::bootstrap::BootstrapParams;
use fhec_ir::fact::{INPUT_LAYOUTS, OUTPUT_FACTOR, OUTPUT_LAYOUTS};
use fhec_ir::interp::{nn, run_ckks};
use fhec_ir::layout::Layout;
use fhec_ir::tensor::Tensor;
use fhec_passes::analysis::mul_depth::mul_depth;
use fhec_passes::compile::{Compiled, compile};
use fhec_passes::error::PassError;
use fhec_passes::nn::calibrate::{Range, Source};
use fhec_passes::nn::normalize_ranges::stored_inputs;
use fhec_passes::options::CompileOptions;
use fhec_passes::pipeline::Snapshot;

fn model(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../models").join(name)
}

/// Ranges of activation inputs as `models/NAME.calibration.json` has them.
fn ranges(name: &str) -> BTreeMap<String, Range> {
    let text = std::fs::read_to_string(model(&format!("{name}.calibration.json"))).unwrap();
    let rows: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
    let range = |row: &serde_json::Value| {
        let number = |key: &str| row[key].as_f64().unwrap();
        (row["tensor"].as_str().unwrap().to_string(), Range::new(number("min"), number("max")))
    };
    rows.iter().map(range).collect()
}

fn compile_model(name: &str, input: Range) -> Result<Compiled, PassError> {
    let network = onnx::import(model(&format!("{name}.onnx"))).unwrap().func;
    let ranges = ranges(name);
    let source = Source::Table { ranges: &ranges, input };
    let start = Instant::now();
    let mut after =
        |pass: &'static str, _: Snapshot| eprintln!("{:8.3} s {pass}", start.elapsed().as_secs_f64());
    let result = compile(&network, &source.into(), &CompileOptions::default(), &mut after);
    eprintln!("{name}: compiled in {:.2} s", start.elapsed().as_secs_f64());
    result
}

#[test]
fn the_mnist_network_compiles_and_the_program_computes_it() {
    let compiled = compile_model("mnist_cnn", Range::new(-0.5, 3.0)).unwrap();
    let Compiled { nn: network, program, plan, params, .. } = &compiled;
    eprintln!("{}: {:.2} s predicted", params.name(), plan.predicted_seconds);
    fhec_ir::security::check(params, 128).unwrap();
    // A smooth blob, centred as a digit is.
    let image = Tensor::from_fn([1, 1, 28, 28], |i| {
        let (y, x) = ((i / 28) as f32 - 14.0, (i % 28) as f32 - 13.0);
        (-(x * x + 3.0 * y * y) / 60.0).exp() * 2.5 - 0.4
    });
    let factor: f64 = program.fact(OUTPUT_FACTOR).unwrap();
    let [input]: [Layout; 1] = program.fact(INPUT_LAYOUTS).unwrap().try_into().unwrap();
    let [output]: [Layout; 1] = program.fact(OUTPUT_LAYOUTS).unwrap().try_into().unwrap();
    let stored = stored_inputs(network, std::slice::from_ref(&image)).unwrap();
    let doubles: Vec<f64> = stored[0].data().iter().map(|&x| f64::from(x)).collect();
    let result = run_ckks(program, &[input.pack(&doubles)]).unwrap();
    let logits = output.unpack(&result[0]);
    let approximated = nn::run(network, &stored).unwrap();
    let exact = nn::run(&compiled.reference, std::slice::from_ref(&image)).unwrap();
    eprintln!("factor {factor}, logits {logits:?}, exact {:?}", exact[0].data());
    for ((found, expected), exact) in logits.iter().zip(approximated[0].data()).zip(exact[0].data()) {
        assert!((found - f64::from(*expected)).abs() < 1e-5, "lowering changed {expected} to {found}");
        assert!((found * factor - f64::from(*exact)).abs() < 0.1, "{exact} became {}", found * factor);
    }
}

#[test]
fn resnet_20_is_bootstrapped_at_128_bits() {
    let compiled = compile_model("resnet20", Range::new(-3.0, 3.0)).unwrap();
    let Compiled { nn: network, program, plan, params, .. } = &compiled;
    fhec_ir::security::check(params, 128).unwrap();
    // Every bootstrap gives so many levels, of which the last few before the next may be too few
    // for a polynomial.
    let [bootstrap] = &BootstrapParams::of_program(program).unwrap()[..] else {
        panic!("one kind of bootstrap")
    };
    let least = mul_depth(&compiled.packed) as usize / bootstrap.usable_levels() as usize;
    assert!((least - 1..=2 * least).contains(&plan.bootstraps), "{} for {least}", plan.bootstraps);
    assert!(plan.log2_failure_probability.is_some_and(|log2| log2 < -40.0));
    // 802 for all convolutions is the count of a uniform layout with the best steps per layer.
    let rotations: usize = plan.ops.iter().filter(|op| op.op == "linear_map").map(|op| op.rotations).sum();
    assert!(rotations <= 802, "{rotations}");
    let image = Tensor::from_fn([1, 3, 32, 32], |i| ((i * 7919) % 2003) as f32 / 1000.0 - 1.0);
    let stored = stored_inputs(network, &[image]).unwrap();
    let expected = nn::run(network, &stored).unwrap();
    let [input]: [Layout; 1] = program.fact(INPUT_LAYOUTS).unwrap().try_into().unwrap();
    let [output]: [Layout; 1] = program.fact(OUTPUT_LAYOUTS).unwrap().try_into().unwrap();
    let elements: Vec<f64> = stored[0].data().iter().map(|&x| f64::from(x)).collect();
    let result = run_ckks(program, &[input.pack(&elements)]).unwrap();
    for (found, expected) in output.unpack(&result[0]).iter().zip(expected[0].data()) {
        // The network is run in single precision.
        assert!((found - f64::from(*expected)).abs() < 1e-3, "lowering changed {expected} to {found}");
    }
}

//! Tensors of several ciphertexts on planes with borders: convolutions that treat all pixels alike,
//! through all passes and through encryption.

use std::sync::Arc;

use fhec_compiler::data::Preprocess;
use fhec_compiler::simulator::Simulator;
use fhec_ir::ckks::Op;
use fhec_ir::func::Func;
use fhec_ir::interp::nn;
use fhec_ir::linear_map::Beside;
use fhec_ir::nn::Nn;
use fhec_ir::program::Program;
use fhec_ir::tensor::Tensor;
use fhec_ir::text::{ConstSource, parse_func};
use fhec_passes::compile::compile;
use fhec_passes::nn::calibrate::{Range, Source};
use fhec_passes::options::CompileOptions;
use fhec_roles::{Client, Server, context};

/// Two ciphertexts of 96 channels of 14 by 14, a stride, a shortcut, and polynomials that are not
/// zero at zero, on domains that hold what interval arithmetic says of their operands.
const NETWORK: &str = "func nn borders {
     const @0 : f32[96, 96, 3, 3] = random(1) const @1 : f32[96] = random(2)
     const @2 : f32[128, 96, 3, 3] = random(3) const @3 : f32[128, 96, 1, 1] = random(4)
     const @4 : f32[10, 128] = random(5)
     input %0 : f32[1, 96, 14, 14] \"image\"
     %1 = conv2d(%0) {weight=@0, bias=@1, strides=[1, 1], pads=[1, 1, 1, 1], dilations=[1, 1], groups=1} \"first\"
     %2 = poly(%1) {polynomial={domain=[-900.0, 900.0], chebyshev=[100.0, 450.0, 200.0, 0.0, -40.0, 0.0, 20.0, 10.0]}} \"bent\"
     %3 = conv2d(%2) {weight=@2, strides=[2, 2], pads=[1, 1, 1, 1], dilations=[1, 1], groups=1} \"second\"
     %4 = conv2d(%2) {weight=@3, strides=[2, 2], pads=[0, 0, 0, 0], dilations=[1, 1], groups=1} \"shortcut\"
     %5 = add(%3, %4)
     %6 = poly(%5) {polynomial={domain=[-800000.0, 800000.0], chebyshev=[100.0, 450.0, 200.0, 0.0, -40.0, 0.0, 20.0, 10.0]}}
     %7 = reduce_mean(%6) {axes=[2, 3], keep_dims=false}
     %8 = dense(%7) {weight=@4} \"logits\"
     return %8 }";

#[test]
fn pixels_of_large_tensors_are_alike_under_encryption() {
    let network: Func<Nn> = parse_func(NETWORK, &ConstSource::default()).expect("it is a network");
    let source = Source::Intervals(Range::new(-1.0, 1.0));
    let compiled = compile(&network, &source.into(), &CompileOptions::default(), &mut |_, _| ());
    let compiled = compiled.expect("it compiles");
    let consts = compiled.program.consts.clone();
    let maps = compiled.program.ops().iter().filter_map(|data| match &data.op {
        Op::LinearMap { map, .. } => Some(map.clone()),
        _ => None,
    });
    let regular: Vec<_> = maps.filter(|map| map.regular.is_some()).collect();
    assert_eq!(regular.len(), 3, "all convolutions between planes: {:?}", compiled.plan.log_n);
    assert!(regular.iter().all(|map| map.regular == Some(Beside::Sums) && map.input.vectors() == 2));
    assert!(regular.iter().all(|map| map.diagonal_period(&consts) < map.input.period));

    let program =
        Program::new(compiled.program, compiled.params, network, compiled.plan, Preprocess::default());
    let program = program.expect("its parts fit");
    let program = Arc::new(Program::from_bytes(&program.to_bytes(), 128).expect("it can be read"));
    let image = Tensor::from_fn([1, 96, 14, 14], |i| ((i * 7919 + 3) % 2003) as f32 / 1001.5 - 1.0);
    let plain =
        nn::run(program.reference().expect("it is there"), std::slice::from_ref(&image)).expect("it runs");
    let plain: Vec<f64> = plain[0].data().iter().map(|&x| f64::from(x)).collect();
    let simulated = Simulator::new(&program, false).logits(image.data(), 1).expect("it simulates");

    let interface = Arc::new(program.interface.clone());
    let context = context(&interface).expect("the parameters can be used");
    let client = Client::generate(&interface, &context).expect("there is randomness");
    let server = Server::new(&program, &context).expect("it can be prepared");
    let session = server.session(client.evaluation_keys().expect("keys are made")).expect("they are enough");
    let answer = session.evaluate(client.encrypt(image.data()).expect("it encrypts")).expect("it evaluates");
    let answer = client.decrypt(&answer).expect("it decrypts");
    assert!(!answer.overflow);
    let largest = plain.iter().fold(0f64, |most, x| most.max(x.abs()));
    for (found, (simulated, plain)) in answer.logits().iter().zip(simulated.iter().zip(&plain)) {
        let [off, expected] = [found - plain, simulated - plain].map(|error| error.abs() / largest);
        assert!(off < 1e-4 && expected < 1e-4, "{found} and simulated {simulated}, plain {plain}");
    }
}

//! What goes in and what comes out, under encryption: inputs as large as raw pixels, an activation
//! on the input itself, outputs whose spare slots do not hold zero, several of them, a softmax at
//! each place of a map, codes of probabilities.

use std::sync::Arc;

use fhec_compiler::rehearsal::rehearse;
use fhec_compiler::simulation::{Outcome, summarise};
use fhec_compiler::simulator::Simulator;
use fhec_ir::func::Func;
use fhec_ir::interp;
use fhec_ir::nn::Nn;
use fhec_ir::program::{Affine, Dimension, Ending, InterfaceError, Lists, Preprocess, Program};
use fhec_ir::tensor::Tensor;
use fhec_ir::text::{ConstSource, parse_func};
use fhec_passes::compile::compile;
use fhec_passes::nn::calibrate::Source;
use fhec_passes::options::CompileOptions;
use fhec_roles::{Client, Server, context};

/// A rectifier on the input, and four outputs: probabilities of a sigmoid, which is one half at
/// zero, numbers, a map with a softmax over four classes at each place, classes last, and codes of
/// 8 bits of a softmax. Weights bring pixels of 0 to 255 to the sizes that a network has.
const NETWORK: &str = r#"func nn ports {
    const @0 : f32[6, 64] = random(1) const @1 : f32[4, 64] = random(2) const @2 : f32[] = [0.02]
    const @3 : f32[1, 1, 8, 8] = random(3) const @4 : f32[] = [100.0]
    const @5 : f32[] = [0.00390625] const @6 : f32[] = [-128.0]
    input %0 : f32[1, 1, 8, 8] "image"
    %1 = relu(%0) "bright"
    %2 = reshape(%1) {shape=[1, 64]}
    %3 = constant() {value=@2}
    %4 = mul(%2, %3)
    %5 = dense(%4) {weight=@0}
    %6 = sigmoid(%5) "probabilities"
    %7 = dense(%4) {weight=@1} "numbers"
    %8 = reshape(%4) {shape=[1, 4, 2, 8]}
    %9 = softmax(%8) {axis=1} "classes"
    %10 = transpose(%9) {permutation=[0, 2, 3, 1]} "map"
    %11 = softmax(%7) {axis=1}
    %12 = constant() {value=@5}
    %13 = div(%11, %12)
    %14 = constant() {value=@6}
    %15 = add(%13, %14) "codes"
    return %6, %7, %10, %15
}"#;

/// Images of -64 to 191.
fn images(count: usize) -> Vec<Vec<Tensor>> {
    let pixel = |image: usize, i: usize| ((image * 8191 + i * 7919 + i * i * 31) % 256) as f32 - 64.0;
    (0..count).map(|image| vec![Tensor::from_fn([1, 1, 8, 8], |i| pixel(image, i))]).collect()
}

fn program(network: &Func<Nn>) -> Arc<Program> {
    let samples = images(40);
    let options = CompileOptions::default();
    let compiled = compile(network, &Source::Images(&samples).into(), &options, &mut |_, _| ());
    let compiled = compiled.expect("it compiles");
    let rows = &compiled.plan.outputs;
    assert_eq!(rows.iter().map(|row| row.classes).collect::<Vec<_>>(), [true, true, false, true]);
    assert!(
        rows.iter().all(|row| row.judged_images == 24 && row.signal_to_error_db > Some(20.0)),
        "{rows:?}"
    );
    let (schedule, reference) = (compiled.program, compiled.network);
    let program = Program::new(schedule, compiled.params, reference, compiled.plan, Preprocess::default());
    let bytes = program.expect("its parts fit").to_bytes();
    Arc::new(Program::from_bytes(&bytes, 128).expect("it can be read"))
}

#[test]
fn large_inputs_and_several_outputs_are_answered() {
    let network: Func<Nn> = parse_func(NETWORK, &ConstSource::default()).expect("it is a network");
    let program = program(&network);
    let interface = Arc::new(program.interface.clone());
    assert!((191.0..400.0).contains(&interface.input.factor), "{}", interface.input.factor);
    assert_eq!(
        interface.outputs.iter().map(|port| port.name.as_str()).collect::<Vec<_>>(),
        ["probabilities", "numbers", "map", "codes"]
    );
    let [probabilities, numbers, map, codes] = &interface.outputs[..] else {
        panic!("there are four outputs")
    };
    let classes = Dimension { length: 4, stride: 1 };
    let at_each_place = Ending::Softmax(Lists::Along(classes), Affine::IDENTITY);
    assert_eq!((map.ending, &map.shape[..]), (at_each_place, &[1, 2, 8, 4][..]));
    let then = Affine { scale: 256.0, offset: -128.0 };
    assert_eq!(codes.ending, Ending::Softmax(Lists::One, then));
    assert!((probabilities.spare * probabilities.factor - 0.5).abs() < 1e-2, "{}", probabilities.spare);
    assert!(numbers.spare.abs() < 1e-6, "{}", numbers.spare);

    let image = images(41).pop().expect("there are some");
    let plain = interp::nn::run(&network, &image).expect("it runs");
    let close = |outputs: &[Vec<f64>]| {
        assert_eq!(outputs.len(), plain.len());
        for (found, plain) in outputs.iter().zip(&plain) {
            let largest = plain.data().iter().fold(0.0f32, |m, x| m.max(x.abs()));
            assert_eq!(found.len(), plain.data().len());
            for (found, plain) in found.iter().zip(plain.data()) {
                assert!((found - f64::from(*plain)).abs() < 0.03 * f64::from(largest), "{plain}: {found}");
            }
        }
    };
    // What a compile looks at last: a few answers of the program itself. Beyond the ranges that it
    // was made for they are lost.
    let rows = rehearse(&program, &images(41)).expect("it can be rehearsed");
    assert!(
        rows.outputs.iter().all(|row| row.simulated_images == 16 && row.simulated_db > Some(20.0)),
        "{rows:?}"
    );
    let large = |image: Vec<Tensor>| vec![Tensor::from_fn([1, 1, 8, 8], |i| 1.99 * image[0].data()[i])];
    let lost = rehearse(&program, &images(41).into_iter().map(large).collect::<Vec<_>>());
    assert!(lost.expect("it can be rehearsed").outputs[0].is_lost());

    // An image beyond all numbers is counted, and differences are those of the others.
    let outcome = |logits: [f64; 2]| {
        let (logits, reference) = (logits.to_vec(), vec![1.0, 2.0]);
        Outcome { label: None, logits, reference, overflows: Vec::new(), blame: None }
    };
    let outcomes = [[1.5, 2.0], [f64::NAN, 2.0], [f64::NEG_INFINITY, f64::NAN]].map(outcome);
    let summary = summarise(&program, &outcomes, 1.0);
    assert_eq!((summary.images, summary.lost_images), (3, 2));
    assert_eq!((summary.max_logit_difference, summary.mean_logit_difference), (0.5, 0.25));

    let simulated = Simulator::new(&program, false).answer(image[0].data(), 1).expect("it simulates");
    assert_eq!(simulated.overflows, []);
    close(&simulated.outputs);

    let context = context(&interface).expect("the parameters can be used");
    let client = Client::generate(&interface, &context).expect("there is randomness");
    let server = Server::new(&program, &context).expect("it can be prepared");
    let session = server.session(client.evaluation_keys().expect("keys are made"));
    let encrypted = client.encrypt(image[0].data()).expect("it encrypts");
    let answer = session.expect("the keys are enough").evaluate(encrypted).expect("it evaluates");
    assert_eq!(answer.len(), 4);
    let decrypted = client.decrypt(&answer).expect("it decrypts");
    assert!(!decrypted.overflow, "{decrypted:?}");
    close(&decrypted.outputs);
    // One output alone is no answer, and the outputs have an order.
    assert!(client.decrypt(&answer[..1]).is_err());
    let swapped = [answer[1].clone(), answer[0].clone(), answer[2].clone()];
    assert!(client.decrypt(&swapped).map_or(true, |answer| answer.overflow));

    // What it was not made for is said before anything is encrypted.
    let far: Vec<f32> = image[0].data().iter().map(|x| 9.0 * x).collect();
    assert!(matches!(interface.pack(&far), Err(InterfaceError::Range { .. })));
    let unknown = vec![f32::NAN; 64];
    assert!(matches!(interface.pack(&unknown), Err(InterfaceError::Range { .. })));
}

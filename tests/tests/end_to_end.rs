//! The embedded network, all the way: ONNX bytes, compiled at 128 bits, keys, an encrypted digit, the answer, beside the
//! plain network with its exact ReLUs and beside the simulation.

use fhec_compiler::data::Dataset;
use fhec_compiler::program::argmax;
use fhec_compiler::roles::{Client, Server};
use fhec_compiler::simulator::Simulator;
use fhec_compiler::{build, embedded};
use fhec_ir::artifact::Artifact;
use fhec_runtime::ring::Context;

#[test]
fn a_digit_through_a_network_with_real_relus_at_128_bits() {
    let program = build::embedded().expect("the embedded network compiles").program;
    assert!(program.plan.security_bits >= 128);
    assert_eq!(program.plan.log_n, 16);
    // What is run is what was written.
    let artifact = Artifact::from_bytes(&program.artifact.to_bytes()).expect("the artifact can be read");
    assert_eq!(artifact, program.artifact);

    let shape = program.image_shape().expect("an image goes in");
    let digit = Dataset::from_bytes(embedded::DIGIT.to_vec(), embedded::DIGIT_NAME, shape)
        .expect("the digit is there");
    let image = digit.input(0, &program.preprocess).expect("it fits");
    let plain = program.reference_logits(&image).expect("the plain network runs");
    let simulated = Simulator::new(&artifact, false).and_then(|s| s.logits(&image, 1)).expect("it simulates");

    let context = Context::new(artifact.params.clone()).expect("the parameters can be used");
    let client = Client::generate(&artifact, &context).expect("there is randomness");
    let server = Server::new(&artifact, &context, client.evaluation_keys().expect("keys are made"));
    let encrypted = client.encrypt(&image).expect("it encrypts");
    let answer = server.ready().and_then(|ready| ready.evaluate(encrypted, |_| ())).expect("it evaluates");
    let answer = client.decrypt(&answer).expect("it decrypts");

    assert!(!answer.overflow);
    assert_eq!(argmax(&answer.logits), 7);
    assert_eq!(argmax(&plain), 7);
    let difference =
        |other: &[f64]| answer.logits.iter().zip(other).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    // The polynomial ReLU is good to 2^-13 of the range, the noise to far less.
    assert!(difference(&plain) < 1e-2, "{}", difference(&plain));
    assert!(difference(&simulated) < 1e-4, "{}", difference(&simulated));
    assert!(answer.imaginary_residue < 1e-4, "{}", answer.imaginary_residue);
}

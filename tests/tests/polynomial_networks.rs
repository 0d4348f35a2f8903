//! The networks of `models/` whose activations are polynomials: from the ONNX file to a simulated
//! and an encrypted answer. Nothing is approximated here, so the network as it was trained is what
//! all answers are compared with.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use fhec_compiler::build::{self, Request};
use fhec_compiler::data::{Dataset, preprocess};
use fhec_compiler::program::{argmax, image_shape, reference_logits};
use fhec_compiler::simulator::Simulator;
use fhec_ir::program::Program;
use fhec_roles::{Client, Server, context};

fn models() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../models")
}

fn compile(name: &str) -> Arc<Program> {
    let model = models().join(name).with_extension("onnx");
    let preprocess = preprocess::beside(&model).expect("it can be read").expect("it is there");
    let program = build::from_file(&model, preprocess, &Request::default()).expect("it compiles").program;
    assert!(program.plan.security_bits >= 128 && program.plan.bootstraps == 0);
    program
}

/// The sample digits with their classes, as network input.
fn digits(program: &Program) -> Vec<(usize, Vec<f32>)> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(models().join("digits"))
        .expect("the folder is there")
        .map(|entry| entry.expect("it can be read").path())
        .collect();
    paths.sort();
    let digit = |path: &PathBuf| {
        let name = path.file_name().expect("it has one").to_string_lossy();
        let class = name["digit_".len()..].split('_').next().and_then(|class| class.parse().ok());
        let shape = image_shape(&program.interface).expect("an image goes in");
        let image = Dataset::open(path, shape).expect("a picture").input(0, &program.interface.preprocess);
        (class.expect("the name says the class"), image.expect("it fits"))
    };
    paths.iter().map(digit).collect()
}

fn difference(found: &[f64], expected: &[f64]) -> f64 {
    found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

fn check(name: &str) {
    let program = compile(name);
    let digits = digits(&program);
    assert_eq!(digits.len(), 14);
    let simulator = Simulator::new(&program, false);
    for (seed, (class, image)) in digits.iter().enumerate() {
        let plain = reference_logits(&program, image).expect("the plain network runs");
        let simulated = simulator.logits(image, seed as u64).expect("it simulates");
        assert_eq!((argmax(&plain), argmax(&simulated)), (*class, *class), "{name}");
        assert!(difference(&simulated, &plain) < 1e-3, "{name}: {}", difference(&simulated, &plain));
    }

    let (class, image) = &digits[digits.len() / 2];
    let interface = Arc::new(program.interface.clone());
    let context = context(&interface).expect("the parameters can be used");
    let client = Client::generate(&interface, &context).expect("there is randomness");
    let server = Server::new(&program, &context).expect("it can be prepared");
    let session = server.session(client.evaluation_keys().expect("keys are made")).expect("they are enough");
    let encrypted = client.encrypt(image).expect("it encrypts");
    let answer = session.evaluate(encrypted).expect("it evaluates");
    let answer = client.decrypt(&answer).expect("it decrypts");
    let plain = reference_logits(&program, image).expect("the plain network runs");
    assert!(!answer.overflow);
    assert_eq!(argmax(answer.logits()), *class);
    assert!(difference(answer.logits(), &plain) < 1e-3, "{name}: {}", difference(answer.logits(), &plain));
}

#[test]
fn digits_through_polynomials_of_degree_3() {
    check("mnist_cnn_deg3");
}

#[test]
fn digits_through_polynomials_of_degree_4() {
    check("mnist_cnn_deg4");
}

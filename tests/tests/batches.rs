//! Several images in one run: each has the answer that it has alone, simulated and encrypted.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fhec_compiler::build;
use fhec_compiler::data::{Dataset, Preprocess, preprocess};
use fhec_compiler::program::{argmax, image_shape, reference_logits};
use fhec_compiler::simulator::Simulator;
use fhec_ir::func::Func;
use fhec_ir::interp::nn;
use fhec_ir::nn::Nn;
use fhec_ir::program::{InterfaceError, Program};
use fhec_ir::tensor::Tensor;
use fhec_ir::text::{ConstSource, parse_func};
use fhec_passes::compile::compile;
use fhec_passes::lower_nn::Packing;
use fhec_passes::nn::calibrate::{Range, Source};
use fhec_passes::options::CompileOptions;
use fhec_roles::{Answer, Client, RoleError, Server, context};

/// Encrypts, evaluates, decrypts.
fn answer(program: &Arc<Program>, images: &[f32]) -> Result<Answer, RoleError> {
    let interface = Arc::new(program.interface.clone());
    let context = context(&interface).expect("the parameters can be used");
    let client = Client::generate(&interface, &context)?;
    let session = Server::new(program, &context)?.session(client.evaluation_keys()?)?;
    client.decrypt(&session.evaluate(client.encrypt(images)?)?)
}

fn difference(found: &[f64], expected: &[f64]) -> f64 {
    assert_eq!(found.len(), expected.len());
    found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

/// The MNIST network of degree 3, three digits at a time.
#[test]
fn three_digits_share_a_run() {
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models");
    let model = models.join("mnist_cnn_deg3.onnx");
    let preprocess = preprocess::beside(&model).expect("it can be read").expect("it is there");
    let options = CompileOptions { batch: NonZeroUsize::new(3), ..CompileOptions::default() };
    let program =
        &build::from_file(&model, preprocess.clone(), &options.into()).expect("it compiles").program;
    assert_eq!(program.plan.batch, 3);
    let paths: [PathBuf; 3] =
        ["digit_0_a.png", "digit_7_a.png", "digit_3_a.png"].map(|n| models.join("digits").join(n));
    let digit = |path: &PathBuf| {
        let images =
            Dataset::open(path, image_shape(&program.interface).expect("an image")).expect("a picture");
        images.input(0, &preprocess).expect("it fits")
    };
    let images: Vec<Vec<f32>> = paths.iter().map(digit).collect();
    let plain: Vec<Vec<f64>> = images
        .iter()
        .map(|image| reference_logits(program, image).expect("the plain network runs"))
        .collect();
    assert_eq!(plain.iter().map(|logits| argmax(logits)).collect::<Vec<_>>(), [0, 7, 3]);
    let simulator = Simulator::new(program, false);
    let simulated = simulator.logits(&images.concat(), 1).expect("it simulates");
    assert!(difference(&simulated, &plain.concat()) < 1e-3);
    // A batch need not be whole, nor may it be larger.
    let found = answer(program, &images[..2].concat()).expect("it runs");
    assert!(!found.overflow);
    assert!(difference(&found.logits()[..20], &plain[..2].concat()) < 1e-3);
    let four = [&images[..], &images[..1]].concat().concat();
    assert!(matches!(
        answer(program, &four),
        Err(RoleError::Interface(InterfaceError::BatchSize { images: 3, .. }))
    ));
    assert!(matches!(
        answer(program, &four[1..]),
        Err(RoleError::Interface(InterfaceError::BatchSize { images: 3, .. }))
    ));
}

/// One pixel per ciphertext, two hundred images in the slots.
#[test]
fn slots_hold_images() {
    const IMAGES: usize = 200;
    let text = "func nn small {
         const @0 : f32[2, 1, 3, 3] = random(1) const @1 : f32[2] = random(2) const @2 : f32[3, 32] = random(3)
         input %0 : f32[1, 1, 8, 8] \"image\"
         %1 = conv2d(%0) {weight=@0, bias=@1, strides=[2, 2], pads=[1, 1, 1, 1], dilations=[1, 1], groups=1}
         %2 = poly(%1) {polynomial={domain=[-12.0, 12.0], chebyshev=[0.5, 3.0, 0.5, 0.25]}}
         %3 = reshape(%2) {shape=[1, 32]} %4 = dense(%3) {weight=@2} \"logits\"
         return %4 }";
    let network: Func<Nn> = parse_func(text, &ConstSource::default()).expect("it is a network");
    let options = CompileOptions {
        packing: Packing::Pixel,
        batch: NonZeroUsize::new(IMAGES),
        ..CompileOptions::default()
    };
    let source = Source::Intervals(Range::new(-1.0, 1.0));
    let compiled = compile(&network, &source.into(), &options, &mut |_, _| ()).expect("it compiles");
    assert_eq!((compiled.plan.batch, compiled.plan.rotations), (IMAGES, 0));
    let preprocess = Preprocess::default();
    let made = Program::new(compiled.program, compiled.params, network, compiled.plan, preprocess);
    let made = made.expect("its parts fit");
    let program = Arc::new(Program::from_bytes(&made.to_bytes(), 128).expect("it can be read"));
    let images: Vec<Tensor> = (0..IMAGES)
        .map(|image| {
            Tensor::from_fn([1, 1, 8, 8], |i| ((i * 7919 + 911 * image) % 2003) as f32 / 1001.5 - 1.0)
        })
        .collect();
    let plain = |image: &Tensor| -> Vec<f64> {
        let outputs =
            nn::run(program.reference().expect("it is there"), std::slice::from_ref(image)).expect("it runs");
        outputs[0].data().iter().map(|&x| f64::from(x)).collect()
    };
    let expected: Vec<f64> = images.iter().flat_map(plain).collect();
    let largest = expected.iter().fold(0f64, |most, x| most.max(x.abs()));
    let all: Vec<f32> = images.iter().flat_map(|image| image.data().to_vec()).collect();
    let found = answer(&program, &all).expect("it runs");
    assert!(!found.overflow);
    let worst = difference(found.logits(), &expected);
    assert!(worst < 1e-4 * largest, "{worst} of {largest}");
    let simulator = Simulator::new(&program, false);
    let simulated = simulator.logits(&all, 1).expect("it simulates");
    assert!(difference(&simulated, &expected) < 1e-4 * largest);
    // Slots without an image hold the answer to an image of zeros, all the same.
    let found = answer(&program, &all[..64]).expect("it runs");
    assert!(!found.overflow && found.spare_residue < 1e-3, "{found:?}");
    assert!(difference(&found.logits()[..3], &expected[..3]) < 1e-4 * largest);
}

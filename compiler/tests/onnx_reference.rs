//! Real networks, imported and run by the nn interpreter, against onnxruntime's logits.
//!
//! Needs the reference data (`fhec_test_data`), and says so where there is none.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use fhec_compiler::data::{Dataset, Preprocess};
use fhec_compiler::onnx;
use fhec_ir::interp;
use fhec_ir::nn::Nn;
use fhec_ir::tensor::Tensor;
use fhec_ir::text::{ConstSource, parse_func, print_func};
use fhec_ir::verify::verify;
use ndarray::Array2;

/// Images compared per network; the expected logits are of the first 1,000.
const IMAGES: usize = 100;

/// Largest accepted difference of logits, relative to the largest logit of the image (at least 1):
/// float32 has 2^-24, and a network of 56 layers adds up a few thousand roundings.
const TOLERANCE: f32 = 1e-4;

fn data() -> Option<PathBuf> {
    fhec_test_data::folder_with("models")
}

/// Runs `model` on the first images of `images` and compares with
/// `expected/<logits>_logits_0_999.npy`.
fn compare(model: &str, logits: &str, images: &str, shape: [usize; 3], preprocess: &Preprocess) {
    let Some(data) = data() else { return };
    let imported = onnx::import(data.join("models").join(model)).unwrap();
    let func = &imported.func;
    verify(func).unwrap();
    let text = print_func(func);
    let source = ConstSource::new(func.consts.iter().map(|(_, tensor)| tensor.clone()));
    assert_eq!(&parse_func::<Nn>(&text, &source).unwrap(), func, "print and parse of {model}");

    let expected: Array2<f32> =
        ndarray_npy::read_npy(data.join("expected").join(format!("{logits}_logits_0_999.npy"))).unwrap();
    let images = Dataset::open(data.join(images), shape).unwrap();
    let (mut worst, mut fastest) = (0.0f32, Duration::MAX);
    for index in 0..IMAGES {
        let input = images.input(index, preprocess).unwrap();
        let input = Tensor::new([&[1], &shape[..]].concat(), input).unwrap();
        let start = Instant::now();
        let output = interp::nn::run(func, &[input]).unwrap().remove(0);
        fastest = fastest.min(start.elapsed());
        let (found, want) = (output.data(), expected.row(index).to_vec());
        assert_eq!(found.len(), want.len());
        let magnitude = want.iter().fold(1.0f32, |m, x| m.max(x.abs()));
        let difference = found.iter().zip(&want).fold(0.0f32, |d, (x, y)| d.max((x - y).abs()));
        assert!(difference <= TOLERANCE * magnitude, "{model}, image {index}: {found:?}, expected {want:?}");
        assert_eq!(class(found), class(&want), "{model}, image {index}");
        worst = worst.max(difference / magnitude);
    }
    eprintln!(
        "{model}: {IMAGES} images, largest relative difference {worst:.1e}, fastest image {fastest:.2?}"
    );
}

fn class(logits: &[f32]) -> usize {
    (0..logits.len()).max_by(|&a, &b| logits[a].total_cmp(&logits[b])).unwrap()
}

fn cifar(model: &str, logits: &str) {
    let preprocess = Preprocess::new(255.0, vec![0.485, 0.456, 0.406], vec![0.229, 0.224, 0.225]).unwrap();
    compare(model, logits, "cifar10/test_batch_a.bin", [3, 32, 32], &preprocess);
}

fn mnist(model: &str, logits: &str, scale: f32) {
    let preprocess = Preprocess::new(scale, vec![0.0], vec![1.0]).unwrap();
    compare(model, logits, "mnist/t10k_a-images-idx3-ubyte.gz", [1, 28, 28], &preprocess);
}

#[test]
fn resnet20() {
    cifar("resnet20_cifar10_pre.onnx", "resnet20");
}

#[test]
fn resnet32() {
    cifar("resnet32_cifar10_pre.onnx", "resnet32");
}

#[test]
fn resnet44() {
    cifar("resnet44_cifar10_pre.onnx", "resnet44");
}

#[test]
fn resnet56() {
    cifar("resnet56_cifar10_pre.onnx", "resnet56");
}

#[test]
fn squeezenet() {
    cifar("squeezenet_cifar10.onnx", "squeezenet");
}

#[test]
fn lenet() {
    mnist("lenet_mnist.onnx", "lenet_mnist", 255.0);
}

#[test]
fn mnist_8() {
    // It takes raw pixels, 0 to 255.
    mnist("mnist-8.onnx", "mnist8_raw255", 1.0);
}

#[test]
fn cryptonet_imports() {
    let Some(data) = data() else { return };
    let imported = onnx::import(data.join("models/cryptonet.onnx")).unwrap();
    verify(&imported.func).unwrap();
    assert_eq!((imported.opset, imported.inputs), (10, vec!["input".to_string()]));
    let outputs = imported.func.outputs();
    assert_eq!(imported.func.ty(outputs[0]).shape, [1, 10]);
}

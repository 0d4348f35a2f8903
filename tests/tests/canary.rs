//! The values that are known before an answer is decrypted, zeros in spare slots and equal copies,
//! tell what no class must be taken from: every tampered ciphertext and every foreign key, and no
//! good answer. The network is the MNIST CNN of degree 3, at its real parameters.

use std::path::Path;
use std::sync::Arc;

use fhec_compiler::build::{Request, from_file};
use fhec_compiler::data::preprocess;
use fhec_compiler::program::image_shape;
use fhec_ir::program::Program;
use fhec_roles::{Answer, Client, Server, context};
use fhec_runtime::ring::Context;
use fhec_runtime::rlwe::Ciphertext;

fn program() -> Arc<Program> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/mnist_cnn_deg3.onnx");
    let preprocess = preprocess::beside(&path).expect("it can be read").expect("it is there");
    from_file(&path, preprocess, &Request::default()).expect("it compiles").program
}

/// Pictures of stripes: anything in range will do.
fn image(program: &Program, number: usize) -> Vec<f32> {
    let elements = image_shape(&program.interface).expect("an image goes in").iter().product();
    (0..elements).map(|i| ((i * (number + 3) % 17) as f32 / 16.0) * 2.0 - 1.0).collect()
}

/// Bytes of the checksum that ends what is written: no secret, so who tampers can mend it.
const CHECKSUM: usize = 32;

/// What `change` makes of the bytes of `ciphertext`, its checksum mended; `None` where it cannot be
/// read any more.
fn tampered(context: &Context, ciphertext: &Ciphertext, change: impl Fn(&mut [u8])) -> Option<Ciphertext> {
    let mut bytes = ciphertext.to_bytes(context);
    let end = bytes.len() - CHECKSUM;
    let (content, checksum) = bytes.split_at_mut(end);
    change(content);
    checksum.copy_from_slice(blake3::hash(content).as_bytes());
    Ciphertext::from_bytes(context, &bytes).ok()
}

/// `ciphertext` with one bit flipped somewhere in its residues.
fn flipped(context: &Context, ciphertext: &Ciphertext, number: usize) -> Option<Ciphertext> {
    tampered(context, ciphertext, |bytes| {
        // All but the first few dozen bytes are residues.
        let start = 256;
        let position = start + number.wrapping_mul(0x9e37_79b9) % (bytes.len() - start);
        bytes[position] ^= 1 << (number % 8);
    })
}

/// `ciphertext` as if it were encrypted under the key of `other`.
fn relabelled(context: &Context, ciphertext: &Ciphertext, other: &Ciphertext) -> Ciphertext {
    let [from, to] = [ciphertext, other].map(|c| c.key().0);
    let relabelled = tampered(context, ciphertext, |bytes| {
        let at = bytes.windows(from.len()).position(|window| window == from).expect("its key is named");
        bytes[at..at + to.len()].copy_from_slice(&to);
    });
    relabelled.expect("nothing else is wrong with it")
}

#[test]
fn known_values_tell_good_answers_from_bad_ones() {
    let program = program();
    let interface = Arc::new(program.interface.clone());
    let context = context(&interface).expect("the parameters can be used");
    let client = Client::generate(&interface, &context).expect("there is randomness");
    let server = Server::new(&program, &context).expect("it can be prepared");
    let session = server.session(client.evaluation_keys().expect("keys are made"));
    let session = session.expect("the keys are enough");
    let answer = |input: Vec<Ciphertext>| session.evaluate(input).expect("it evaluates");
    let decrypt = |answer: &[Ciphertext]| -> Answer { client.decrypt(answer).expect("it decrypts") };

    let mut largest = 0f64;
    for number in 0..12 {
        let good = decrypt(&answer(client.encrypt(&image(&program, number)).unwrap()));
        assert!(!good.overflow, "image {number}: {good:?}");
        largest = largest.max(good.imaginary_residue).max(good.spare_residue);
    }
    // Far below what is refused, so that no good answer ever is.
    assert!(largest < 1e-5, "{largest:e}");

    let good = answer(client.encrypt(&image(&program, 0)).unwrap());
    let mut read = 0;
    for number in 0..60 {
        let Some(tampered) = flipped(&context, &good[0], number) else { continue };
        read += 1;
        let tampered = decrypt(&[tampered]);
        assert!(tampered.overflow, "answer {number}: {:e}", tampered.spare_residue);
    }
    assert!(read > 30, "{read} of 60 could be read");

    let input = client.encrypt(&image(&program, 1)).unwrap();
    for number in 0..8 {
        let Some(tampered) = flipped(&context, &input[0], 1000 + number) else { continue };
        let tampered = decrypt(&answer(vec![tampered]));
        assert!(tampered.overflow, "input {number}: {:e}", tampered.spare_residue);
    }

    let stranger = Client::generate(&interface, &context).expect("there is randomness");
    let foreign = stranger.encrypt(&image(&program, 2)).unwrap();
    assert!(session.evaluate(foreign.clone()).is_err(), "the key is named");
    let foreign = decrypt(&answer(vec![relabelled(&context, &foreign[0], &input[0])]));
    assert!(foreign.overflow, "{:e}", foreign.spare_residue);
}

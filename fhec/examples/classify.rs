//! Classifies a picture under encryption, all roles in one process.
//!
//! `cargo run --release --example classify -- picture.png`

#![allow(clippy::print_stdout, reason = "an example prints what it found")]

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fhec::{Client, CompileOptions, Server, argmax, compile, context, open_images, reference_logits};

/// The class of the picture in `path`, encrypted and in the clear.
pub fn run(path: &Path) -> Result<[usize; 2], Box<dyn Error>> {
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models");
    let program = compile(&models.join("mnist_cnn_deg3.onnx"), &CompileOptions::default())?;
    let interface = Arc::new(program.interface.clone());
    let image = open_images(&interface, path)?.input(0, &interface.preprocess)?;

    let context = context(&interface)?;
    let client = Client::generate(&interface, &context)?;
    let session = Server::new(&program, &context)?.session(client.evaluation_keys()?)?;
    let answer = client.decrypt(&session.evaluate(client.encrypt(&image)?)?)?;
    if answer.overflow {
        return Err("the evaluation has gone wrong: a value left its range".into());
    }
    Ok([argmax(answer.logits()), argmax(&reference_logits(&program, &image)?)])
}

fn main() -> Result<(), Box<dyn Error>> {
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models");
    let path = std::env::args().nth(1).map(PathBuf::from);
    let [encrypted, plain] = run(&path.unwrap_or_else(|| models.join("digits/digit_3_a.png")))?;
    println!("encrypted {encrypted}, in the clear {plain}");
    Ok(())
}

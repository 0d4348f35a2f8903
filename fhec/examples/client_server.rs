//! Client and server apart, with files between them: what each reads and writes.
//!
//! `cargo run --release --example client_server -- FOLDER`

#![allow(clippy::print_stdout, reason = "an example prints what it found")]

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fhec::{
    Client, CompileOptions, DEFAULT_FLOOR, KeyFolder, Program, Server, argmax, compile, context, exchange,
    open, open_images, open_interface, write, write_interface,
};

/// The owner of the model: compiles, and hands out two files.
fn owner(folder: &Path) -> Result<(), Box<dyn Error>> {
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models");
    let program = compile(&models.join("mnist_cnn_deg3.onnx"), &CompileOptions::default())?;
    write_interface(&program.interface, &folder.join("net.client.fhec"))?;
    write(&Program::clone(&program).without_reference(), &folder.join("net.server.fhec"))?;
    Ok(())
}

/// The client: keys, and an encrypted picture.
fn ask(folder: &Path) -> Result<(), Box<dyn Error>> {
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models");
    // Security is computed; less than was asked for is refused.
    let interface = Arc::new(open_interface(&folder.join("net.client.fhec"), DEFAULT_FLOOR)?);
    let context = context(&interface)?;
    let client = Client::generate(&interface, &context)?;
    let keys = KeyFolder::claim(&folder.join("keys"))?;
    keys.write(&context, client.secret(), &client.public_key()?, &client.evaluation_keys()?)?;
    let images = open_images(&interface, &models.join("digits/digit_0_a.png"))?;
    let image = client.encrypt_seeded(&images.input(0, &interface.preprocess)?)?;
    exchange::write_seeded_ciphertexts(&folder.join("image.ct"), &context, &image)?;
    Ok(())
}

/// The server: evaluation keys and ciphertexts, no secret.
fn serve(folder: &Path) -> Result<(), Box<dyn Error>> {
    let program = Arc::new(open(&folder.join("net.server.fhec"), DEFAULT_FLOOR)?);
    let context = context(&program.interface)?;
    let server = Server::new(&program, &context)?;
    let session = server.session(exchange::read_evaluation_keys(&folder.join("keys"), &context)?)?;
    let ty = &program.interface.input.ty;
    let image = exchange::read_ciphertexts(&folder.join("image.ct"), &context, ty)?;
    let answer = session.evaluate(image)?;
    exchange::write_ciphertexts(&folder.join("answer.ct"), &context, &answer)?;
    Ok(())
}

/// The client again: the class.
fn read(folder: &Path) -> Result<usize, Box<dyn Error>> {
    let interface = Arc::new(open_interface(&folder.join("net.client.fhec"), DEFAULT_FLOOR)?);
    let context = context(&interface)?;
    let secret = exchange::read_secret_key(&folder.join("keys"), &context)?;
    let answer = exchange::read_answer(&folder.join("answer.ct"), &context, &interface.answer_types())?;
    let answer = Client::new(&interface, &context, secret).decrypt(&answer)?;
    if answer.overflow {
        return Err("the answer is refused".into());
    }
    Ok(argmax(answer.logits()))
}

/// All of it, with files in `folder`; the class of a picture of a zero.
pub fn run(folder: &Path) -> Result<usize, Box<dyn Error>> {
    owner(folder)?;
    ask(folder)?;
    serve(folder)?;
    read(folder)
}

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args().nth(1).map(PathBuf::from);
    println!("class {}", run(&folder.unwrap_or_else(std::env::temp_dir))?);
    Ok(())
}

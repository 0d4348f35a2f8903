//! Client and server with a program that bootstraps: keys through a file, one refresh, the answer.

use std::sync::Arc;
use std::time::Instant;

use fhec_compiler::roles::{Client, KeyFolder, RoleError, Server, files};
use fhec_ir::artifact::Artifact;
use fhec_ir::bootstrap::BootstrapParams;
use fhec_ir::ckks::Ckks;
use fhec_ir::evaluation_keys::EvaluationKeys;
use fhec_ir::func::Func;
use fhec_ir::nn::Nn;
use fhec_ir::params::Params;
use fhec_ir::text::{ConstSource, parse_func};
use fhec_passes::bootstrap::sets::{self, BootstrapSet};
use fhec_runtime::exec::ProgramKeys;
use fhec_runtime::ring::Context;

/// A ring of degree 2^12 with the chain of a secure set: fast, and no security at all.
fn toy_set() -> BootstrapSet {
    let set = sets::named("n15-128").expect("a known set");
    let mut literal = set.params.literal().clone();
    // Primes of a large ring are primes of a small one.
    (literal.name, literal.log_n) = ("toy-n12".into(), 12);
    let params = Params::segmented(literal, set.params.fixed_scales().to_vec()).expect("it is one");
    BootstrapSet { params, ..set }
}

/// Refreshes `slots` values, rotates them by one and halves them.
fn artifact(set: &BootstrapSet, slots: usize) -> Artifact {
    let bootstrap = set.with_slots(slots).expect("a number of slots");
    let (input, output) = (bootstrap.input_level(), bootstrap.output_level);
    let layout = format!(
        "{{shape=[1, 1, {slots}], gap=1, multiplex=1, plane=[1, {slots}], period={slots}, slots={slots}}}"
    );
    let text = format!(
        r#"func ckks refresh {{
          meta input_layout = [{layout}]
          meta output_layout = [{layout}]
          meta output_factor = 2.0
          input %0 : ct<1, {slots}, {input}, D{input}, 2>
          %1 = bootstrap(%0) {{level={output}}}
          %2 = rotate(%1) {{steps=1}}
          %3 = mul_scalar(%2) {{factor=0.5}}
          %4 = rescale(%3)
          return %4
        }}"#
    );
    let mut program: Func<Ckks> = parse_func(&text, &ConstSource::default()).expect("it is a program");
    BootstrapParams::set_in_program(&mut program, &vec![bootstrap]);
    let network = format!("func nn none {{\n input %0 : f32[1, {slots}]\n return %0\n}}");
    let network: Func<Nn> = parse_func(&network, &ConstSource::default()).expect("it is a network");
    let artifact = Artifact {
        program,
        network,
        params: set.params.clone(),
        plan_json: "{}".into(),
        preprocess_json: "{}".into(),
    };
    let read = Artifact::from_bytes(&artifact.to_bytes()).expect("bootstraps travel with the program");
    assert_eq!(read, artifact);
    read
}

fn image(slots: usize) -> Vec<f32> {
    (0..slots).map(|i| ((i * 37 % 101) as f32 / 50.0 - 1.0) * if i % 2 == 0 { 1.0 } else { 0.5 }).collect()
}

/// Keys to a folder and back, one run; bits of the mean and of the largest error.
fn bits(artifact: &Artifact, slots: usize) -> (f64, f64) {
    let context = Arc::new(Context::new(artifact.params.clone()).expect("the parameters can be used"));
    let client = Client::generate(artifact, &context).expect("there is randomness");
    let folder = tempfile::tempdir().expect("a folder");
    let start = Instant::now();
    let keys = client.evaluation_keys().expect("keys are made");
    let (count, bytes) = (keys.count(), keys.bytes());
    let predicted = EvaluationKeys::of(&artifact.program, &artifact.params).expect("bootstraps fit");
    assert_eq!(bytes as u64, predicted.bytes(&artifact.params));
    let made = start.elapsed();
    KeyFolder::claim(folder.path())
        .unwrap()
        .write(&context, client.secret(), &client.public_key().unwrap(), &keys)
        .expect("keys are written");
    drop(keys);
    let written = start.elapsed();
    let keys = files::read_evaluation_keys(folder.path(), &context).expect("keys are read");
    assert_eq!((keys.count(), keys.bytes()), (count, bytes));
    eprintln!(
        "{count} keys of {} MiB made in {made:.1?}, written in {:.1?}, read in {:.1?}",
        bytes >> 20,
        written - made,
        start.elapsed() - written
    );
    let image = image(slots);
    let server = Server::new(artifact, &context, keys);
    let ready = server.ready().expect("the keys are enough");
    assert!(ready.weight_bytes() > 0, "matrices of the bootstrap");
    let answer = ready.evaluate(client.encrypt(&image).unwrap(), |_| ()).expect("it runs");
    let answer = client.decrypt(&answer).expect("it decrypts");
    assert!(!answer.overflow);
    let errors: Vec<f64> =
        (0..slots).map(|i| (answer.logits[i] - f64::from(image[(i + 1) % slots])).abs()).collect();
    let mean = errors.iter().sum::<f64>() / slots as f64;
    (-mean.log2(), -errors.iter().fold(0f64, |a, &b| a.max(b)).log2())
}

#[test]
fn a_small_program_refreshes_its_values() {
    let (mean, worst) = bits(&artifact(&toy_set(), 64), 64);
    assert!(mean > 11.0 && worst > 9.0, "{mean:.1} and {worst:.1} bits");
}

#[test]
fn a_128_bit_program_refreshes_all_slots() {
    let set = sets::named("n15-128").expect("a known set");
    let slots = set.params.slots();
    let (mean, worst) = bits(&artifact(&set, slots), slots);
    assert!(mean > 11.0 && worst > 9.0, "{mean:.1} and {worst:.1} bits");
}

#[test]
fn servers_without_the_keys_of_bootstraps_say_so_at_once() {
    let with = artifact(&toy_set(), 64);
    let context = Arc::new(Context::new(with.params.clone()).unwrap());
    let client = Client::generate(&with, &context).unwrap();
    let keys = client.evaluation_keys().unwrap();
    let alone = ProgramKeys::new(keys.evaluation().clone(), None).unwrap();
    let server = Server::new(&with, &context, alone);
    let Err(error) = server.ready() else { panic!("it must not run") };
    assert!(error.to_string().contains("encapsulation"), "{error}");

    // A program whose bootstraps are not of its parameters: neither side works with it.
    let mut wrong = with.clone();
    let mut bootstrap = BootstrapParams::of_program(&with.program).unwrap();
    bootstrap[0].output_level += 1;
    BootstrapParams::set_in_program(&mut wrong.program, &bootstrap);
    let client = Client::new(
        &wrong,
        &context,
        fhec_runtime::rlwe::SecretKey::generate(&context, &fhec_runtime::ring::Seed::from_bytes([1; 32])),
    );
    assert!(matches!(client.evaluation_keys(), Err(RoleError::Keys(_))));
    assert!(matches!(Server::new(&wrong, &context, keys).ready(), Err(RoleError::Bootstraps(_))));
}

//! Client and server with a program that bootstraps: keys through a file, one refresh, the answer.

use std::sync::Arc;
use std::time::Instant;

use fhec_ir::bootstrap::BootstrapParams;
use fhec_ir::ckks::Ckks;
use fhec_ir::func::Func;
use fhec_ir::nn::Nn;
use fhec_ir::params::Params;
use fhec_ir::plan::Plan;
use fhec_ir::program::{Preprocess, Program, ProgramError};
use fhec_ir::text::{ConstSource, parse_func};
use fhec_passes::bootstrap::sets::{self, BootstrapSet};
use fhec_roles::{Client, KeyFolder, Server, Session, context, exchange};
use fhec_runtime::exec::ProgramKeys;

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
fn program(set: &BootstrapSet, slots: usize) -> Program {
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
    let plan = Plan::bare(program.ops().len());
    Program::new(program, set.params.clone(), network, plan, Preprocess::default()).expect("its parts fit")
}

fn image(slots: usize) -> Vec<f32> {
    (0..slots).map(|i| ((i * 37 % 101) as f32 / 50.0 - 1.0) * if i % 2 == 0 { 1.0 } else { 0.5 }).collect()
}

/// Keys to a folder and back, one run; bits of the mean and of the largest error.
fn bits(program: Program, slots: usize) -> (f64, f64) {
    let (program, interface) = (Arc::new(program.clone()), Arc::new(program.interface));
    let context = context(&interface).expect("the parameters can be used");
    let client = Client::generate(&interface, &context).expect("there is randomness");
    let folder = tempfile::tempdir().expect("a folder");
    let start = Instant::now();
    let keys = client.evaluation_keys().expect("keys are made");
    let (count, bytes) = (keys.count(), keys.bytes());
    assert_eq!(bytes as u64, interface.keys.bytes(&interface.params));
    assert_eq!(count, interface.keys.count());
    let made = start.elapsed();
    KeyFolder::claim(folder.path())
        .unwrap()
        .write(&context, client.secret(), &client.public_key().unwrap(), &keys)
        .expect("keys are written");
    drop(keys);
    let written = start.elapsed();
    let keys = exchange::read_evaluation_keys(folder.path(), &context).expect("keys are read");
    assert_eq!((keys.count(), keys.bytes()), (count, bytes));
    eprintln!(
        "{count} keys of {} MiB made in {made:.1?}, written in {:.1?}, read in {:.1?}",
        bytes >> 20,
        written - made,
        start.elapsed() - written
    );
    let image = image(slots);
    let server = Server::new(&program, &context).expect("it can be prepared");
    let session = server.session(keys).expect("the keys are enough");
    assert!(server.encoded_bytes() > 0, "matrices of the bootstrap");
    let answer = session.evaluate(client.encrypt(&image).unwrap()).expect("it runs");
    let answer = client.decrypt(&answer).expect("it decrypts");
    assert!(!answer.overflow);
    let errors: Vec<f64> =
        (0..slots).map(|i| (answer.logits()[i] - f64::from(image[(i + 1) % slots])).abs()).collect();
    let mean = errors.iter().sum::<f64>() / slots as f64;
    (-mean.log2(), -errors.iter().fold(0f64, |a, &b| a.max(b)).log2())
}

#[test]
fn a_small_program_refreshes_its_values() {
    let (mean, worst) = bits(program(&toy_set(), 64), 64);
    assert!(mean > 11.0 && worst > 9.0, "{mean:.1} and {worst:.1} bits");
}

#[test]
fn a_128_bit_program_refreshes_all_slots() {
    let set = sets::named("n15-128").expect("a known set");
    let slots = set.params.slots();
    let made = program(&set, slots);
    let read = Program::from_bytes(&made.to_bytes(), 128).expect("bootstraps travel with the program");
    assert_eq!((&read.interface, &read.schedule), (&made.interface, &made.schedule));
    let (mean, worst) = bits(read, slots);
    assert!(mean > 11.0 && worst > 9.0, "{mean:.1} and {worst:.1} bits");
}

#[test]
fn toys_are_no_programs_to_readers() {
    let toy = program(&toy_set(), 64).to_bytes();
    let error = Program::from_bytes(&toy, 98).unwrap_err();
    assert!(matches!(error, ProgramError::Security(_)), "{error}");
}

#[test]
fn servers_without_the_keys_of_bootstraps_say_so_at_once() {
    let with = Arc::new(program(&toy_set(), 64));
    let interface = Arc::new(with.interface.clone());
    let context = context(&interface).unwrap();
    let client = Client::generate(&interface, &context).unwrap();
    let keys = client.evaluation_keys().unwrap();
    let alone = ProgramKeys::new(keys.evaluation().clone(), None).unwrap();
    let server = Server::new(&with, &context).unwrap();
    let Err(error) = server.session(alone) else { panic!("it must not run") };
    assert!(error.to_string().contains("encapsulation"), "{error}");

    // A program whose bootstraps are not of its parameters is none.
    let mut wrong = with.schedule.clone();
    let mut bootstrap = BootstrapParams::of_program(&wrong).unwrap();
    bootstrap[0].output_level += 1;
    BootstrapParams::set_in_program(&mut wrong, &bootstrap);
    let (params, network) = (interface.params.clone(), with.reference().unwrap().clone());
    let made = Program::new(wrong, params, network, with.plan.clone(), Preprocess::default());
    assert!(matches!(made, Err(ProgramError::Bootstraps(_))));
}

/// Two clients with keys of their own share what is prepared: the second costs its keys alone, and
/// reads its own answer only.
#[test]
fn clients_share_a_server() {
    let shared = Arc::new(program(&toy_set(), 64));
    let interface = Arc::new(shared.interface.clone());
    let context = context(&interface).unwrap();
    let server = Server::new(&shared, &context).unwrap();
    let clients = [(); 2].map(|()| Client::generate(&interface, &context).unwrap());
    let first = server.session(clients[0].evaluation_keys().unwrap()).unwrap();
    let encoded = server.encoded_bytes();
    let second = server.session(clients[1].evaluation_keys().unwrap()).unwrap();
    assert_eq!(server.encoded_bytes(), encoded, "nothing is encoded twice");
    let image = image(64);
    let answers = [first, second].map(|session| {
        let client = &clients[usize::from(clients[0].secret().id() != session.keys().id())];
        session.evaluate(client.encrypt(&image).unwrap()).unwrap()
    });
    for (client, answer) in clients.iter().zip(&answers) {
        let logits = client.decrypt(answer).unwrap().logits().to_vec();
        for (i, logit) in logits.iter().enumerate() {
            assert!((logit - f64::from(image[(i + 1) % 64])).abs() < 1e-2, "{i}");
        }
    }
    assert!(clients[0].decrypt(&answers[1]).is_err(), "the answer of another client");
}

#[test]
fn roles_can_go_anywhere() {
    fn is<T: Send + Sync + 'static>() {}
    is::<Client>();
    is::<Server>();
    is::<Session>();
    is::<fhec_runtime::exec::Prepared>();
}

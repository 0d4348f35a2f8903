//! Clients that share a prepared program.

use super::*;
use crate::testing::bootstrap::{bootstrap, params};
use crate::testing::random_slots;
use fhec_ir::bootstrap::BootstrapParams;
use fhec_ir::params::Secret;

/// A client of a bootstrapped program.
struct Client {
    secret: Arc<SecretKey>,
    keys: Arc<ProgramKeys>,
}

impl Client {
    fn new(context: &Context, program: &Func<Ckks>, seed: u8) -> Self {
        let seed = Seed::from_bytes([seed; 32]);
        let secret = Arc::new(SecretKey::generate(context, &seed));
        let keys = Arc::new(ProgramKeys::generate(context, &secret, &seed, program).unwrap());
        Client { secret, keys }
    }
}

/// A linear map, and a bootstrap of its result.
fn mapped_and_refreshed(log_slots: u32) -> Func<Ckks> {
    let slots = 1 << log_slots;
    let mut func: Func<Ckks> = Func::new("mapped-and-refreshed");
    let x = func.add_input(CiphertextType::canonical(1, slots, 4), None);
    let layout = Layout::dense([16, 1, 1], slots);
    let weight = func.add_const(wave(&[16, 16], 1, 0.1));
    let map = LinearMap::new(LinearKind::Dense { weight }, layout.clone(), layout);
    let y = func.push(Op::LinearMap { x, map, baby_step: 4 }).unwrap();
    let y = func.push(Op::Rescale { x: y }).unwrap();
    let z = func.push(Op::Bootstrap { x: y, level: 4, sine: None, mask: None }).unwrap();
    func.set_outputs(vec![z]);
    BootstrapParams::set_in_program(&mut func, &vec![bootstrap(log_slots, false, true)]);
    verify(&func).unwrap();
    func
}

#[test]
fn what_runs_programs_is_owned_and_shared_between_threads() {
    fn is<T: Send + Sync + 'static>() {}
    is::<Prepared>();
    is::<Session>();
    is::<Encrypted>();
    is::<Clear>();
    is::<Noisy>();
    is::<Simulation>();
    is::<Control>();
    is::<Encoder>();
    is::<FactorEncoder>();
    is::<Encryptor>();
    is::<Decryptor>();
}

#[test]
fn a_second_client_encodes_nothing_again() {
    let log_slots = 6;
    let b = bootstrap(log_slots, false, true);
    let context = Arc::new(Context::new(params(&b, 10, Secret::UniformTernary)).unwrap());
    let program = Arc::new(mapped_and_refreshed(log_slots));
    let clients = [1, 2].map(|seed| Client::new(&context, &program, seed));
    assert_ne!(clients[0].keys.id(), clients[1].keys.id());
    let prepared = Arc::new(Prepared::new(&context, Arc::clone(&program), 1 << 30).unwrap());
    assert_eq!(prepared.weight_bytes(), 0, "weights are encoded when they are used first");
    let matrices = prepared.encoded_bytes();
    assert!(matrices > 0);

    let encoder = Encoder::new(&context);
    let message: Vec<f64> = random_slots(1 << log_slots, 3).iter().map(|z| z.re).collect();
    let message: Vec<f64> = (0..message.len()).map(|i| message[i % 16]).collect();
    let encrypt = |client: &Client| {
        let plaintext = encoder.encode(&message, Encoding::message(4)).unwrap();
        let seed = Seed::from_bytes([7; 32]);
        let encrypted =
            Encryptor::with_secret_key(&context, &client.secret, seed).encrypt(&plaintext).unwrap();
        vec![vec![encrypted]]
    };
    let clear = execute(&Clear::new(&program), vec![vec![message.clone()]], &mut ()).unwrap();
    let check = |client: &Client, answer: &[Vec<Ciphertext>]| {
        let decryptor = Decryptor::new(&context, &client.secret);
        let found = encoder.decode(&decryptor.decrypt(&answer[0][0]).unwrap()).unwrap();
        let [_, worst] = error_bits(&vec![found], &clear[0]);
        assert!(worst > 14.0, "{worst:.2} bits");
    };

    let first = Session::new(&prepared, Arc::clone(&clients[0].keys)).unwrap();
    let answer = first.execute(encrypt(&clients[0]), &Control::default()).unwrap();
    check(&clients[0], &answer);
    let encoded = prepared.encoded_bytes();
    assert!(encoded > matrices && prepared.weight_bytes() == encoded - matrices);
    assert_eq!(prepared.preload().unwrap(), prepared.weight_bytes(), "all of them are there");

    let second = Session::new(&prepared, Arc::clone(&clients[1].keys)).unwrap();
    check(&clients[1], &second.execute(encrypt(&clients[1]), &Control::default()).unwrap());
    assert_eq!(prepared.encoded_bytes(), encoded);
    assert!(std::ptr::eq(&**first.prepared(), &**second.prepared()));

    // At the same time, and bit by bit what a program of one's own answers.
    let run = |session: &Session, input| session.execute(input, &Control::default()).unwrap();
    let inputs = [encrypt(&clients[0]), encrypt(&clients[1])];
    let [left, right] = inputs.clone();
    let (session, other) = (first.clone(), second.clone());
    let answers = std::thread::scope(|scope| {
        let left = scope.spawn(move || run(&session, left));
        let right = scope.spawn(move || run(&other, right));
        [left.join().unwrap(), right.join().unwrap()]
    });
    assert!(answers[0] == answer);
    for ((client, input), answer) in clients.iter().zip(inputs).zip(answers) {
        let alone = Arc::new(Prepared::new(&context, Arc::clone(&program), 0).unwrap());
        let session = Session::new(&alone, Arc::clone(&client.keys)).unwrap();
        assert!(session.execute(input, &Control::default()).unwrap() == answer);
        assert_eq!(alone.weight_bytes(), 0);
    }

    // The ciphertexts of one client are nothing to the keys of another.
    let foreign = second.execute(encrypt(&clients[0]), &Control::default()).unwrap_err();
    assert!(foreign.to_string().contains("belongs to key"), "{foreign}");
    let none = ProgramKeys::new(EvaluationKeys::new(clients[0].keys.id()), None).unwrap();
    assert!(matches!(Session::new(&prepared, none), Err(ExecError::Params { .. })));
}

#[test]
fn programs_are_named_by_what_they_are() {
    let program = mapped_and_refreshed(6);
    let id = ProgramId::of(&program);
    assert_eq!(id, ProgramId::of(&program.clone()));
    let mut renamed = program.clone();
    renamed.name = "other".into();
    let mut changed = program;
    let tensor = changed.consts.iter().next().unwrap().1.clone();
    changed.consts = Default::default();
    let mut data = tensor.data().to_vec();
    data[37] = -data[37];
    changed.add_const(Tensor::new([16, 16], data).unwrap());
    assert!(id != ProgramId::of(&renamed) && id != ProgramId::of(&changed));
}

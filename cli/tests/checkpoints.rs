//! Evaluations that are interrupted and go on: where a checkpoint is of use, where it is refused,
//! and what a killed `fhec` leaves.

mod binary;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use fhec_ir::ckks::Ckks;
use fhec_ir::entity;
use fhec_ir::func::Func;
use fhec_ir::nn::Nn;
use fhec_ir::params::Params;
use fhec_ir::plan::Plan;
use fhec_ir::program::{Preprocess, Program, ProgramId};
use fhec_ir::text::{ConstSource, parse_func};
use fhec_passes::bootstrap::sets;
use fhec_roles::checkpoint::{CheckpointError, CheckpointFolder, Checkpoints, Identity};
use fhec_roles::{Client, Server, context};
use fhec_runtime::exec::{Control, ExecError, Observer, Prepared, Session, Witness};
use fhec_runtime::rlwe::{Ciphertext, KeyId};
use serde_json::Value;

use binary::{fhec, succeeds};

/// Three layers on a ring of degree 2^12: fast, and no security at all.
fn program() -> Program {
    let set = sets::named("n15-128").expect("a known set");
    let mut literal = set.params.literal().clone();
    // Primes of a large ring are primes of a small one.
    (literal.name, literal.log_n) = ("toy-n12".into(), 12);
    let params = Params::segmented(literal, set.params.fixed_scales().to_vec()).expect("it is one");
    let layout = "{shape=[1, 1, 64], gap=1, multiplex=1, plane=[1, 64], period=64, slots=64}";
    let text = format!(
        r#"func ckks three {{
          meta input_layout = [{layout}]
          meta output_layout = [{layout}]
          meta output_factor = 1.0
          input %0 : ct<1, 64, 6, D6, 2>
          %1 = rotate(%0) {{steps=1}}
          %2 = add(%0, %1) "first"
          %3 = mul(%2, %0)
          %4 = relinearize(%3)
          %5 = rescale(%4) "second"
          %6 = mul_scalar(%5) {{factor=0.5}}
          %7 = rescale(%6)
          %8 = rotate(%7) {{steps=2}} "third"
          return %8
        }}"#
    );
    let program: Func<Ckks> = parse_func(&text, &ConstSource::default()).expect("it is a program");
    let network = "func nn none {\n input %0 : f32[1, 64]\n return %0\n}";
    let network: Func<Nn> = parse_func(network, &ConstSource::default()).expect("it is a network");
    let plan = Plan::bare(program.ops().len());
    Program::new(program, params, network, plan, Preprocess::default()).expect("its parts fit")
}

fn image() -> Vec<f32> {
    (0..64).map(|i| (i * 37 % 101) as f32 / 101.0 - 0.5).collect()
}

/// A run that is stopped leaves what it has, at whatever op, and however recent the last checkpoint
/// is.
#[test]
fn a_stopped_run_goes_on_where_it_was() {
    struct StopAfter<'a>(&'a Control, usize);
    impl Observer for StopAfter<'_> {
        fn op_finished(&mut self, index: usize, _: f64) {
            if index == self.1 {
                self.0.cancel();
            }
        }
    }
    let whole_program = Arc::new(program());
    let (program, interface) = (&whole_program.schedule, Arc::new(whole_program.interface.clone()));
    let context = context(&interface).unwrap();
    let client = Client::generate(&interface, &context).unwrap();
    let prepared = Arc::new(Prepared::new(&context, program.clone(), 1 << 30).unwrap());
    let session = Session::new(&prepared, client.evaluation_keys().unwrap()).unwrap();
    let bundle = client.encrypt(&image()).unwrap();
    let whole = session.execute(vec![bundle.clone()], &Control::default()).unwrap();
    let temporary = tempfile::tempdir().unwrap();
    let path = temporary.path().join("one.checkpoint");
    let identity = Identity::new(interface.program, client.secret().id(), &context, &bundle);
    let hour = Duration::from_secs(3600);
    let checkpoints = || Checkpoints::new(path.clone(), &context, identity.clone(), program, hour);
    let mut stopped = 0;
    for op in 0..program.ops().len() {
        let (control, inputs) = (Control::default(), vec![bundle.clone()]);
        let (mut observer, mut witness) = (StopAfter(&control, op), checkpoints());
        let known = BTreeMap::new();
        match session.execute_from(inputs.clone(), known, &control, &mut observer, &mut witness) {
            Err(ExecError::Cancelled { op: next }) => {
                let found = checkpoints().resume(program).unwrap().unwrap();
                assert_eq!(found.next, next);
                let control = Control::default();
                let rest = session.execute_from(inputs, found.values, &control, &mut (), &mut ()).unwrap();
                assert!(rest == whole, "from op {next}");
                checkpoints().remove().unwrap();
                stopped += 1;
            }
            // Nothing was left to do.
            result => assert!(result.unwrap() == whole),
        }
    }
    assert!(stopped >= program.ops().len() - 2, "{stopped}");
}

/// The checkpoints of every layer of one evaluation, as bytes, are of use to that evaluation and to
/// no other.
#[test]
fn checkpoints_are_bound_to_program_key_and_image() {
    let whole_program = Arc::new(program());
    let (program, interface) = (&whole_program.schedule, Arc::new(whole_program.interface.clone()));
    let context = context(&interface).unwrap();
    let client = Client::generate(&interface, &context).unwrap();
    let server = Server::new(&whole_program, &context).unwrap();
    let session = server.session(client.evaluation_keys().unwrap()).unwrap();
    let hash = interface.program;
    let bundle = client.encrypt_again(&image()).unwrap();
    assert_eq!(bundle, client.encrypt_again(&image()).unwrap());
    let mut other_program = (*interface).clone();
    other_program.program = ProgramId([7; 32]);
    let twin = Client::new(&Arc::new(other_program), &context, client.secret().clone());
    assert_ne!(bundle, twin.encrypt_again(&image()).unwrap());
    let whole = session.evaluate(bundle.clone()).unwrap();

    let temporary = tempfile::tempdir().unwrap();
    let folder = CheckpointFolder::claim(temporary.path()).unwrap();
    assert!(matches!(CheckpointFolder::claim(temporary.path()), Err(CheckpointError::Busy { .. })));
    let path = folder.file("one.checkpoint");
    let identity = Identity::new(hash, client.secret().id(), &context, &bundle);
    let of = |identity: &Identity| {
        Checkpoints::new(path.clone(), &context, identity.clone(), program, Duration::ZERO)
    };
    assert_eq!(of(&identity).resume(program).unwrap(), None);

    // As if the process ended after every layer: what is there then leads to the same answer.
    let mut nexts = Vec::new();
    loop {
        let found = of(&identity).resume(program).unwrap();
        let next = found.as_ref().map_or(0, |checkpoint| checkpoint.next);
        nexts.push(next);
        if next == program.ops().len() {
            break;
        }
        // The next layer's end alone.
        let mut one =
            Once { checkpoints: of(&identity), path: &path, done: false, before: fs::read(&path).ok() };
        let known = found.map(|checkpoint| checkpoint.values).unwrap_or_default();
        let control = Control::default();
        let answer = session.evaluate_from(bundle.clone(), known, &control, &mut (), &mut one).unwrap();
        assert_eq!(answer, whole);
    }
    assert_eq!(nexts, [0, 2, 5, 8]);
    let found = of(&identity).resume(program).unwrap().unwrap();
    assert_eq!(found.values, BTreeMap::from([(program.outputs()[0], whole)]));
    assert!(found.seconds > 0.0);

    // Others': left as they are.
    let bytes = fs::read(&path).unwrap();
    let other = client.encrypt(&image()).unwrap();
    for (wrong, what) in [
        (Identity::new(ProgramId([7; 32]), client.secret().id(), &context, &bundle), "program"),
        (Identity::new(hash, KeyId([7; 16]), &context, &bundle), "key"),
        (Identity::new(hash, client.secret().id(), &context, &other), "image"),
    ] {
        let error = of(&wrong).resume(program).unwrap_err();
        assert!(matches!(error, CheckpointError::Foreign { .. }), "{error}");
        assert!(error.to_string().contains(&format!("another {what}")), "{error}");
        assert_eq!(fs::read(&path).unwrap(), bytes);
    }
    // Damage anywhere is found, whatever it is.
    let lengths = (0..64).chain((64..bytes.len()).step_by(997)).chain([bytes.len() - 1]);
    for length in lengths {
        fs::write(&path, &bytes[..length]).unwrap();
        let error = of(&identity).resume(program).unwrap_err();
        assert!(matches!(error, CheckpointError::Damaged { .. }), "{length} bytes: {error}");
    }
    for at in (0..300).chain((300..bytes.len()).step_by(991)).chain([bytes.len() - 1]) {
        let mut wrong = bytes.clone();
        wrong[at] ^= 0x40;
        fs::write(&path, &wrong).unwrap();
        let error = of(&identity).resume(program).unwrap_err();
        let expected = matches!(error, CheckpointError::Damaged { .. } | CheckpointError::Version { .. });
        assert!(expected, "byte {at}: {error}");
    }
    fs::write(&path, [&bytes[..], b"x"].concat()).unwrap();
    assert!(matches!(of(&identity).resume(program), Err(CheckpointError::Damaged { .. })));
    of(&identity).remove().unwrap();
    of(&identity).remove().unwrap();
    assert!(!path.exists());
}

/// Lets the first checkpoint that differs from the one before stay, as the last one before a
/// process ends.
struct Once<'p, 'c> {
    checkpoints: Checkpoints<'c>,
    path: &'p Path,
    done: bool,
    before: Option<Vec<u8>>,
}

impl Witness<Vec<Ciphertext>> for Once<'_, '_> {
    fn reached(&mut self, next: usize, live: &[(entity::Value, &Vec<Ciphertext>)]) {
        if !self.done {
            self.checkpoints.reached(next, live);
            self.done = fs::read(self.path).ok() != self.before;
        }
    }
}

#[test]
fn checkpoints_keep_their_distance() {
    let whole_program = Arc::new(program());
    let interface = Arc::new(whole_program.interface.clone());
    let context = context(&interface).unwrap();
    let client = Client::generate(&interface, &context).unwrap();
    let server = Server::new(&whole_program, &context).unwrap();
    let bundle = client.encrypt(&image()).unwrap();
    let temporary = tempfile::tempdir().unwrap();
    let path = temporary.path().join("one.checkpoint");
    let identity = Identity::new(interface.program, client.secret().id(), &context, &bundle);
    let hour = Duration::from_secs(3600);
    let mut checkpoints = Checkpoints::new(path, &context, identity, &whole_program.schedule, hour);
    let session = server.session(client.evaluation_keys().unwrap()).unwrap();
    let control = Control::default();
    session.evaluate_from(bundle, BTreeMap::new(), &control, &mut (), &mut checkpoints).unwrap();
    // The answer is always kept, and nothing was before it.
    let found = checkpoints.resume(&whole_program.schedule).unwrap().unwrap();
    assert_eq!(found.next, whole_program.schedule.ops().len());
}

fn models() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../models")
}

fn text(path: &Path) -> &str {
    path.to_str().expect("paths of tests are text")
}

/// Starts `fhec` and kills it as soon as the file `path` is another one than before. Says whether
/// it was killed before it ended.
fn killed_at_new(path: &Path, arguments: &[&str]) -> bool {
    let status = at_new(path, arguments, &|child| child.kill().expect("it can be killed"));
    assert!(status.success() || status.code().is_none(), "fhec {arguments:?}: {status}");
    !status.success()
}

/// Starts `fhec`, does something to it as soon as the file `path` is another one than before, and
/// waits for its end.
fn at_new(path: &Path, arguments: &[&str], act: &dyn Fn(&mut Child)) -> ExitStatus {
    let identity = |path: &Path| {
        use std::os::unix::fs::MetadataExt;
        fs::metadata(path).ok().map(|metadata| metadata.ino())
    };
    // Kept open, so that no other file gets its number.
    let (_open, before) = (fs::File::open(path), identity(path));
    let mut command = Command::new(env!("CARGO_BIN_EXE_fhec"));
    command.env("FHEC_COSTS", "zen5");
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child: Child = command.spawn().expect("fhec starts");
    loop {
        if let Some(status) = child.try_wait().expect("it can be waited for") {
            return status;
        }
        if identity(path).is_some_and(|now| Some(now) != before) {
            act(&mut child);
            return child.wait().expect("it ends");
        }
        std::thread::sleep(Duration::from_micros(200));
    }
}

/// The MNIST CNN with real parameters, on both sides.
#[test]
fn killed_evaluations_go_on_and_answer_the_same() {
    let temporary = tempfile::tempdir().unwrap();
    let path = |name: &str| temporary.path().join(name);
    let (program, keys, image) = (path("net.fhec"), path("keys"), path("image.ct"));
    let (model, digit) = (models().join("mnist_cnn_deg3.onnx"), models().join("digits/digit_7_a.png"));
    succeeds(&["compile", text(&model), "-o", text(&program)]);
    succeeds(&["keygen", text(&program), "--dir", text(&keys)]);
    let (program, keys) = (text(&program), text(&keys));
    succeeds(&["encrypt", program, "--keys", keys, "--input", text(&digit), "-o", text(&image)]);

    // The server's side.
    let (whole, resumed, folder) = (path("whole.ct"), path("resumed.ct"), path("server"));
    let image = text(&image);
    let plain = succeeds(&["eval", program, "--keys", keys, image, "-o", text(&whole), "--json"]);
    assert!(serde_json::from_str::<Value>(&plain).unwrap().get("resumed_at_op").is_none());
    let whole = fs::read(&whole).unwrap();
    let checkpoint = folder.join("evaluation.checkpoint");
    let eval = |json: &'static str| {
        let fixed = ["eval", program, "--keys", keys, image, "--checkpoint-interval", "0"];
        let given = ["--checkpoint", text(&folder), "-o", text(&resumed), json].map(str::to_owned);
        fixed.map(str::to_owned).into_iter().chain(given).collect::<Vec<String>>()
    };
    let arguments = eval("--quiet");
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    for round in 0..2 {
        assert!(killed_at_new(&checkpoint, &arguments), "round {round}: it ended before it was killed");
        assert!(checkpoint.is_file() && !resumed.exists(), "round {round}");
    }
    // Ctrl-C: the evaluation ends by itself between two ops, and leaves a checkpoint. It may have
    // come too late for a short one.
    let interrupt = |child: &mut Child| {
        let id = child.id().to_string();
        assert!(Command::new("kill").args(["-INT", &id]).status().expect("kill starts").success());
    };
    let interrupted = (0..20).any(|_| {
        let status = at_new(&checkpoint, &arguments, &interrupt);
        assert!(status.success() || status.code() == Some(130), "{status}");
        if status.success() {
            fs::remove_file(&resumed).expect("it was finished");
        }
        !status.success()
    });
    assert!(interrupted && checkpoint.is_file() && !resumed.exists());
    let kept = fs::read(&checkpoint).unwrap();
    let arguments = eval("--json");
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let report: Value = serde_json::from_str(&succeeds(&arguments)).unwrap();
    assert!(report["resumed_at_op"].as_u64().unwrap() > 0, "{report}");
    assert!(fs::read(&resumed).unwrap() == whole, "a resumed evaluation answers the same");
    assert!(!checkpoint.exists(), "the answer is somewhere else");

    // The same checkpoint for another encryption of the same image, and a damaged one: one message,
    // nothing lost.
    let other = path("other.ct");
    succeeds(&["encrypt", program, "--keys", keys, "--input", text(&digit), "-o", text(&other)]);
    for (input, bytes, expected) in
        [(text(&other), &kept[..], "another image"), (image, &kept[..kept.len() / 2], "truncated")]
    {
        fs::write(&checkpoint, bytes).unwrap();
        let mut wrong = arguments.clone();
        wrong[4] = input;
        let output = fhec(&wrong);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{errors}");
        assert!(errors.contains(expected) && errors.contains("remove it"), "{errors}");
        assert_eq!(fs::read(&checkpoint).unwrap(), bytes);
    }

    // All roles on one machine: keys are kept where only their owner reads them.
    let folder = path("run");
    let checkpoint = folder.join("image-0.checkpoint");
    let digit = text(&digit);
    let run = ["run", program, "--input", digit, "--checkpoint", text(&folder), "--checkpoint-interval", "0"];
    assert!(killed_at_new(&checkpoint, &run), "it ended before it was killed");
    let secret = folder.join("keys/secret.key");
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(fs::metadata(&secret).unwrap().permissions().mode() & 0o777, 0o600);
    }
    let json: Vec<&str> = run.into_iter().chain(["--json"]).collect();
    let resumed: Value = serde_json::from_str(&succeeds(&json)).unwrap();
    let resumed = &resumed["images"][0];
    assert!(resumed["resumed_at_op"].as_u64().unwrap() > 0);
    assert_eq!((&resumed["class"], &resumed["overflow"]), (&Value::from(7), &Value::from(false)));
    // Once more: the answer is there, and the same with the same keys but no checkpoint.
    let again: Value = serde_json::from_str(&succeeds(&json)).unwrap();
    fs::remove_file(&checkpoint).unwrap();
    let afresh: Value = serde_json::from_str(&succeeds(&json)).unwrap();
    for other in [again, afresh] {
        assert_eq!(other["images"][0]["logits"], resumed["logits"]);
    }
    // Another picture under the same name.
    let other = models().join("digits/digit_2_a.png");
    let mut wrong = json.clone();
    wrong[3] = text(&other);
    let output = fhec(&wrong);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && errors.contains("another image"), "{errors}");
}

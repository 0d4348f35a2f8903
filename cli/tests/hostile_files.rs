//! Files of somebody who means harm: doctored programs, answers that are none, small files that ask
//! for much. Every command refuses them, with one message, under a limit of memory and of time.
//! `docs/threat-model.md` lists the attacks and names these tests.
#![cfg(unix)]

mod binary;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, OnceLock};

use fhec_compiler::program;
use fhec_ir::bootstrap::BootstrapParams;
use fhec_ir::ckks::Ckks;
use fhec_ir::func::Func;
use fhec_ir::nn::Nn;
use fhec_ir::plan::Plan;
use fhec_ir::program::file::{FORMAT_VERSION, FuncMessage};
use fhec_ir::program::wire::{InterfaceMessage, ParamsMessage, TensorMessage};
use fhec_ir::program::{Preprocess, Program, ProgramId};
use fhec_ir::scale::Scale;
use fhec_ir::text::{ConstSource, parse_func};
use fhec_passes::bootstrap::sets;
use fhec_roles::{Client, Server, context, exchange};
use fhec_runtime::ckks::Evaluator;
use fhec_runtime::rlwe::Ciphertext;
use prost::Message as _;
use serde_json::Value;

use binary::{fhec, succeeds};

fn text(path: &Path) -> &str {
    path.to_str().expect("paths of tests are text")
}

fn model(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../models").join(name)
}

/// A compiled network without bootstraps, keys, an encrypted digit and its answer; and a program
/// with bootstraps.
struct Good {
    folder: tempfile::TempDir,
}

impl Good {
    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn program(&self) -> Program {
        program::open(&self.path("net.fhec"), 128).expect("it is good")
    }
}

fn good() -> &'static Good {
    static GOOD: OnceLock<Good> = OnceLock::new();
    GOOD.get_or_init(|| {
        let good = Good { folder: tempfile::tempdir().expect("a temporary folder") };
        let path = |name: &str| good.path(name);
        let (net, keys, image, answer) =
            (path("net.fhec"), path("keys"), path("image.ct"), path("answer.ct"));
        succeeds(&["compile", text(&model("mnist_cnn_deg3.onnx")), "-o", text(&net)]);
        succeeds(&["keygen", text(&net), "--dir", text(&keys)]);
        let digit = model("digits/digit_7_a.png");
        let (net, keys) = (text(&net), text(&keys));
        succeeds(&["encrypt", net, "--keys", keys, "--input", text(&digit), "-o", text(&image)]);
        succeeds(&["eval", net, "--keys", keys, text(&image), "-o", text(&answer)]);
        let bytes = bootstrapped().to_bytes();
        fs::write(path("refresh.fhec"), bytes).expect("it is written");
        good
    })
}

/// A program of one image that refreshes all slots, on parameters of 128 bits.
fn bootstrapped() -> Program {
    let set = sets::named("n15-128").expect("a known set");
    let slots = set.params.slots();
    let bootstrap = set.with_slots(slots).expect("a number of slots");
    let (input, output) = (bootstrap.input_level(), bootstrap.output_level);
    let layout = format!(
        "[{{shape=[1, 1, {slots}], gap=1, multiplex=1, plane=[1, {slots}], period={slots}, slots={slots}}}]"
    );
    let program = format!(
        "func ckks refresh {{
          meta input_layout = {layout}
          meta output_layout = {layout}
          meta output_factor = 1.0
          input %0 : ct<1, {slots}, {input}, D{input}, 2>
          %1 = bootstrap(%0) {{level={output}}}
          return %1
        }}"
    );
    let mut program: Func<Ckks> = parse_func(&program, &ConstSource::default()).expect("it is a program");
    BootstrapParams::set_in_program(&mut program, &vec![bootstrap]);
    let network = format!("func nn none {{\n input %0 : f32[1, 1, 1, {slots}]\n return %0\n}}");
    let network: Func<Nn> = parse_func(&network, &ConstSource::default()).expect("it is a network");
    let plan = Plan::bare(program.ops().len());
    Program::new(program, set.params, network, plan, Preprocess::default()).expect("its parts fit")
}

/// A program's file before it is sealed, for changes that the library would not make.
#[derive(Clone)]
struct Parts {
    interface: InterfaceMessage,
    schedule: FuncMessage,
    reference: FuncMessage,
    plan: String,
}

impl Parts {
    fn of(program: &Program) -> Self {
        Parts {
            interface: (&program.interface).into(),
            schedule: FuncMessage::of(&program.schedule),
            reference: FuncMessage::of(program.reference().expect("it is there")),
            plan: program.plan.to_json().expect("it is data"),
        }
    }

    /// The file, with right checksums and a right name of the program.
    fn file(&self) -> Vec<u8> {
        let program = ProgramId::of_text(&self.schedule.text).0.to_vec();
        let interface = InterfaceMessage { program, ..self.interface.clone() };
        let sections = [
            interface.encode_to_vec(),
            self.schedule.encode_to_vec(),
            self.reference.encode_to_vec(),
            self.plan.clone().into_bytes(),
        ];
        let compressed = |bytes: Vec<u8>| zstd::bulk::compress(&bytes, 9).expect("memory does not fail");
        let sections = sections.map(compressed);
        let mut bytes = b"FHEP".to_vec();
        bytes.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        bytes.extend_from_slice(&(sections.len() as u32).to_le_bytes());
        for (kind, section) in (1u32..).zip(&sections) {
            bytes.extend_from_slice(&kind.to_le_bytes());
            bytes.extend_from_slice(&(section.len() as u64).to_le_bytes());
            bytes.extend_from_slice(blake3::hash(section).as_bytes());
        }
        let digest = blake3::hash(&bytes);
        bytes.extend_from_slice(digest.as_bytes());
        sections.iter().for_each(|section| bytes.extend_from_slice(section));
        bytes
    }
}

/// `fhec arguments` with at most so much memory, in KiB of address space, and 20 seconds of
/// processor time.
fn limited(kibibytes: u64, arguments: &[&str]) -> Output {
    let quoted: Vec<String> = arguments.iter().map(|argument| format!("'{argument}'")).collect();
    let binary = env!("CARGO_BIN_EXE_fhec");
    let script = format!("ulimit -v {kibibytes}; ulimit -t 20; exec '{binary}' {}", quoted.join(" "));
    Command::new("sh")
        .env("FHEC_COSTS", "zen5")
        .args(["-c", &script])
        .stdin(Stdio::null())
        .output()
        .expect("sh starts")
}

/// Address space that is enough to refuse a file.
const LITTLE: u64 = 2_500_000;

/// Who reads what is wrong with a program.
#[derive(Clone, Copy, PartialEq)]
enum Readers {
    /// Every command: it is in the interface.
    All,
    /// Commands that read more than the interface; the others do not look at it.
    OfSchedule,
}

/// Every command that reads what is wrong with `program` refuses it, and says `expected`.
fn refused(readers: Readers, program: &Path, expected: &str) {
    let good = good();
    let (keys, image, answer) = (good.path("keys"), good.path("image.ct"), good.path("answer.ct"));
    let folder = tempfile::tempdir().unwrap();
    let (new, out) = (folder.path().join("keys"), folder.path().join("out"));
    let digit = model("digits/digit_7_a.png");
    let (program, keys, digit, out) = (text(program), text(&keys), text(&digit), text(&out));
    let of_schedule: [&[&str]; 6] = [
        &["inspect", program],
        &["eval", program, "--keys", keys, text(&image), "-o", out],
        &["run", program, "--input", digit],
        &["simulate", program, "--dataset", digit],
        &["diff", program, program],
        &["server", program, "-o", out],
    ];
    let of_interface: [&[&str]; 4] = [
        &["keygen", program, "--dir", text(&new)],
        &["encrypt", program, "--keys", keys, "--input", digit, "-o", out],
        &["decrypt", program, "--keys", keys, text(&answer)],
        &["client", program, "-o", out],
    ];
    let all = of_schedule.into_iter().chain(of_interface.into_iter().filter(|_| readers == Readers::All));
    for command in all {
        let output = limited(LITTLE, command);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{command:?}: {errors}");
        assert_eq!(errors.lines().filter(|line| line.starts_with("error: ")).count(), 1, "{errors}");
        assert!(errors.contains(expected), "{command:?}: `{expected}` is not in {errors}");
        assert!(output.stdout.is_empty(), "{command:?} printed a result");
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "something was written");
}

fn written(folder: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, bytes).unwrap();
    path
}

#[test]
fn doctored_parameters_are_refused_by_every_command() {
    let folder = tempfile::tempdir().unwrap();
    let good = good();
    // The good ones pass.
    succeeds(&["inspect", text(&good.path("net.fhec"))]);
    let inspected = succeeds(&["inspect", text(&good.path("refresh.fhec"))]);
    assert!(inspected.contains("ephemeral: sparse ternary, h = 32, log2(q0 p) = "), "{inspected}");

    let refresh = Parts::of(&bootstrapped());
    let ephemeral = |weight: u64, of_interface: u64| {
        let mut parts = refresh.clone();
        let before = parts.schedule.text.clone();
        parts.schedule.text = before.replace("ephemeral_weight=32", &format!("ephemeral_weight={weight}"));
        assert!(weight == 32 || parts.schedule.text != before);
        let weight = &mut parts.interface.keys.as_mut().unwrap().encapsulation[0];
        assert_eq!(std::mem::replace(weight, of_interface), 32);
        parts.file()
    };
    succeeds(&["inspect", text(&written(folder.path(), "same.fhec", &ephemeral(32, 32)))]);
    refused(Readers::All, &written(folder.path(), "ephemeral.fhec", &ephemeral(1, 1)), "Hamming weight 1");
    // What the client is told of and what the server runs are compared.
    let other = written(folder.path(), "other.fhec", &ephemeral(33, 32));
    refused(Readers::OfSchedule, &other, "not those of its interface");

    let main = |change: &dyn Fn(&mut ParamsMessage)| {
        let mut parts = Parts::of(&good.program());
        change(parts.interface.params.as_mut().unwrap());
        parts.file()
    };
    let sparse = main(&|params| params.hamming_weight = 1);
    refused(Readers::All, &written(folder.path(), "sparse.fhec", &sparse), "Hamming weight 1");
    // Primes of a large ring are primes of a small one. Layouts do not fit it either; with those
    // that do, security is what is wrong.
    let smaller = |log_n: u32| {
        let mut parts = Parts::of(&good.program());
        parts.interface.params.as_mut().unwrap().log_n = log_n;
        let slots = 1u64 << (log_n - 1);
        for port in parts.interface.input.iter_mut().chain(&mut parts.interface.outputs) {
            (port.ty[1], port.layout[8], port.layout[7]) = (slots, slots, port.layout[7].min(slots));
        }
        let keys = parts.interface.keys.as_mut().unwrap();
        keys.steps.retain(|&steps| steps < slots);
        keys.levels.truncate(keys.steps.len());
        parts.file()
    };
    let path = written(folder.path(), "small.fhec", &smaller(11));
    refused(Readers::All, &path, "no security estimate for ring degree 2^11");
    refused(Readers::All, &written(folder.path(), "half.fhec", &smaller(13)), "is above");
    // A key at a modulus that there is not.
    let mut level = Parts::of(&good.program());
    level.interface.keys.as_mut().unwrap().levels[0] = 60_000;
    refused(Readers::All, &written(folder.path(), "level.fhec", &level.file()), "one is for level");
}

#[test]
fn what_a_program_says_of_its_security_is_not_printed() {
    let folder = tempfile::tempdir().unwrap();
    let mut parts = Parts::of(&good().program());
    let mut plan: Value = serde_json::from_str(&parts.plan).unwrap();
    plan["security_bits"] = 256.into();
    plan["security_source"] = "NIST, audited \u{1b}[1m".into();
    plan["secret"] = "perfect".into();
    plan["log_qp"] = 1.0.into();
    plan["network"] = "net\u{1b}[2K\rwork".into();
    parts.plan = plan.to_string();
    parts.interface.preprocess =
        r#"{"scale": 255.0, "mean": [0.0], "std": [1.0], "classes": ["\u001b[2K\rclass 7 (seven)\u001b[8m\nx"]}"#
            .into();
    let path = written(folder.path(), "boasts.fhec", &parts.file());
    let inspected = succeeds(&["inspect", text(&path)]);
    assert!(!inspected.contains("256") && !inspected.contains("NIST") && !inspected.contains("perfect"));
    assert!(inspected.contains("128 bits") && inspected.contains("net[2Kwork"), "{inspected}");
    assert!(!inspected.contains(|c: char| c != '\n' && c.is_control()), "{inspected:?}");
    let json = succeeds(&["inspect", text(&path), "--json"]);
    let plan: Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&plan["security_bits"], &plan["secrets"][0]["bits"]), (&128.into(), &128.into()));
    assert!(!json.contains(|c: char| c != '\n' && c.is_control()));
    // A class name goes through a decryption, too.
    let keys = good().path("keys");
    let decrypted =
        succeeds(&["decrypt", text(&path), "--keys", text(&keys), text(&good().path("answer.ct"))]);
    assert!(!decrypted.contains(|c: char| c != '\n' && c.is_control()), "{decrypted:?}");
    assert_eq!(decrypted.lines().count(), 2, "{decrypted}");
}

#[test]
fn less_security_has_to_be_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("net.fhec");
    let net = model("mnist_cnn_deg3.onnx");
    let compile = ["compile", text(&net), "--security", "98", "-o", text(&path)];
    let compiled = fhec(&compile);
    let warnings = String::from_utf8_lossy(&compiled.stderr);
    assert!(compiled.status.success() && warnings.matches("--min-security 98").count() == 1, "{warnings}");
    refused(Readers::All, &path, "--min-security 98");
    succeeds(&["inspect", text(&path), "--min-security", "98"]);
    let refused = fhec(&["inspect", text(&path), "--min-security", "0"]);
    assert_eq!(refused.status.code(), Some(2));
}

#[test]
fn small_files_neither_hang_nor_kill() {
    use Readers::{All, OfSchedule};
    let folder = tempfile::tempdir().unwrap();
    let good = Parts::of(&good().program());
    let made = |name: &str, change: &dyn Fn(&mut Parts)| {
        let mut parts = good.clone();
        change(&mut parts);
        written(folder.path(), name, &parts.file())
    };
    let scale =
        |log_scale: u32| move |p: &mut Parts| p.interface.params.as_mut().unwrap().log_scale = log_scale;
    refused(All, &made("scale", &scale(3_000_000)), "canonical scale");
    refused(All, &made("larger-scale", &scale(4_000_000_000)), "canonical scale");
    let primes = |p: &mut Parts| p.interface.params.as_mut().unwrap().p = vec![(1 << 61) - 1; 1 << 20];
    refused(All, &made("primes", &primes), "are more than 128");
    let layout = |p: &mut Parts| {
        let input = p.interface.input.as_mut().unwrap();
        // One element in each vector, and as many vectors.
        (input.layout[7], input.ty[0]) = (1, 1 << 40);
    };
    refused(All, &made("layout", &layout), "error: ");
    let brackets = |p: &mut Parts| p.interface.preprocess = "[".repeat(32 << 20);
    refused(All, &made("preprocess", &brackets), "normalisation cannot be read");

    let random = |p: &mut Parts| {
        let constants: Vec<String> =
            (0..400).map(|i| format!("const @{i} : f32[16777216] = random({i})")).collect();
        p.schedule.text = format!("func ckks bomb {{\n{}\n}}", constants.join("\n"));
    };
    refused(OfSchedule, &made("random", &random), "hand-written text only");
    let brackets = |count: usize| {
        move |p: &mut Parts| p.schedule.text = "func ckks bomb { meta x = ".to_string() + &"[".repeat(count)
    };
    refused(OfSchedule, &made("tokens", &brackets(512 << 20)), "decompresses to more than");
    refused(OfSchedule, &made("brackets", &brackets(15 << 20)), "nested too deeply");
    let zeros = |p: &mut Parts| {
        p.schedule.tensors.push(TensorMessage { shape: vec![1 << 27], data: vec![0; 1 << 29] });
    };
    refused(OfSchedule, &made("zeros", &zeros), "decompresses to more than");
    // A key for each of thousands of rotations that nothing needs.
    let rotations = |p: &mut Parts| {
        let (head, tail) = p.schedule.text.rsplit_once("return").expect("it returns");
        let last = head.rfind("\n  %").expect("an op");
        let last: usize = head[last + 4..].split(' ').next().unwrap().parse().expect("a value");
        let extra: String =
            (1..4096).map(|s| format!("%{} = rotate(%0) {{steps={s}}}\n", last + s)).collect();
        p.schedule.text = format!("{head}{extra}return{tail}");
    };
    refused(OfSchedule, &made("rotations", &rotations), "nothing uses %");
    let slots = |p: &mut Parts| p.schedule.text = p.schedule.text.replacen("ct<1, ", "ct<1073741824, ", 1);
    refused(OfSchedule, &made("slots", &slots), "error: ");
    // Devices that never end.
    let endless = fhec(&["inspect", "/dev/zero"]);
    assert_eq!(endless.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&endless.stderr).contains("more than"));
}

/// A key for every rotation that there is: they are made, but not before somebody has been asked.
#[test]
fn keys_without_measure_are_refused_before_the_first_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let mut parts = Parts::of(&good().program());
    let slots = parts.interface.input.as_ref().unwrap().ty[1];
    let keys = parts.interface.keys.as_mut().unwrap();
    let level = *keys.levels.iter().max().unwrap();
    keys.steps = (1..slots).collect();
    keys.levels = vec![level; keys.steps.len()];
    let path = written(folder.path(), "many.fhec", &parts.file());
    let keys = folder.path().join("keys");
    let output = limited(LITTLE, &["keygen", text(&path), "--dir", text(&keys)]);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert!(errors.contains("can be had") && output.stdout.is_empty() && !keys.exists(), "{errors}");
    let output = fhec(&["keygen", text(&path), "--dir", text(&keys), "--max-keys", "1MiB"]);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.contains("--max-keys") && !keys.exists(), "{errors}");
}

#[test]
fn short_memory_is_a_message_before_work_starts() {
    let good = good();
    let (program, keys, image) = (good.path("net.fhec"), good.path("keys"), good.path("image.ct"));
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out.ct");
    let digit = model("digits/digit_7_a.png");
    let (new, out) = (folder.path().join("keys"), text(&out));
    // Enough to open the program, not to work with it.
    let short = 150_000;
    let commands: [&[&str]; 3] = [
        &["eval", text(&program), "--keys", text(&keys), text(&image), "-o", out],
        &["run", text(&program), "--input", text(&digit)],
        &["keygen", text(&program), "--dir", text(&new)],
    ];
    for command in commands {
        let mut arguments = vec!["--threads", "1"];
        arguments.extend(command);
        let output = limited(short, &arguments);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{command:?}: {errors}");
        assert!(errors.contains("--ignore-memory"), "{command:?}: {errors}");
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

/// An answer whose header says anything but what the program says, whatever its residues are, and
/// an image likewise.
#[test]
fn bundles_are_compared_with_the_program_as_a_whole() {
    let good = good();
    let program = good.program();
    let interface = Arc::new(program.interface.clone());
    let context = context(&interface).unwrap();
    let keys = good.path("keys");
    let secret = exchange::read_secret_key(&keys, &context).unwrap();
    let client = Client::new(&interface, &context, secret);
    let server = Server::new(&Arc::new(program), &context).unwrap();
    let session = server.session(exchange::read_evaluation_keys(&keys, &context).unwrap()).unwrap();
    let evaluator_keys = exchange::read_evaluation_keys(&keys, &context).unwrap();
    let evaluator = Evaluator::new(&context, evaluator_keys.evaluation());
    let folder = tempfile::tempdir().unwrap();
    let (of_answer, of_image) = (interface.output().ty, interface.input.ty);
    let answer = exchange::read_ciphertexts(&good.path("answer.ct"), &context, &of_answer).unwrap();
    let image = exchange::read_ciphertexts(&good.path("image.ct"), &context, &of_image).unwrap();
    assert!(!client.decrypt(&answer).unwrap().overflow);

    let top = context.params().top_level();
    let wrong = |ciphertext: &Ciphertext| {
        let level = ciphertext.level();
        let other = if level == top { level - 1 } else { level + 1 };
        let three = evaluator.mul(&image[0], &image[0]).unwrap();
        [
            ("another scale", ciphertext.clone().with_scale(Scale::canonical(other))),
            ("a squared scale", ciphertext.clone().with_scale(Scale::squared(level.max(1)))),
            ("fewer slots", ciphertext.clone().with_slots(ciphertext.slots() / 2)),
            (
                "another level",
                evaluator.level_drop(&image[0], if level == 0 { 1 } else { level - 1 }).unwrap(),
            ),
            ("three polynomials", three.with_scale(Scale::canonical(level))),
        ]
    };
    for (what, ciphertext) in wrong(&answer[0]) {
        assert!(client.decrypt(std::slice::from_ref(&ciphertext)).is_err(), "an answer of {what}");
        let path = folder.path().join("answer.ct");
        exchange::write_ciphertexts(&path, &context, &[ciphertext]).unwrap();
        let output = fhec(&["decrypt", text(&good.path("net.fhec")), "--keys", text(&keys), text(&path)]);
        assert_eq!(output.status.code(), Some(1), "{what}");
        assert!(output.stdout.is_empty(), "{what}");
    }
    for (what, ciphertext) in wrong(&image[0]) {
        assert!(session.evaluate(vec![ciphertext]).is_err(), "an image of {what}");
    }
    // A fresh ciphertext, whose uniform half is a seed, is no answer, whatever its level is said to
    // be.
    let seeded = client.encrypt_seeded(&vec![0.5; 28 * 28]).unwrap();
    let path = folder.path().join("seeded.ct");
    exchange::write_seeded_ciphertexts(&path, &context, &seeded).unwrap();
    assert_eq!(exchange::read_ciphertexts(&path, &context, &of_image).unwrap().len(), 1);
    assert!(exchange::read_answer(&path, &context, &[of_image]).is_err());
    let two = [answer[0].clone(), answer[0].clone()];
    assert!(client.decrypt(&two).is_err());
    let path = folder.path().join("two.ct");
    exchange::write_ciphertexts(&path, &context, &two).unwrap();
    let error = exchange::read_ciphertexts(&path, &context, &of_answer).unwrap_err();
    assert!(error.to_string().contains("more than the"), "{error}");
    // Thousands are announced, none is there.
    let announced = [&b"FHEB"[..], &4000u64.to_le_bytes()].concat();
    fs::write(&path, announced).unwrap();
    let error = exchange::read_ciphertexts(&path, &context, &of_answer).unwrap_err();
    assert!(error.to_string().contains("the file has 4000"), "{error}");
}

/// What a server could learn of an answer: no more digits than are certain, no residues, no number
/// in a refusal, a count of answers.
#[test]
fn answers_show_what_is_certain_and_no_more() {
    let good = good();
    let keys = tempfile::tempdir().unwrap();
    for name in ["secret.key", "public.key", "evaluation.keys"] {
        fs::copy(good.path("keys").join(name), keys.path().join(name)).unwrap();
    }
    let (program, answer) = (good.path("net.fhec"), good.path("answer.ct"));
    let decrypt = |flags: &[&str]| {
        let mut arguments = vec!["decrypt", text(&program), "--keys", text(keys.path()), text(&answer)];
        arguments.extend(flags);
        let output = fhec(&arguments);
        let errors = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{errors}");
        (String::from_utf8(output.stdout).unwrap(), errors)
    };
    let json = |flags: &[&str]| -> Value { serde_json::from_str(&decrypt(flags).0).unwrap() };
    let shown = json(&["--json"]);
    let raw = json(&["--json", "--raw"]);
    let step = shown["logit_step"].as_f64().unwrap();
    let mut differ = false;
    for (shown, raw) in shown["logits"].as_array().unwrap().iter().zip(raw["logits"].as_array().unwrap()) {
        let (shown, raw) = (shown.as_f64().unwrap(), raw.as_f64().unwrap());
        assert!((shown / step - (shown / step).round()).abs() < 1e-6, "{shown} is no multiple of {step}");
        assert!((shown - raw).abs() <= step / 2.0 + 1e-9);
        differ |= shown != raw;
    }
    assert!(differ && (1e-6..1.0).contains(&step), "{step}");
    assert!(shown.get("spare_residue").is_none() && shown.get("imaginary_residue").is_none());
    assert!(json(&["--json", "-v"])["spare_residue"].is_number());
    let class = json(&["--json", "--class-only"]);
    assert!(class.get("logits").is_none() && class["class"] == shown["class"]);
    assert_eq!(decrypt(&["--class-only"]).0.lines().count(), 1);
    assert!(decrypt(&["--raw"]).1.contains("threat-model"));
    let counted = fs::read_to_string(keys.path().join("answers.count")).unwrap();
    assert_eq!(counted.trim(), "6");
    // Beyond what one key should answer, new ones are advised.
    fs::write(keys.path().join("answers.count"), "100000\n").unwrap();
    assert!(decrypt(&[]).1.contains("new ones are advised"));

    // Residues of noise: refused, with the words that every refusal has, and counted.
    let refused = |bundle: &[Ciphertext]| {
        let program = good.program();
        let context = context(&program.interface).unwrap();
        let path = keys.path().join("noise.ct");
        exchange::write_ciphertexts(&path, &context, bundle).unwrap();
        let output =
            fhec(&["decrypt", text(&good.path("net.fhec")), "--keys", text(keys.path()), text(&path)]);
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).unwrap()
    };
    let program = good.program();
    let context = context(&program.interface).unwrap();
    let ty = program.interface.output().ty;
    let honest = exchange::read_ciphertexts(&answer, &context, &ty).unwrap();
    let evaluation_keys = exchange::read_evaluation_keys(keys.path(), &context).unwrap();
    let evaluator = Evaluator::new(&context, evaluation_keys.evaluation());
    // Where copies and spare slots are others: as large as they are, turned by one slot.
    let turned = honest[0].clone().with_scale(ty.scale);
    let noise = evaluator.sub(&turned, &evaluator.add(&turned, &turned).unwrap()).unwrap();
    let noise = (0..40).fold(noise, |sum, _| evaluator.add(&sum, &sum).unwrap());
    let message = refused(&[noise]);
    assert!(
        message.contains("is refused") && !message.contains("e-") && !message.contains("e+"),
        "{message}"
    );
    assert_eq!(fs::read_to_string(keys.path().join("answers.count")).unwrap().trim(), "100002");
}

#[test]
fn secret_keys_that_others_can_read_are_warned_of() {
    use std::os::unix::fs::PermissionsExt;
    let good = good();
    let keys = tempfile::tempdir().unwrap();
    fs::copy(good.path("keys").join("secret.key"), keys.path().join("secret.key")).unwrap();
    let decrypt = || {
        let answer = good.path("answer.ct");
        let output =
            fhec(&["decrypt", text(&good.path("net.fhec")), "--keys", text(keys.path()), text(&answer)]);
        assert!(output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    assert_eq!(decrypt(), "");
    fs::set_permissions(keys.path().join("secret.key"), fs::Permissions::from_mode(0o644)).unwrap();
    assert!(decrypt().contains("chmod 600"));
}

/// The secret does not get into a core dump: the system writes none.
#[cfg(target_os = "linux")]
#[test]
fn commands_with_secrets_write_no_core_dumps() {
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("keys");
    let mut child = Command::new(env!("CARGO_BIN_EXE_fhec"))
        .env("FHEC_COSTS", "zen5")
        .args(["run", "--example", "mnist"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let limits = format!("/proc/{}/limits", child.id());
    let none = |text: String| {
        let line = text.lines().find(|line| line.starts_with("Max core file size")).unwrap().to_string();
        line.split_whitespace().nth(4) == Some("0")
    };
    let start = std::time::Instant::now();
    while start.elapsed().as_secs() < 20 && !fs::read_to_string(&limits).is_ok_and(none) {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let limited = fs::read_to_string(&limits).is_ok_and(none);
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(limited && !keys.exists());
}

//! The `fhec` binary as users meet it: client and server apart on a small network, the JSON
//! contract, and bad input. Every failure must be one message on standard error, exit code 1, and
//! no file half written.
//!
//! The network is the MNIST CNN with polynomial activations of degree 3: real parameters, small
//! keys.

mod binary;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use serde_json::Value;

use binary::fhec;

fn models() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../models")
}

fn digit() -> PathBuf {
    models().join("digits/digit_7_a.png")
}

fn text(path: &Path) -> &str {
    path.to_str().expect("paths of tests are text")
}

fn succeeds(arguments: &[&str]) -> String {
    let output = fhec(arguments);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "fhec {arguments:?}: {errors}");
    String::from_utf8(output.stdout).expect("output is text")
}

/// Runs `fhec`, which must fail as failures must, with `expected` in its message.
fn fails(arguments: &[&str], expected: &str) {
    let output = fhec(arguments);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "fhec {arguments:?}: {errors}");
    assert!(!errors.contains("panicked"), "fhec {arguments:?}: {errors}");
    assert_eq!(
        errors.lines().filter(|line| line.starts_with("error: ")).count(),
        1,
        "fhec {arguments:?}: {errors}"
    );
    assert!(errors.contains(expected), "fhec {arguments:?}: {errors}");
    assert!(output.stdout.is_empty(), "fhec {arguments:?} printed a result");
}

/// A folder with a compiled network, keys, and an encrypted digit, made once for all tests of this
/// process.
struct Shared {
    folder: tempfile::TempDir,
}

impl Shared {
    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

fn shared() -> &'static Shared {
    static SHARED: OnceLock<Shared> = OnceLock::new();
    SHARED.get_or_init(|| {
        let shared = Shared { folder: tempfile::tempdir().expect("a temporary folder") };
        let (program, keys, image) = (shared.path("net.fhec"), shared.path("keys"), shared.path("image.ct"));
        compile(&program, "128");
        succeeds(&["keygen", text(&program), "--dir", text(&keys)]);
        let digit = digit();
        let arguments =
            ["encrypt", text(&program), "--keys", text(&keys), "--input", text(&digit), "-o", text(&image)];
        succeeds(&arguments);
        shared
    })
}

fn compile(output: &Path, security: &str) -> String {
    let model = models().join("mnist_cnn_deg3.onnx");
    succeeds(&["compile", text(&model), "--security", security, "-o", text(output), "--json"])
}

/// No file in `folder` but those of `expected`.
fn assert_only(folder: &Path, expected: &[&str]) {
    let entries = fs::read_dir(folder).expect("the folder is there");
    let mut names: Vec<String> =
        entries.map(|entry| entry.expect("readable").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    assert_eq!(names, expected);
}

#[test]
fn client_and_server_apart_agree_with_the_plain_network() {
    let shared = shared();
    let (program, keys, answer) = (shared.path("net.fhec"), shared.path("keys"), shared.path("answer.ct"));
    // The server's folder has the public evaluation keys alone.
    let server = shared.path("server");
    fs::create_dir_all(&server).unwrap();
    fs::copy(keys.join("evaluation.keys"), server.join("evaluation.keys")).unwrap();
    let image = shared.path("image.ct");
    succeeds(&["eval", text(&program), "--keys", text(&server), text(&image), "-o", text(&answer)]);
    let decrypted = succeeds(&["decrypt", text(&program), "--keys", text(&keys), text(&answer), "--json"]);
    let decrypted: Value = serde_json::from_str(&decrypted).unwrap();
    assert_eq!(decrypted["class"], 7);
    assert_eq!(decrypted["overflow"], false);

    let run = succeeds(&["run", text(&program), "--input", text(&digit()), "--json"]);
    let run: Value = serde_json::from_str(&run).unwrap();
    let image = &run["images"][0];
    assert_eq!((&image["class"], &image["reference_class"]), (&Value::from(7), &Value::from(7)));
    // The activations are polynomials, so encryption is the only difference.
    for (key, logits) in [("logits", &image["logits"]), ("decrypt", &decrypted["logits"])] {
        for (found, plain) in
            logits.as_array().unwrap().iter().zip(image["reference_logits"].as_array().unwrap())
        {
            let difference = (found.as_f64().unwrap() - plain.as_f64().unwrap()).abs();
            assert!(difference < 1e-3, "{key}: {difference}");
        }
    }
    for key in ["keygen_seconds", "peak_rss_bytes"] {
        assert!(run[key].as_f64().is_some_and(|x| x > 0.0), "{key}");
    }
    for key in ["index", "seconds", "overflow"] {
        assert!(!image[key].is_null(), "{key}");
    }
}

#[test]
fn plans_follow_the_json_contract_and_state_their_security() {
    let folder = tempfile::tempdir().unwrap();
    let mut log_n = Vec::new();
    for security in ["98", "128", "192"] {
        let program = folder.path().join(format!("{security}.fhec"));
        let compiled: Value = serde_json::from_str(&compile(&program, security)).unwrap();
        let inspected: Value =
            serde_json::from_str(&succeeds(&["inspect", text(&program), "--json", "--min-security", "98"]))
                .unwrap();
        assert_eq!(compiled, inspected);
        let numbers = [
            "log_n",
            "log_qp",
            "bootstraps",
            "rotations",
            "levels",
            "key_bytes",
            "predicted_seconds",
            "predicted_peak_bytes",
        ];
        for key in numbers {
            assert!(inspected[key].is_number(), "{key}");
        }
        assert!(inspected.get("log2_failure_probability").is_some());
        assert!(inspected["security_bits"].as_u64().unwrap() >= security.parse().unwrap());
        log_n.push(inspected["log_n"].as_u64().unwrap());
    }
    assert!(log_n.is_sorted());
    assert!(
        succeeds(&[
            "inspect",
            text(&folder.path().join("98.fhec")),
            "--emit",
            "ckks",
            "--min-security",
            "98"
        ])
        .starts_with("func ckks")
    );
}

#[test]
fn the_same_compile_gives_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let (a, b) = (folder.path().join("a.fhec"), folder.path().join("b.fhec"));
    compile(&a, "128");
    compile(&b, "128");
    assert!(fs::read(a).unwrap() == fs::read(b).unwrap());
}

/// Pixels that are normalised otherwise than in training spoil a network silently: the plan says
/// that nobody told, a simulation that the network is wrong.
#[test]
fn what_was_not_said_of_images_is_noted() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let (model, program) = (path("net.onnx"), path("net.fhec"));
    fs::copy(models().join("mnist_cnn_deg3.onnx"), &model).unwrap();
    let output = fhec(&["compile", text(&model), "-o", text(&program), "--json"]);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.contains("no normalisation given") && !errors.contains('\x1b'), "{errors}");
    let plan: Value = serde_json::from_slice(&output.stdout).unwrap();
    let notes = plan["notes"].to_string();
    assert!(notes.contains("no normalisation given"), "{notes}");
    // Its activations are polynomials.
    assert!(notes.contains("--calibration FILE") && !notes.contains("approximated"), "{notes}");
    assert!(succeeds(&["inspect", text(&program), "--ranges"]).contains("no activation is approximated"));
    // A model that cannot be read is not spoken of otherwise.
    fs::write(path("junk.onnx"), b"this is no model").unwrap();
    let output = fhec(&["compile", text(&path("junk.onnx")), "-o", text(&program)]);
    assert!(!String::from_utf8_lossy(&output.stderr).contains("normalisation"));

    // Black images of ten classes: most of the labels are wrong, whatever the network makes of
    // black.
    let images = [&[0, 0, 8, 3, 0, 0, 0, 10, 0, 0, 0, 28, 0, 0, 0, 28][..], &[0; 10 * 28 * 28]].concat();
    fs::write(path("black-images-idx3-ubyte"), images).unwrap();
    let labels = [&[0, 0, 8, 1, 0, 0, 0, 10][..], &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]].concat();
    fs::write(path("black-labels-idx1-ubyte"), labels).unwrap();
    let simulated =
        succeeds(&["simulate", text(&program), "--dataset", text(&path("black-images-idx3-ubyte"))]);
    assert!(simulated.contains("the plain network itself is wrong on these images"), "{simulated}");
}

#[test]
fn errors_say_what_to_do_and_once() {
    let folder = tempfile::tempdir().unwrap();
    let program = shared().path("net.fhec");
    let (digit, keys) = (digit(), folder.path().join("none"));
    let encrypt = |keys: &Path, out: &Path| {
        let arguments =
            ["encrypt", text(&program), "--keys", text(keys), "--input", text(&digit), "-o", text(out)];
        let output = fhec(&arguments);
        String::from_utf8(output.stderr).unwrap()
    };
    let errors = encrypt(&keys, &folder.path().join("out.ct"));
    assert!(errors.contains("fhec keygen PROGRAM --dir"), "{errors}");
    assert_eq!(errors.matches("os error 2").count(), 1, "{errors}");
    let errors = encrypt(&shared().path("keys"), &keys.join("out.ct"));
    assert!(errors.ends_with("none does not exist\n") && !errors.contains(".fhec-"), "{errors}");
}

/// Progress is for terminals: where standard error is none, nothing of it is written.
#[test]
fn progress_is_not_written_into_pipes() {
    let folder = tempfile::tempdir().unwrap();
    let (program, keys) = (folder.path().join("net.fhec"), folder.path().join("keys"));
    let model = models().join("mnist_cnn_deg3.onnx");
    for arguments in [
        &["compile", text(&model), "-o", text(&program)][..],
        &["keygen", text(&program), "--dir", text(&keys)],
    ] {
        let output = fhec(arguments);
        assert!(output.status.success());
        let errors = String::from_utf8_lossy(&output.stderr);
        // Prices of another machine are warned of, wherever that is written.
        let lines: Vec<&str> = errors.lines().filter(|line| !line.contains("of another machine")).collect();
        assert!(lines.is_empty(), "{arguments:?}: {lines:?}");
    }
}

#[test]
fn damaged_and_foreign_files_are_refused() {
    let shared = shared();
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    let (program, keys, image) = (shared.path("net.fhec"), shared.path("keys"), shared.path("image.ct"));

    // A model that is none, cut off, or of another kind.
    fs::write(file("junk.onnx"), b"this is no model").unwrap();
    let model = fs::read(models().join("mnist_cnn_deg3.onnx")).unwrap();
    fs::write(file("cut.onnx"), &model[..model.len() / 2]).unwrap();
    for model in ["junk.onnx", "cut.onnx", "absent.onnx"] {
        fails(&["compile", text(&file(model)), "-o", text(&file("out.fhec"))], model);
    }

    // A program with one byte flipped, and one that is none.
    let mut bytes = fs::read(&program).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(file("damaged.fhec"), &bytes).unwrap();
    fails(&["inspect", text(&file("damaged.fhec"))], "checksum");
    fails(&["inspect", text(&digit())], "not an fhec program");

    // Images of the wrong size, none, and a wrong index.
    let wide = image::GrayImage::new(32, 28);
    wide.save(file("wide.png")).unwrap();
    let encrypt = |input: &Path, index: &str, expected: &str| {
        let out = file("out.ct");
        let arguments = [
            "encrypt",
            text(&program),
            "--keys",
            text(&keys),
            "--input",
            text(input),
            "--index",
            index,
            "-o",
            text(&out),
        ];
        fails(&arguments, expected);
    };
    encrypt(&file("wide.png"), "0", "28");
    encrypt(&file("absent.png"), "0", "absent.png");
    encrypt(&program, "0", "net.fhec");
    encrypt(&digit(), "1", "there is no image 1");

    // Keys of another program, and of another key pair.
    let (other, other_keys) = (file("other.fhec"), file("other-keys"));
    compile(&other, "192");
    succeeds(&["keygen", text(&other), "--dir", text(&other_keys)]);
    let out = file("out.ct");
    let eval = |program: &Path, keys: &Path, image: &Path, expected: &str| {
        fails(&["eval", text(program), "--keys", text(keys), text(image), "-o", text(&out)], expected);
    };
    eval(&program, &other_keys, &image, "other parameters");
    eval(&other, &other_keys, &image, "encrypt again with the keys of this program");
    let twin = file("twin-keys");
    succeeds(&["keygen", text(&program), "--dir", text(&twin)]);
    eval(&program, &twin, &image, "key");
    let decrypt = |keys: &Path, ciphertext: &Path, expected: &str| {
        fails(&["decrypt", text(&program), "--keys", text(keys), text(ciphertext)], expected);
    };
    let answer = file("answer.ct");
    succeeds(&["eval", text(&program), "--keys", text(&keys), text(&image), "-o", text(&answer)]);
    decrypt(&twin, &answer, "made with key");
    // An encrypted image is no answer.
    decrypt(&keys, &image, "than the");

    // Damaged ciphertexts and keys.
    let mut bytes = fs::read(&image).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 4;
    fs::write(file("damaged.ct"), &bytes).unwrap();
    eval(&program, &keys, &file("damaged.ct"), "checksum");
    bytes.truncate(middle);
    fs::write(file("cut.ct"), &bytes).unwrap();
    eval(&program, &keys, &file("cut.ct"), "truncated");
    fs::create_dir_all(file("cut-keys")).unwrap();
    let evaluation = fs::read(keys.join("evaluation.keys")).unwrap();
    fs::write(file("cut-keys").join("evaluation.keys"), &evaluation[..evaluation.len() / 2]).unwrap();
    eval(&program, &file("cut-keys"), &image, "evaluation.keys");

    // Existing keys stay.
    fails(&["keygen", text(&program), "--dir", text(&keys)], "never overwritten");

    for absent in ["out.fhec", "out.ct"] {
        assert!(!file(absent).exists(), "{absent} was left behind");
    }
}

#[cfg(unix)]
#[test]
fn secret_keys_are_readable_by_their_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let mode = fs::metadata(shared().path("keys").join("secret.key")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

/// A disk without room is stood in for by a limit on the size of files: writes fail half way just
/// so.
#[cfg(unix)]
fn fails_on_a_full_disk(arguments: &[&str], file: &str) {
    let quoted: Vec<String> = arguments.iter().map(|argument| format!("'{argument}'")).collect();
    // Blocks have 512 bytes, or 1024 with some shells.
    let script =
        format!("trap '' XFSZ; ulimit -f 8; exec '{}' {}", env!("CARGO_BIN_EXE_fhec"), quoted.join(" "));
    let output = Command::new("sh").args(["-c", &script]).output().expect("sh starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{arguments:?}: {errors}");
    assert!(errors.contains("cannot write") && errors.contains(file), "{arguments:?}: {errors}");
    // Before it starts, `keygen` says what it is going to do.
    let announced = if arguments[0] == "keygen" { 1 } else { 0 };
    let printed = String::from_utf8_lossy(&output.stdout).lines().count();
    assert_eq!(printed, announced, "{arguments:?} printed a result");
}

#[cfg(unix)]
#[test]
fn a_full_disk_leaves_nothing_behind() {
    let shared = shared();
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let (program, keys, image) = (shared.path("net.fhec"), shared.path("keys"), shared.path("image.ct"));
    let new_keys = path("keys");
    fails_on_a_full_disk(&["keygen", text(&program), "--dir", text(&new_keys)], "evaluation.keys");
    assert_only(&new_keys, &[]);
    fs::remove_dir(&new_keys).unwrap();

    let (model, digit) = (models().join("mnist_cnn_deg3.onnx"), digit());
    fails_on_a_full_disk(&["compile", text(&model), "-o", text(&path("out.fhec"))], "out.fhec");
    let (keys, out) = (text(&keys), path("out.ct"));
    let encrypt = ["encrypt", text(&program), "--keys", keys, "--input", text(&digit), "-o", text(&out)];
    fails_on_a_full_disk(&encrypt, "out.ct");
    fails_on_a_full_disk(&["eval", text(&program), "--keys", keys, text(&image), "-o", text(&out)], "out.ct");
    assert_only(folder.path(), &[]);
}

/// Killed at many points, `keygen` never leaves a file under its final name that is not whole, nor
/// a folder that it cannot fill when it is run again. The last of the points is that between the
/// first key file and the others.
#[cfg(unix)]
#[test]
fn a_killed_process_leaves_no_half_written_file() {
    let program = shared().path("net.fhec");
    for moment in [Some(1), Some(100), Some(300), Some(500), Some(900), None] {
        let folder = tempfile::tempdir().unwrap();
        let keys = folder.path().join("keys");
        let mut child = Command::new(env!("CARGO_BIN_EXE_fhec"))
            .args(["keygen", text(&program), "--dir", text(&keys)])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("fhec starts");
        match moment {
            Some(milliseconds) => std::thread::sleep(std::time::Duration::from_millis(milliseconds)),
            None => {
                while !keys.join("evaluation.keys").exists() && child.try_wait().expect("it runs").is_none() {
                    std::hint::spin_loop();
                }
            }
        }
        child.kill().expect("it can be killed");
        child.wait().expect("it ends");
        let (image, answer, digit) =
            (folder.path().join("image.ct"), folder.path().join("answer.ct"), digit());
        let encrypt =
            ["encrypt", text(&program), "--keys", text(&keys), "--input", text(&digit), "-o", text(&image)];
        let secret = keys.join("secret.key");
        if secret.exists() {
            let before = fs::read(&secret).unwrap();
            fails(&["keygen", text(&program), "--dir", text(&keys)], "never overwritten");
            assert!(fs::read(&secret).unwrap() == before);
        } else {
            if keys.join("public.key").exists() {
                fails(&encrypt, "not whole");
            }
            succeeds(&["keygen", text(&program), "--dir", text(&keys)]);
        }
        // Then all files are there and whole: they work.
        assert_only(&keys, &["evaluation.keys", "public.key", "secret.key"]);
        succeeds(&encrypt);
        succeeds(&["eval", text(&program), "--keys", text(&keys), text(&image), "-o", text(&answer)]);
    }
}

//! `fhec serve` and `fhec remote` as people use them: from nothing to an answer, over restarts, and
//! by several clients.

mod binary;
mod served;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use binary::{fhec, succeeds};
use fhec_serve::api::JobState;
use fhec_serve::digest::Digest;
use rcgen::{KeyPair, PKCS_ED25519};
use served::{Place, digit};

fn files_below(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() { files.extend(files_below(&path)) } else { files.push(path) }
    }
    files
}

#[test]
fn from_nothing_to_an_answer() {
    let place = Place::new();
    let (home, kept) = (place.path("home"), place.path("kept"));
    let served = place.serve(&["--no-auth"]);
    let first = served.classify(&home, &["mnist", &digit("7_a"), "--keep", &kept]);
    assert_eq!(first["class"], 7);
    let seconds = |report: &serde_json::Value, step: &str| report["steps"][step].as_f64().expect("seconds");
    for step in ["interface_seconds", "keygen_seconds", "upload_seconds"] {
        assert!(seconds(&first, step) > 0.0, "{step}");
    }
    let key_bytes = fs::metadata(
        files_below(Path::new(&home)).iter().find(|path| path.ends_with("evaluation.keys")).expect("keys"),
    )
    .expect("a file")
    .len();
    assert!(first["steps"]["sent_bytes"].as_u64().expect("bytes") > key_bytes);
    // A second picture costs no keys: also after a restart, with keys from the disk.
    let address = served.address.clone();
    served.stop();
    let served = place.serve(&["--no-auth", "--listen", &address]);
    let second = served.classify(&home, &["mnist", &digit("3_a")]);
    assert_eq!(second["class"], 3);
    for step in ["interface_seconds", "keygen_seconds", "upload_seconds"] {
        assert_eq!(seconds(&second, step), 0.0, "{step}");
    }
    assert!(second["steps"]["sent_bytes"].as_u64().expect("bytes") < 1 << 20);
    // Digits that are not certain are not shown, unless asked for.
    let step = second["logit_step"].as_f64().expect("a step");
    let logits = |report: &serde_json::Value| -> Vec<f64> {
        let list = report["logits"].as_array().expect("a list");
        list.iter().map(|logit| logit.as_f64().expect("a number")).collect()
    };
    let is_rounded = |logit: &f64| (logit / step - (logit / step).round()).abs() < 1e-6;
    assert!(logits(&second).iter().all(is_rounded));
    let raw = served.classify(&home, &["mnist", &digit("3_a"), "--raw"]);
    assert!(!logits(&raw).iter().all(is_rounded));

    // The client holds the interface alone, and its secrets are its own.
    let model = fs::metadata(place.path("models/mnist.server.fhec")).expect("a file").len();
    for path in files_below(Path::new(&home)) {
        if path.extension().is_some_and(|extension| extension == "fhec") {
            assert!(fs::metadata(&path).expect("a file").len() < model / 4, "{}", path.display());
        }
        #[cfg(unix)]
        if path.ends_with("secret.key") {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(fs::metadata(&path).expect("a file").permissions().mode() & 0o777, 0o600);
        }
    }

    // The receipt is of what was exchanged, and of no other evaluation.
    let keys = files_below(Path::new(&home)).into_iter().find(|path| path.ends_with("evaluation.keys"));
    let keys = keys.expect("keys").parent().expect("a folder").to_str().expect("a path").to_string();
    let (receipt, program) = (format!("{kept}/receipt.json"), place.path("mnist.fhec"));
    let (image, answer) = (format!("{kept}/image.ct"), format!("{kept}/answer.ct"));
    let text = succeeds(&[
        "verify",
        &receipt,
        "--program",
        &program,
        "--keys",
        &keys,
        "--image",
        &image,
        "--answer",
        &answer,
        "--again",
    ]);
    assert!(text.contains("answer of another evaluation"), "{text}");
    let swapped = fhec(&["verify", &receipt, "--answer", &image]);
    let errors = String::from_utf8_lossy(&swapped.stderr).into_owned();
    assert!(!swapped.status.success() && errors.contains("another answer"), "{errors}");
    let nothing = fhec(&["verify", &receipt]);
    assert!(!nothing.status.success());

    // Keys that are deleted at the service are uploaded again; no new ones are made.
    let url = served.url();
    let listed = succeeds(&["remote", &url, "--home", &home, "--json", "keys", "list"]);
    let listed: serde_json::Value = serde_json::from_str(&listed).expect("JSON");
    let name = listed[0]["keys"].as_str().expect("a name");
    succeeds(&["remote", &url, "--home", &home, "keys", "delete", name]);
    let third = served.classify(&home, &["mnist", &digit("0_a")]);
    assert_eq!((third["class"].as_u64(), seconds(&third, "keygen_seconds")), (Some(0), 0.0));
    assert!(seconds(&third, "upload_seconds") > 0.0);
    let jobs = succeeds(&["remote", &url, "--home", &home, "jobs"]);
    assert_eq!(jobs.lines().filter(|line| line.contains("done in")).count(), 4, "{jobs}");
    // Nothing that ends a service leaves it without an end.
    served.stop();

    // With a key for it receipts are signed, and `verify` knows whose signature it is.
    for name in ["ours", "theirs"] {
        let pair = KeyPair::generate_for(&PKCS_ED25519).expect("a key");
        fs::write(place.path(name), pair.serialize_pem()).expect("a file");
        fs::write(place.path(&format!("{name}.pub")), pair.public_key_pem()).expect("a file");
    }
    let (ours, theirs) = (place.path("ours.pub"), place.path("theirs.pub"));
    let unsigned = fhec(&["verify", &receipt, "--public-key", &ours]);
    let errors = String::from_utf8_lossy(&unsigned.stderr).into_owned();
    assert!(!unsigned.status.success() && errors.contains("is not signed"), "{errors}");
    let served = place.serve(&["--no-auth", "--receipt-key", &place.path("ours")]);
    let fourth = served.classify(&home, &["mnist", &digit("1_a"), "--keep", &kept]);
    assert_eq!(fourth["class"], 1);
    let text = succeeds(&["verify", &receipt, "--public-key", &ours, "--answer", &answer]);
    assert!(text.contains("signature, answer"), "{text}");
    let foreign = fhec(&["verify", &receipt, "--public-key", &theirs]);
    let errors = String::from_utf8_lossy(&foreign.stderr).into_owned();
    assert!(!foreign.status.success() && errors.contains("not one of"), "{errors}");
    let text = fs::read_to_string(&receipt).expect("a receipt");
    fs::write(&receipt, text.replace("\"mnist\"", "\"other\"")).expect("a file");
    assert!(!fhec(&["verify", &receipt, "--public-key", &ours]).status.success());
    served.stop();
    let nothing = fhec(&[
        "serve",
        &place.path("models"),
        "--no-auth",
        "--state",
        &place.path("state"),
        "--receipt-key",
        &ours,
    ]);
    let errors = String::from_utf8_lossy(&nothing.stderr).into_owned();
    assert!(!nothing.status.success() && errors.contains("no Ed25519 private key"), "{errors}");
}

#[test]
fn keys_of_two_clients_never_mix() {
    let place = Place::new();
    let (alice, bob) = (place.token("alice", &[]), place.token("bob", &[]));
    let tokens = place.path("tokens");
    // Room for the keys of one of them: the other's have to go and come back.
    let served = place.serve(&["--tokens", &tokens, "--key-memory", "250MiB"]);
    let (of_alice, of_bob) = thread::scope(|scope| {
        let alice = scope.spawn(|| place.party("alice"));
        let bob = scope.spawn(|| place.party("bob"));
        (alice.join().expect("keys"), bob.join().expect("keys"))
    });
    let (to_alice, to_bob) = (served.remote(Some(&alice)), served.remote(Some(&bob)));
    of_alice.upload(&to_alice);
    of_bob.upload(&to_bob);
    let work = [(&of_alice, &to_alice, ["1_a", "7_b"]), (&of_bob, &to_bob, ["2_a", "9_a"])];
    thread::scope(|scope| {
        for (party, remote, names) in work {
            scope.spawn(move || {
                for name in names {
                    let image = party.encrypt(name);
                    let job = remote.submit("mnist", party.keys, &image, None, name).expect("accepted");
                    let mut told = Vec::new();
                    let job = remote.wait(&job.id, &mut |job| told.push(job.state)).expect("it ends");
                    assert_eq!((job.state, told.last()), (JobState::Done, Some(&JobState::Done)));
                    let program = Digest::from(party.interface.program);
                    let (answer, receipt) = remote
                        .answer(&job, program, party.keys, Digest::of(&image), 1 << 24)
                        .expect("answer");
                    assert_eq!(receipt.keys, party.keys);
                    assert_eq!(party.class(&answer).to_string(), name[..1]);
                }
            });
        }
    });
    // The same by the Open Inference Protocol, which leaves nothing behind.
    let jobs = to_bob.jobs().expect("a list").len();
    let (image, keys) = (of_bob.encrypt("4_a"), of_bob.keys);
    let json = serde_json::json!({
        "id": "four",
        "parameters": { "keys": keys },
        "inputs": [{
            "name": "ciphertext", "datatype": "BYTES", "shape": [1],
            "parameters": { "binary_data_size": image.len() + 4 },
        }],
    });
    let json = json.to_string().into_bytes();
    let body = [&json[..], &(image.len() as u32).to_le_bytes(), &image].concat();
    let request = ureq::post(format!("{}/v2/models/mnist/infer", served.url()))
        .header("authorization", format!("Bearer {bob}"))
        .header("inference-header-content-length", json.len().to_string());
    let mut response = request.send(&body[..]).expect("an answer");
    let length = response.headers().get("inference-header-content-length").expect("a length");
    let length: usize = length.to_str().expect("text").parse().expect("a number");
    let body = response.body_mut().read_to_vec().expect("a body");
    let (json, data) = body.split_at(length);
    let json: serde_json::Value = serde_json::from_slice(json).expect("JSON");
    assert_eq!((json["id"].as_str(), json["outputs"][0]["datatype"].as_str()), (Some("four"), Some("BYTES")));
    assert_eq!(json["outputs"][0]["parameters"]["binary_data_size"].as_u64(), Some(data.len() as u64));
    assert_eq!(data[..4], (data.len() as u32 - 4).to_le_bytes());
    assert_eq!(of_bob.class(&data[4..]), 4);
    let begun = Instant::now();
    while to_bob.jobs().expect("a list").len() > jobs {
        assert!(begun.elapsed() < Duration::from_secs(5), "the job is left");
        thread::sleep(Duration::from_millis(10));
    }
    // An image under another key is not evaluated with one's own keys.
    let foreign = to_alice.submit("mnist", of_alice.keys, &of_bob.encrypt("1_a"), None, "foreign");
    assert!(foreign.unwrap_err().to_string().contains("key_mismatch"));
}

#[test]
fn services_start_only_where_it_is_safe() {
    let place = Place::new();
    let models = place.path("models");
    place.token("alice", &[]);
    let tokens = place.path("tokens");
    let state = place.path("state");
    for (arguments, reason) in [
        (&["--no-auth", "--listen", "0.0.0.0:0"][..], "loopback"),
        (&["--tokens", &tokens, "--listen", "0.0.0.0:0"], "in the clear"),
        (&["--no-auth", "--behind-proxy"], "speaks for others"),
        (&[], "say who may use"),
        (&["--tokens", "/nonexistent"], "cannot read"),
        (&["--no-auth", "--chunk", "1"], "size of a chunk"),
    ] {
        let output = fhec(&[&["serve", &models, "--state", &state], arguments].concat());
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && errors.contains(reason), "{arguments:?}: {errors}");
    }
    let empty = fhec(&["serve", &state, "--no-auth"]);
    assert!(!empty.status.success());
    // Two services do not share a state.
    let served = place.serve(&["--no-auth"]);
    let second = fhec(&["serve", &models, "--state", &state, "--no-auth", "--listen", "127.0.0.1:0"]);
    assert!(String::from_utf8_lossy(&second.stderr).contains("another service"));
    // A token does not go over the network in the clear.
    let mut command = Command::new(env!("CARGO_BIN_EXE_fhec"));
    let output = command.args(["remote", "http://192.0.2.1:80", "models"]).env("FHEC_TOKEN", "x").output();
    assert!(String::from_utf8_lossy(&output.expect("fhec runs").stderr).contains("in the clear"));
    // Nor through a proxy of the environment, where the service is on this machine.
    let mut command = Command::new(env!("CARGO_BIN_EXE_fhec"));
    for name in ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"] {
        command.env(name, "http://127.0.0.1:9");
    }
    let output = command.args(["remote", &served.url(), "--patience", "1", "models"]).env("FHEC_TOKEN", "x");
    assert!(output.output().expect("fhec runs").status.success());
    drop(served);
}

#[cfg(not(feature = "otlp"))]
#[test]
fn a_service_without_export_says_so_where_traces_are_asked_for() {
    let errors = |arguments: &[&str], variables: &[(&str, &str)]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fhec"));
        command.args(arguments).envs(variables.iter().copied());
        String::from_utf8(command.output().expect("fhec runs").stderr).expect("text")
    };
    let collector = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318");
    let nothing_to_serve = ["serve", "/nonexistent", "--no-auth"];
    let warned = errors(&nothing_to_serve, &[collector]);
    assert_eq!(warned.matches("OTEL_EXPORTER_OTLP_ENDPOINT is set").count(), 1, "{warned}");
    assert!(warned.contains("`--features otlp`"), "{warned}");
    let of_traces = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://127.0.0.1:4318/v1/traces");
    let warned = errors(&nothing_to_serve, &[of_traces]);
    assert_eq!(warned.matches("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT is set").count(), 1, "{warned}");
    for (arguments, variables) in [
        (&nothing_to_serve[..], &[][..]),
        (&nothing_to_serve, &[("OTEL_EXPORTER_OTLP_ENDPOINT", "")]),
        (&nothing_to_serve, &[collector, ("OTEL_SDK_DISABLED", "true")]),
        (&["serve", "token", "a b", "--tokens", "/nonexistent/tokens"], &[collector]),
        (&["inspect", "/nonexistent"], &[collector]),
    ] {
        let errors = errors(arguments, variables);
        assert!(errors.starts_with("error:") && !errors.contains("OTEL"), "{arguments:?}: {errors}");
    }
}

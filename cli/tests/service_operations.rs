//! What operators of a service rely on: models that change while it runs, quotas of processor time,
//! and figures by layer.

mod binary;
mod served;

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use binary::succeeds;
use fhec_serve::api::JobState;
use served::requests::{Answer, send};
use served::{Place, Served, of_repository};

/// Until `path` is answered with `status`.
fn until(served: &Served, token: &str, path: &str, status: u16) -> Answer {
    let begun = Instant::now();
    loop {
        let answer = send(served, "GET", path, Some(token), &[], &[]);
        if answer.status == status {
            return answer;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "{path} is answered with {}", answer.status);
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn models_change_while_the_service_runs() {
    let place = Place::new();
    let (token, operator) = (place.token("alice", &[]), place.token("root", &["--operator"]));
    let served = place.serve(&["--tokens", &place.path("tokens")]);
    let (party, remote) = (place.party("alice"), served.remote(Some(&token)));
    party.upload(&remote);
    let image = party.encrypt("7_a");
    let jobs = format!("/v1/models/mnist/jobs?keys={}", party.keys);
    let evaluate = || {
        let job = send(&served, "POST", &jobs, Some(&token), &[], &image);
        assert_eq!(job.status, 202, "{}", job.text);
        let id = job.json()["id"].as_str().expect("an id").to_string();
        assert_eq!(remote.wait(&id, &mut |_| ()).expect("it ends").state, JobState::Done);
        send(&served, "GET", &format!("/v1/jobs/{id}/answer"), Some(&token), &[], &[]).text
    };
    let answer = evaluate();
    let before = send(&served, "GET", "/v1/models/mnist", Some(&token), &[], &[]).json();
    assert!(before["expected_seconds"].as_f64().is_some_and(|seconds| seconds > 0.0));
    assert_eq!(before["wait_seconds"], 0.0);

    // Another model appears.
    let whole = place.path("other.fhec");
    succeeds(&["compile", &of_repository("models/mnist_cnn_deg4.onnx"), "-o", &whole]);
    succeeds(&["server", &whole, "-o", &place.path("models/other.server.fhec")]);
    served.signal("-HUP");
    until(&served, &token, "/v1/models/other", 200);
    assert_eq!(evaluate(), answer);
    // That of before was not made ready again: it knows how long it takes.
    let after = send(&served, "GET", "/v1/models/mnist", Some(&token), &[], &[]).json();
    assert_eq!(after["program"], before["program"]);
    assert_ne!(after["expected_seconds"], after["predicted_seconds"]);

    // Where one of the files is none, all stays as it was.
    fs::write(place.path("models/junk.server.fhec"), b"FHEC").expect("a file");
    fs::rename(place.path("models/other.server.fhec"), place.path("models/third.server.fhec"))
        .expect("a name");
    served.signal("-HUP");
    thread::sleep(Duration::from_millis(500));
    until(&served, &token, "/v1/models/other", 200);
    until(&served, &token, "/v1/models/third", 404);
    fs::remove_file(place.path("models/junk.server.fhec")).expect("it is there");
    served.signal("-HUP");
    until(&served, &token, "/v1/models/third", 200);
    until(&served, &token, "/v1/models/other", 404);

    // Under an old name, another program: keys of the old one are of no use to it.
    fs::rename(place.path("models/third.server.fhec"), place.path("models/mnist.server.fhec"))
        .expect("a name");
    served.signal("-HUP");
    until(&served, &token, "/v1/models/third", 404);
    let refused = send(&served, "POST", &jobs, Some(&token), &[], &image);
    assert_eq!((refused.status, &refused.code()[..]), (409, "key_mismatch"));

    // What is measured by layer is of the layers that are predicted.
    let metrics = send(&served, "GET", "/metrics", Some(&operator), &[], &[]).text;
    let sum = |name: &str| -> f64 {
        let lines = metrics.lines().filter(|line| line.starts_with(&format!("{name}{{")));
        lines.map(|line| line.rsplit(' ').next().and_then(|x| x.parse::<f64>().ok()).expect("a number")).sum()
    };
    let (layers, whole) = (sum("fhec_layer_seconds_total"), sum("fhec_evaluation_seconds_sum"));
    assert!(layers > 0.8 * whole && layers < 1.05 * whole, "{layers} of {whole} s");
    assert!(sum("fhec_layer_predicted_seconds") > 0.0);
    let named = |name: &str| metrics.lines().filter(|line| line.starts_with(name)).count();
    assert!(named("fhec_layer_seconds_total{") >= 5, "{metrics}");
}

#[test]
fn processor_time_has_a_quota() {
    let place = Place::new();
    let (alice, bob) = (place.token("alice", &[]), place.token("bob", &[]));
    let tokens = place.path("tokens");
    let arguments = ["--tokens", &tokens, "--threads", "1", "--core-seconds-per-hour", "1"];
    let served = place.serve(&arguments);
    let (of_alice, of_bob) = (place.party("alice"), place.party("bob"));
    let (image, other) = (of_alice.encrypt("7_a"), of_bob.encrypt("7_a"));
    of_alice.upload(&served.remote(Some(&alice)));
    of_bob.upload(&served.remote(Some(&bob)));
    let path = format!("/v1/models/mnist/jobs?keys={}", of_alice.keys);
    let remote = served.remote(Some(&alice));
    // One after the other: what is used counts, not what waits.
    let mut accepted = 0;
    let refused = loop {
        let job = send(&served, "POST", &path, Some(&alice), &[], &image);
        if job.status != 202 {
            break job;
        }
        accepted += 1;
        assert!(accepted < 500, "there is no end");
        let id = job.json()["id"].as_str().expect("an id").to_string();
        assert_eq!(remote.wait(&id, &mut |_| ()).expect("it ends").state, JobState::Done);
    };
    assert!(accepted > 0);
    assert_eq!((refused.status, &refused.code()[..]), (429, "quota_used"));
    assert!(
        refused.retry_after.is_some_and(|seconds| seconds.parse::<u64>().is_ok_and(|seconds| seconds > 0))
    );
    // It is her time alone, and it stays used.
    let his = format!("/v1/models/mnist/jobs?keys={}", of_bob.keys);
    assert_eq!(send(&served, "POST", &his, Some(&bob), &[], &other).status, 202);
    served.kill();
    let served = place.serve(&arguments);
    assert_eq!(send(&served, "POST", &path, Some(&alice), &[], &image).code(), "quota_used");
}

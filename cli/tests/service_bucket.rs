//! A bucket that keys are kept in, too: what starts a service with one, and what one that is away
//! keeps it from. With a store it is `deploy/checks/bucket.sh`.

mod binary;
mod served;

use std::net::TcpListener;
use std::process::Command;

use served::requests::send;
use served::{Place, Served, digit};

const CREDENTIALS: [&str; 3] = ["env", "AWS_ACCESS_KEY_ID=id", "AWS_SECRET_ACCESS_KEY=hidden"];

/// A service whose store is at `endpoint`.
fn serve(place: &Place, endpoint: &str) -> Served {
    let endpoint = format!("AWS_ENDPOINT_URL={endpoint}");
    let arguments = ["--no-auth", "--key-bucket", "s3://keys/fhec", "--key-disk", "1GiB"];
    place.serve_in(&[&CREDENTIALS[..], &[&endpoint]].concat(), &arguments)
}

#[test]
fn without_its_store_a_service_takes_keys_and_evaluates() {
    let place = Place::new();
    // A port that takes connections and never answers, then one that takes none.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = silent.local_addr().expect("an address");
    let served = serve(&place, &format!("http://{address}"));
    let home = place.path("home");
    let report = served.classify(&home, &["mnist", &digit("7_a")]);
    assert_eq!(report["class"], 7, "{report}");
    drop(silent);
    let report = served.classify(&home, &["mnist", &digit("3_a")]);
    assert_eq!(report["class"], 3, "{report}");

    // Whole keys are not deleted while it is not known whether the store has them.
    let keys = send(&served, "GET", "/v1/keys", None, &[], &[]).json();
    let keys = keys["keys"][0]["keys"].as_str().expect("a name").to_string();
    let path = format!("/v1/keys/{keys}");
    let answer = send(&served, "DELETE", &path, None, &[], &[]);
    assert_eq!((answer.status, &answer.code()[..]), (503, "store_away"));
    assert_eq!(answer.retry_after.as_deref(), Some("5"));
    assert_eq!(send(&served, "GET", &path, None, &[], &[]).json()["state"], "whole");
    // What is not here may be there.
    let other = format!("/v1/keys/{}", "0".repeat(64));
    for (method, path) in [
        ("GET", other.clone()),
        ("DELETE", other.clone()),
        ("POST", format!("{other}/touch")),
        ("POST", format!("/v1/models/mnist/jobs?keys={}", "0".repeat(64))),
    ] {
        let answer = send(&served, method, &path, None, &[], &[]);
        assert_eq!((answer.status, &answer.code()[..]), (503, "store_away"), "{method} {path}");
    }
    served.stop();
    // The next process has them, with or without a store.
    let served = place.serve(&["--no-auth"]);
    assert_eq!(send(&served, "DELETE", &path, None, &[], &[]).status, 204);
}

#[test]
fn a_bucket_needs_credentials_and_a_place() {
    let place = Place::new();
    let says = |variables: &[&str], arguments: &[&str], expected: &str| {
        let (models, state) = (place.path("models"), place.path("state"));
        let serve = [env!("CARGO_BIN_EXE_fhec"), "serve", &models, "--state", &state, "--no-auth"];
        let mut command = Command::new("env");
        command.args(["-u", "AWS_REGION", "-u", "AWS_DEFAULT_REGION", "-u", "AWS_ENDPOINT_URL"]);
        let output = command.args(variables).args(serve).args(arguments).output().expect("fhec starts");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && errors.contains(expected), "{errors}");
        assert!(!errors.contains("hidden"), "{errors}");
    };
    let bucket = ["--key-bucket", "s3://keys"];
    let without = ["-u", "AWS_ACCESS_KEY_ID", "-u", "AWS_SECRET_ACCESS_KEY"];
    says(&without, &bucket, "AWS_ACCESS_KEY_ID");
    says(&CREDENTIALS[1..], &bucket, "AWS_REGION");
    let endpoint = [&CREDENTIALS[1..], &["AWS_ENDPOINT_URL=keys"]].concat();
    says(&endpoint, &bucket, "AWS_ENDPOINT_URL");
    let region = [&CREDENTIALS[1..], &["AWS_REGION=eu-west-1"]].concat();
    says(&region, &["--key-bucket", "keys"], "s3://BUCKET");
    says(&region, &["--key-disk", "1GiB"], "--key-bucket");
}

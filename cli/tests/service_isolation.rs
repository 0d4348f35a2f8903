//! What strangers and other principals get of each endpoint. The endpoints are those of the OpenAPI
//! document that the service itself gives: one that is new has to have a case here.

mod binary;
mod served;

use std::collections::BTreeSet;
use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use fhec_serve::api::JobState;
use fhec_serve::digest::Digest;
use fhec_serve::service::ROUTES;
use serde_json::json;
use served::requests::{Answer, send};
use served::{Place, Served};

/// What another principal gets of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Case {
    /// Everybody may ask: nothing in it is anybody's.
    Open,
    /// It is the same for all principals, or about the caller alone.
    Own,
    /// The request names keys or a job: of others they do not exist.
    Named,
    /// Operators alone.
    Operator,
}

fn case(method: &str, path: &str) -> Case {
    match (method, path) {
        ("get", "/v2/health/live" | "/v2/health/ready" | "/openapi.json") => Case::Open,
        ("get", "/v1/models" | "/v1/models/{model}" | "/v1/models/{model}/interface") => Case::Own,
        ("post", "/v1/models/{model}/jobs") => Case::Named,
        ("get" | "post", "/v1/keys") => Case::Own,
        ("get" | "patch" | "delete", "/v1/keys/{keys}") => Case::Named,
        ("post", "/v1/keys/{keys}/touch") => Case::Named,
        ("get", "/v1/jobs") => Case::Own,
        ("get" | "delete", "/v1/jobs/{job}") => Case::Named,
        ("get", "/v1/jobs/{job}/events" | "/v1/jobs/{job}/answer" | "/v1/jobs/{job}/receipt") => Case::Named,
        ("get", "/v2" | "/v2/models/{model}" | "/v2/models/{model}/ready") => Case::Own,
        ("post", "/v2/models/{model}/infer") => Case::Named,
        ("get", "/metrics") => Case::Operator,
        _ => panic!("{method} {path} is new: say here what others get of it"),
    }
}

/// Methods and paths of the document that a service gives.
fn endpoints(served: &Served) -> Vec<(String, String)> {
    let document = send(served, "GET", "/openapi.json", None, &[], &[]).json();
    let mut found = Vec::new();
    for (path, methods) in document["paths"].as_object().expect("paths") {
        let methods = methods.as_object().expect("methods").keys();
        found.extend(methods.map(|method| (method.clone(), path.clone())));
    }
    // What deletes comes last.
    found.sort_by_key(|(method, path)| (method == "delete", path.clone(), method.clone()));
    found
}

/// A request for the Open Inference Protocol, without its ciphertext.
fn infer(keys: &str) -> String {
    let parameters = json!({ "binary_data_size": 5 });
    let input = json!({ "name": "ciphertext", "datatype": "BYTES", "shape": [1], "parameters": parameters });
    json!({ "parameters": { "keys": keys }, "inputs": [input] }).to_string()
}

/// Sends the request that names these keys and this job, as far as it names any.
fn request(
    served: &Served,
    (method, path): &(String, String),
    token: Option<&str>,
    keys: &str,
    job: &str,
    more: &[(&str, &str)],
) -> Answer {
    let json = infer(keys);
    let json_length = json.len().to_string();
    let digest = Digest::of(b"x").to_string();
    let headers = [
        ("upload-offset", "0"),
        ("upload-digest", &digest[..]),
        ("inference-header-content-length", &json_length[..]),
    ];
    let body = match &path[..] {
        _ if matches!(&method[..], "get" | "delete") => Vec::new(),
        "/v1/keys" => {
            let announced = json!({ "model": "mnist", "keys": Digest::of(b"new"), "length": 5 });
            announced.to_string().into_bytes()
        }
        "/v2/models/{model}/infer" => [json.as_bytes(), &1u32.to_le_bytes(), b"x"].concat(),
        _ => b"x".to_vec(),
    };
    let mut named = path.replace("{model}", "mnist").replace("{keys}", keys).replace("{job}", job);
    assert!(!named.contains('{'), "{method} {path} has a new parameter: say here what it is");
    if path == "/v1/models/{model}/jobs" {
        named = format!("{named}?keys={keys}");
    }
    send(served, &method.to_uppercase(), &named, token, &[&headers[..], more].concat(), &body)
}

#[test]
fn what_is_somebody_elses_does_not_exist() {
    let place = Place::new();
    let (alice, bob) = (place.token("alice", &[]), place.token("bob", &[]));
    let watcher = place.token("watcher", &["--operator"]);
    let served = place.serve(&["--tokens", &place.path("tokens")]);
    let party = place.party("alice");
    let remote = served.remote(Some(&alice));
    party.upload(&remote);
    let job = remote.submit("mnist", party.keys, &party.encrypt("7_a"), None, "one").expect("accepted");
    remote.wait(&job.id, &mut |_| ()).expect("it ends");
    let (keys, none) = (party.keys.to_string(), Digest::of(b"none").to_string());
    let no_job = "0".repeat(job.id.len());
    let endpoints = endpoints(&served);
    assert!(endpoints.len() > 20, "{endpoints:?}");
    let cases: BTreeSet<String> =
        endpoints.iter().map(|(method, path)| format!("{:?}", case(method, path))).collect();
    assert_eq!(cases.len(), 4, "each kind of case occurs");
    for endpoint in &endpoints {
        let case = case(&endpoint.0, &endpoint.1);
        let known =
            ROUTES.iter().find(|(method, path, _)| (*method, *path) == (&endpoint.0[..], &endpoint.1[..]));
        assert_eq!(
            known.map(|(.., needs_principal)| *needs_principal),
            Some(case != Case::Open),
            "{endpoint:?}"
        );
        let send =
            |token: Option<&str>, keys: &str, job: &str| request(&served, endpoint, token, keys, job, &[]);
        if case == Case::Open {
            let open = send(None, &keys, &job.id);
            assert_eq!(open.status, 200, "{endpoint:?}");
            assert!(!open.text.contains(&keys) && !open.text.contains(&job.id), "{endpoint:?}");
            continue;
        }
        // Strangers learn nothing, not even what there is.
        for token in [None, Some("fhec_0000"), Some(""), Some(&alice[..alice.len() - 1])] {
            for (keys, job) in [(&keys, &job.id), (&none, &no_job)] {
                let answer = send(token, keys, job);
                assert_eq!((answer.status, &answer.code()[..]), (401, "unauthorized"), "{endpoint:?}");
            }
        }
        // For another principal it is as if there were nothing.
        let others = send(Some(&bob), &keys, &job.id);
        match case {
            Case::Open => unreachable!(),
            Case::Named => {
                let nothing = send(Some(&bob), &none, &no_job);
                assert_eq!((others.status, &others.code()[..]), (404, "not_found"), "{endpoint:?}");
                assert_eq!((nothing.status, nothing.text), (404, others.text), "{endpoint:?}");
            }
            Case::Operator => {
                assert_eq!((others.status, &others.code()[..]), (404, "not_found"), "{endpoint:?}");
                assert_eq!(send(Some(&alice), &keys, &job.id).status, 404, "{endpoint:?}");
                let seen = send(Some(&watcher), &keys, &job.id);
                assert_eq!(seen.status, 200, "{endpoint:?}");
                for name in [&keys[..16], &job.id, "alice", "bob"] {
                    assert!(!seen.text.contains(name), "{endpoint:?} tells of {name}: {}", seen.text);
                }
                assert!(seen.text.contains("fhec_jobs_left_total{outcome=\"done\"} 1"), "{}", seen.text);
            }
            Case::Own => {
                assert!(others.status < 300, "{endpoint:?}: {}", others.text);
                assert!(!others.text.contains(&keys) && !others.text.contains(&job.id), "{endpoint:?}");
            }
        }
    }
    // All of it is still hers, and what does not exist for others does for her: it is not for the
    // form of the requests that they got nothing. What deletes comes last.
    assert_eq!(remote.keys().expect("a list").len(), 1);
    assert_eq!(remote.jobs().expect("a list")[0].state, JobState::Done);
    for endpoint in endpoints.iter().filter(|(method, path)| case(method, path) == Case::Named) {
        let hers = request(&served, endpoint, Some(&alice), &keys, &job.id, &[]);
        assert_ne!(hers.status, 404, "{endpoint:?}: {}", hers.text);
    }
    assert!(remote.jobs().expect("a list").is_empty() && remote.keys().expect("a list").is_empty());
}

/// Two principals with the same key file: neither learns of the other, and each deletes its own.
#[test]
fn the_same_keys_of_two_principals_are_two() {
    let place = Place::new();
    let (alice, bob) = (place.token("alice", &[]), place.token("bob", &[]));
    let served = place.serve(&["--tokens", &place.path("tokens")]);
    let party = place.party("alice");
    let (to_alice, to_bob) = (served.remote(Some(&alice)), served.remote(Some(&bob)));
    party.upload(&to_alice);
    let length = fs::metadata(&party.key_file).expect("a file").len();
    let announced = json!({ "model": "mnist", "keys": party.keys, "length": length }).to_string();
    let new = send(&served, "POST", "/v1/keys", Some(&bob), &[], announced.as_bytes());
    assert_eq!((new.status, new.json()["offset"].as_u64()), (201, Some(0)), "{}", new.text);
    let image = party.encrypt("7_a");
    to_bob.submit("mnist", party.keys, &image, None, "x").unwrap_err();
    to_bob.delete_keys(&party.keys.to_string()).expect("they are his");
    let job = to_alice.submit("mnist", party.keys, &image, None, "x").expect("they are hers");
    assert_eq!(to_alice.wait(&job.id, &mut |_| ()).expect("it ends").state, JobState::Done);
    // The same name of a job by another principal is another job.
    party.upload(&to_bob);
    let his = to_bob.submit("mnist", party.keys, &image, None, "x").expect("accepted");
    assert_ne!(his.id, job.id);
    assert_eq!(to_bob.wait(&his.id, &mut |_| ()).expect("it ends").state, JobState::Done);
    assert_eq!((to_alice.jobs().expect("a list").len(), to_bob.jobs().expect("a list").len()), (1, 1));
}

#[test]
fn tokens_are_taken_back_while_the_service_runs() {
    let place = Place::new();
    let (alice, bob) = (place.token("alice", &[]), place.token("bob", &[]));
    let served = place.serve(&["--tokens", &place.path("tokens")]);
    // A path or a method that nobody has.
    assert_eq!(send(&served, "GET", "/v1/none", Some(&alice), &[], &[]).code(), "not_found");
    assert_eq!(send(&served, "PATCH", "/v1/jobs", Some(&alice), &[], b"x").code(), "method_not_allowed");
    // A job that a connection waits for is nobody else's.
    let endpoint = ("post".to_string(), "/v2/models/{model}/infer".to_string());
    let none = Digest::of(b"none").to_string();
    let refused = request(&served, &endpoint, Some(&alice), &none, "", &[("idempotency-key", "one")]);
    assert_eq!(refused.code(), "bad_request");
    // Clients of that protocol look for another member.
    assert_eq!(refused.json()["error"], refused.json()["detail"]);
    // Tokens are taken back while the service runs.
    let path = place.path("tokens");
    let text = fs::read_to_string(&path).expect("a file");
    let left: Vec<&str> = text.lines().filter(|line| !line.starts_with("bob ")).collect();
    fs::write(&path, left.join("\n")).expect("a file");
    served.signal("-HUP");
    let begun = Instant::now();
    while send(&served, "GET", "/v1/models", Some(&bob), &[], &[]).status != 401 {
        assert!(begun.elapsed() < Duration::from_secs(5), "the token is still taken");
        thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(send(&served, "GET", "/v1/models", Some(&alice), &[], &[]).status, 200);
    // All of them, where the file is empty.
    fs::write(&path, "").expect("a file");
    served.signal("-HUP");
    let begun = Instant::now();
    while send(&served, "GET", "/v1/models", Some(&alice), &[], &[]).status != 401 {
        assert!(begun.elapsed() < Duration::from_secs(5), "the token is still taken");
        thread::sleep(Duration::from_millis(20));
    }
}

//! What a service refuses: requests that are not what they say, and more of them than it can do.

mod binary;
mod served;

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use fhec_serve::api::{Code, JobState};
use fhec_serve::digest::Digest;
use fhec_serve::service::{ROUTES, openapi};
use serde_json::json;
use served::requests::{Answer, send, silent};
use served::{Place, Served};

/// A power cut leaves zeros where the end of an upload was.
#[test]
fn an_upload_goes_on_after_a_power_cut() {
    let place = Place::new();
    let token = place.token("alice", &[]);
    let arguments = ["--tokens", &place.path("tokens")];
    let served = place.serve(&arguments);
    let party = place.party("alice");
    let file = fs::read(&party.key_file).expect("a file");
    let announced = json!({ "model": "mnist", "keys": party.keys, "length": file.len() }).to_string();
    assert_eq!(send(&served, "POST", "/v1/keys", Some(&token), &[], announced.as_bytes()).status, 201);
    let path = format!("/v1/keys/{}", party.keys);
    for (i, part) in file.chunks(4 << 20).take(5).enumerate() {
        let (offset, digest) = ((i * (4 << 20)).to_string(), Digest::of(part).to_string());
        let headers = [("upload-offset", &offset[..]), ("upload-digest", &digest[..])];
        assert_eq!(send(&served, "PATCH", &path, Some(&token), &headers, part).status, 200);
    }
    served.kill();
    let folder = place.folder.path().join("state/principals/alice/keys").join(party.keys.to_string());
    let part = folder.join("evaluation.keys.part");
    let mut there = fs::read(&part).expect("a part");
    let end = there.len();
    assert_eq!(end, 20 << 20);
    there[end - (7 << 20)..].fill(0);
    fs::write(&part, there).expect("it is written");
    let served = place.serve(&arguments);
    let remote = served.remote(Some(&token));
    let mut offsets = Vec::new();
    let taken = remote.upload("mnist", &party.key_file, party.keys, &mut |at, _| offsets.push(at));
    assert_eq!(taken.expect("the keys are taken").offset, file.len() as u64);
    assert_eq!(offsets[0], end as u64);
    let back = offsets.iter().min().expect("offsets");
    assert!((1 << 20..=13 << 20).contains(back), "it goes on at {back}, behind what is right");
}

/// The document is made of the handlers; the table is what the router is tested by.
#[test]
fn the_description_lists_the_routes() {
    let document = serde_json::to_value(openapi::description()).expect("JSON");
    let paths = document["paths"].as_object().expect("paths");
    let described: BTreeSet<(String, String)> = paths
        .iter()
        .flat_map(|(path, methods)| {
            let methods = methods.as_object().expect("methods").keys().cloned();
            methods.map(|method| (method, path.clone())).collect::<Vec<_>>()
        })
        .collect();
    let routes: BTreeSet<(String, String)> =
        ROUTES.iter().map(|(method, path, _)| (method.to_string(), path.to_string())).collect();
    assert_eq!(described, routes);
    // Every code of an error is in the document, and on the page for people.
    let page = fs::read_to_string(served::of_repository("docs/serving.md")).expect("the page is there");
    for code in Code::ALL {
        assert!(document.to_string().contains(&format!("\"{}\"", code.name())), "{code:?}");
        let row = format!("| `{}` | {} |", code.name(), code.status());
        assert!(page.contains(&row), "docs/serving.md has no row {row}");
    }
    for (method, path, _) in ROUTES {
        let name = format!("`{} {path}`", method.to_uppercase());
        assert!(page.contains(&name), "docs/serving.md does not name {name}");
    }
}

#[test]
fn uploads_that_are_not_what_they_say_are_refused() {
    let place = Place::new();
    let token = place.token("alice", &[]);
    let served = place.serve(&["--tokens", &place.path("tokens"), "--keys-per-principal", "150MiB"]);
    let party = place.party("alice");
    let file = fs::read(&party.key_file).expect("a file");
    let chunk = 4 << 20;
    let announce = |keys: Digest, length: u64| {
        let body = json!({ "model": "mnist", "keys": keys, "length": length }).to_string();
        send(&served, "POST", "/v1/keys", Some(&token), &[], body.as_bytes())
    };
    let patch = |keys: Digest, offset: usize, digest: Digest, bytes: &[u8]| {
        let (offset, digest) = (offset.to_string(), digest.to_string());
        let headers = [("upload-offset", &offset[..]), ("upload-digest", &digest[..])];
        send(&served, "PATCH", &format!("/v1/keys/{keys}"), Some(&token), &headers, bytes)
    };
    let put = |keys: Digest, offset: usize, bytes: &[u8]| patch(keys, offset, Digest::of(bytes), bytes);
    let upload = |keys: Digest, bytes: &[u8]| {
        assert_eq!(announce(keys, bytes.len() as u64).status, 201);
        let mut last = None;
        for (i, part) in bytes.chunks(chunk).enumerate() {
            let answer = put(keys, i * chunk, part);
            let ends = answer.status != 200;
            last = Some((i * chunk, answer));
            if ends {
                break;
            }
        }
        last.expect("a chunk")
    };
    let is_gone = |keys: Digest| {
        let answer = send(&served, "GET", &format!("/v1/keys/{keys}"), Some(&token), &[], &[]);
        assert_eq!(answer.status, 404, "{}", answer.text);
    };

    // Sizes that cannot be, and announcements that cannot be read.
    assert_eq!(announce(party.keys, 0).code(), "too_large");
    assert_eq!(announce(party.keys, 1 << 40).code(), "too_large");
    for junk in [&b"{"[..], b"", b"[]", br#"{"model":"mnist","keys":"xyz","length":5}"#, &[0xff; 4000]] {
        assert_eq!(send(&served, "POST", "/v1/keys", Some(&token), &[], junk).code(), "bad_request");
    }
    let large = vec![b' '; 5000];
    assert_eq!(send(&served, "POST", "/v1/keys", Some(&token), &[], &large).code(), "too_large");

    // Shuffled, damaged, too long, empty, without headers: refused, and the upload goes on.
    assert_eq!(announce(party.keys, file.len() as u64).status, 201);
    let shuffled = put(party.keys, chunk, &file[chunk..2 * chunk]);
    assert_eq!((shuffled.status, shuffled.json()["offset"].as_u64()), (409, Some(0)));
    assert_eq!(patch(party.keys, 0, Digest::of(b"x"), &file[..chunk]).code(), "wrong_digest");
    let path = format!("/v1/keys/{}", party.keys);
    let headers = format!("upload-offset: 0\r\nupload-digest: {}", party.keys);
    assert_too_large(&served, &format!("PATCH {path}"), &token, &headers, 9 << 20);
    assert_eq!(put(party.keys, 0, &file[..chunk + 1]).code(), "too_large");
    assert_eq!(put(party.keys, 0, &[]).code(), "bad_request");
    assert_eq!(send(&served, "PATCH", &path, Some(&token), &[], b"x").code(), "bad_request");
    assert_eq!(put(party.keys, 0, &file[..chunk]).status, 200);
    assert_eq!(put(party.keys, 0, &file[..chunk]).code(), "wrong_offset");
    // A second announcement says where it is; another length is another file.
    assert_eq!(announce(party.keys, file.len() as u64).json()["offset"].as_u64(), Some(chunk as u64));
    assert_eq!(announce(party.keys, 5).code(), "key_mismatch");
    // No image is taken before the keys are whole.
    let image = party.encrypt("7_a");
    let jobs = |keys: Digest| format!("/v1/models/mnist/jobs?keys={keys}");
    assert_eq!(send(&served, "POST", &jobs(party.keys), Some(&token), &[], &image).code(), "keys_not_whole");
    // The quota counts what was announced.
    assert_eq!(announce(Digest::of(b"more"), 60 << 20).code(), "no_room");
    assert_eq!(send(&served, "DELETE", &path, Some(&token), &[], &[]).status, 204);

    // What cannot become keys of the program is refused with the first record that shows it.
    let mut damaged = file.clone();
    damaged[10 << 20] ^= 1;
    let name = Digest::of(&damaged);
    let (at, answer) = upload(name, &damaged);
    assert_eq!((answer.status, &answer.code()[..]), (422, "keys_refused"), "{}", answer.text);
    assert!(at < 20 << 20, "only at {at}");
    is_gone(name);
    for (junk, name) in [(vec![7; 100_000], "noise"), (image.clone(), "a ciphertext")] {
        let keys = Digest::of(&junk);
        assert_eq!(upload(keys, &junk).1.code(), "keys_refused", "{name}");
        is_gone(keys);
    }
    let cut = &file[..file.len() - 5];
    assert_eq!(upload(Digest::of(cut), cut).1.code(), "keys_refused");
    is_gone(Digest::of(cut));
    // Whole, and not the file that was announced.
    let other = Digest::of(b"another file");
    assert_eq!(upload(other, &file).1.code(), "wrong_digest");
    is_gone(other);

    // However short they are, there is an end of what is announced.
    let many: Vec<Answer> = (0..70).map(|i| announce(Digest::of(&[i]), 1)).collect();
    assert!(many[..64].iter().all(|answer| answer.status == 201));
    assert!(many[64..].iter().all(|answer| answer.code() == "no_room"));
    for i in 0..64 {
        let path = format!("/v1/keys/{}", Digest::of(&[i]));
        assert_eq!(send(&served, "DELETE", &path, Some(&token), &[], &[]).status, 204);
    }

    // The right ones are taken in the end.
    assert_eq!(upload(party.keys, &file).1.json()["state"], "whole");
    assert_eq!(put(party.keys, 0, &file[..chunk]).code(), "wrong_offset");
    // Images: junk, cut, too long, of another kind, under another key.
    let refused = |bytes: &[u8]| send(&served, "POST", &jobs(party.keys), Some(&token), &[], bytes).code();
    for junk in [&b""[..], b"FHEB", &[0; 1000], &image[..image.len() - 1], &[&image[..], b"x"].concat()] {
        assert_eq!(refused(junk), "image_refused");
    }
    assert_too_large(&served, &format!("POST {}", jobs(party.keys)), &token, "x: y", 64 << 20);
    assert_eq!(refused(&place.party("bob").encrypt("7_a")), "key_mismatch");
    let query = format!("/v1/models/mnist/jobs?keys={}&deadline=0", party.keys);
    assert_eq!(send(&served, "POST", &query, Some(&token), &[], &image).code(), "bad_request");
    assert_eq!(
        send(&served, "POST", "/v1/models/mnist/jobs", Some(&token), &[], &image).code(),
        "bad_request"
    );
}

#[test]
fn queues_have_ends_and_jobs_can_be_taken_back() {
    // One thread: jobs take longer than it takes to send them all.
    let place = Place::new();
    let (alice, bob) = (place.token("alice", &[]), place.token("bob", &[]));
    let served = place.serve(&[
        "--tokens",
        &place.path("tokens"),
        "--threads",
        "1",
        "--jobs-per-principal",
        "5",
        "--queue",
        "6",
    ]);
    let (of_alice, of_bob) = (place.party("alice"), place.party("bob"));
    let (image, other) = (of_alice.encrypt("7_a"), of_bob.encrypt("7_a"));
    let (remote, to_bob) = (served.remote(Some(&alice)), served.remote(Some(&bob)));
    of_alice.upload(&remote);
    of_bob.upload(&to_bob);
    let submit = |token: &str, keys: Digest, image: &[u8], more: &str, headers: &[(&str, &str)]| {
        let path = format!("/v1/models/mnist/jobs?keys={keys}{more}");
        send(&served, "POST", &path, Some(token), headers, image)
    };
    let id = |answer: &Answer| answer.json()["id"].as_str().expect("an id").to_string();
    let accepted: Vec<Answer> = (0..4).map(|_| submit(&alice, of_alice.keys, &image, "", &[])).collect();
    assert!(accepted.iter().all(|answer| answer.status == 202));
    // A job with a deadline behind four others that take longer.
    let late = submit(&alice, of_alice.keys, &image, "&deadline=5", &[("idempotency-key", "late")]);
    assert_eq!(late.status, 202, "{}", late.text);
    let many = submit(&alice, of_alice.keys, &image, "", &[]);
    assert_eq!((many.status, &many.code()[..]), (429, "too_many_jobs"));
    assert!(many.retry_after.is_some_and(|seconds| seconds.parse::<u64>().is_ok_and(|seconds| seconds > 0)));
    // The same key with something else; and with the same, although there is no room.
    let conflict =
        submit(&alice, of_alice.keys, &of_alice.encrypt("1_a"), "", &[("idempotency-key", "late")]);
    assert_eq!(conflict.code(), "idempotency_conflict");
    let again = submit(&alice, of_alice.keys, &image, "&deadline=5", &[("idempotency-key", "late")]);
    assert_eq!((again.status, id(&again)), (200, id(&late)));
    // Keys that jobs use stay.
    let path = format!("/v1/keys/{}", of_alice.keys);
    assert_eq!(send(&served, "DELETE", &path, Some(&alice), &[], &[]).code(), "keys_in_use");
    // The other one's turn comes before the last of hers.
    let his = submit(&bob, of_bob.keys, &other, "", &[]);
    assert_eq!(his.status, 202, "{}", his.text);
    // Taken back: it has no answer, and its place is free.
    let last = format!("/v1/jobs/{}", id(&accepted[3]));
    assert_eq!(send(&served, "GET", &format!("{last}/answer"), Some(&alice), &[], &[]).code(), "no_answer");
    assert_eq!(send(&served, "DELETE", &last, Some(&alice), &[], &[]).status, 204);
    assert_eq!(send(&served, "GET", &last, Some(&alice), &[], &[]).json()["state"], "cancelled");
    assert_eq!(send(&served, "GET", &format!("{last}/answer"), Some(&alice), &[], &[]).code(), "no_answer");
    let finished = to_bob.wait(&id(&his), &mut |_| ()).expect("it ends");
    assert_eq!(finished.state, JobState::Done);
    for answer in &accepted[..3] {
        assert_eq!(remote.wait(&id(answer), &mut |_| ()).expect("it ends").state, JobState::Done);
    }
    let late = remote.wait(&id(&late), &mut |_| ()).expect("it ends");
    // Where the machine is fast enough, there is an answer in time.
    if late.state != JobState::Done {
        assert_eq!(late.problem.expect("a reason").code, Code::DeadlineExceeded);
    }
    // Deleted, it is gone.
    assert_eq!(send(&served, "DELETE", &last, Some(&alice), &[], &[]).status, 204);
    assert_eq!(send(&served, "GET", &last, Some(&alice), &[], &[]).status, 404);
    assert_eq!(send(&served, "DELETE", &path, Some(&alice), &[], &[]).status, 204);
}

/// A body of this length is refused before it is sent.
fn assert_too_large(served: &Served, request: &str, token: &str, headers: &str, length: usize) {
    let head = format!(
        "{request} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n{headers}\r\ncontent-length: {length}\r\n\r\n"
    );
    let (text, _) = silent(served, head.as_bytes());
    assert!(text.starts_with("HTTP/1.1 413") && text.contains("too_large"), "{request}: {text}");
}

#[test]
fn slow_and_strange_clients_do_not_keep_others() {
    let place = Place::new();
    let token = place.token("alice", &[]);
    let served = place.serve(&["--tokens", &place.path("tokens"), "--patience", "1", "--connections", "20"]);
    let authorization = format!("authorization: Bearer {token}\r\n");
    let post = |length: usize| {
        format!("POST /v1/keys HTTP/1.1\r\nhost: x\r\n{authorization}content-length: {length}\r\n\r\n{{")
    };
    thread::scope(|scope| {
        let served = &served;
        for bytes in ["".to_string(), "GET /v1/models HTTP/1.1\r\nhost".to_string(), post(100)] {
            scope.spawn(move || {
                let (text, time) = silent(served, bytes.as_bytes());
                assert!(time < Duration::from_secs(8), "{time:?}: {text}");
                if bytes.starts_with("POST") {
                    assert!(text.starts_with("HTTP/1.1 408") && text.contains("body_too_slow"), "{text}");
                }
            });
        }
        // A length that nobody means is refused at once.
        let (text, time) = silent(served, post(usize::MAX / 2).as_bytes());
        assert!(text.starts_with("HTTP/1.1 413"), "{text}");
        assert!(time < Duration::from_secs(8), "{time:?}");
    });
    // One that asks and takes nothing: its connection ends, and what it asked for does not come.
    let mut deaf = TcpStream::connect(&served.address).expect("a connection");
    let asked = 1000;
    let question = "GET /openapi.json HTTP/1.1\r\nhost: x\r\n\r\n".repeat(asked);
    deaf.write_all(question.as_bytes()).expect("it is sent");
    thread::sleep(Duration::from_secs(4));
    deaf.set_read_timeout(Some(Duration::from_secs(20))).expect("a time limit");
    let mut text = Vec::new();
    let _ = deaf.read_to_end(&mut text);
    let answers = String::from_utf8_lossy(&text).matches("HTTP/1.1 200").count();
    assert!((1..asked).contains(&answers), "{answers} answers");
    let headers: String = (0..200).map(|i| format!("x-{i}: y\r\n")).collect();
    let chunked = format!(
        "POST /v1/keys HTTP/1.1\r\nhost: x\r\n{authorization}transfer-encoding: chunked\r\n\r\n{}",
        format!("2000\r\n{}\r\n", "x".repeat(0x2000)).repeat(2)
    );
    for (bytes, status) in [
        (format!("GET /v1/models HTTP/1.1\r\nhost: x\r\n{headers}\r\n"), 431),
        (format!("GET /v1/models HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n", "y".repeat(300_000)), 431),
        ("\0\u{1}\u{2} /\r\n\r\n".to_string(), 400),
        (chunked, 413),
    ] {
        let (text, _) = silent(&served, bytes.as_bytes());
        assert!(text.starts_with(&format!("HTTP/1.1 {status}")), "{status}: {text}");
    }
    // Connections that say nothing, more than there may be: others are answered soon again.
    let held: Vec<TcpStream> = (0..30).filter_map(|_| TcpStream::connect(&served.address).ok()).collect();
    assert!(held.len() >= 20);
    let remote = served.remote(Some(&token));
    assert_eq!(remote.models().expect("an answer").len(), 1);
    drop(held);
    // Pages in a browser do not get at a service without tokens.
    let open = Place::new();
    let served = open.serve(&["--no-auth"]);
    let site = "sec-fetch-site";
    for header in [
        ("origin", "https://evil.example"),
        ("host", "evil.example"),
        (site, "cross-site"),
        (site, "same-site"),
    ] {
        assert_eq!(send(&served, "GET", "/v1/models", None, &[header], &[]).code(), "unauthorized");
    }
    assert_eq!(send(&served, "GET", "/v1/models", None, &[(site, "none")], &[]).status, 200);
    // What the router refuses by itself is an error as all others.
    assert_eq!(send(&served, "GET", "/v1/models/%ff", None, &[], &[]).code(), "bad_request");
}

//! Clients that strain a service: slow ones, silent ones, those who send far too much, and those
//! who send the same again. Others are answered all the while.

mod binary;
mod served;

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use binary::succeeds;
use fhec_serve::api::JobState;
use fhec_serve::digest::Digest;
use served::requests::send;
use served::{Place, Served, of_repository};

/// Others are answered within this time, however slow this machine is at the moment.
const SOON: Duration = Duration::from_secs(5);

/// Asserts that `token` is answered soon.
fn is_answered(served: &Served, token: &str) {
    let begun = Instant::now();
    assert_eq!(send(served, "GET", "/v1/models", Some(token), &[], &[]).status, 200);
    assert!(begun.elapsed() < SOON, "others wait for {:?}", begun.elapsed());
}

/// The head of a request with a body of so many bytes.
fn head(method: &str, path: &str, token: &str, length: usize, more: &str) -> String {
    format!(
        "{method} {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\ncontent-length: {length}\r\n{more}\r\n"
    )
}

/// Sends `head` at once and `body` with 1 kB a second, until something comes back: that, and when.
fn slowly(served: &Served, head: &str, body: &[u8]) -> (String, Duration) {
    const PATIENCE: Duration = Duration::from_secs(60);
    let mut stream = TcpStream::connect(&served.address).expect("a connection");
    stream.set_read_timeout(Some(Duration::from_millis(100))).expect("a time limit");
    stream.write_all(head.as_bytes()).expect("it is sent");
    let (begun, mut parts) = (Instant::now(), body.chunks(100));
    let mut text = vec![0; 1 << 14];
    loop {
        if let Some(part) = parts.next() {
            // A service that has heard enough takes no more; what it said is still there.
            let _ = stream.write_all(part);
        }
        match stream.read(&mut text) {
            Ok(length) => {
                return (String::from_utf8_lossy(&text[..length]).into_owned(), begun.elapsed());
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                assert!(begun.elapsed() < PATIENCE, "nothing comes back");
            }
            Err(error) => return (error.to_string(), begun.elapsed()),
        }
    }
}

#[test]
fn clients_of_1_kb_a_second_keep_nobody_else() {
    let place = Place::new();
    let (alice, bob) = (place.token("alice", &[]), place.token("bob", &[]));
    let arguments = ["--tokens", &place.path("tokens"), "--patience", "2", "--body-time", "8"];
    let served = place.serve(&arguments);
    let party = place.party("bob");
    let announced =
        format!("{{\"model\":\"mnist\",\"keys\":\"{}\",\"length\":1000000}}", Digest::of(b"slow"));
    // Slow and small is taken.
    let padded = format!("{}{announced}", " ".repeat(2000));
    let small = head("POST", "/v1/keys", &alice, padded.len(), "");
    let (text, time) = slowly(&served, &small, padded.as_bytes());
    assert!(text.starts_with("HTTP/1.1 201"), "{text}");
    assert!(time > Duration::from_secs(1), "that was not slow: {time:?}");
    // Slow and large ends. Of one principal as many as it may have bodies, and some more.
    let body = vec![7; 100_000];
    let path = format!("/v1/keys/{}", Digest::of(b"slow"));
    let more = format!("upload-offset: 0\r\nupload-digest: {}\r\n", Digest::of(&body));
    let large = head("PATCH", &path, &alice, body.len(), &more);
    thread::scope(|scope| {
        let (served, alice, body, large) = (&served, &alice, &body, &large);
        let slow: Vec<_> = (0..12).map(|_| scope.spawn(move || slowly(served, large, body))).collect();
        thread::sleep(Duration::from_millis(500));
        is_answered(served, alice);
        // Somebody else uploads keys and gets an answer meanwhile.
        let remote = served.remote(Some(&bob));
        party.upload(&remote);
        let job = remote.submit("mnist", party.keys, &party.encrypt("7_a"), None, "one").expect("accepted");
        assert_eq!(remote.wait(&job.id, &mut |_| ()).expect("it ends").state, JobState::Done);
        is_answered(served, &bob);
        let texts: Vec<(String, Duration)> =
            slow.into_iter().map(|slow| slow.join().expect("a text")).collect();
        let with = |status: &str| texts.iter().filter(|(text, _)| text.contains(status)).count();
        assert_eq!((with("body_too_slow"), with("overloaded")), (8, 4), "{texts:?}");
        assert!(texts.iter().all(|(_, time)| *time < Duration::from_secs(25)), "{texts:?}");
    });
    // Nothing of it counts.
    let sets = served.remote(Some(&alice)).keys().expect("a list");
    assert_eq!((sets.len(), sets[0].offset), (1, 0));
}

const IDLE: usize = 1000;

/// Lets this process, and those that it starts, open as many files as the system allows.
#[cfg(unix)]
fn allow_many_files() -> bool {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let most = Rlimit { current: limit.maximum, ..limit };
    setrlimit(Resource::Nofile, most).is_ok() && limit.maximum.is_none_or(|most| most >= 2 * IDLE as u64)
}

/// Connections of nobody known: a third says nothing, one begins a request, one has made one that
/// everybody may make.
fn idle(served: &Served) -> Vec<TcpStream> {
    let connect = |i: usize| {
        let mut stream = TcpStream::connect(&served.address).expect("a connection");
        stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a time limit");
        match i % 3 {
            0 => {}
            1 => stream.write_all(b"GET /v1/models HTTP/1.1\r\nhost").expect("it is sent"),
            _ => {
                stream.write_all(b"GET /v2/health/live HTTP/1.1\r\nhost: x\r\n\r\n").expect("it is sent");
                let mut text = [0; 12];
                stream.read_exact(&mut text).expect("an answer");
                assert_eq!(&text, b"HTTP/1.1 200");
            }
        }
        stream
    };
    (0..IDLE).map(connect).collect()
}

#[cfg(target_os = "linux")]
#[test]
fn a_thousand_idle_connections_keep_nobody_out() {
    if !allow_many_files() {
        return eprintln!("skipped: the system does not allow as many files");
    }
    let place = Place::new();
    let token = place.token("alice", &[]);
    let serve = |connections| {
        let arguments = ["--tokens", &place.path("tokens"), "--connections", connections, "--patience", "10"];
        let served = place.serve(&arguments);
        is_answered(&served, &token);
        served
    };
    // There is room for all of them: they cost little, and do not stay for ever.
    let served = serve("1100");
    let before = served.resident_bytes();
    let mut held = idle(&served);
    (0..5).for_each(|_| is_answered(&served, &token));
    let grown = served.resident_bytes().saturating_sub(before);
    eprintln!("{} kB of memory per idle connection", (grown >> 10) as f64 / IDLE as f64);
    assert!(grown < 64 << 20, "{grown} bytes for {IDLE} connections");
    let begun = Instant::now();
    for stream in &mut held {
        let _ = stream.read_to_end(&mut Vec::new());
    }
    assert!(begun.elapsed() < Duration::from_secs(40), "after {:?}", begun.elapsed());
    is_answered(&served, &token);
    served.stop();
    // There is room for few: those of nobody known give way to others, and a stream of events of
    // somebody known goes on.
    let served = serve("50");
    let party = place.party("alice");
    let remote = served.remote(Some(&token));
    party.upload(&remote);
    let job = remote.submit("mnist", party.keys, &party.encrypt("7_a"), None, "one").expect("accepted");
    thread::scope(|scope| {
        let finished = scope.spawn(|| remote.wait(&job.id, &mut |_| ()).expect("it ends"));
        let held = idle(&served);
        (0..5).for_each(|_| is_answered(&served, &token));
        assert_eq!(finished.join().expect("a job").state, JobState::Done);
        (0..5).for_each(|_| is_answered(&served, &token));
        drop(held);
    });
}

/// Sends junk until the service takes no more: what it said, and the bytes that went.
fn junk(served: &Served, head: &str, is_chunked: bool) -> (String, u64) {
    const WHOLE: u64 = 1 << 30;
    let mut stream = TcpStream::connect(&served.address).expect("a connection");
    for set in [TcpStream::set_read_timeout, TcpStream::set_write_timeout] {
        set(&stream, Some(Duration::from_secs(30))).expect("a time limit");
    }
    stream.write_all(head.as_bytes()).expect("it is sent");
    let block = vec![0xa5; 1 << 16];
    let mut sent = 0;
    let all = |stream: &mut TcpStream| -> std::io::Result<()> {
        if is_chunked {
            stream.write_all(b"10000\r\n")?;
        }
        stream.write_all(&block)?;
        if is_chunked { stream.write_all(b"\r\n") } else { Ok(()) }
    };
    while sent < WHOLE && all(&mut stream).is_ok() {
        sent += block.len() as u64;
    }
    let mut text = Vec::new();
    let _ = stream.read_to_end(&mut text);
    (String::from_utf8_lossy(&text).into_owned(), sent)
}

#[cfg(target_os = "linux")]
#[test]
fn a_gibibyte_of_junk_is_not_taken() {
    let place = Place::new();
    let token = place.token("alice", &[]);
    let served = place.serve(&["--tokens", &place.path("tokens")]);
    let keys = Digest::of(b"junk");
    let announced = format!("{{\"model\":\"mnist\",\"keys\":\"{keys}\",\"length\":1000000}}");
    assert_eq!(send(&served, "POST", "/v1/keys", Some(&token), &[], announced.as_bytes()).status, 201);
    let before = served.resident_bytes();
    let upload = format!("upload-offset: 0\r\nupload-digest: {keys}\r\n");
    let chunk = format!("/v1/keys/{keys}");
    for (method, path, more) in [
        ("POST", "/v1/keys", ""),
        ("PATCH", &chunk[..], &upload[..]),
        ("POST", "/v1/models/mnist/jobs?keys=x", ""),
        ("POST", "/v2/models/mnist/infer", "inference-header-content-length: 100\r\n"),
        ("POST", "/v1/none", ""),
        ("GET", "/v1/models", ""),
    ] {
        for token in [&token[..], "fhec_none"] {
            let whole = head(method, path, token, 1 << 30, more);
            let chunked = whole.replace("content-length: 1073741824", "transfer-encoding: chunked");
            for (head, is_chunked) in [(whole, false), (chunked, true)] {
                let (text, sent) = junk(&served, &head, is_chunked);
                // What the buffers of the system take on the way counts as sent.
                assert!(sent < 64 << 20, "{method} {path}: {sent} bytes were taken: {text}");
                let grown = served.resident_bytes().saturating_sub(before);
                assert!(grown < 64 << 20, "{method} {path}: {grown} bytes of memory");
            }
        }
    }
    is_answered(&served, &token);
    assert_eq!(served.remote(Some(&token)).keys().expect("a list")[0].offset, 0);
}

#[test]
fn what_is_sent_again_changes_nothing() {
    let place = Place::new();
    let token = place.token("alice", &[]);
    let served = place.serve(&["--tokens", &place.path("tokens")]);
    let party = place.party("alice");
    let file = fs::read(&party.key_file).expect("a file");
    let announced = format!("{{\"model\":\"mnist\",\"keys\":\"{}\",\"length\":{}}}", party.keys, file.len());
    let path = format!("/v1/keys/{}", party.keys);
    let announce = || send(&served, "POST", "/v1/keys", Some(&token), &[], announced.as_bytes());
    let chunk = |offset: usize| {
        let part = &file[offset..file.len().min(offset + (4 << 20))];
        let (offset, digest) = (offset.to_string(), Digest::of(part).to_string());
        let headers = [("upload-offset", &offset[..]), ("upload-digest", &digest[..])];
        send(&served, "PATCH", &path, Some(&token), &headers, part)
    };
    let offsets: Vec<usize> = (0..file.len()).step_by(4 << 20).collect();
    assert_eq!((announce().status, announce().status), (201, 200));
    for &offset in &offsets {
        let first = chunk(offset);
        assert_eq!(first.status, 200, "{}", first.text);
        // This chunk again, and the first one again.
        for again in [offset, 0] {
            let again = chunk(again);
            assert_eq!((again.status, &again.code()[..]), (409, "wrong_offset"));
        }
        assert_eq!(announce().status, 200);
    }
    let image = party.encrypt("7_a");
    let submit = |headers: &[(&str, &str)]| {
        let answer = send(
            &served,
            "POST",
            &format!("/v1/models/mnist/jobs?keys={}", party.keys),
            Some(&token),
            headers,
            &image,
        );
        (answer.status, answer.json()["id"].as_str().expect("an id").to_string())
    };
    // With a name for it the same job, before it ends and after that; without one another job.
    let (named, first) = submit(&[("idempotency-key", "x")]);
    assert_eq!((named, submit(&[("idempotency-key", "x")])), (202, (200, first.clone())));
    let remote = served.remote(Some(&token));
    assert_eq!(remote.wait(&first, &mut |_| ()).expect("it ends").state, JobState::Done);
    assert_eq!(submit(&[("idempotency-key", "x")]), (200, first.clone()));
    let (status, other) = submit(&[]);
    assert!(status == 202 && other != first);
    assert_eq!(remote.wait(&other, &mut |_| ()).expect("it ends").state, JobState::Done);
    assert_eq!(remote.jobs().expect("a list").len(), 2);
    let get =
        |id: &str, what: &str| send(&served, "GET", &format!("/v1/jobs/{id}/{what}"), Some(&token), &[], &[]);
    assert_eq!(
        get(&first, "receipt").text,
        get(&other, "receipt").text,
        "the same image has the same answer"
    );
    // What is deleted stays deleted.
    for (path, status) in [
        (format!("/v1/jobs/{first}"), 204),
        (format!("/v1/jobs/{first}"), 404),
        (path.clone(), 204),
        (path.clone(), 404),
    ] {
        assert_eq!(send(&served, "DELETE", &path, Some(&token), &[], &[]).status, status, "{path}");
    }
    assert_eq!(chunk(0).status, 404);
}

/// Two programs of one service: keys, images and jobs of one are of no use for the other.
#[test]
fn keys_of_another_model_are_refused() {
    let place = Place::new();
    let whole = place.path("other.fhec");
    succeeds(&["compile", &of_repository("models/mnist_cnn_deg4.onnx"), "-o", &whole]);
    succeeds(&["server", &whole, "-o", &place.path("models/other.server.fhec")]);
    let token = place.token("alice", &[]);
    let served = place.serve(&["--tokens", &place.path("tokens")]);
    let remote = served.remote(Some(&token));
    let party = place.party("alice");
    // As keys of the other program they are refused with the first record that shows it.
    let refused = remote.upload("other", &party.key_file, party.keys, &mut |_, _| ()).unwrap_err();
    assert!(
        refused.to_string().contains("keys_refused") || refused.to_string().contains("too_large"),
        "{refused}"
    );
    assert!(remote.keys().expect("a list").is_empty());
    // As what they are they are taken; the other program is not evaluated with them.
    party.upload(&remote);
    let image = party.encrypt("7_a");
    let foreign = remote.submit("other", party.keys, &image, None, "x").unwrap_err();
    assert!(foreign.to_string().contains("key_mismatch"), "{foreign}");
    let known = send(&served, "GET", "/v1/models/other", Some(&token), &[], &[]);
    assert_eq!(known.json()["keys"], serde_json::json!([]));
    let job = remote.submit("mnist", party.keys, &image, None, "x").expect("accepted");
    assert_eq!(remote.wait(&job.id, &mut |_| ()).expect("it ends").state, JobState::Done);
}

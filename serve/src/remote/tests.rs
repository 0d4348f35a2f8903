use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::thread;

use super::*;

/// A service that answers every request with what `answer` says to its count, method and path:
/// status and body. Returns its client.
fn service(
    patience: Duration,
    mut answer: impl FnMut(usize, &str) -> (u16, String) + Send + 'static,
) -> Remote {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    thread::spawn(move || {
        for (count, stream) in listener.incoming().enumerate() {
            let Ok(mut stream) = stream else { return };
            let mut reader = BufReader::new(stream.try_clone().expect("a stream"));
            let (mut first, mut length) = (String::new(), 0);
            let _ = reader.read_line(&mut first);
            loop {
                let mut line = String::new();
                if reader.read_line(&mut line).unwrap_or(0) <= 2 {
                    break;
                }
                let line = line.to_ascii_lowercase();
                if let Some(value) = line.strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap_or(0);
                }
            }
            let _ = io::copy(&mut reader.take(length), &mut io::sink());
            let (status, body) = answer(count, &first);
            let head = format!("HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: {}", body.len());
            let _ = stream.write_all(format!("{head}\r\n\r\n{body}").as_bytes());
        }
    });
    Remote::new(Connection::new(&url, &Settings::default()).expect("an address"), patience)
}

fn event(state: &str) -> String {
    format!(
        "event: job\ndata: {{\"id\":\"a\",\"model\":\"m\",\"state\":\"{state}\",\"submitted\":0,\"ops_done\":0,\"ops\":1}}\n\n"
    )
}

#[test]
fn a_job_is_waited_for_as_long_as_it_is_heard_of() {
    let patience = Duration::from_millis(400);
    let remote = service(patience, |count, _| (200, event(if count < 6 { "running" } else { "done" })));
    let begun = Instant::now();
    let job = remote.wait("a", &mut |_| ()).expect("it ends");
    assert_eq!(job.state, api::JobState::Done);
    assert!(begun.elapsed() > patience, "streams ended {:?} before the patience did", begun.elapsed());
    // Streams without a word do not count.
    let remote = service(patience, |_, _| (200, ": still here\n\n".into()));
    let begun = Instant::now();
    assert!(matches!(remote.wait("a", &mut |_| ()), Err(RemoteError::Broken(_))));
    assert!(begun.elapsed() < Duration::from_secs(10));
}

#[test]
fn an_upload_that_does_not_get_on_ends() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), [7; 100]).expect("it is written");
    let keys = |offset: u64| {
        let digest = Digest::of(b"x");
        format!(
            "{{\"keys\":\"{digest}\",\"program\":\"{digest}\",\"state\":\"uploading\",\"length\":100,\
             \"offset\":{offset},\"chunk_bytes\":50,\"resident\":false,\"expires_in_seconds\":1}}"
        )
    };
    let problem = serde_json::to_string(&Problem::new(Code::WrongOffset, "elsewhere")).expect("JSON");
    let patience = Duration::from_millis(600);
    // No progress, back and forth, always elsewhere.
    type Answers = Box<dyn FnMut(usize, &str) -> (u16, String) + Send>;
    // Farther than there is anything to send.
    let beyond = service(patience, move |count, _| (200, keys(100 + count as u64)));
    let done = beyond.upload("m", file.path(), Digest::of(b"x"), &mut |_, _| ());
    assert!(matches!(done, Err(RemoteError::Answer(_))), "{done:?}");
    let services: [Answers; 3] = [
        Box::new(move |_, _| (200, keys(0))),
        Box::new(move |count, _| (200, keys(50 * (count as u64 % 2)))),
        Box::new(
            move |_, line| if line.starts_with("PATCH") { (409, problem.clone()) } else { (200, keys(0)) },
        ),
    ];
    for (index, answers) in services.into_iter().enumerate() {
        let begun = Instant::now();
        let done = service(patience, answers).upload("m", file.path(), Digest::of(b"x"), &mut |_, _| ());
        assert!(matches!(done, Err(RemoteError::Stuck(_))), "{index}: {done:?}");
        assert!(begun.elapsed() < Duration::from_secs(10), "{index}");
    }
}

#[test]
fn a_service_cannot_ask_for_an_endless_wait() {
    let busy = Problem::new(Code::Overloaded, "later").retry_after(u64::MAX);
    let busy = serde_json::to_string(&busy).expect("JSON");
    let remote = service(Duration::from_secs(5), move |_, _| (503, busy.clone()));
    assert!(matches!(remote.models(), Err(RemoteError::Refused(_))));
    let error = remote.upload("m", Path::new("/dev/null"), Digest::of(b"x"), &mut |_, _| ());
    assert!(matches!(error, Err(RemoteError::Refused(_))));
}

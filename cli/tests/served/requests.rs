//! Requests that are made by hand.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::Served;

/// Status and body of a response.
pub struct Answer {
    pub status: u16,
    pub retry_after: Option<String>,
    pub text: String,
}

impl Answer {
    pub fn code(&self) -> String {
        let json: Value = serde_json::from_str(&self.text).unwrap_or_default();
        json["code"].as_str().unwrap_or_default().to_string()
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("no JSON: {}", self.text))
    }
}

/// Sends a request and takes its answer; errors have to be problems in JSON.
pub fn send(
    served: &Served,
    method: &str,
    path: &str,
    token: Option<&str>,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Answer {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(Duration::from_secs(20)))
        .build()
        .into();
    let mut request = ureq::http::Request::builder().method(method).uri(format!("{}{path}", served.url()));
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = match body {
        [] if matches!(method, "GET" | "DELETE") => agent.run(request.body(()).expect("a request")),
        body => agent.run(request.body(body).expect("a request")),
    };
    let mut response = response.expect("an answer");
    let retry_after = response.headers().get("retry-after");
    let retry_after = retry_after.and_then(|value| value.to_str().ok()).map(str::to_string);
    let kind = response.headers().get("content-type").and_then(|kind| kind.to_str().ok());
    let kind = kind.unwrap_or_default().to_string();
    let status = response.status().as_u16();
    if kind == "text/event-stream" {
        // It may go on for long: that it was opened is what counts.
        return Answer { status, retry_after, text: String::new() };
    }
    let bytes = response.body_mut().read_to_vec().expect("a body");
    let text = String::from_utf8_lossy(&bytes).into_owned();
    if status >= 400 && status != 503 {
        assert_eq!(kind, "application/problem+json", "{method} {path}: {text}");
    }
    Answer { status, retry_after, text }
}

/// What a connection gets that sends `bytes` and then nothing, and after how long.
pub fn silent(served: &Served, bytes: &[u8]) -> (String, Duration) {
    let mut stream = TcpStream::connect(&served.address).expect("a connection");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a time limit");
    let begun = Instant::now();
    stream.write_all(bytes).expect("they are sent");
    let mut text = Vec::new();
    // The service may close before all is read.
    let _ = stream.read_to_end(&mut text);
    (String::from_utf8_lossy(&text).into_owned(), begun.elapsed())
}

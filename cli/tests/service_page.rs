//! The page that a service offers: which files, with which headers, and whose requests are answered
//! beside it.

mod binary;
mod served;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use binary::fhec;
use served::requests::send;
use served::{Place, Served};

/// A page with a file of each kind, and with files that are nobody's business.
fn page(folder: &Path) {
    fs::create_dir_all(folder.join("client/wasm")).unwrap();
    for (name, text) in [
        ("index.html", "<!doctype html><title>page</title>"),
        ("style.css", "p {}"),
        ("client/page.js", "export {};"),
        ("client/wasm/a.wasm", "\0asm"),
        (".hidden.js", "secret"),
        ("notes.txt", "secret"),
        ("tokens", "secret"),
    ] {
        fs::write(folder.join(name), text).unwrap();
    }
    fs::write(folder.join("../outside.js"), "secret").unwrap();
    #[cfg(unix)]
    std::os::unix::fs::symlink("../outside.js", folder.join("link.js")).unwrap();
}

/// Status, headers in lower case, and body of what is answered to these bytes: clients of HTTP
/// would make other paths of some of these.
fn raw(served: &Served, request: &str) -> (u16, String, String) {
    let mut stream = TcpStream::connect(&served.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").expect("a response");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    (status, head.to_lowercase(), body.to_string())
}

fn get(served: &Served, path: &str, headers: &str) -> (u16, String, String) {
    let address = &served.address;
    raw(served, &format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n{headers}\r\n"))
}

#[test]
fn a_page_is_served_with_its_policy_and_nothing_beside_it() {
    let place = Place::new();
    let folder = place.folder.path().join("page");
    page(&folder);
    let served = place.serve(&["--no-auth", "--demo", folder.to_str().unwrap()]);
    for (path, kind, body) in [
        ("/demo/", "text/html; charset=utf-8", "<!doctype html><title>page</title>"),
        ("/demo/index.html", "text/html; charset=utf-8", "<!doctype html><title>page</title>"),
        ("/demo/style.css", "text/css; charset=utf-8", "p {}"),
        ("/demo/client/page.js", "text/javascript; charset=utf-8", "export {};"),
        ("/demo/client/wasm/a.wasm", "application/wasm", "\0asm"),
    ] {
        let (status, head, found) = get(&served, path, "");
        assert_eq!((status, &found[..]), (200, body), "{path}");
        for header in [
            &format!("content-type: {kind}\r\n")[..],
            "x-content-type-options: nosniff",
            "content-security-policy: default-src 'none'; script-src 'self' 'wasm-unsafe-eval';",
            "frame-ancestors 'none'",
            "referrer-policy: no-referrer",
            "cache-control: no-cache",
        ] {
            assert!(format!("{head}\r\n").contains(header), "{path} has no {header}: {head}");
        }
        let tag = head.lines().find_map(|line| line.strip_prefix("etag: ")).expect("a tag");
        let (status, _, found) = get(&served, path, &format!("if-none-match: {tag}\r\n"));
        assert_eq!((status, &found[..]), (304, ""), "{path}");
    }
    for path in ["/", "/demo"] {
        let (status, head, _) = get(&served, path, "");
        assert!(status == 307 && head.contains("location: /demo/"), "{path}: {head}");
    }
    for path in [
        "/demo/.hidden.js",
        "/demo/notes.txt",
        "/demo/tokens",
        "/demo/link.js",
        "/demo/client",
        "/demo/client/",
        "/demo/../outside.js",
        "/demo/client/../../outside.js",
        "/demo/%2e%2e/outside.js",
        "/demo/..%2foutside.js",
        "/demo//etc/passwd",
        "/demo/%00",
        "/demo/%ff",
    ] {
        let (status, _, body) = get(&served, path, "");
        assert!(matches!(status, 400 | 404) && !body.contains("secret"), "{path}: {status} {body}");
    }
    for method in ["POST", "PUT", "DELETE", "PATCH"] {
        assert_eq!(send(&served, method, "/demo/index.html", None, &[], b"x").status, 405, "{method}");
    }
}

#[test]
fn requests_of_the_page_are_answered_and_those_of_other_pages_are_not() {
    let place = Place::new();
    let folder = place.folder.path().join("page");
    page(&folder);
    let origin = |served: &Served, origin: &str, site: &str| {
        get(served, "/v1/models", &format!("origin: {origin}\r\nsec-fetch-site: {site}\r\n")).0
    };
    let served = place.serve(&["--no-auth", "--demo", folder.to_str().unwrap()]);
    let own = served.url();
    assert_eq!(origin(&served, &own, "same-origin"), 200);
    let port = served.address.rsplit_once(':').unwrap().1;
    for other in ["http://example.org", "http://127.0.0.1", "http://127.0.0.1:1", "null", ""] {
        assert_eq!(origin(&served, other, "same-origin"), 401, "{other}");
    }
    assert_eq!(origin(&served, &format!("http://localhost:{port}"), "same-site"), 401);
    assert_eq!(origin(&served, &own, "cross-site"), 401);
    // A name of somebody else's that leads here, with its own page.
    let (status, ..) = raw(
        &served,
        "GET /v1/models HTTP/1.1\r\nhost: evil.example\r\norigin: http://evil.example\r\nconnection: close\r\n\r\n",
    );
    assert_eq!(status, 401);
    served.stop();
    // Without a page, no page is answered.
    let served = place.serve(&["--no-auth"]);
    assert_eq!(origin(&served, &served.url(), "same-origin"), 401);
    assert_eq!(get(&served, "/demo/", "").0, 404);
    served.stop();
    // With tokens, the page is for everybody, and the service is not.
    let token = place.token("alice", &[]);
    let arguments = ["--tokens", &place.path("tokens"), "--demo", folder.to_str().unwrap()];
    let served = place.serve(&arguments);
    assert_eq!(get(&served, "/demo/", "").0, 200);
    assert_eq!(get(&served, "/v1/models", "").0, 401);
    assert_eq!(send(&served, "GET", "/v1/models", Some(&token), &[], b"").status, 200);
}

#[test]
fn a_folder_without_a_page_is_an_error_at_the_start() {
    let place = Place::new();
    let folder = place.folder.path().join("page");
    fs::create_dir(&folder).unwrap();
    let refused = |folder: &Path| {
        let (models, state) = (place.path("models"), place.path("state"));
        let arguments = ["serve", &models, "--state", &state, "--no-auth", "--listen", "127.0.0.1:0"];
        let output = fhec(&[&arguments[..], &["--demo", folder.to_str().unwrap()]].concat());
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(refused(&folder).contains("it has no index.html; `web/build.sh` builds the page"));
    assert!(refused(&folder.join("none")).contains("cannot be served"));
    fs::write(folder.join("index.html"), "").unwrap();
    fs::File::create(folder.join("large.js")).unwrap().set_len((64 << 20) + 1).unwrap();
    assert!(refused(&folder).contains("more than 67108864 bytes"));
}

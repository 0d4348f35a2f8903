//! A service under load: clients that send one image after the other, each as soon as it has the
//! answer to the one before. For every number of clients: answers per second, percentiles of the
//! time from sending to the answer, and memory of the service at the beginning and at the end.
//!
//!     cargo bench -p fhec-cli --bench service -- --seconds 600 --clients 1,8,64
//!     cargo bench -p fhec-cli --bench service -- --model resnet20 --picture models/scenes/ship.png \
//!         --principals 20 --key-memory 4GiB --answers 2 --clients 20
//!
//! Clients are spread over `--principals`, each of which has keys of its own. With `--answers` each
//! client sends so many images; else all of them send for `--seconds`. Service and clients share
//! this machine. Clients do not encrypt meanwhile: each sends an image that was encrypted before.
//! Every answer is compared with the first one to its image. The last number of a row is how often
//! keys were in memory when a job needed them.

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use fhec_serve::api::JobState;
use fhec_serve::digest::Digest;
use fhec_serve::remote::{Connection, Remote, Settings};

const PATIENCE: Duration = Duration::from_secs(120);

/// What is measured.
struct Options {
    model: String,
    picture: String,
    principals: usize,
    key_memory: String,
    seconds: u64,
    /// Of each client, whatever time that takes.
    answers: Option<usize>,
    clients: Vec<usize>,
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    // Runners of tests ask benches what they hold.
    if arguments.iter().any(|argument| argument == "--list") {
        return;
    }
    let option = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        arguments.get(at + 1).cloned()
    };
    let text = |name: &str, default: &str| option(name).unwrap_or_else(|| default.into());
    let number = |name: &str, default: usize| option(name).map_or(default, |n| n.parse().expect("a number"));
    let clients = text("--clients", "1,8,64");
    let options = Options {
        model: text("--model", "mnist_cnn_deg3"),
        picture: text("--picture", "models/digits/digit_7_a.png"),
        principals: number("--principals", 8),
        key_memory: text("--key-memory", "4GiB"),
        seconds: number("--seconds", 20) as u64,
        answers: option("--answers").map(|n| n.parse().expect("a number")),
        clients: clients.split(',').map(|n| n.parse().expect("a number")).collect(),
    };
    let folder = tempfile::tempdir().expect("a folder");
    let bench = Bench::prepare(folder.path(), &options);
    for &clients in &options.clients {
        bench.run(clients, &options);
    }
}

fn fhec(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_fhec")).args(arguments).output().expect("fhec starts");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// Killed when dropped.
struct Service(Child);

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Service {
    /// Bytes of memory that it has now, and had at most; 0 where the system does not say.
    fn memory(&self) -> [u64; 2] {
        let text = fs::read_to_string(format!("/proc/{}/status", self.0.id())).unwrap_or_default();
        ["VmRSS:", "VmHWM:"].map(|name| {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok()).unwrap_or(0) << 10
        })
    }
}

/// What a principal has.
struct Party {
    token: String,
    keys: Digest,
    program: Digest,
    image: Vec<u8>,
    answer: Vec<u8>,
}

struct Bench {
    service: Service,
    url: String,
    operator: String,
    parties: Vec<Party>,
}

impl Bench {
    /// Starts a service, makes keys of all principals and uploads them.
    fn prepare(folder: &Path, options: &Options) -> Self {
        let path = |name: &str| folder.join(name).to_str().expect("a path").to_string();
        let of_repository = |path: &str| format!("{}/../{path}", env!("CARGO_MANIFEST_DIR"));
        fs::create_dir(path("models")).expect("a folder");
        let model = of_repository(&format!("models/{}.onnx", options.model));
        fhec(&["compile", &model, "-o", &path("net.fhec")]);
        fhec(&["server", &path("net.fhec"), "-o", &path("models/net.server.fhec")]);
        let tokens = path("tokens");
        let operator = fhec(&["serve", "token", "operator", "--tokens", &tokens, "--operator"]);
        let token = |i: usize| {
            let token = fhec(&["serve", "token", &format!("p{i}"), "--tokens", &tokens]);
            let token = token.trim().to_string();
            fs::write(path(&format!("token{i}")), &token).expect("a file");
            token
        };
        let known: Vec<String> = (0..options.principals).map(token).collect();
        let mut service = Command::new(env!("CARGO_BIN_EXE_fhec"))
            .args(["serve", &path("models"), "--state", &path("state"), "--tokens", &tokens, "--json"])
            .args(["--listen", "127.0.0.1:0", "--key-memory", &options.key_memory])
            .args(["--jobs-per-principal", "64"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("fhec starts");
        let mut text = String::new();
        let mut output = BufReader::new(service.stdout.take().expect("an output"));
        while !text.ends_with("}\n") {
            assert!(output.read_line(&mut text).expect("text") > 0, "the service ended");
        }
        let started: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        let url = format!("http://{}", started["address"].as_str().expect("an address"));
        let party = |(i, token): (usize, String)| {
            let (home, kept, token_file) =
                (path(&format!("home{i}")), path(&format!("kept{i}")), path(&format!("token{i}")));
            let picture = of_repository(&options.picture);
            let of_client = ["remote", &url, "--home", &home, "--token-file", &token_file, "--json"];
            let report = fhec(&[&of_client[..], &["classify", "net", &picture, "--keep", &kept]].concat());
            let report: serde_json::Value = serde_json::from_str(&report).expect("JSON");
            assert!(report["class"].is_u64(), "{report}");
            // Of the keys the service has what is needed.
            fs::remove_dir_all(&home).expect("a folder");
            let read = |name: &str| fs::read(PathBuf::from(&kept).join(name)).expect("a file");
            let receipt: fhec_serve::receipt::Receipt =
                serde_json::from_slice(&read("receipt.json")).expect("a receipt");
            Party {
                token,
                keys: receipt.keys,
                program: receipt.program,
                image: read("image.ct"),
                answer: read("answer.ct"),
            }
        };
        let parties = known.into_iter().enumerate().map(party).collect();
        Bench { service: Service(service), url, operator: operator.trim().into(), parties }
    }

    /// How often the service has read keys for a job.
    fn key_loads(&self) -> u64 {
        let request = ureq::get(format!("{}/metrics", self.url));
        let request = request.header("authorization", format!("Bearer {}", self.operator));
        let text = request.call().expect("metrics").body_mut().read_to_string().expect("text");
        let line = text.lines().find_map(|line| line.strip_prefix("fhec_key_loads_total "));
        line.expect("a counter").parse().expect("a number")
    }

    fn run(&self, clients: usize, options: &Options) {
        let (before, loads) = (self.service.memory(), self.key_loads());
        let goes_on = |begun: Instant, done: usize| match options.answers {
            Some(answers) => done < answers,
            None => begun.elapsed() < Duration::from_secs(options.seconds),
        };
        let numbers = AtomicU64::new(0);
        let begun = Instant::now();
        let mut times: Vec<Duration> = thread::scope(|scope| {
            let client = |i: usize| {
                let party = &self.parties[i % self.parties.len()];
                let (url, numbers, goes_on) = (&self.url, &numbers, &goes_on);
                scope.spawn(move || {
                    let settings = Settings { token: Some(party.token.clone()), ..Settings::default() };
                    let remote = Remote::new(Connection::new(url, &settings).expect("an address"), PATIENCE);
                    let mut times = Vec::new();
                    while goes_on(begun, times.len()) {
                        let number = numbers.fetch_add(1, Ordering::Relaxed);
                        let sent = Instant::now();
                        answered(&remote, party, &format!("{clients} clients, {number}"));
                        times.push(sent.elapsed());
                    }
                    times
                })
            };
            let all: Vec<_> = (0..clients).map(client).collect();
            all.into_iter().flat_map(|client| client.join().expect("a client")).collect()
        });
        let seconds = begun.elapsed().as_secs_f64();
        times.sort();
        let percentile = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64();
        let [now, most] = self.service.memory();
        let loads = self.key_loads() - loads;
        say(&format!(
            "{clients} clients, {seconds:.0} s: {} answers, {:.2} per second; seconds per answer: median {:.2}, 90 % {:.2}, 99 % {:.2}, \
             most {:.2}; memory {:.0} MB before, {:.0} MB after, {:.0} MB at most; keys in memory for {} of {}",
            times.len(),
            times.len() as f64 / seconds,
            percentile(0.5),
            percentile(0.9),
            percentile(0.99),
            percentile(1.0),
            before[0] as f64 / 1e6,
            now as f64 / 1e6,
            most as f64 / 1e6,
            times.len() as u64 - loads,
            times.len(),
        ));
    }
}

/// Sends the image of a party as a job called `name`, waits, and compares the answer.
fn answered(remote: &Remote, party: &Party, name: &str) {
    let job = remote.submit("net", party.keys, &party.image, None, name).expect("accepted");
    let job = remote.wait(&job.id, &mut |_| ()).expect("it ends");
    assert_eq!(job.state, JobState::Done, "{:?}", job.problem);
    let image = Digest::of(&party.image);
    let (answer, _) = remote.answer(&job, party.program, party.keys, image, 1 << 24).expect("an answer");
    assert!(answer == party.answer, "another answer");
    remote.delete_job(&job.id).expect("it is deleted");
}

fn say(line: &str) {
    // Nobody may be there to read it.
    let _ = writeln!(io::stdout(), "{line}");
}

//! A service as a process of its own, and a client's things.

#![allow(dead_code, reason = "not every test needs all of it")]

pub mod requests;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use fhec_compiler::program::open_images;
use fhec_ir::program::Interface;
use fhec_roles::{Client, KeyFolder, context, exchange};
use fhec_serve::digest::Digest;
use fhec_serve::remote::{Connection, Remote, Settings};
use serde_json::Value;
use tempfile::TempDir;

use crate::binary::succeeds;

/// A file of this repository.
pub fn of_repository(path: &str) -> String {
    format!("{}/../{path}", env!("CARGO_MANIFEST_DIR"))
}

pub fn digit(name: &str) -> String {
    of_repository(&format!("models/digits/digit_{name}.png"))
}

/// A folder with a small program for servers, `mnist`, and the state of a service.
pub struct Place {
    pub folder: TempDir,
}

impl Place {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let place = Place { folder };
        let whole = place.path("mnist.fhec");
        succeeds(&["compile", &of_repository("models/mnist_cnn_deg3.onnx"), "-o", &whole]);
        fs::create_dir(place.path("models")).expect("a folder");
        succeeds(&["server", &whole, "-o", &place.path("models/mnist.server.fhec")]);
        place
    }

    pub fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().expect("a path").to_string()
    }

    /// A token for `name` in the file `tokens`.
    pub fn token(&self, name: &str, more: &[&str]) -> String {
        let tokens = self.path("tokens");
        let token = succeeds(&[&["serve", "token", name, "--tokens", &tokens], more].concat());
        let token = token.trim().to_string();
        fs::write(self.path(&format!("{name}.token")), &token).expect("a file");
        token
    }

    /// A service with these arguments beside its program and its state.
    pub fn serve(&self, arguments: &[&str]) -> Served {
        self.serve_in(&[], arguments)
    }

    /// The same with the command `around`, which becomes the service: `env` with variables, say.
    pub fn serve_in(&self, around: &[&str], arguments: &[&str]) -> Served {
        let (models, state) = (self.path("models"), self.path("state"));
        Served::start_in(around, &[&[&models[..], "--state", &state], arguments].concat())
    }

    /// A service whose state is a disk of its own with so many bytes: a tmpfs, in a namespace of
    /// the service's process. `None` where this machine allows no such thing, which is said.
    pub fn serve_on_small_disk(&self, bytes: u64, arguments: &[&str]) -> Option<Served> {
        let state = self.path("state");
        fs::create_dir_all(&state).expect("a folder");
        let script = "mount -t tmpfs -o size=$1 none \"$2\" && shift 2 && exec \"$@\"";
        let bytes = bytes.to_string();
        let around = ["unshare", "-rm", "sh", "-c", script, "sh", &bytes, &state];
        let mut trial = Command::new(around[0]);
        match trial.args(&around[1..]).arg("true").output() {
            Ok(output) if output.status.success() => {}
            _ => {
                eprintln!("skipped: no small disk without `unshare -rm` and a tmpfs");
                return None;
            }
        }
        let models = self.path("models");
        let arguments = [&[&models[..], "--state", &state], arguments].concat();
        Some(Served::start_in(&around, &arguments))
    }

    /// A client with keys, which were made without the command line.
    pub fn party(&self, name: &str) -> Party {
        Party::new(&self.path("mnist.fhec"), &self.folder.path().join(name))
    }
}

/// A running `fhec serve`; killed when dropped.
pub struct Served {
    child: Child,
    pub address: String,
    scheme: &'static str,
}

impl Served {
    /// With the command `around`, which becomes the service.
    fn start_in(around: &[&str], arguments: &[&str]) -> Self {
        let scheme = if arguments.contains(&"--tls-cert") { "https" } else { "http" };
        let listen: &[&str] =
            if arguments.contains(&"--listen") { &[] } else { &["--listen", "127.0.0.1:0"] };
        let words = [around, &[env!("CARGO_BIN_EXE_fhec"), "serve"], arguments, listen, &["--json"]].concat();
        let mut command = Command::new(words[0]);
        command.args(&words[1..]);
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("fhec starts");
        let mut text = String::new();
        let mut output = BufReader::new(child.stdout.take().expect("it has an output"));
        while !text.ends_with("}\n") {
            assert!(output.read_line(&mut text).expect("text") > 0, "the service ended: {text}");
        }
        let started: Value = serde_json::from_str(&text).expect("JSON");
        let address = started["address"].as_str().expect("an address").to_string();
        Served { child, address, scheme }
    }

    /// Number of its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// A path as the service sees it, also where that is a disk of its own.
    pub fn seen(&self, path: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{path}", self.id()))
    }

    /// Bytes of memory that the service has at the moment; only on Linux.
    pub fn resident_bytes(&self) -> u64 {
        let text = fs::read_to_string(format!("/proc/{}/status", self.id())).expect("it runs");
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") << 10
    }

    pub fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.address)
    }

    /// The service at its address, for whoever has this token.
    pub fn remote(&self, token: Option<&str>) -> Remote {
        self.patient(token, Duration::from_secs(20))
    }

    pub fn patient(&self, token: Option<&str>, patience: Duration) -> Remote {
        let settings = Settings { token: token.map(str::to_string), ..Settings::default() };
        Remote::new(Connection::new(&self.url(), &settings).expect("an address"), patience)
    }

    /// As if the power had gone.
    pub fn kill(mut self) {
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("it has ended");
    }

    /// Asks it to end, as service managers do, and waits for that.
    pub fn stop(mut self) {
        self.signal("-TERM");
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("it can be asked") {
                assert!(status.success(), "{status}");
                return;
            }
            assert!(begun.elapsed() < Duration::from_secs(30), "it does not end");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Sends a signal: `-TERM`, `-HUP`.
    pub fn signal(&self, signal: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().expect("kill runs").success());
    }

    /// `fhec remote URL arguments` of the client whose things are in `home`.
    pub fn classify(&self, home: &str, arguments: &[&str]) -> Value {
        let url = self.url();
        let text = succeeds(&[&["remote", &url, "--home", home, "--json", "classify"], arguments].concat());
        serde_json::from_str(&text).expect("JSON")
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A client of the program, its key file, and images that it has encrypted.
pub struct Party {
    pub interface: Arc<Interface>,
    pub client: Client,
    pub key_file: PathBuf,
    pub keys: Digest,
}

impl Party {
    fn new(program: &str, folder: &Path) -> Self {
        let interface = fhec_compiler::program::open_interface(Path::new(program), 128).expect("a program");
        let interface = Arc::new(interface);
        let context = context(&interface).expect("parameters");
        let client = Client::generate(&interface, &context).expect("keys");
        let (public, keys) = (client.public_key().expect("a key"), client.evaluation_keys().expect("keys"));
        let claimed = KeyFolder::claim(folder).expect("a folder");
        claimed.write(&context, client.secret(), &public, &keys).expect("keys are written");
        let key_file = folder.join("evaluation.keys");
        let keys = Digest::of_reader(fs::File::open(&key_file).expect("a file")).expect("it can be read");
        Party { interface, client, key_file, keys }
    }

    /// The image `models/digits/digit_NAME.png`, encrypted, as it is sent.
    pub fn encrypt(&self, name: &str) -> Vec<u8> {
        let images = open_images(&self.interface, Path::new(&digit(name))).expect("an image");
        let image = images.input(0, &self.interface.preprocess).expect("an image");
        let encrypted = self.client.encrypt_seeded(&image).expect("it can be encrypted");
        exchange::seeded_ciphertexts_to_bytes(&context(&self.interface).expect("parameters"), &encrypted)
    }

    /// The class that an answer says.
    pub fn class(&self, answer: &[u8]) -> usize {
        let context = context(&self.interface).expect("parameters");
        let answer = exchange::answer_from_bytes(answer, &context, &self.interface.answer_types());
        let answer = self.client.decrypt(&answer.expect("an answer")).expect("it can be decrypted");
        assert!(!answer.overflow, "the answer is noise");
        fhec_compiler::program::argmax(answer.logits())
    }

    pub fn upload(&self, remote: &Remote) {
        remote.upload("mnist", &self.key_file, self.keys, &mut |_, _| ()).expect("the keys are taken");
    }
}

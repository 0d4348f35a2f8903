//! The key file of a program that bootstraps, full slots of n15-128: making, writing and reading
//! it.
//!
//! Reading happens in a process of its own, so that its peak of memory is that of a server. Read
//! three times: the first one may have to wait for the disk.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use fhec_compiler::memory::{cpu_seconds, human_bytes, peak_rss_bytes};
use fhec_ir::bootstrap::BootstrapParams;
use fhec_ir::ckks::Ckks;
use fhec_ir::func::Func;
use fhec_passes::bootstrap::sets;
use fhec_runtime::exec::ProgramKeys;
use fhec_runtime::ring::{Context, Seed};
use fhec_runtime::rlwe::SecretKey;

/// Says to the process that the bench starts what it is for.
const READ: &str = "--read-key-file";

fn main() {
    // Runners of tests ask benches what they hold.
    if std::env::args().any(|argument| argument == "--list") {
        return;
    }
    let set = sets::named("n15-128").expect("a known set");
    let context = Context::new(set.params.clone()).expect("the parameters can be used");
    let mut arguments = std::env::args().skip_while(|argument| argument != READ);
    if let (Some(_), Some(path)) = (arguments.next(), arguments.next()) {
        return read(&context, Path::new(&path));
    }
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("evaluation.keys");
    let mut program: Func<Ckks> = Func::new("bootstraps");
    BootstrapParams::set_in_program(&mut program, &vec![set.bootstrap]);
    let seed = Seed::from_bytes([1; 32]);
    let secret = SecretKey::generate(&context, &seed);
    let keys = measured("made", || ProgramKeys::generate(&context, &secret, &seed, &program));
    let keys = keys.expect("keys are made");
    let file = File::create(&path).expect("a file");
    let mut writer = BufWriter::with_capacity(1 << 20, file);
    measured("written", || keys.write(&context, &mut writer).and_then(|()| writer.flush()))
        .expect("keys are written");
    let bytes = path.metadata().expect("it is there").len();
    say(&format!(
        "{} keys, {} in memory, {} on disk",
        keys.count(),
        human_bytes(keys.bytes() as u64),
        human_bytes(bytes)
    ));
    drop(keys);
    for _ in 0..3 {
        let bench = std::env::current_exe().expect("this program");
        let status = Command::new(bench).arg(READ).arg(&path).status().expect("it starts");
        assert!(status.success(), "reading failed");
    }
}

fn read(context: &Context, path: &Path) {
    let before = peak_rss_bytes().unwrap_or(0);
    let keys = measured("read", || {
        ProgramKeys::read(context, &File::open(path).expect("the file is there")).expect("it holds keys")
    });
    let grown = peak_rss_bytes().unwrap_or(0) - before;
    let above = 100.0 * (grown as f64 / keys.bytes() as f64 - 1.0);
    say(&format!("  memory grew to {above:.1} % above the size of the keys"));
}

fn measured<T>(what: &str, f: impl FnOnce() -> T) -> T {
    let (start, cpu) = (Instant::now(), cpu_seconds());
    let result = f();
    let cpu = cpu_seconds().zip(cpu).map_or(f64::NAN, |(end, start)| end - start);
    say(&format!("{what} in {:.2} s, {cpu:.2} s of processor time", start.elapsed().as_secs_f64()));
    result
}

fn say(line: &str) {
    writeln!(io::stdout(), "{line}").expect("standard output works");
}

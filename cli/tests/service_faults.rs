//! What breaks: a service or a client that is killed at any moment, a disk that is full. No job is
//! lost or answered twice, no key is half there, and what was computed is not computed again.
//!
//! `FHEC_KILLS=200 cargo nextest run -p fhec-cli -E 'test(killed_services)' --no-capture` is the
//! long campaign. It prints what was going on at the kills.

mod binary;
mod served;

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use binary::succeeds;
use fhec_serve::api::{JobState, KeyState};
use fhec_serve::digest::Digest;
use fhec_serve::remote::{Connection, Remote, RemoteError, Settings};
use prost::Message;
use served::{Party, Place, Served, digit};

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    // It may go away while it is read.
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() { files.extend(files_below(&path)) } else { files.push(path) }
    }
    files
}

fn has_name(path: &Path, name: &str) -> bool {
    path.file_name().is_some_and(|found| found == name)
}

/// Repeatable random numbers (xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

/// What a service has to do, as its files say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Work {
    /// Keys are on their way.
    Upload,
    /// A job waits.
    Queue,
    /// A job has a checkpoint.
    Evaluation,
}

const ALL_WORK: [Work; 3] = [Work::Upload, Work::Queue, Work::Evaluation];

/// What there is to do in the state of a principal.
fn work(principal: &Path) -> Vec<Work> {
    let (keys, jobs) = (files_below(&principal.join("keys")), files_below(&principal.join("jobs")));
    let is_there = |work: &Work| match work {
        Work::Upload => keys.iter().any(|path| has_name(path, "evaluation.keys.part")),
        Work::Queue => jobs.iter().any(|path| has_name(path, "image.ct")),
        Work::Evaluation => jobs.iter().any(|path| has_name(path, "checkpoint")),
    };
    ALL_WORK.into_iter().filter(is_there).collect()
}

/// Sets it when dropped: also where an assertion fails, for else nobody ends the killer.
struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Kills without the environment's word.
const KILLS: u64 = 10;
/// Jobs of a round: one is evaluated, the others wait.
const JOBS: usize = 4;

/// Uploads keys, sends jobs, waits for their answers, and deletes all of it.
fn round(remote: &Remote, party: &Party, image: &[u8], number: u64) -> Vec<Vec<u8>> {
    party.upload(remote);
    let name = |i: usize| format!("round {number}, job {i}");
    let submit = |i| remote.submit("mnist", party.keys, image, None, &name(i)).expect("accepted");
    let jobs: Vec<_> = (0..JOBS).map(submit).collect();
    let mut answers = Vec::new();
    for (i, job) in jobs.iter().enumerate() {
        // Sent again it is the same job.
        assert_eq!(submit(i).id, job.id);
        let finished = remote.wait(&job.id, &mut |_| ()).expect("it ends");
        assert_eq!(finished.state, JobState::Done, "{:?}", finished.problem);
        let program = Digest::from(party.interface.program);
        let answer = remote.answer(&finished, program, party.keys, Digest::of(image), 1 << 24);
        answers.push(answer.expect("an answer").0);
    }
    // What has ended once has ended, whatever happens to the service.
    let listed = remote.jobs().expect("a list");
    assert_eq!(listed.len(), JOBS, "each job is there once");
    for (job, shown) in jobs.iter().zip(&listed) {
        assert_eq!((&shown.id, shown.state), (&job.id, JobState::Done));
    }
    let keys = remote.keys().expect("a list");
    assert_eq!((keys.len(), keys[0].keys, keys[0].state), (1, party.keys, KeyState::Whole));
    answers
}

/// Deletes what a round has left. Where an answer to a deletion was lost, it is gone the next time.
fn clear(remote: &Remote, party: &Party) {
    let is_gone = |done: Result<(), RemoteError>| match done {
        Ok(()) => (),
        Err(RemoteError::Refused(problem)) if problem.status == 404 => (),
        Err(error) => panic!("{error}"),
    };
    remote.jobs().expect("a list").iter().for_each(|job| is_gone(remote.delete_job(&job.id)));
    is_gone(remote.delete_keys(&party.keys.to_string()));
}

/// Kills at random moments of uploads, queue and evaluations, in turns. Every job that was accepted
/// is answered, with the one right answer, and keys are whole.
#[test]
fn killed_services_lose_nothing() {
    let place = Place::new();
    let token = place.token("alice", &[]);
    let tokens = place.path("tokens");
    let party = place.party("alice");
    let image = party.encrypt("7_a");
    let arguments = ["--tokens", &tokens, "--checkpoint-interval", "0", "--chunk", "2MiB"];
    let served = place.serve(&arguments);
    let address = served.address.clone();
    let remote = |patience| {
        let settings = Settings { token: Some(token.clone()), ..Settings::default() };
        let connection = Connection::new(&format!("http://{address}"), &settings).expect("an address");
        Remote::new(connection, Duration::from_secs(patience))
    };
    // Undisturbed.
    let right = round(&remote(20), &party, &image, 0).remove(0);
    assert_eq!(party.class(&right), 7);
    clear(&remote(20), &party);
    served.stop();
    let arguments = [&arguments[..], &["--listen", &address]].concat();

    let kills = std::env::var("FHEC_KILLS").map_or(KILLS, |kills| kills.parse().expect("a number"));
    let principal = Path::new(&place.path("state")).join("principals/alice");
    let (enough, done) = (AtomicBool::new(false), AtomicBool::new(false));
    let killed = AtomicU64::new(0);
    let begun = Instant::now();
    let (rounds, killed_at) = thread::scope(|scope| {
        let (place, arguments, principal, enough, done, killed) =
            (&place, &arguments, &principal, &enough, &done, &killed);
        let killer = scope.spawn(move || {
            // Also where it fails: the client does not wait for more kills then.
            let _enough = SetOnDrop(enough);
            let (mut random, mut at) = (Random(0x2545_f491_4f6c_dd1d), BTreeMap::new());
            'kills: for target in ALL_WORK.into_iter().cycle() {
                // One or two kills in a row; before the first one there is work of the kind.
                for follows in 0..=random.below(2) {
                    if killed.load(Ordering::Relaxed) == kills {
                        break 'kills;
                    }
                    let served = place.serve(arguments);
                    while follows == 0 && !work(principal).contains(&target) {
                        if done.load(Ordering::Relaxed) {
                            break 'kills;
                        }
                        thread::sleep(Duration::from_millis(1));
                    }
                    thread::sleep(Duration::from_millis(random.below(150)));
                    served.kill();
                    let work = work(principal);
                    work.iter().for_each(|work| *at.entry(*work).or_insert(0) += 1);
                    killed.fetch_add(1, Ordering::Relaxed);
                }
            }
            // Then it is left alone.
            enough.store(true, Ordering::Relaxed);
            let served = place.serve(arguments);
            while !done.load(Ordering::Relaxed) {
                thread::sleep(Duration::from_millis(5));
            }
            served.stop();
            at
        });
        let _done = SetOnDrop(done);
        let remote = remote(60);
        let mut rounds = 0;
        loop {
            rounds += 1;
            let answers = round(&remote, &party, &image, rounds);
            assert!(answers.iter().all(|answer| *answer == right), "answers differ");
            if enough.load(Ordering::Relaxed) {
                break;
            }
            clear(&remote, &party);
        }
        done.store(true, Ordering::Relaxed);
        (rounds, killer.join().expect("the killer"))
    });
    let killed = killed.into_inner();
    eprintln!(
        "{killed} kills in {rounds} rounds of {JOBS} jobs, {:.0} s; there was to do: {killed_at:?}",
        begun.elapsed().as_secs_f64()
    );
    assert_eq!(killed, kills);
    for work in ALL_WORK {
        assert!(killed_at.get(&work).is_some_and(|&kills| kills > 0), "no kill at {work:?}");
    }

    // What is on disk is whole, byte by byte, and nothing is left of what was going on.
    let found = files_below(&principal.join("keys"));
    let found = found.iter().find(|path| has_name(path, "evaluation.keys")).expect("keys");
    assert!(fs::read(found).expect("a file") == fs::read(&party.key_file).expect("a file"));
    for path in files_below(&principal) {
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        let known = ["answer.ct", "done.json", "job.json", "announced.json", "evaluation.keys", "used"];
        assert!(known.contains(&&name[..]), "{name} is left");
    }
}

/// The head of a checkpoint, as far as it is looked at here.
#[derive(Clone, PartialEq, Message)]
struct CheckpointHead {
    /// The op that is the next to run.
    #[prost(uint64, tag = "4")]
    next: u64,
}

/// The op that a checkpoint goes on with; nothing where there is none.
fn next_op(path: &Path) -> Option<u64> {
    let bytes = fs::read(path).ok()?;
    assert_eq!(bytes[..4], *b"FHCP");
    let length = u32::from_le_bytes(bytes[8..12].try_into().expect("four bytes")) as usize;
    Some(CheckpointHead::decode(&bytes[12..12 + length]).expect("a head").next)
}

/// The counter `name` of a service.
fn counter(served: &Served, operator: &str, name: &str) -> u64 {
    let answer = served::requests::send(served, "GET", "/metrics", Some(operator), &[], &[]);
    let line = answer.text.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
    line.unwrap_or_else(|| panic!("no {name} in {}", answer.text)).parse().expect("a number")
}

#[test]
fn an_evaluation_goes_on_from_its_last_layer() {
    let place = Place::new();
    let (token, operator) = (place.token("alice", &[]), place.token("operator", &["--operator"]));
    let arguments = ["--tokens", &place.path("tokens"), "--checkpoint-interval", "0", "--threads", "1"];
    let party = place.party("alice");
    let image = party.encrypt("7_a");
    let jobs = PathBuf::from(place.path("state/principals/alice/jobs"));
    let file = |id: &str, name: &str| jobs.join(id).join(name);
    let mut number = 0;
    let (job, next) = loop {
        // A job that was faster than this test is followed by another one.
        number += 1;
        assert!(number <= 20, "no job was killed between its first layer and its answer");
        let served = place.serve(&arguments);
        let remote = served.remote(Some(&token));
        party.upload(&remote);
        let name = format!("job {number}");
        let job = remote.submit("mnist", party.keys, &image, None, &name).expect("accepted");
        // A checkpoint appears whole, so that it can be read at any moment.
        let has_begun = || next_op(&file(&job.id, "checkpoint")).is_some_and(|next| next > 0);
        while !has_begun() && !file(&job.id, "answer.ct").is_file() {
            thread::sleep(Duration::from_micros(100));
        }
        served.kill();
        let next = next_op(&file(&job.id, "checkpoint"));
        if let (Some(next), false) = (next, file(&job.id, "answer.ct").is_file()) {
            break (job, next);
        }
    };

    let served = place.serve(&arguments);
    let mut reached = Vec::new();
    let remote = served.remote(Some(&token));
    let finished = remote.wait(&job.id, &mut |job| reached.push(job.ops_done as u64)).expect("it ends");
    assert_eq!(counter(&served, &operator, "fhec_jobs_resumed_total"), 1);
    // Nothing before the checkpoint was done again.
    let again: Vec<&u64> = reached.iter().filter(|&&done| done > 0 && done < next).collect();
    assert!(again.is_empty(), "from {next} of {} ops: {reached:?}", job.ops);
    let program = Digest::from(party.interface.program);
    let answer =
        |job| remote.answer(job, program, party.keys, Digest::of(&image), 1 << 24).expect("an answer").0;
    let resumed = answer(&finished);
    assert_eq!(party.class(&resumed), 7);
    // The same bytes as without a kill.
    let whole = remote.submit("mnist", party.keys, &image, None, "two").expect("accepted");
    let whole = remote.wait(&whole.id, &mut |_| ()).expect("it ends");
    assert!(answer(&whole) == resumed);
    assert_eq!(counter(&served, &operator, "fhec_jobs_resumed_total"), 1);
}

/// A client that is killed at random moments, from making keys to waiting for its answer, finds
/// what it had done when it comes back.
#[test]
fn killed_clients_come_back() {
    let place = Place::new();
    let served = place.serve(&["--no-auth", "--chunk", "1MiB"]);
    let (home, url) = (place.path("home"), served.url());
    let picture = digit("7_a");
    let arguments = ["remote", &url, "--home", &home, "--json", "classify", "mnist", &picture];
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let (mut killed, mut offset) = (0, 0);
    for limit in [400, 800, 1200, 1600, 2000, 2400, 3200, 4000] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fhec"));
        let command = command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null());
        let mut client = command.stderr(Stdio::null()).spawn().expect("fhec starts");
        thread::sleep(Duration::from_millis(limit / 2 + random.below(limit / 2)));
        killed += u32::from(client.try_wait().expect("it can be asked").is_none());
        let _ = client.kill();
        client.wait().expect("it has ended");
        // The same keys go on where they were.
        let sets = served.remote(None).keys().expect("a list");
        assert!(sets.len() <= 1, "keys were made twice");
        let now = sets.first().map_or(0, |set| set.offset);
        assert!(now >= offset, "the upload is at {now} after {offset}");
        offset = now;
    }
    assert!(killed > 0, "the client was never killed");
    let report: serde_json::Value = serde_json::from_str(&succeeds(&arguments)).expect("JSON");
    assert_eq!(report["class"], 7);
    let sets = served.remote(None).keys().expect("a list");
    assert_eq!((sets.len(), sets[0].state), (1, KeyState::Whole));
    // Jobs of killed clients are answered as well, once each.
    for job in served.remote(None).jobs().expect("a list") {
        let job = served.remote(None).wait(&job.id, &mut |_| ()).expect("it ends");
        assert_eq!(job.state, JobState::Done);
    }
}

/// Writes into `path` until the disk is full.
fn fill(path: &Path) {
    let mut file = fs::File::create(path).expect("a file");
    for size in [1 << 20, 1 << 12, 1] {
        let block = vec![b'x'; size];
        while file.write_all(&block).is_ok() {}
    }
}

#[test]
fn a_full_disk_loses_nothing() {
    let place = Place::new();
    let (alice, bob) = (place.token("alice", &[]), place.token("bob", &[]));
    let (of_alice, of_bob) = (place.party("alice"), place.party("bob"));
    let key_bytes = fs::metadata(&of_alice.key_file).expect("a file").len();
    // Room for a set of keys, for half of another one in chunks, and for less than one chunk more.
    let chunk = 4 << 20;
    let room = key_bytes.next_multiple_of(4096) + key_bytes / 2 / chunk * chunk + chunk * 3 / 4;
    let arguments = ["--tokens", &place.path("tokens"), "--threads", "1", "--checkpoint-interval", "3600"];
    let Some(served) = place.serve_on_small_disk(room, &arguments) else { return };
    let (to_alice, to_bob) = (served.remote(Some(&alice)), served.remote(Some(&bob)));
    let has_no_room = |error: RemoteError| match error {
        RemoteError::Refused(problem) => {
            assert_eq!((problem.code.name(), problem.status), ("no_room", 507), "{}", problem.detail);
            assert!(problem.retry_after.is_some_and(|seconds| seconds > 0));
        }
        error => panic!("{error}"),
    };
    of_alice.upload(&to_alice);
    let mut offsets = Vec::new();
    let stopped = to_bob.upload("mnist", &of_bob.key_file, of_bob.keys, &mut |at, _| offsets.push(at));
    has_no_room(stopped.unwrap_err());
    // What has come is there, and somebody else's keys still serve; but there is no room for a job.
    let there = to_bob.keys().expect("a list")[0].offset;
    assert!(there > key_bytes / 4 && offsets.last() == Some(&there), "{there}: {offsets:?}");
    let (image, program) = (of_alice.encrypt("7_a"), Digest::from(of_alice.interface.program));
    let ballast = served.seen(&place.path("state/ballast"));
    fill(&ballast);
    let submit = |name: &str| to_alice.submit("mnist", of_alice.keys, &image, None, name);
    has_no_room(submit("one").unwrap_err());
    assert!(to_alice.jobs().expect("a list").is_empty(), "half a job is there");
    fs::remove_file(&ballast).expect("it is removed");

    // The disk is full again while the job runs: its answer waits for room.
    let job = submit("one").expect("accepted");
    let state = || {
        let jobs = to_alice.jobs().expect("a list");
        jobs.iter().find(|shown| shown.id == job.id).expect("the job").state
    };
    let begun = Instant::now();
    while state() == JobState::Queued {
        assert!(begun.elapsed() < Duration::from_secs(60), "it does not begin");
        thread::sleep(Duration::from_millis(1));
    }
    fill(&ballast);
    while state() == JobState::Running {
        assert!(begun.elapsed() < Duration::from_secs(60), "it does not end");
        thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(state(), JobState::Queued, "it was answered before the disk was full, or has failed");
    fs::remove_file(&ballast).expect("it is removed");
    let finished = to_alice.wait(&job.id, &mut |_| ()).expect("it ends");
    let answer = to_alice.answer(&finished, program, of_alice.keys, Digest::of(&image), 1 << 24);
    assert_eq!(of_alice.class(&answer.expect("an answer").0), 7);

    // With room the upload goes on where it was.
    to_alice.delete_keys(&of_alice.keys.to_string()).expect("no job needs them");
    let mut offsets = Vec::new();
    let taken = to_bob.upload("mnist", &of_bob.key_file, of_bob.keys, &mut |at, _| offsets.push(at));
    assert_eq!((taken.expect("keys are taken").state, offsets[0]), (KeyState::Whole, there));
}

use std::fs;
use std::time::{Duration, SystemTime};

use super::*;
use crate::digest::Digest;
use crate::receipt::Receipt;
use crate::service::Access;

/// A state with one principal's keys, and jobs of them: `ended` that have ended, each a second
/// after the one before, and one that waits.
struct State {
    _folder: tempfile::TempDir,
    options: Options,
    keys: KeyStore,
    jobs: Jobs,
}

fn keys() -> Digest {
    Digest::of(b"keys")
}

fn state(ended: u64, change: impl FnOnce(&mut Options)) -> State {
    let folder = tempfile::tempdir().unwrap();
    let mut options = Options::new("127.0.0.1:0".parse().unwrap(), folder.path().to_owned(), Access::Anybody);
    change(&mut options);
    let write = |path: &str, text: String| {
        let path = folder.path().join("principals/alice").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    };
    let set = format!("keys/{}", keys());
    let announced = format!("{{\"program\":\"{}\",\"length\":1,\"key\":\"00\"}}", Digest::of(b"program"));
    write(&format!("{set}/announced.json"), announced);
    write(&format!("{set}/evaluation.keys"), "x".into());
    for i in 0..=ended {
        let (program, image) = (Digest::of(b"program"), Digest::of(b"image"));
        let record = Record {
            model: "m".into(),
            program,
            keys: keys(),
            image,
            submitted: i,
            deadline: None,
            idempotency: None,
            trace: None,
        };
        write(&format!("jobs/{i:032}/job.json"), serde_json::to_string(&record).unwrap());
        write(&format!("jobs/{i:032}/image.ct"), "x".into());
        if i < ended {
            let path = write(&format!("jobs/{i:032}/ended.json"), "{\"state\":\"cancelled\"}".into());
            let time = SystemTime::now() - Duration::from_secs(100 - i);
            fs::File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
        }
    }
    let (state, catalogue) = (StateFolder::claim(folder.path()).unwrap(), Catalogue::empty());
    let keys = KeyStore::open(&state, &catalogue, &options).unwrap();
    let jobs = Jobs::open(&state, &catalogue, &keys, &options).unwrap();
    State { _folder: folder, options, keys, jobs }
}

fn ids(jobs: &Jobs) -> Vec<u64> {
    jobs.list(&"alice".into()).iter().map(|job| job.id.parse().unwrap()).collect()
}

#[test]
fn of_too_many_finished_jobs_the_oldest_go() {
    let State { _folder, jobs, .. } = state(6, |options| options.kept_per_principal = 3);
    assert_eq!(ids(&jobs), [0, 1, 2, 3, 4, 5, 6]);
    jobs.sweep(Duration::from_secs(1000));
    assert_eq!(ids(&jobs), [3, 4, 5, 6]);
    // One that ends makes room for itself.
    jobs.delete(&"alice".into(), &format!("{:032}", 6)).unwrap();
    assert_eq!((ids(&jobs), jobs.queued()), (vec![4, 5, 6], 0));
    // What has been finished for long goes anyway.
    jobs.sweep(Duration::from_secs(50));
    assert_eq!(ids(&jobs), [6]);
    assert_eq!(fs::read_dir(_folder.path().join("principals/alice/jobs")).unwrap().count(), 1);
}

#[test]
fn a_job_that_cannot_end_is_tried_again() {
    let State { _folder, jobs, keys: store, .. } = state(0, |_| ());
    let job = jobs.next(|_| false).unwrap();
    assert_eq!((jobs.running(), jobs.queued(), job.state()), (1, 0, JobState::Running));
    // As a full disk: nothing can be written where the job is.
    let aside = job.folder.with_file_name("aside");
    fs::rename(&job.folder, &aside).unwrap();
    fs::write(&job.folder, "in the way").unwrap();
    let digest = Digest::of(b"x");
    let receipt = Receipt {
        version: crate::receipt::VERSION,
        model: "m".into(),
        program: digest,
        keys: digest,
        image: digest,
        answer: digest,
        signature: None,
    };
    jobs.answered(&job, b"answer", receipt.clone(), 1.0).unwrap_err();
    jobs.failed(&job, overdue());
    jobs.left(&job);
    jobs.sweep(Duration::from_secs(1000));
    assert_eq!((jobs.running(), jobs.queued(), job.state()), (0, 0, JobState::Queued), "not at once");
    jobs.queue_again(Duration::ZERO);
    jobs.queue_again(Duration::ZERO);
    assert_eq!(jobs.queued(), 1, "once");
    let name = ("alice".into(), keys());
    assert_eq!(store.delete(&name).unwrap_err().code, Code::KeysInUse);
    fs::remove_file(&job.folder).unwrap();
    fs::rename(&aside, &job.folder).unwrap();
    let job = jobs.next(|_| false).unwrap();
    assert!(jobs.answered(&job, b"answer", receipt, 1.0).unwrap());
    jobs.left(&job);
    jobs.queue_again(Duration::ZERO);
    assert_eq!((jobs.running(), jobs.queued(), job.answer().unwrap()), (0, 0, b"answer".to_vec()));
    assert!(jobs.inner().active.is_empty() && jobs.inner().unfinished.is_empty());
    store.delete(&name).unwrap();
}

#[test]
fn keys_stay_while_a_job_needs_them() {
    let State { _folder, options, keys: store, jobs } =
        state(0, |options| options.keys_live = Duration::ZERO);
    let name = ("alice".into(), keys());
    // An unfinished job of an earlier process, and one that is about to be accepted.
    let owned = store.reserve(&name).unwrap();
    std::thread::sleep(Duration::from_millis(5));
    store.sweep(&options);
    jobs.delete(&name.0, &format!("{:032}", 0)).unwrap();
    assert_eq!(store.delete(&name).unwrap_err().code, Code::KeysInUse);
    store.sweep(&options);
    store.get(&name).unwrap();
    drop(owned);
    std::thread::sleep(Duration::from_millis(5));
    store.sweep(&options);
    assert_eq!(store.get(&name).unwrap_err().code, Code::NotFound);
    assert!(store.reserve(&name).is_err() && store.touch(&name).is_err() && store.delete(&name).is_err());
}

#[test]
fn an_end_is_told_when_nothing_is_held_any_more() {
    let State { _folder, keys: store, jobs, .. } = state(0, |options| options.jobs_per_principal = 1);
    let job = jobs.next(|_| false).unwrap();
    let name = ("alice".into(), keys());
    assert_eq!(jobs.check_room(&name.0, 1.0, None).unwrap_err().code, Code::TooManyJobs);
    let settle = |at| {
        jobs.has_ended(&job, at);
        // Whoever is told now finds room for another job, and no job that needs the keys.
        assert_eq!(job.state(), JobState::Running);
        jobs.check_room(&name.0, 1.0, None).unwrap();
        store.delete(&name).unwrap();
    };
    assert!(job.end_without_answer(JobState::Failed, None, settle).unwrap());
    assert_eq!(job.state(), JobState::Failed);
}

#[test]
fn jobs_that_would_be_too_late_are_not_accepted() {
    let State { _folder, jobs, .. } = state(0, |options| {
        (options.lanes, options.threads, options.core_seconds_per_hour) = (1, 2, Some(100));
    });
    let alice: Arc<str> = "alice".into();
    let code = |takes, deadline| jobs.check_room(&alice, takes, deadline).map_err(|problem| problem.code);
    assert_eq!(code(5.0, None), Ok(()));
    assert_eq!(code(5.0, Some(6.0)), Ok(()));
    assert_eq!(code(5.0, Some(4.0)), Err(Code::DeadlineExceeded));
    // Each second of a lane is two of cores.
    let job = jobs.get(&alice, &format!("{:032}", 0)).unwrap();
    jobs.spend(&job, 49.0);
    assert_eq!(code(5.0, None), Ok(()));
    jobs.spend(&job, 2.0);
    assert_eq!(code(5.0, None), Err(Code::QuotaUsed));
    jobs.check_room(&"bob".into(), 5.0, None).unwrap();
}

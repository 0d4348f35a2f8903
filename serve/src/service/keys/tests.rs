//! Several services with one bucket. Keys are any bytes here: nothing evaluates with them.

use std::io::Read;

use super::shared::locked;
use super::*;
use crate::service::Access;
use crate::service::bucket::fake::FakeStore;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// A service with a state of its own.
struct Replica {
    folder: tempfile::TempDir,
    options: Options,
    keys: KeyStore,
}

fn name(principal: &str, content: &[u8]) -> Name {
    (principal.into(), Digest::of(content))
}

fn open(options: &Options) -> KeyStore {
    let state = StateFolder::claim(&options.state).unwrap();
    let mut keys = KeyStore::open(&state, &Catalogue::empty(), options).unwrap();
    if let Some(shared) = &mut keys.shared {
        shared.bucket.set_pause(Duration::ZERO);
    }
    keys
}

impl Replica {
    /// With whole keys on its disk: principals and contents.
    fn new(store: &FakeStore, sets: &[(&str, &[u8])]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listen = "127.0.0.1:0".parse().unwrap();
        let mut options = Options::new(listen, folder.path().to_owned(), Access::Anybody);
        options.key_bucket = Some(store.bucket());
        for (principal, content) in sets {
            let set = folder.path().join(format!("principals/{principal}/keys/{}", Digest::of(content)));
            fs::create_dir_all(&set).unwrap();
            fs::write(set.join(ANNOUNCED), serde_json::to_vec(&announced(content)).unwrap()).unwrap();
            fs::write(set.join(WHOLE), content).unwrap();
        }
        let keys = open(&options);
        Replica { folder, options, keys }
    }

    /// The next process with the same state.
    fn restart(self, change: impl FnOnce(&mut Options)) -> Self {
        let Replica { folder, mut options, keys } = self;
        drop(keys);
        change(&mut options);
        let keys = open(&options);
        Replica { folder, options, keys }
    }

    fn shared(&self) -> &Shared {
        self.keys.shared.as_ref().unwrap()
    }

    fn store_all(&self) {
        self.keys.store_all(self.shared()).unwrap();
    }

    /// What `principal` has, as the bucket says it now.
    fn list(&self, principal: &str) -> Vec<Digest> {
        locked(&self.shared().listed).clear();
        self.keys.refresh(&principal.into());
        self.keys.list(&principal.into()).iter().map(|keys| keys.keys).collect()
    }

    fn content(&self, name: &Name) -> Result<Vec<u8>, Code> {
        let (mut file, _) = self.keys.open_file(name, 1000).map_err(|problem| problem.code)?;
        let mut content = Vec::new();
        file.read_to_end(&mut content).unwrap();
        Ok(content)
    }

    fn file(&self, (principal, keys): &Name, file: &str) -> PathBuf {
        self.folder.path().join(format!("principals/{principal}/keys/{keys}/{file}"))
    }

    fn is_here(&self, name: &Name) -> bool {
        self.file(name, WHOLE).is_file()
    }
}

fn announced(content: &[u8]) -> Announced {
    let (program, length) = (Digest::of(b"program"), content.len() as u64);
    Announced { program, length, key: Some("00".into()) }
}

fn code<T>(result: Result<T, Problem>) -> Code {
    result.err().unwrap().code
}

#[test]
fn what_is_whole_is_stored_and_found_by_other_services() {
    let store = FakeStore::start();
    let a = Replica::new(&store, &[("alice", b"one"), ("alice", b"two"), ("bob", b"three")]);
    let b = Replica::new(&store, &[]);
    let one = name("alice", b"one");
    assert!(b.list("alice").is_empty());
    assert_eq!(code(b.keys.get(&one)), Code::NotFound);
    // They were whole before this process began.
    a.store_all();
    assert_eq!(store.names().len(), 6);
    assert!(store.names().contains(&format!("alice/{}/announced.json", one.1)));
    assert_eq!(a.shared().counts().stored.get(), 3);

    // By name, without a list.
    b.keys.look_up(&one).unwrap();
    let shown = b.keys.get(&one).unwrap();
    assert_eq!((shown.state, shown.length, shown.program), (KeyState::Whole, 3, Digest::of(b"program")));
    let mut both = vec![one.1, Digest::of(b"two")];
    both.sort();
    assert_eq!(b.list("alice"), both);
    assert_eq!(b.keys.whole_of(&one.0, &Digest::of(b"program")), both);
    assert!(b.keys.whole_of(&one.0, &Digest::of(b"other")).is_empty());
    // Principals have their own.
    let foreign = name("bob", b"one");
    b.keys.look_up(&foreign).unwrap();
    assert_eq!(code(b.keys.get(&foreign)), Code::NotFound);
    assert_eq!(b.list("bob"), [Digest::of(b"three")]);

    // Fetched once, and then on the disk of this service, also for its next process.
    assert!(!b.is_here(&one) && b.keys.reserve(&one).is_ok());
    assert_eq!(b.content(&one).unwrap(), b"one");
    assert!(b.is_here(&one));
    let asked = store.asked();
    assert_eq!(b.content(&one).unwrap(), b"one");
    let b = b.restart(|_| ());
    assert_eq!(b.content(&one).unwrap(), b"one");
    assert_eq!(b.shared().counts().fetched.get(), 0);
    b.store_all();
    let a = a.restart(|_| ());
    a.store_all();
    assert_eq!(store.asked(), asked, "nothing is stored or fetched twice");
}

#[test]
fn another_bucket_gets_them_too() {
    let (first, second) = (FakeStore::start(), FakeStore::start());
    let a = Replica::new(&first, &[("alice", b"one")]);
    a.store_all();
    let a = a.restart(|options| options.key_bucket = Some(second.bucket()));
    a.list("alice");
    a.store_all();
    assert_eq!((second.names().len(), a.content(&name("alice", b"one")).unwrap()), (2, b"one".to_vec()));
    // Without one, all is as it was.
    let a = a.restart(|options| options.key_bucket = None);
    assert_eq!(a.keys.list(&"alice".into()).len(), 1);
    a.keys.delete(&name("alice", b"one")).unwrap();
    assert_eq!(second.names().len(), 2);
}

#[test]
fn a_file_that_is_lost_is_fetched() {
    let store = FakeStore::start();
    let a = Replica::new(&store, &[("alice", b"one")]);
    let one = name("alice", b"one");
    a.store_all();
    fs::remove_file(a.file(&one, WHOLE)).unwrap();
    assert_eq!(a.content(&one).unwrap(), b"one");
    fs::remove_file(a.file(&one, WHOLE)).unwrap();
    let a = a.restart(|_| ());
    assert_eq!(a.content(&one).unwrap(), b"one");
    // Nothing is left of the machine: what clients ask for is found all the same.
    let b = Replica::new(&store, &[]);
    assert_eq!((b.content(&one).unwrap(), b.list("alice").len()), (b"one".to_vec(), 1));
    assert!(b.is_here(&one));
}

#[test]
fn what_a_bucket_says_is_not_believed() {
    let store = FakeStore::start();
    let a = Replica::new(&store, &[("alice", b"one"), ("alice", b"two"), ("alice", b"three")]);
    a.store_all();
    for (content, found) in [("one", "One"), ("two", "twO and more"), ("three", "thre")] {
        let (content, found) = (content.as_bytes(), found.as_bytes());
        let name = name("alice", content);
        let object = format!("keys/alice/{}/{WHOLE}", name.1);
        store.objects().insert(object, (found.to_vec(), SystemTime::now()));
        let b = Replica::new(&store, &[]);
        b.keys.look_up(&name).unwrap();
        let held = b.keys.reserve(&name).unwrap();
        assert_eq!(b.content(&name).unwrap_err(), Code::KeysNotWhole);
        assert!(!b.is_here(&name) && !b.list("alice").contains(&name.1));
        b.keys.look_up(&name).unwrap();
        assert_eq!(code(b.keys.get(&name)), Code::NotFound, "they can be uploaded again");
        drop(held);
        // Whoever has them goes on.
        assert_eq!(a.content(&name).unwrap(), content);
    }
    // A length that is too much for the program is not fetched.
    let long = [7u8; 1001];
    let a = Replica::new(&store, &[("bob", &long)]);
    a.store_all();
    let b = Replica::new(&store, &[]);
    assert_eq!(b.content(&name("bob", &long)).unwrap_err(), Code::KeysNotWhole);
    // Entries that are none are not there.
    let junk = name("alice", b"junk");
    for text in ["{", "{}", "{\"program\":\"x\",\"length\":1}"] {
        let object = format!("keys/alice/{}/{ANNOUNCED}", junk.1);
        store.objects().insert(object, (text.into(), SystemTime::now()));
        assert!(!b.list("alice").contains(&junk.1), "{text}");
        b.keys.look_up(&junk).unwrap();
        assert_eq!(code(b.keys.get(&junk)), Code::NotFound);
    }
    for strange in ["alice/x/announced.json", "../b/announced.json", "alice", "alice/announced.json"] {
        store.objects().insert(format!("keys/{strange}"), (b"{}".to_vec(), SystemTime::now()));
    }
    b.list("alice");
    b.keys.tidy(b.shared()).unwrap();
}

#[test]
fn damaged_keys_are_stored_again() {
    let store = FakeStore::start();
    let a = Replica::new(&store, &[("alice", b"one")]);
    a.store_all();
    let (one, object) = (name("alice", b"one"), format!("keys/alice/{}/{WHOLE}", Digest::of(b"one")));
    store.objects().insert(object.clone(), (b"bad".to_vec(), SystemTime::now()));
    fs::remove_file(a.file(&one, WHOLE)).unwrap();
    assert_eq!(a.content(&one).unwrap_err(), Code::KeysNotWhole);
    assert!(!a.file(&one, "").exists() && a.list("alice").is_empty());
    // As after an upload.
    fs::create_dir_all(a.file(&one, "")).unwrap();
    fs::write(a.file(&one, WHOLE), b"one").unwrap();
    let entry = Entry {
        folder: a.file(&one, ""),
        announced: announced(b"one"),
        state: State::Whole { used: SystemTime::now(), place: Place { here: true, stored: None } },
        uses: Arc::default(),
    };
    a.keys.entries().insert(one.clone(), entry);
    a.store_all();
    assert_eq!(store.objects()[&object].0, b"one");
    let b = Replica::new(&store, &[]);
    assert_eq!(b.content(&one).unwrap(), b"one");
    assert_eq!(a.list("alice"), [one.1]);
}

#[test]
fn what_is_deleted_is_gone_everywhere() {
    let store = FakeStore::start();
    let a = Replica::new(&store, &[("alice", b"one"), ("alice", b"two")]);
    let b = Replica::new(&store, &[]);
    let (one, two) = (name("alice", b"one"), name("alice", b"two"));
    a.store_all();
    assert_eq!(b.content(&two).unwrap(), b"two");
    // The other one does not even know it yet.
    b.keys.delete(&one).unwrap();
    assert_eq!(store.names().len(), 2);
    assert_eq!((b.list("alice"), a.list("alice")), (vec![two.1], vec![two.1]));
    assert!(!a.file(&one, "").exists() && a.keys.reserve(&one).is_err());
    // In use it stays: here it is refused, and what another service deletes stays for the job.
    let held = a.keys.reserve(&two).unwrap();
    assert_eq!(code(a.keys.delete(&two)), Code::KeysInUse);
    b.keys.delete(&two).unwrap();
    assert_eq!((store.names().len(), b.is_here(&two)), (0, false));
    assert_eq!((a.list("alice"), a.content(&two).unwrap()), (vec![two.1], b"two".to_vec()));
    drop(held);
    assert!(a.list("alice").is_empty() && !a.is_here(&two));
    a.store_all();
    assert_eq!(store.names().len(), 0, "nothing comes back");
}

#[test]
fn a_bucket_that_is_away_stops_nothing_but_deletions() {
    let store = FakeStore::start();
    let a = Replica::new(&store, &[("alice", b"one")]);
    let b = Replica::new(&store, &[]);
    let one = name("alice", b"one");
    store.set_away(true);
    assert!(a.keys.store_all(a.shared()).unwrap_err().is_away);
    assert_eq!((a.list("alice"), a.content(&one).unwrap()), (vec![one.1], b"one".to_vec()));
    assert!(a.keys.reserve(&one).is_ok() && a.keys.touch(&one).is_ok());
    let problem = a.keys.delete(&one).unwrap_err();
    assert_eq!((problem.code, problem.status, problem.retry_after), (Code::StoreAway, 503, Some(5)));
    assert!(a.is_here(&one) && a.keys.get(&one).is_ok());
    // What is not known may be there.
    assert_eq!(code(b.keys.look_up(&one)), Code::StoreAway);
    assert_eq!(b.content(&one).unwrap_err(), Code::StoreAway);
    assert!(b.list("alice").is_empty());
    assert!(a.shared().counts().failures.get() > 0);

    store.set_away(false);
    a.store_all();
    assert_eq!(b.list("alice"), [one.1]);
    store.set_away(true);
    assert_eq!(b.content(&one).unwrap_err(), Code::StoreAway);
    assert_eq!(b.list("alice"), [one.1], "still known");
    store.set_away(false);
    assert_eq!(b.content(&one).unwrap(), b"one");
    a.keys.delete(&one).unwrap();
    assert_eq!((a.is_here(&one), store.names().len()), (false, 0));
}

#[test]
fn a_store_that_failed_is_left_alone_for_a_moment() {
    let store = FakeStore::start();
    let mut a = Replica::new(&store, &[]);
    a.keys.shared.as_mut().unwrap().bucket.set_pause(Duration::from_millis(300));
    store.set_away(true);
    for _ in 0..3 {
        assert_eq!(code(a.keys.look_up(&name("alice", b"one"))), Code::StoreAway);
    }
    assert_eq!(store.asked(), 1);
    store.set_away(false);
    std::thread::sleep(Duration::from_millis(400));
    a.keys.look_up(&name("alice", b"one")).unwrap();
    assert_eq!(store.asked(), 2);
}

#[test]
fn the_disk_keeps_within_its_budget() {
    let store = FakeStore::start();
    let contents: [&[u8]; 4] = [b"aaaa", b"bbbb", b"cccc", b"dddd"];
    let names = contents.map(|content| name("alice", content));
    let sets = contents.map(|content| ("alice", content));
    let a = Replica::new(&store, &sets).restart(|options| options.key_disk = Some(9));
    let evict = |room| a.keys.evict(a.shared(), &locked(&a.shared().local), room);
    let here = || names.each_ref().map(|name| a.is_here(name));
    evict(0);
    assert_eq!(here(), [true; 4], "what is not in the bucket stays");
    a.store_all();
    for name in &names {
        a.keys.touch(name).unwrap();
        std::thread::sleep(Duration::from_millis(2));
    }
    let held = a.keys.reserve(&names[0]).unwrap();
    a.keys.touch(&names[3]).unwrap();
    evict(0);
    assert_eq!(here(), [true, false, false, true], "what a job uses, and what was used last");
    assert_eq!(a.list("alice").len(), 4);
    drop(held);
    // One that is fetched gets room.
    assert_eq!(a.content(&names[1]).unwrap(), contents[1]);
    assert_eq!(here(), [false, true, false, true]);
    let a = a.restart(|_| ());
    assert_eq!(a.keys.list(&names[0].0).len(), 2);
    for (name, content) in names.iter().zip(contents) {
        assert_eq!(a.content(name).unwrap(), content);
    }
}

#[test]
fn quotas_count_what_is_in_the_bucket() {
    let store = FakeStore::start();
    let a = Replica::new(&store, &[("alice", b"one"), ("alice", b"two"), ("bob", b"three")]);
    a.store_all();
    let mut b = Replica::new(&store, &[]);
    (b.options.key_sets_per_principal, b.options.keys_per_principal) = (3, 8);
    b.list("alice");
    let room = |length, options: &Options| {
        upload::check_room(&b.keys.entries(), &"alice".into(), length, options)
            .map_err(|problem| problem.code)
    };
    assert_eq!(room(2, &b.options), Ok(()));
    assert_eq!(room(3, &b.options), Err(Code::NoRoom));
    let two = Options { key_sets_per_principal: 2, ..b.options.clone() };
    assert_eq!(room(1, &two), Err(Code::NoRoom));
}

#[test]
fn keys_live_as_long_as_any_service_uses_them() {
    let store = FakeStore::start();
    let a = Replica::new(&store, &[("alice", b"one"), ("alice", b"two"), ("alice", b"three")]);
    let [one, two, three] = [&b"one"[..], b"two", b"three"].map(|content| name("alice", content));
    a.store_all();
    let age = |name: &Name, days: u32| {
        let object = format!("keys/alice/{}/{ANNOUNCED}", name.1);
        store.objects().get_mut(&object).unwrap().1 = SystemTime::now() - days * DAY;
    };
    let b = Replica::new(&store, &[]);
    // As if all had been stored long ago, and then used once: `one` yesterday, `two` now.
    for (name, used) in [(&one, 1u32), (&two, 0), (&three, 40)] {
        age(name, 40);
        let (used, stored) = (SystemTime::now() - used * DAY, Some(SystemTime::now() - 40 * DAY));
        if let Some(Entry { state, .. }) = a.keys.entries().get_mut(name) {
            *state = State::Whole { used, place: Place { here: true, stored } };
        }
    }
    a.keys.touch_all(a.shared()).unwrap();
    a.keys.tidy(a.shared()).unwrap();
    let mut left = vec![one.1, two.1];
    left.sort();
    assert_eq!(a.list("alice"), left, "nobody has used the third one");
    assert!(!a.file(&three, "").exists());
    // The other service has never heard of them.
    b.keys.tidy(b.shared()).unwrap();
    assert_eq!(b.list("alice"), left);
    // One entry is old enough to be written again, one is not.
    age(&one, 2);
    age(&two, 4);
    a.list("alice");
    for name in [&one, &two] {
        a.keys.touch(name).unwrap();
    }
    a.keys.touch_all(a.shared()).unwrap();
    let written = |name: &Name| store.objects()[&format!("keys/alice/{}/{ANNOUNCED}", name.1)].1;
    assert!(written(&one).elapsed().unwrap() > DAY && written(&two).elapsed().unwrap() < DAY);
    // What is fetched is used, and its entry is as old as it was, also for the next process.
    age(&one, 20);
    assert_eq!(b.list("alice"), left);
    assert_eq!(b.content(&one).unwrap(), b"one");
    let b = b.restart(|_| ());
    b.keys.touch_all(b.shared()).unwrap();
    assert!(written(&one).elapsed().unwrap() < DAY);
    // Nobody has them on a disk any more, nobody uses them: whoever looks deletes them.
    drop((a, b));
    age(&one, 31);
    let c = Replica::new(&store, &[]);
    c.keys.tidy(c.shared()).unwrap();
    assert_eq!(c.list("alice"), [two.1]);
    assert_eq!(store.names().len(), 2);
}

#[test]
fn files_without_an_entry_go() {
    let store = FakeStore::start();
    let a = Replica::new(&store, &[("alice", b"one")]);
    a.store_all();
    for (content, days) in [("old", 2u32), ("new", 0), ("one", 9)] {
        let object = format!("keys/alice/{}/{WHOLE}", Digest::of(content.as_bytes()));
        store.objects().insert(object, (content.into(), SystemTime::now() - days * DAY));
    }
    a.keys.tidy(a.shared()).unwrap();
    let mut left: Vec<String> = [("one", ANNOUNCED), ("one", WHOLE), ("new", WHOLE)]
        .map(|(content, file)| format!("alice/{}/{file}", Digest::of(content.as_bytes())))
        .into();
    left.sort();
    assert_eq!(store.names(), left);
}

#[test]
fn an_upload_that_another_service_has_taken_is_over() {
    let store = FakeStore::start();
    let a = Replica::new(&store, &[("alice", b"one")]);
    let b = Replica::new(&store, &[]);
    let one = name("alice", b"one");
    fs::create_dir_all(b.file(&one, "")).unwrap();
    let announced = Announced { key: None, ..announced(b"one") };
    fs::write(b.file(&one, ANNOUNCED), serde_json::to_vec(&announced).unwrap()).unwrap();
    fs::write(b.file(&one, PART), b"on").unwrap();
    let b = b.restart(|_| ());
    assert_eq!(b.keys.get(&one).unwrap().state, KeyState::Uploading);
    a.store_all();
    b.list("alice");
    assert_eq!(b.keys.get(&one).unwrap().state, KeyState::Whole);
    assert!(!b.file(&one, PART).exists());
    assert_eq!(b.content(&one).unwrap(), b"one");
}

#[test]
fn the_keeper_stores_what_there_is_and_ends() {
    let store = FakeStore::start();
    let a = Replica::new(&store, &[("alice", b"one"), ("bob", b"two")]);
    store.set_away(true);
    std::thread::scope(|scope| {
        let keeper = scope.spawn(|| a.keys.keep());
        let until = |is_so: &dyn Fn() -> bool| {
            let begun = std::time::Instant::now();
            while !is_so() {
                assert!(begun.elapsed() < Duration::from_secs(20));
                std::thread::sleep(Duration::from_millis(5));
            }
        };
        until(&|| store.asked() > 0);
        store.set_away(false);
        until(&|| store.names().len() == 4 && a.shared().counts().waiting.get() == 0);
        a.keys.close();
        keeper.join().unwrap();
    });
    assert_eq!(a.shared().counts().stored.get(), 2);
}

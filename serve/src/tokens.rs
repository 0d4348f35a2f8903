//! The file of the tokens that a server knows: one line per principal, with the token's hash.
//!
//! | column | content |
//! |---|---|
//! | 1 | name of the principal |
//! | 2 | BLAKE3 of the token, 64 hexadecimal digits |
//! | 3 | `operator` for those who may read metrics; absent for others |
//!
//! Tokens have 256 random bits, so their hash needs neither salt nor work. Several lines may have
//! the same name: tokens are replaced without a gap. Names that differ in upper and lower case
//! alone are refused: on some systems they are one folder.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use fhec_roles::files::{self, FileError};
use thiserror::Error;

use crate::digest::Digest;

/// More than any file of tokens has.
const MAX_BYTES: u64 = 4 << 20;
/// What tokens begin with, so that scanners of repositories find them.
const PREFIX: &str = "fhec_";
const OPERATOR: &str = "operator";

/// Why there are no tokens.
#[derive(Debug, Error)]
#[allow(missing_docs)]
pub enum TokenError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error("{}, line {line}: {reason}; a line is NAME HASH, or NAME HASH operator", .path.display())]
    Line { path: PathBuf, line: usize, reason: &'static str },
    #[error("{} has no token: `fhec serve token NAME --tokens FILE` makes one", .0.display())]
    Empty(PathBuf),
    #[error("`{0}` is no name of a principal: up to 64 letters, digits, `-` and `_`")]
    Name(String),
    #[error("`{name}` and `{other}` differ in upper and lower case alone: choose another name")]
    Case { name: String, other: String },
    #[error("the system gives no random numbers: {0}")]
    Randomness(getrandom::Error),
}

/// Whether `name` can be a principal's: it is the name of a folder, too.
pub fn is_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_'))
}

/// A line of the file.
#[derive(Clone, Debug)]
struct Entry {
    name: String,
    hash: blake3::Hash,
    operator: bool,
}

/// The tokens of a file.
#[derive(Clone, Debug, Default)]
pub struct Tokens(Vec<Entry>);

/// Whom a token is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The principal.
    pub name: String,
    /// Whether it may read metrics.
    pub operator: bool,
}

impl Tokens {
    /// Reads a file, at the start of a service.
    ///
    /// # Errors
    /// If it cannot be read, has a line that is none, or no token.
    pub fn open(path: &Path) -> Result<Self, TokenError> {
        let (tokens, errors) = Tokens::of_lines(path)?;
        match errors.into_iter().next() {
            Some(error) => Err(error),
            None if tokens.0.is_empty() => Err(TokenError::Empty(path.to_owned())),
            None => Ok(tokens),
        }
    }

    /// Reads a file again, while a service runs, and says what is wrong with it. Who is not in it
    /// any more has no token from now on: lines that are none count for nobody, and so does a file
    /// that cannot be read.
    pub fn reopen(path: &Path) -> (Self, Vec<TokenError>) {
        Tokens::of_lines(path).unwrap_or_else(|error| (Tokens::default(), vec![error]))
    }

    /// What stands in the lines of a file, and what is wrong with the others.
    fn of_lines(path: &Path) -> Result<(Self, Vec<TokenError>), TokenError> {
        let bytes = files::read(path, MAX_BYTES)?;
        let (mut entries, mut errors, mut names) = (Vec::new(), Vec::new(), BTreeMap::new());
        for (index, line) in String::from_utf8_lossy(&bytes).lines().enumerate() {
            let line_error = |reason| TokenError::Line { path: path.to_owned(), line: index + 1, reason };
            match entry(line) {
                Ok(None) => {}
                Ok(Some(entry)) => {
                    let known = names.entry(entry.name.to_ascii_lowercase());
                    match *known.or_insert_with(|| entry.name.clone()) == entry.name {
                        true => entries.push(entry),
                        false => errors.push(line_error(
                            "the name differs from another one in upper and lower case alone",
                        )),
                    }
                }
                Err(reason) => errors.push(line_error(reason)),
            }
        }
        Ok((Tokens(entries), errors))
    }

    /// Whom `token` is of. Takes the same time whichever it is: all entries are compared, and
    /// hashes in constant time.
    pub fn holder(&self, token: &str) -> Option<Holder> {
        let hash = blake3::hash(token.as_bytes());
        let mut found = None;
        for entry in &self.0 {
            if entry.hash == hash {
                found = Some(entry);
            }
        }
        found.map(|entry| Holder { name: entry.name.clone(), operator: entry.operator })
    }
}

/// What stands in a line; nothing in one that is empty or a comment.
fn entry(line: &str) -> Result<Option<Entry>, &'static str> {
    let line = line.split('#').next().unwrap_or_default();
    let words: Vec<&str> = line.split_whitespace().collect();
    let (name, hash, operator) = match words[..] {
        [] => return Ok(None),
        [name, hash] => (name, hash, false),
        [name, hash, OPERATOR] => (name, hash, true),
        _ => return Err("it has other words"),
    };
    if !is_name(name) {
        return Err("the name has other signs than letters, digits, `-` and `_`");
    }
    let hash: Digest = hash.parse().map_err(|_| "the hash is none")?;
    Ok(Some(Entry { name: name.into(), hash: (*hash.bytes()).into(), operator }))
}

/// Makes a token for `name`, adds its hash to the file, and returns the token: nothing else has it.
pub fn add(path: &Path, name: &str, operator: bool) -> Result<String, TokenError> {
    if !is_name(name) {
        return Err(TokenError::Name(name.into()));
    }
    let (known, _) = if path.exists() { Tokens::of_lines(path)? } else { Default::default() };
    let is_other = |entry: &&Entry| entry.name != name && entry.name.eq_ignore_ascii_case(name);
    if let Some(Entry { name: other, .. }) = known.0.iter().find(is_other) {
        return Err(TokenError::Case { name: name.into(), other: other.clone() });
    }
    let mut random = [0; 32];
    getrandom::fill(&mut random).map_err(TokenError::Randomness)?;
    let token: String = random.iter().fold(PREFIX.to_string(), |text, byte| text + &format!("{byte:02x}"));
    let role = if operator { " operator" } else { "" };
    let line = format!("{name} {}{role}\n", Digest::of(token.as_bytes()));
    append(path, &line).map_err(|source| FileError::Write { path: path.to_owned(), source })?;
    Ok(token)
}

/// Adds a line at the end, whole or not at all as far as the system has it, on the disk when done.
fn append(path: &Path, line: &str) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.append(true).create(true).read(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.lock()?;
    // Somebody may have edited the file and left its last line without an end.
    let mut last = [b'\n'];
    if file.metadata()?.len() > 0 {
        file.seek(SeekFrom::End(-1))?;
        file.read_exact(&mut last)?;
    }
    let end = if last == *b"\n" { "" } else { "\n" };
    file.write_all(format!("{end}{line}").as_bytes())?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_known_by_its_hash() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens");
        let (alice, bob) = (add(&path, "alice", false).unwrap(), add(&path, "bob", true).unwrap());
        let second = add(&path, "alice", false).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(!text.contains(&alice[5..]) && !text.contains(&bob[5..]), "tokens are not in the file");
        let tokens = Tokens::open(&path).unwrap();
        let of = |token: &str| tokens.holder(token).map(|holder| (holder.name, holder.operator));
        assert_eq!(of(&alice), Some(("alice".into(), false)));
        assert_eq!(of(&second), Some(("alice".into(), false)));
        assert_eq!(of(&bob), Some(("bob".into(), true)));
        for wrong in ["", "fhec_", &alice[..40], &format!("{alice} ")] {
            assert_eq!(of(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn files_without_sense_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens");
        let hash = Digest::of(b"x");
        for text in ["", "# none\n", "a b\n", &format!("../x {hash}\n"), &format!("a {hash} root\n")] {
            std::fs::write(&path, text).unwrap();
            Tokens::open(&path).unwrap_err();
        }
        // Also where the last line has no end.
        std::fs::write(&path, format!("# of us\n\na {hash} # new")).unwrap();
        let added = add(&path, "b", false).unwrap();
        let tokens = Tokens::open(&path).unwrap();
        assert!(tokens.holder(&added).is_some() && tokens.holder("x").is_some());
        // Names are folders, which some systems do not tell apart by case.
        assert!(matches!(add(&path, "B", false), Err(TokenError::Case { .. })));
        std::fs::write(&path, format!("b {hash}\nB {hash}\n")).unwrap();
        Tokens::open(&path).unwrap_err();
        add(&path, "../up", false).unwrap_err();
        add(&path, "", false).unwrap_err();
    }

    #[test]
    fn what_is_read_again_counts_for_nobody_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens");
        let (alice, bob) = (add(&path, "alice", false).unwrap(), add(&path, "bob", false).unwrap());
        let text = std::fs::read_to_string(&path).unwrap();
        let of = |tokens: &Tokens| [&alice, &bob].map(|token| tokens.holder(token).is_some());
        let reopen = |text: &str| {
            std::fs::write(&path, text).unwrap();
            let (tokens, errors) = Tokens::reopen(&path);
            (of(&tokens), errors.len())
        };
        let (first, second) = text.split_once('\n').unwrap();
        assert_eq!(reopen(&text), ([true, true], 0));
        assert_eq!(reopen(second), ([false, true], 0));
        // A slip of the hand takes one line, not the change.
        assert_eq!(reopen(&format!("{} x x\n{second}", &first[..20])), ([false, true], 1));
        assert_eq!(reopen(""), ([false, false], 0));
        std::fs::remove_file(&path).unwrap();
        let (tokens, errors) = Tokens::reopen(&path);
        assert_eq!((of(&tokens), errors.len()), ([false, false], 1));
    }
}

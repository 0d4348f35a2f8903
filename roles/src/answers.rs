//! How many answers a key has decrypted.
//!
//! A server that sees what became of its answers, and be it only that one was refused and another
//! was not, learns up to one bit about the secret key from each (`docs/threat-model.md`). So
//! answers are counted in the key folder, and after as many as [`advised_answers`] says the client
//! is told to make new keys.

use std::fs::OpenOptions;
use std::io::{self, Read, Seek, Write};
use std::path::Path;

use fhec_ir::params::Params;
use fhec_ir::security::Certificate;

/// Name of the file with the count.
const FILE: &str = "answers.count";
/// More digits than a count has.
const MAX_BYTES: u64 = 32;

/// One-bit answers about the main secret that lower its security by at most one bit: its entropy
/// over the level in bits.
///
/// The cost of the known attacks grows in proportion to the dimension, so one bit of `lambda` is
/// lost with the `lambda`-th part of it; an answer to a yes-or-no question tells no more than that
/// part of the secret which has one bit of entropy. (A hint about a secret lowers the dimension by
/// at most one: Dachman-Soled, Ducas, Gong and Rossi, *LWE with Side Information*, CRYPTO 2020.)
pub fn advised_answers(params: &Params, certificate: &Certificate) -> u64 {
    (params.secret_entropy_bits() / f64::from(certificate.bits())).floor() as u64
}

/// Counts one more answer in `folder` and returns how many there were.
///
/// # Errors
/// If the file cannot be written: a folder that may be read only.
pub fn count_answer(folder: &Path) -> io::Result<u64> {
    let path = folder.join(FILE);
    let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
    // Several commands may decrypt with one folder at a time.
    file.lock()?;
    let mut text = String::new();
    (&mut file).take(MAX_BYTES).read_to_string(&mut text)?;
    let count = text.trim().parse::<u64>().unwrap_or(0).saturating_add(1);
    file.rewind()?;
    file.set_len(0)?;
    writeln!(file, "{count}")?;
    file.sync_data()?;
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_counted_one_by_one() {
        let folder = tempfile::tempdir().unwrap();
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let folder = folder.path().to_owned();
                std::thread::spawn(move || {
                    (0..5).for_each(|_| {
                        count_answer(&folder).unwrap();
                    })
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(count_answer(folder.path()).unwrap(), 21);
        count_answer(&folder.path().join("none")).unwrap_err();
    }
}

//! Processor time of principals: what each has used lately, and whether it may use more.
//!
//! A leaky bucket per principal: what is used fills it, and it drains at the rate that is allowed.
//! So a principal gets its limit in every hour in the long run, and at most twice of it within one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::folder::{self, StateFolder};
use crate::api::{Code, Problem};

const SPENT: &str = "spent.json";
const HOUR: f64 = 3600.0;

/// What was in the bucket at some time.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct Account {
    core_seconds: f64,
    /// Seconds since 1970.
    at: f64,
}

impl Account {
    /// What is in the bucket at `now`, where it drains by `limit` in an hour. A clock that was set
    /// back drains nothing.
    fn level(&self, limit: f64, now: f64) -> f64 {
        (self.core_seconds - limit * (now - self.at).max(0.0) / HOUR).max(0.0)
    }
}

/// The accounts of all principals.
pub(super) struct Spending {
    folder: StateFolder,
    /// Core-seconds within an hour; `None` where nothing is counted.
    limit: Option<f64>,
    accounts: Mutex<HashMap<Arc<str>, Account>>,
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64())
}

impl Spending {
    /// Accounts in the state folder; `limit` in core-seconds within an hour.
    pub(super) fn new(folder: &StateFolder, limit: Option<u64>) -> Self {
        let limit = limit.map(|limit| limit as f64);
        Spending { folder: folder.clone(), limit, accounts: Mutex::default() }
    }

    fn accounts(&self) -> MutexGuard<'_, HashMap<Arc<str>, Account>> {
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The account of a principal: as it is known, or as an earlier process has left it.
    fn account(&self, accounts: &mut HashMap<Arc<str>, Account>, principal: &Arc<str>) -> Account {
        let read = || {
            let path = self.folder.of_principal(principal).ok()?.join(SPENT);
            folder::read_json(&path).ok().filter(|account: &Account| account.core_seconds.is_finite())
        };
        *accounts.entry(Arc::clone(principal)).or_insert_with(|| read().unwrap_or_default())
    }

    /// Errs where a principal has used its time, or will have when its jobs are done that are not
    /// finished: these take `unfinished` core-seconds.
    pub(super) fn check(&self, principal: &Arc<str>, unfinished: f64) -> Result<(), Problem> {
        let Some(limit) = self.limit else { return Ok(()) };
        let level = self.account(&mut self.accounts(), principal).level(limit, now());
        if level + unfinished < limit {
            return Ok(());
        }
        let wait = (HOUR * (level + unfinished - limit) / limit).ceil().clamp(1.0, HOUR);
        let detail = format!(
            "{:.0} core-seconds are used or taken by your jobs, of {limit} within an hour: send it again later",
            level + unfinished
        );
        Err(Problem::new(Code::QuotaUsed, detail).retry_after(wait as u64))
    }

    /// A principal has used so many core-seconds.
    pub(super) fn spend(&self, principal: &Arc<str>, core_seconds: f64) {
        let Some(limit) = self.limit else { return };
        let mut accounts = self.accounts();
        let (before, at) = (self.account(&mut accounts, principal), now());
        let account = Account { core_seconds: before.level(limit, at) + core_seconds, at };
        accounts.insert(Arc::clone(principal), account);
        drop(accounts);
        let folder = self.folder.of_principal(principal);
        if let Err(error) = folder.and_then(|folder| folder::write_json(&folder.join(SPENT), &account)) {
            // It counts until the process ends.
            tracing::warn!(target: "fhec::serve", "used time is not kept: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_drain() {
        let account = Account { core_seconds: 100.0, at: 1000.0 };
        assert_eq!(account.level(360.0, 1000.0), 100.0);
        assert_eq!(account.level(360.0, 1500.0), 50.0);
        assert_eq!(account.level(360.0, 9000.0), 0.0);
        assert_eq!(account.level(360.0, 500.0), 100.0, "the clock was set back");
    }

    #[test]
    fn who_has_used_its_time_waits() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateFolder::claim(folder.path()).unwrap();
        let (alice, bob): (Arc<str>, Arc<str>) = ("alice".into(), "bob".into());
        let spending = Spending::new(&state, Some(100));
        spending.check(&alice, 99.0).unwrap();
        let refused = spending.check(&alice, 150.0).unwrap_err();
        assert_eq!((refused.code, refused.retry_after), (Code::QuotaUsed, Some(1800)));
        spending.spend(&alice, 60.0);
        spending.check(&alice, 30.0).unwrap();
        spending.check(&alice, 50.0).unwrap_err();
        spending.check(&bob, 50.0).unwrap();
        // The next process knows it, too.
        let again = Spending::new(&state, Some(100));
        again.check(&alice, 30.0).unwrap();
        again.check(&alice, 50.0).unwrap_err();
        again.spend(&alice, 60.0);
        again.check(&alice, 0.0).unwrap_err();
        // What makes no sense counts for nothing, and without a limit nothing counts.
        std::fs::write(folder.path().join("principals/alice").join(SPENT), "{").unwrap();
        Spending::new(&state, Some(100)).check(&alice, 30.0).unwrap();
        Spending::new(&state, None).check(&alice, 1e9).unwrap();
    }
}

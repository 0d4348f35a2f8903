//! Where the bucket is and who may use it: `--key-bucket` and the environment.

use std::fmt;

use rusty_s3::{Bucket, Credentials, UrlStyle};
use thiserror::Error;

/// Why there is no bucket to keep keys in.
#[derive(Debug, Error)]
#[allow(missing_docs)]
pub enum BucketError {
    #[error(
        "`{0}` is no bucket: write s3://BUCKET or s3://BUCKET/PREFIX, with letters, digits, `.`, `-`, `_` and `/`"
    )]
    Place(String),
    #[error("there are no credentials for the bucket: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")]
    NoCredentials,
    #[error(
        "it is not known where the bucket is: set AWS_REGION, or AWS_ENDPOINT_URL where it is not Amazon's"
    )]
    NoRegion,
    #[error("AWS_ENDPOINT_URL is no address: write https://HOST or https://HOST:PORT")]
    Endpoint,
}

/// A bucket of an object store that speaks S3, with the credentials for it.
#[derive(Clone)]
pub struct KeyBucket {
    pub(super) bucket: Bucket,
    pub(super) credentials: Credentials,
    /// What names of objects begin with: empty, or with `/` at its end.
    pub(super) prefix: String,
}

impl fmt::Debug for KeyBucket {
    /// Without the credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("KeyBucket").field(&self.place()).finish()
    }
}

impl KeyBucket {
    /// The bucket `s3://BUCKET[/PREFIX]`. The environment has the rest, as for other programs:
    /// `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`, `AWS_REGION` (or
    /// `AWS_DEFAULT_REGION`), and `AWS_ENDPOINT_URL` where the store is not Amazon's.
    ///
    /// # Errors
    /// If `address` is none of a bucket, or something in the environment lacks or makes no sense.
    /// Nothing is asked of the bucket.
    pub fn from_environment(address: &str) -> Result<Self, BucketError> {
        KeyBucket::new(address, |name| std::env::var(name).ok())
    }

    pub(crate) fn new(address: &str, variable: impl Fn(&str) -> Option<String>) -> Result<Self, BucketError> {
        let variable = |name: &str| variable(name).filter(|value| !value.trim().is_empty());
        let bad = || BucketError::Place(address.into());
        let place = address.strip_prefix("s3://").ok_or_else(bad)?.trim_end_matches('/');
        let (name, prefix) = place.split_once('/').unwrap_or((place, ""));
        if !is_part(name) || !(prefix.is_empty() || prefix.split('/').all(is_part)) {
            return Err(bad());
        }
        let (key, secret) = (variable("AWS_ACCESS_KEY_ID"), variable("AWS_SECRET_ACCESS_KEY"));
        let (key, secret) = key.zip(secret).ok_or(BucketError::NoCredentials)?;
        let credentials = match variable("AWS_SESSION_TOKEN") {
            Some(token) => Credentials::new_with_token(key, secret, token),
            None => Credentials::new(key, secret),
        };
        let endpoint = variable("AWS_ENDPOINT_URL");
        let region = variable("AWS_REGION").or_else(|| variable("AWS_DEFAULT_REGION"));
        // Stores of others rarely have regions, and take this one.
        let region = region.or_else(|| endpoint.as_ref().map(|_| "us-east-1".into()));
        let region = region.ok_or(BucketError::NoRegion)?;
        // Certificates of Amazon's hosts are for names without dots, and hosts have no capitals.
        let is_host = name.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-');
        let style = if endpoint.is_none() && is_host { UrlStyle::VirtualHost } else { UrlStyle::Path };
        let endpoint = endpoint.unwrap_or_else(|| format!("https://s3.{region}.amazonaws.com"));
        let endpoint = endpoint.trim().parse().map_err(|_| BucketError::Endpoint)?;
        let bucket = Bucket::new(endpoint, style, name.to_string(), region);
        Ok(KeyBucket {
            bucket: bucket.map_err(|_| BucketError::Endpoint)?,
            credentials,
            prefix: if prefix.is_empty() { String::new() } else { format!("{prefix}/") },
        })
    }

    /// Tells this place from others.
    pub(super) fn place(&self) -> String {
        format!("{}{}", self.bucket.base_url(), self.prefix)
    }

    /// Whether it is on this machine.
    pub(super) fn is_local(&self) -> bool {
        matches!(self.bucket.base_url().host_str(), Some("localhost" | "127.0.0.1" | "[::1]"))
    }

    /// Whether requests are encrypted on their way.
    pub(super) fn is_encrypted(&self) -> bool {
        self.bucket.base_url().scheme() == "https"
    }
}

/// Whether `part` can stand between two `/`: names of folders upwards are no parts.
fn is_part(part: &str) -> bool {
    let fits = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'-' | b'_');
    !part.is_empty() && part.bytes().all(fits) && !part.bytes().all(|c| c == b'.')
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [(&str, &str); 3] =
        [("AWS_ACCESS_KEY_ID", "id"), ("AWS_SECRET_ACCESS_KEY", "hidden"), ("AWS_REGION", "eu-west-1")];

    fn new(address: &str, variables: &[(&str, &str)]) -> Result<KeyBucket, BucketError> {
        let find = |name: &str| variables.iter().find(|(known, _)| *known == name);
        KeyBucket::new(address, |name| find(name).map(|(_, value)| value.to_string()))
    }

    #[test]
    fn addresses_are_those_of_buckets() {
        let place = |address: &str| new(address, &ALL).unwrap().place();
        assert_eq!(place("s3://keys"), "https://keys.s3.eu-west-1.amazonaws.com/");
        assert_eq!(place("s3://keys/a/b-c/"), "https://keys.s3.eu-west-1.amazonaws.com/a/b-c/");
        assert_eq!(place("s3://keys.of.us/a"), "https://s3.eu-west-1.amazonaws.com/keys.of.us/a/");
        for bad in
            ["keys", "https://keys", "s3://", "s3:///a", "s3://k/../l", "s3://k//a", "s3://k/a b", "s3://k/?"]
        {
            assert!(matches!(new(bad, &ALL), Err(BucketError::Place(_))), "{bad}");
        }
    }

    #[test]
    fn the_environment_says_who_and_where() {
        for left in 0..2 {
            let without = [ALL[left], ALL[2]];
            assert!(matches!(new("s3://keys", &without), Err(BucketError::NoCredentials)));
        }
        assert!(matches!(new("s3://keys", &ALL[..2]), Err(BucketError::NoRegion)));
        let at = |endpoint| new("s3://keys/a", &[ALL[0], ALL[1], ("AWS_ENDPOINT_URL", endpoint)]);
        let local = at("http://127.0.0.1:9000").unwrap();
        assert_eq!(local.place(), "http://127.0.0.1:9000/keys/a/");
        assert!(local.is_local() && !local.is_encrypted());
        assert!(!at("https://store.example").unwrap().is_local());
        for bad in ["store", "ftp://store", "http://"] {
            assert!(matches!(at(bad), Err(BucketError::Endpoint)), "{bad}");
        }
        assert!(!format!("{:?}", new("s3://keys", &ALL).unwrap()).contains("hidden"));
    }
}

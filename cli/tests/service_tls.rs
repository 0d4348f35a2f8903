//! A service over TLS, and clients with certificates.

mod binary;
mod served;

use std::fs;

use binary::{fhec, succeeds};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use served::{Place, Served, digit};

/// Certificates of one authority, as files.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    fn new(place: &Place, name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("a certificate");
        fs::write(place.path(&format!("{name}.pem")), issuer.pem()).expect("a file");
        Authority { issuer }
    }

    /// Paths of a certificate for `subject` and of its key.
    fn sign(&self, place: &Place, name: &str, subject: &str) -> (String, String) {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec![subject.to_string()]).expect("parameters");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        let (of_certificate, of_key) =
            (place.path(&format!("{name}.cert.pem")), place.path(&format!("{name}.key.pem")));
        fs::write(&of_certificate, certificate.pem()).expect("a file");
        fs::write(&of_key, key.serialize_pem()).expect("a file");
        (of_certificate, of_key)
    }
}

/// What `fhec remote` says that must not succeed.
fn fails(served: &Served, arguments: &[&str]) -> String {
    let url = served.url();
    let output = fhec(&[&["remote", &url, "--patience", "1"], arguments].concat());
    assert!(!output.status.success(), "{arguments:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn both_sides_are_known_by_their_certificates() {
    let place = Place::new();
    let (ours, theirs) = (Authority::new(&place, "ours"), Authority::new(&place, "theirs"));
    let (certificate, key) = ours.sign(&place, "server", "127.0.0.1");
    let (alice, alice_key) = ours.sign(&place, "alice", "alice");
    let (bob, bob_key) = ours.sign(&place, "bob", "bob");
    let (eve, eve_key) = theirs.sign(&place, "eve", "alice");
    let (ca, other) = (place.path("ours.pem"), place.path("theirs.pem"));
    let served = place.serve(&["--tls-cert", &certificate, "--tls-key", &key, "--client-ca", &ca]);
    let (url, home) = (served.url(), place.path("home"));
    let as_alice = ["--ca", &ca, "--client-cert", &alice, "--client-key", &alice_key];
    let found = succeeds(
        &[&["remote", &url, "--home", &home, "--json", "classify", "mnist", &digit("7_a")][..], &as_alice]
            .concat(),
    );
    let found: serde_json::Value = serde_json::from_str(&found).expect("JSON");
    assert_eq!(found["class"], 7);
    // Each certificate is a principal.
    let jobs = |who: &[&str]| succeeds(&[&["remote", &url, "jobs", "--ca", &ca], who].concat());
    assert_eq!(jobs(&as_alice[2..]).lines().count(), 1);
    assert_eq!(jobs(&["--client-cert", &bob, "--client-key", &bob_key]), "");
    // Nobody without one, or with one of somebody else.
    fails(&served, &["models", "--ca", &ca]);
    fails(&served, &["models", "--ca", &ca, "--client-cert", &eve, "--client-key", &eve_key]);
    // Services of others are not spoken to: neither by their authority nor without one.
    for authority in [&["--ca", &other][..], &[]] {
        let errors = fails(&served, &[&["models"], authority, &as_alice[2..]].concat());
        assert!(errors.contains("cannot be reached"), "{errors}");
    }
    served.stop();

    // Tokens over TLS.
    let token = place.token("carol", &[]);
    let served =
        place.serve(&["--tls-cert", &certificate, "--tls-key", &key, "--tokens", &place.path("tokens")]);
    let file = place.path("carol.token");
    let url = served.url();
    let models = succeeds(&["remote", &url, "models", "--ca", &ca, "--token-file", &file]);
    assert!(models.starts_with("mnist: 128 bits"), "{models}");
    assert!(!token.is_empty() && fails(&served, &["models", "--ca", &ca]).contains("unauthorized"));
    served.stop();

    // Files that are none are named.
    let nothing = fhec(&[
        "serve",
        &place.path("models"),
        "--state",
        &place.path("state"),
        "--no-auth",
        "--tls-cert",
        &key,
        "--tls-key",
        &key,
    ]);
    let errors = String::from_utf8_lossy(&nothing.stderr).into_owned();
    assert!(!nothing.status.success() && errors.contains("server.key.pem"), "{errors}");
}

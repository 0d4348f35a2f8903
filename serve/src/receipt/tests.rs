use std::fs;
use std::process::Command;

use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, PublicKeyData};

use super::*;

fn receipt() -> Receipt {
    let [program, keys, image, answer] =
        ["program", "keys", "image", "answer"].map(|of| Digest::of(of.as_bytes()));
    Receipt { version: VERSION, model: "mnist".into(), program, keys, image, answer, signature: None }
}

#[test]
fn a_signature_is_of_all_of_a_receipt() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    for name in ["a", "b"] {
        let pair = KeyPair::generate_for(&PKCS_ED25519).unwrap();
        fs::write(path(name), pair.serialize_pem()).unwrap();
        fs::write(path(&format!("{name}.pub")), pair.public_key_pem()).unwrap();
        let public: String = pair.der_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(SigningKey::open(&path(name)).unwrap().public().to_string(), public);
    }
    let key = SigningKey::open(&path("a")).unwrap();
    let [public, other] = ["a.pub", "b.pub"].map(|name| PublicKey::open(&path(name)).unwrap());
    let signed = receipt().signed(&key);
    assert!(signed.is_signed_by(&public) && !signed.is_signed_by(&other));
    assert!(!receipt().is_signed_by(&public));
    assert!(!format!("{key:?}").contains("seed"), "{key:?}");
    // It comes back from JSON, and receipts without one do.
    let json = serde_json::to_string(&signed).unwrap();
    assert_eq!(serde_json::from_str::<Receipt>(&json).unwrap(), signed);
    let json = serde_json::to_string(&receipt()).unwrap();
    assert!(!json.contains("signature"));
    assert_eq!(serde_json::from_str::<Receipt>(&json).unwrap(), receipt());
    // Whatever is changed, it is not signed any more.
    let x = Digest::of(b"x");
    let changes: [fn(&mut Receipt, Digest); 6] = [
        |receipt, _| receipt.version += 1,
        |receipt, _| receipt.model.push('x'),
        |receipt, x| receipt.program = x,
        |receipt, x| receipt.keys = x,
        |receipt, x| receipt.image = x,
        |receipt, x| receipt.answer = x,
    ];
    for change in changes {
        let mut changed = signed.clone();
        change(&mut changed, x);
        assert!(!changed.is_signed_by(&public), "{changed:?}");
    }
    let with = |change: &dyn Fn(&mut Signature)| {
        let mut changed = signed.clone();
        changed.signature.as_mut().into_iter().for_each(change);
        changed.is_signed_by(&public)
    };
    assert!(with(&|_| ()));
    assert!(!with(&|signature| signature.ed25519.truncate(126)));
    assert!(!with(&|signature| signature.ed25519 = "0".repeat(128)));
    assert!(!with(&|signature| signature.ed25519 = signature.ed25519.to_uppercase()));
    assert!(!with(&|signature| signature.key = other.to_string()));
    // What is no key is refused, and its file is named.
    let wrong = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    fs::write(path("wrong"), wrong.serialize_pem()).unwrap();
    fs::write(path("wrong.pub"), wrong.public_key_pem()).unwrap();
    fs::write(path("junk"), "junk").unwrap();
    for name in ["wrong", "junk", "a.pub", "none"] {
        let error = SigningKey::open(&path(name)).unwrap_err().to_string();
        assert!(error.contains(name), "{error}");
    }
    for name in ["wrong.pub", "junk", "a", "none"] {
        let error = PublicKey::open(&path(name)).unwrap_err().to_string();
        assert!(error.contains(name), "{error}");
    }
}

/// Signatures are those that other programs make and check.
#[test]
fn openssl_agrees() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_string();
    let openssl = |arguments: &[&str]| Command::new("openssl").args(arguments).output();
    let (private, public) = (path("private"), path("public"));
    match openssl(&["genpkey", "-algorithm", "ed25519", "-out", &private]) {
        Ok(output) if output.status.success() => {}
        _ => return eprintln!("skipped: no openssl that knows Ed25519"),
    }
    assert!(openssl(&["pkey", "-in", &private, "-pubout", "-out", &public]).unwrap().status.success());
    let signed = receipt().signed(&SigningKey::open(private.as_ref()).unwrap());
    assert!(signed.is_signed_by(&PublicKey::open(public.as_ref()).unwrap()));
    let (message, signature) = (path("message"), path("signature"));
    fs::write(&message, signed.signed_bytes()).unwrap();
    let digits = signed.signature.unwrap().ed25519;
    let byte = |i: usize| u8::from_str_radix(&digits[2 * i..2 * i + 2], 16).unwrap();
    let bytes: Vec<u8> = (0..64).map(byte).collect();
    fs::write(&signature, bytes).unwrap();
    let arguments = [
        "pkeyutl", "-verify", "-pubin", "-inkey", &public, "-rawin", "-in", &message, "-sigfile", &signature,
    ];
    let checked = openssl(&arguments).unwrap();
    assert!(checked.status.success(), "{checked:?}");
    fs::write(&message, "another message").unwrap();
    assert!(!openssl(&arguments).unwrap().status.success());
}

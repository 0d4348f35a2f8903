//! TLS by rustls, with certificates of clients if wanted.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection};
use tokio_rustls::TlsAcceptor;

use super::TlsFiles;
use super::errors::ServiceError;
use crate::digest::Digest;

fn error(path: &Path, reason: impl ToString) -> ServiceError {
    ServiceError::Tls { path: path.to_owned(), reason: reason.to_string() }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, ServiceError> {
    let found = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let found = found.map_err(|reason| error(path, reason))?;
    if found.is_empty() { Err(error(path, "there is no certificate in it")) } else { Ok(found) }
}

/// What accepts connections with the certificates of these files.
pub(super) fn acceptor(files: &TlsFiles) -> Result<TlsAcceptor, ServiceError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let own = certificates(&files.certificates)?;
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|reason| error(&files.key, reason))?;
    let builder =
        ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions();
    let builder = builder.map_err(|reason| error(&files.certificates, reason))?;
    let builder = match &files.client_authority {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates(path)? {
                roots.add(certificate).map_err(|reason| error(path, reason))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            builder.with_client_cert_verifier(verifier.map_err(|reason| error(path, reason))?)
        }
    };
    let mut config = builder.with_single_cert(own, key).map_err(|reason| error(&files.key, reason))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// The principal whose certificate was shown and verified: named by its digest, for names inside of
/// certificates are the authority's affair.
pub(super) fn principal(connection: &ServerConnection) -> Option<Arc<str>> {
    let certificate = connection.peer_certificates()?.first()?;
    Some(Digest::of(certificate).to_string().into())
}

//! Who may: tokens, certificates, or everybody on this machine.

use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::Response;
use tracing::Span;

use super::errors::ServiceError;
use super::handlers::discard;
use super::spans::TRACEPARENT;
use super::strangers::Stranger;
use super::{Access, Options, Service};
use crate::api::{Code, Problem};
use crate::tokens::{Holder, Tokens};

/// The principal of whom nothing is known.
const ANYBODY: &str = "local";

/// Whoever sent a request. What it has, nobody else sees.
#[derive(Clone, Debug)]
pub(super) struct Principal {
    pub(super) name: Arc<str>,
    pub(super) operator: bool,
}

/// What the connection tells of the peer.
#[derive(Clone, Default)]
pub(super) struct Peer {
    /// Told when it is known whose the connection is.
    pub(super) stranger: Option<Arc<Stranger>>,
    /// Name of the principal whose certificate it has: the certificate's digest.
    pub(super) certificate: Option<Arc<str>>,
}

/// Errs where the options would let in whom they should not, or make no sense.
pub(super) fn check(options: &Options) -> Result<(), ServiceError> {
    let at_least = |what, value: u64, least| match value < least {
        true => Err(ServiceError::TooLittle { what, least }),
        false => Ok(()),
    };
    at_least("the number of lanes", options.lanes as u64, 1)?;
    at_least("the number of threads", options.threads as u64, 1)?;
    at_least("the queue", options.queue as u64, 1)?;
    at_least("the number of jobs of a principal", options.jobs_per_principal as u64, 1)?;
    at_least("the size of a chunk", options.chunk_bytes, 1 << 12)?;
    at_least("the number of connections", options.connections as u64, 1)?;
    if options.key_disk.is_some() && options.key_bucket.is_none() {
        return Err(ServiceError::DiskWithoutBucket);
    }
    let loopback = options.listen.ip().is_loopback();
    let authority = options.tls.as_ref().is_some_and(|tls| tls.client_authority.is_some());
    match options.access {
        Access::Anybody if options.behind_proxy => Err(ServiceError::OpenProxy),
        Access::Anybody if !loopback => Err(ServiceError::OpenDoors(options.listen)),
        Access::Certificates if !authority => Err(ServiceError::NoAuthority),
        _ if !loopback && options.tls.is_none() && !options.behind_proxy => {
            Err(ServiceError::Plain(options.listen))
        }
        _ => Ok(()),
    }
}

/// How principals are told.
pub(super) enum Doors {
    Tokens { path: PathBuf, tokens: RwLock<Tokens> },
    Certificates,
    Anybody { page: bool },
}

impl Doors {
    /// With `page`, the service has a page of its own, whose requests are those of its user.
    pub(super) fn open(access: &Access, page: bool) -> Result<Self, ServiceError> {
        Ok(match access {
            Access::Tokens(path) => {
                Doors::Tokens { path: path.clone(), tokens: RwLock::new(Tokens::open(path)?) }
            }
            Access::Certificates => Doors::Certificates,
            Access::Anybody => Doors::Anybody { page },
        })
    }

    /// Reads the file of tokens again. What cannot be read of it lets nobody in.
    pub(super) fn reload(&self) {
        let Doors::Tokens { path, tokens } = self else { return };
        let (new, errors) = Tokens::reopen(path);
        *tokens.write().unwrap_or_else(PoisonError::into_inner) = new;
        for error in errors {
            tracing::error!(target: "fhec::serve", "tokens that let nobody in: {error}");
        }
        tracing::info!(target: "fhec::serve", "tokens were read again");
    }

    fn principal(&self, headers: &HeaderMap, peer: &Peer) -> Result<Principal, Problem> {
        let unauthorized = |detail: &str| Problem::new(Code::Unauthorized, detail);
        match self {
            Doors::Tokens { tokens, .. } => {
                let value = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
                let token = value.and_then(|value| {
                    let (scheme, token) = value.split_once(' ')?;
                    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
                });
                let token = token.ok_or_else(|| unauthorized("send `Authorization: Bearer TOKEN`"))?;
                let tokens = tokens.read().unwrap_or_else(PoisonError::into_inner);
                let Holder { name, operator } =
                    tokens.holder(token).ok_or_else(|| unauthorized("the token is not known"))?;
                Ok(Principal { name: name.into(), operator })
            }
            Doors::Certificates => {
                let name = peer.certificate.clone();
                let name = name.ok_or_else(|| unauthorized("connect with a certificate"))?;
                Ok(Principal { name, operator: false })
            }
            Doors::Anybody { page } => {
                // A page in a browser on this machine is not its user: it names its origin, or
                // another host that leads here.
                let address = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or("");
                let host = match address.rsplit_once(':') {
                    Some((name, port)) if port.bytes().all(|c| c.is_ascii_digit()) => name,
                    _ => address,
                };
                let local = matches!(host, "localhost" | "127.0.0.1" | "[::1]");
                // Browsers say of every request whose page it is of: of another one's, or none's.
                let site = headers.get("sec-fetch-site").map(|site| site.as_bytes());
                let foreign = !matches!(site, None | Some(b"none" | b"same-origin"));
                // The service's own page has the service's address for an origin, port included.
                let stranger = headers.get(header::ORIGIN).is_some_and(|origin| {
                    let origin = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
                    !(*page && origin.is_some_and(|(_, origin)| origin == address))
                });
                if stranger || foreign || !local {
                    return Err(unauthorized("without tokens only programs on this machine are answered"));
                }
                Ok(Principal { name: ANYBODY.into(), operator: true })
            }
        }
    }
}

/// Lets requests through whose sender is known, with the principal beside them.
pub(super) async fn authenticate(
    State(service): State<Arc<Service>>,
    mut request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let peer = request.extensions().get::<Peer>().cloned().unwrap_or_default();
    match service.doors.principal(request.headers(), &peer) {
        Ok(principal) => {
            if let Some(stranger) = &peer.stranger {
                stranger.is_known();
            }
            // Strangers have no say in what is traced.
            let context = request.headers().get(TRACEPARENT).and_then(|context| context.to_str().ok());
            if let (Some(contexts), Some(context)) = (service.options.trace_contexts, context) {
                (contexts.join)(&Span::current(), context);
            }
            request.extensions_mut().insert(principal);
            Ok(next.run(request).await)
        }
        Err(problem) => {
            discard(request.into_body(), service.options.patience).await;
            Err(problem)
        }
    }
}

//! Connections: how many, how long, and what comes through them.

use std::sync::Arc;
use std::time::Duration;

use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;

use super::Options;
use super::access::Peer;
use super::tls;

/// Memory of a connection for heads and parts of bodies.
const BUFFER_BYTES: usize = 1 << 16;
/// Headers of a request.
const MOST_HEADERS: usize = 64;
/// A connection that lives longer is closed: also one whose peer does not take what it asked for.
const MOST_LIFE: Duration = Duration::from_secs(3600);
/// Connections have so long to end when the service does.
const FAREWELL: Duration = Duration::from_secs(3);

/// Answers requests until `drain` is done, then lets connections end.
pub(super) async fn serve(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    router: Router,
    options: &Options,
    drain: impl Future<Output = ()>,
) {
    let room = Arc::new(Semaphore::new(options.connections));
    let graceful = GracefulShutdown::new();
    let patience = options.patience;
    tokio::pin!(drain);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut drain => break,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                // No file descriptor is free, most likely: some will be.
                tracing::warn!(target: "fhec::serve", "a connection is not accepted: {error}");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let Ok(permit) = Arc::clone(&room).try_acquire_owned() else {
            tracing::debug!(target: "fhec::serve", "a connection more than allowed is closed");
            continue;
        };
        let (tls, router, watcher) = (tls.clone(), router.clone(), graceful.watcher());
        tokio::spawn(async move {
            let _permit = permit;
            let life = connection(stream, tls, router, watcher, patience);
            let _ = tokio::time::timeout(MOST_LIFE, life).await;
        });
    }
    drop(listener);
    let _ = tokio::time::timeout(FAREWELL, graceful.shutdown()).await;
}

async fn connection(
    stream: TcpStream,
    tls: Option<TlsAcceptor>,
    router: Router,
    watcher: Watcher,
    patience: Duration,
) {
    let _ = stream.set_nodelay(true);
    match tls {
        None => exchange(stream, Peer::default(), router, watcher, patience).await,
        Some(tls) => match tokio::time::timeout(patience, tls.accept(stream)).await {
            Ok(Ok(stream)) => {
                let peer = Peer { certificate: tls::principal(stream.get_ref().1) };
                exchange(stream, peer, router, watcher, patience).await;
            }
            Ok(Err(error)) => tracing::debug!(target: "fhec::serve", "no TLS: {error}"),
            Err(_) => tracing::debug!(target: "fhec::serve", "no TLS in time"),
        },
    }
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    peer: Peer,
    router: Router,
    watcher: Watcher,
    patience: Duration,
) {
    let service = TowerToHyperService::new(router.layer(Extension(peer)));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(patience)
        .max_buf_size(BUFFER_BYTES)
        .max_headers(MOST_HEADERS)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = watcher.watch(connection).await {
        tracing::debug!(target: "fhec::serve", "a connection ended: {error}");
    }
}

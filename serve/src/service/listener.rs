//! Connections: how many, how long, and what comes through them.

use std::sync::Arc;
use std::time::Duration;

use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio_io_timeout::TimeoutStream;
use tokio_rustls::TlsAcceptor;

use super::Options;
use super::access::Peer;
use super::strangers::{Stranger, Strangers};
use super::tls;

/// Memory of a connection for heads and parts of bodies.
const BUFFER_BYTES: usize = 1 << 16;
/// Headers of a request.
const MOST_HEADERS: usize = 64;
/// A connection that lives longer is closed after the request that runs, which has as long again.
const MOST_LIFE: Duration = Duration::from_secs(3600);
/// A connection that gives way to another one has so long to end.
const GIVES_WAY: Duration = Duration::from_millis(200);
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
    let strangers = Strangers::default();
    let ending = watch::Sender::new(false);
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
        let mut permit = Arc::clone(&room).try_acquire_owned().ok();
        if permit.is_none() && strangers.oldest_leaves() {
            let left = tokio::time::timeout(GIVES_WAY, Arc::clone(&room).acquire_owned()).await;
            permit = left.ok().and_then(Result::ok);
        }
        let Some(permit) = permit else {
            tracing::debug!(target: "fhec::serve", "a connection more than allowed is closed");
            continue;
        };
        let (tls, router, ending) = (tls.clone(), router.clone(), ending.subscribe());
        let stranger = Arc::new(strangers.enter());
        tokio::spawn(async move {
            let _permit = permit;
            tokio::select! {
                () = connection(stream, tls, router, ending, patience, Arc::clone(&stranger)) => {}
                () = stranger.gives_way() => {
                    tracing::debug!(target: "fhec::serve", "a connection of nobody known gives way");
                }
            }
        });
    }
    drop(listener);
    ending.send_replace(true);
    // All permits are back when all connections have ended.
    let all = u32::try_from(options.connections).unwrap_or(u32::MAX);
    let _ = tokio::time::timeout(FAREWELL, room.acquire_many(all)).await;
}

async fn connection(
    stream: TcpStream,
    tls: Option<TlsAcceptor>,
    router: Router,
    ending: watch::Receiver<bool>,
    patience: Duration,
    stranger: Arc<Stranger>,
) {
    let _ = stream.set_nodelay(true);
    // A peer that takes nothing of what it asked for ends its connection.
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(patience));
    let stream = Box::pin(stream);
    match tls {
        None => {
            let peer = Peer { certificate: None, stranger: Some(stranger) };
            exchange(stream, peer, router, ending, patience).await;
        }
        Some(tls) => match tokio::time::timeout(patience, tls.accept(stream)).await {
            Ok(Ok(stream)) => {
                let certificate = tls::principal(stream.get_ref().1);
                if certificate.is_some() {
                    stranger.is_known();
                }
                let peer = Peer { certificate, stranger: Some(stranger) };
                exchange(stream, peer, router, ending, patience).await;
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
    mut ending: watch::Receiver<bool>,
    patience: Duration,
) {
    let service = TowerToHyperService::new(router.layer(Extension(peer)));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(patience)
        .max_buf_size(BUFFER_BYTES)
        .max_headers(MOST_HEADERS)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => Some(ended),
        _ = ending.wait_for(|ending| *ending) => None,
        () = tokio::time::sleep(MOST_LIFE) => None,
    };
    let ended = match ended {
        Some(ended) => ended,
        None => {
            connection.as_mut().graceful_shutdown();
            tokio::time::timeout(MOST_LIFE, connection).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = ended {
        tracing::debug!(target: "fhec::serve", "a connection ended: {error}");
    }
}

//! The server.
//!
//! Four kinds of threads: the reactor's (tokio), which move bytes; *lanes*, each with a pool of
//! its own, which evaluate; one loader with a pool of its own, which reads keys; and, where there
//! is a bucket, a keeper, which copies keys to it. What has to outlive the process is plain files
//! (`folder`); which files are there is the state.

mod access;
mod bucket;
mod catalogue;
mod demo;
mod errors;
mod folder;
mod handlers;
mod jobs;
mod keys;
mod lane;
mod layers;
mod listener;
mod metrics;
pub mod openapi;
mod queue;
mod reload;
mod resident;
mod routes;
mod shares;
mod spans;
mod spending;
mod strangers;
mod tls;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fhec_ir::program::Program;
use tokio::net::TcpListener;

use access::Doors;
pub use bucket::{BucketError, KeyBucket};
use catalogue::Catalogue;
use demo::Demo;
pub use errors::ServiceError;
use folder::StateFolder;
use jobs::Jobs;
use keys::KeyStore;
use metrics::Metrics;
pub use reload::ReadPrograms;
pub use routes::ROUTES;
use shares::Shares;
pub use spans::{SPANS, TraceContexts};

use crate::receipt::SigningKey;

/// Who may use the service.
#[derive(Clone, Debug)]
pub enum Access {
    /// Whoever has a token of this file.
    Tokens(PathBuf),
    /// Whoever has a certificate that the authority of [`TlsFiles`] has signed: each certificate is
    /// a principal.
    Certificates,
    /// Everybody on this machine.
    Anybody,
}

/// Files for TLS, all PEM.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// Certificates of the server, its own first.
    pub certificates: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// Certificates of the authority that clients have to have theirs from.
    pub client_authority: Option<PathBuf>,
}

/// How a service is run. Times and sizes are positive.
#[derive(Clone, Debug)]
pub struct Options {
    /// Address to listen at.
    pub listen: SocketAddr,
    /// Folder for keys and jobs.
    pub state: PathBuf,
    /// Who may.
    pub access: Access,
    /// TLS, or plain HTTP.
    pub tls: Option<TlsFiles>,
    /// Whether something in front of the service does TLS.
    pub behind_proxy: bool,
    /// Evaluations at a time.
    pub lanes: usize,
    /// Threads of each.
    pub threads: usize,
    /// Bytes of keys that stay in memory.
    pub key_memory: u64,
    /// Jobs that wait, of all principals.
    pub queue: usize,
    /// Jobs that wait or run, of one principal.
    pub jobs_per_principal: usize,
    /// Finished jobs of one principal that are kept; the oldest ones go.
    pub kept_per_principal: usize,
    /// Sets of keys of one principal, those that are uploaded included.
    pub key_sets_per_principal: usize,
    /// Bytes of key files of one principal.
    pub keys_per_principal: u64,
    /// Core-seconds of evaluation that one principal may use within an hour; no limit if `None`.
    pub core_seconds_per_hour: Option<u64>,
    /// Where whole keys are kept beside the state, for this service and others with the same
    /// bucket.
    pub key_bucket: Option<KeyBucket>,
    /// Bytes of whole keys on disk; what was used longest ago goes first, if the bucket has it.
    pub key_disk: Option<u64>,
    /// Keys that nobody has used or touched for so long are deleted.
    pub keys_live: Duration,
    /// Finished jobs are deleted after so long.
    pub jobs_live: Duration,
    /// Uploads that nobody goes on with are deleted after so long.
    pub uploads_live: Duration,
    /// Time between two checkpoints of an evaluation.
    pub checkpoint_interval: Duration,
    /// How long evaluations may go on when the service ends, before they are stopped with a
    /// checkpoint.
    pub grace: Duration,
    /// Most bytes of a chunk of keys.
    pub chunk_bytes: u64,
    /// Most connections at a time.
    pub connections: usize,
    /// A request's head, and every part of its body, has to come within this time.
    pub patience: Duration,
    /// A whole body has to come within this time.
    pub body_time: Duration,
    /// Private key that receipts are signed with: Ed25519, PKCS #8 as PEM.
    pub receipt_key: Option<PathBuf>,
    /// Folder of a page that is offered to browsers at `/demo/`.
    pub demo: Option<PathBuf>,
    /// How traces go on, where spans are exported.
    pub trace_contexts: Option<TraceContexts>,
}

impl Options {
    /// Defaults for a service at `listen` with its state in `state`.
    pub fn new(listen: SocketAddr, state: PathBuf, access: Access) -> Self {
        const DAY: u64 = 24 * 3600;
        Options {
            listen,
            state,
            access,
            tls: None,
            behind_proxy: false,
            lanes: 1,
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            key_memory: 4 << 30,
            queue: 256,
            jobs_per_principal: 16,
            kept_per_principal: 256,
            key_sets_per_principal: 64,
            keys_per_principal: 4 << 30,
            core_seconds_per_hour: None,
            key_bucket: None,
            key_disk: None,
            keys_live: Duration::from_secs(30 * DAY),
            jobs_live: Duration::from_secs(DAY),
            uploads_live: Duration::from_secs(DAY),
            checkpoint_interval: Duration::from_secs(10),
            grace: Duration::from_secs(20),
            chunk_bytes: 4 << 20,
            connections: 256,
            patience: Duration::from_secs(15),
            body_time: Duration::from_secs(120),
            receipt_key: None,
            demo: None,
            trace_contexts: None,
        }
    }
}

/// Bodies that may be on their way at a time: what they take of memory is this times the largest.
const BODIES: usize = 32;
/// Of them, of one principal.
const BODIES_OF_ONE: usize = 8;
/// Streams of events of one principal at a time.
const STREAMS_OF_ONE: usize = 32;

/// Everything that requests and lanes share.
pub(crate) struct Service {
    options: Options,
    catalogue: Catalogue,
    doors: Doors,
    keys: KeyStore,
    jobs: Jobs,
    metrics: Metrics,
    bodies: Shares,
    streams: Shares,
    receipt_key: Option<SigningKey>,
    demo: Option<Demo>,
    draining: AtomicBool,
    /// Set when nothing more comes: streams of events end.
    ended: tokio::sync::watch::Sender<bool>,
}

impl Service {
    fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }
}

/// A service that has its state and its address, and does not answer yet.
pub struct Bound {
    service: Arc<Service>,
    listener: std::net::TcpListener,
    tls: Option<tokio_rustls::TlsAcceptor>,
}

impl Bound {
    /// Reads the state and takes the address. `models` are names and programs.
    ///
    /// # Errors
    /// If an option makes no sense or is not safe, another process has the state, or a file cannot
    /// be read.
    pub fn new(models: Vec<(String, Arc<Program>)>, options: Options) -> Result<Self, ServiceError> {
        access::check(&options)?;
        let tls = options.tls.as_ref().map(tls::acceptor).transpose()?;
        let receipt_key = options.receipt_key.as_deref().map(SigningKey::open).transpose()?;
        let demo = options.demo.as_deref().map(Demo::read).transpose()?;
        let doors = Doors::open(&options.access, demo.is_some())?;
        let catalogue = Catalogue::new(models)?;
        let folder = StateFolder::claim(&options.state)?;
        let keys = KeyStore::open(&folder, &catalogue, &options)?;
        let jobs = Jobs::open(&folder, &catalogue, &keys, &options)?;
        let address = options.listen;
        let listener = std::net::TcpListener::bind(address)
            .and_then(|listener| listener.set_nonblocking(true).map(|()| listener))
            .map_err(|source| ServiceError::Listen { address, source })?;
        let mut metrics = Metrics::new();
        metrics.predicted(&catalogue.all());
        if let Some(counts) = keys.bucket_counts() {
            metrics.add_bucket(counts);
        }
        let service = Service {
            options,
            catalogue,
            doors,
            keys,
            jobs,
            metrics,
            bodies: Shares::new(BODIES, BODIES_OF_ONE),
            streams: Shares::new(usize::MAX, STREAMS_OF_ONE),
            receipt_key,
            demo,
            draining: AtomicBool::new(false),
            ended: tokio::sync::watch::Sender::new(false),
        };
        Ok(Bound { service: Arc::new(service), listener, tls })
    }

    /// The address that the service has: of port 0 the one that the system chose.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Answers requests until the process is told to end (SIGTERM or SIGINT). Evaluations that run
    /// then get some time to end, and leave a checkpoint if they do not. `started` is called once
    /// requests are answered and signals are heard. At SIGHUP tokens are read again, and what
    /// `programs` reads is served from then on.
    pub fn run(self, programs: Arc<ReadPrograms>, started: impl FnOnce()) -> Result<(), ServiceError> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.map_err(ServiceError::Threads)?;
        let service = self.service;
        let lanes = lane::start(&service)?;
        if service.keys.bucket_counts().is_some() {
            let service = Arc::clone(&service);
            let keeper = std::thread::Builder::new().name("keeper".into());
            // What is not in the bucket when the process ends is stored after the next start.
            keeper.spawn(move || service.keys.keep()).map_err(ServiceError::Threads)?;
        }
        let served: Result<(), ServiceError> = runtime.block_on(async {
            let listener = TcpListener::from_std(self.listener).map_err(ServiceError::Threads)?;
            let sweeper = tokio::spawn(sweep(Arc::clone(&service)));
            let router = routes::router(&service);
            let signals = Signals::listen().map_err(ServiceError::Threads)?;
            reload::on_signal(Arc::clone(&service), programs);
            let drain = drain(Arc::clone(&service), signals);
            started();
            listener::serve(listener, self.tls, router, &service.options, drain).await;
            sweeper.abort();
            Ok(())
        });
        service.jobs.close();
        service.keys.close();
        lanes.into_iter().for_each(|lane| {
            let _ = lane.join();
        });
        runtime.shutdown_timeout(Duration::from_secs(5));
        served
    }
}

/// Waits for a signal, then for evaluations, and at last tells streams of events that they end.
async fn drain(service: Arc<Service>, signals: Signals) {
    signals.end().await;
    tracing::info!(target: "fhec::serve", "ending: no new jobs, running ones have {:?}", service.options.grace);
    service.draining.store(true, Ordering::Relaxed);
    let waiting = Arc::clone(&service);
    let storing = Arc::clone(&service);
    let stored = tokio::task::spawn_blocking(move || storing.keys.drain(storing.options.grace));
    let _ = tokio::task::spawn_blocking(move || waiting.jobs.drain(waiting.options.grace)).await;
    let _ = stored.await;
    service.ended.send_replace(true);
}

/// The signals that end a service, heard from the moment that this exists.
#[cfg(unix)]
struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn listen() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        let (terminate, interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        Ok(Signals { terminate, interrupt })
    }

    async fn end(mut self) {
        tokio::select! { _ = self.terminate.recv() => (), _ = self.interrupt.recv() => () }
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Signals)
    }

    async fn end(self) {
        let _ = tokio::signal::ctrl_c().await;
    }
}

/// Deletes what has lived long enough, and ends jobs whose deadline has passed in the queue.
async fn sweep(service: Arc<Service>) {
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    loop {
        ticks.tick().await;
        let service = Arc::clone(&service);
        let swept = tokio::task::spawn_blocking(move || {
            service.jobs.sweep(service.options.jobs_live);
            service.keys.sweep(&service.options);
        });
        let _ = swept.await;
    }
}

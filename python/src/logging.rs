//! What libraries log goes to Python's `logging`, to the logger `fhec` and those below it. Threads
//! that compute have no interpreter's lock: they put it into a queue, and the calling thread hands
//! it on.

use std::fmt::{self, Write};
use std::sync::{Mutex, Once, PoisonError};

use pyo3::prelude::*;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, registry};

struct Record {
    level: u8,
    logger: String,
    message: String,
}

static RECORDS: Mutex<Vec<Record>> = Mutex::new(Vec::new());
/// More are dropped: nobody reads so many.
const MOST_RECORDS: usize = 10_000;

/// Takes what is logged from now on, from information upwards. Where the process has another
/// subscriber, that of the command line, it stays.
pub fn start() {
    static START: Once = Once::new();
    START.call_once(|| {
        let _ = registry().with(Queue.with_filter(LevelFilter::INFO)).try_init();
    });
}

/// Hands on what was logged. What a handler raises is its own affair: it is written as Python
/// writes exceptions that nobody takes.
pub fn deliver(py: Python<'_>) {
    let records = std::mem::take(&mut *RECORDS.lock().unwrap_or_else(PoisonError::into_inner));
    for record in records {
        if let Err(error) = record.deliver(py) {
            error.write_unraisable(py, None);
        }
    }
}

impl Record {
    fn deliver(&self, py: Python<'_>) -> PyResult<()> {
        let logger = py.import("logging")?.call_method1("getLogger", (&self.logger,))?;
        logger.call_method1("log", (self.level, "%s", &self.message))?;
        Ok(())
    }
}

/// A layer that queues events.
struct Queue;

impl<S: Subscriber> Layer<S> for Queue {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        // Python's numbers.
        let level = match *event.metadata().level() {
            Level::ERROR => 40,
            Level::WARN => 30,
            Level::INFO => 20,
            _ => 10,
        };
        // `fhec_roles::exchange` is `fhec.roles.exchange` there.
        let logger = event.metadata().target().replace("::", ".").replacen("fhec_", "fhec.", 1);
        let mut message = Message(String::new());
        event.record(&mut message);
        let mut records = RECORDS.lock().unwrap_or_else(PoisonError::into_inner);
        if records.len() < MOST_RECORDS {
            records.push(Record { level, logger, message: message.0 });
        }
    }
}

/// The event's words, then its fields.
struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a String cannot fail.
        let _ = match field.name() {
            "message" => {
                let fields = std::mem::take(&mut self.0);
                write!(self.0, "{value:?}{fields}")
            }
            name => write!(self.0, " {name}={value:?}"),
        };
    }
}

//! Captures the `tracing` events of a test's thread.

use std::io::Write;
use std::sync::{Arc, Mutex};

use tracing_subscriber::fmt::MakeWriter;

/// The events of this thread since [`capture`], which on a current-thread runtime are those of all
/// its tasks.
#[derive(Debug)]
pub struct Events {
    written: Written,
    _scope: tracing::subscriber::DefaultGuard,
}

#[derive(Clone, Debug, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

/// Captures events of level INFO and above until the returned value is dropped.
pub fn capture() -> Events {
    capture_from(tracing::Level::INFO)
}

/// Like [`capture`], for all levels.
pub fn capture_all() -> Events {
    capture_from(tracing::Level::TRACE)
}

fn capture_from(level: tracing::Level) -> Events {
    let written = Written::default();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_max_level(level)
        .with_writer(written.clone())
        .finish();
    Events {
        written,
        _scope: tracing::subscriber::set_default(subscriber),
    }
}

impl Events {
    /// The events so far, one per line.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.written.0.lock().unwrap()).into_owned()
    }
}

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Written {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

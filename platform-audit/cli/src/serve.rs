use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Args;
use platform_audit::explorer::{BasicAuth, Explorer};
use tempfile::NamedTempFile;
use tokio::net::TcpListener;
use uuid::Uuid;

use crate::output;
use crate::reader::ReaderOptions;
use crate::signals::shutdown_signal;

/// Serves the records as web pages until it is interrupted
///
/// Visitors sign in with the name of --as and a password. Each page view is recorded.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  platform-audit serve --service accounting --as grace --because 'ticket 4711'
  platform-audit serve --service accounting --trace-url 'https://app.axiom.co/my-org/trace?traceId={trace_id}'

Exit status: 0 interrupted, 2 error.")]
pub(crate) struct Options {
    #[command(flatten)]
    reader: ReaderOptions,
    /// Address to listen on; port 0 selects a free port
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8478")]
    listen: SocketAddr,
    /// Allow addresses other than loopback, because a proxy terminates TLS
    #[arg(long)]
    behind_tls: bool,
    /// Read the password from the first line of this file, which only its owner may read; by
    /// default a new password is written to a temporary file
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// URL of the tracing UI, with {trace_id} as a placeholder
    #[arg(long, value_name = "URL")]
    trace_url: Option<String>,
}

pub(crate) async fn run(options: Options) -> anyhow::Result<ExitCode> {
    let Options { listen, .. } = options;
    if !listen.ip().is_loopback() && !options.behind_tls {
        bail!(
            "{listen} can be reached from other machines, and the page has no TLS of its own: the password and the records could be read in transit. Put it behind a proxy that terminates TLS and use --behind-tls, or listen on 127.0.0.1"
        );
    }
    // Before the password file is created: otherwise a signal would leave it behind.
    let stop = shutdown_signal()?;
    // A generated password file is deleted when this function returns.
    let (password, temporary) = match &options.password_file {
        Some(file) => (read_password(file)?, None),
        None => {
            let (password, file) = generate_password()?;
            (password, Some(file))
        }
    };
    let visitor = options.reader.visitor()?;
    let name = visitor.actor.id.clone();
    if name.contains(':') {
        bail!(
            "HTTP basic authentication does not allow a colon in the name: choose another --as NAME"
        );
    }
    let access = BasicAuth::new(name.clone(), password, visitor);
    let reader = options.reader.reader().await?;
    reader.check().await?;
    let mut explorer = Explorer::new(reader, access);
    if let Some(template) = options.trace_url {
        explorer = explorer.trace_url(template);
    }
    let listener = TcpListener::bind(listen).await.with_context(|| {
        format!("cannot listen on {listen}: use --listen 127.0.0.1:0 for any free port")
    })?;
    output::say(format_args!("http://{}/", listener.local_addr()?))?;
    let file = temporary
        .as_ref()
        .map(NamedTempFile::path)
        .or(options.password_file.as_deref());
    if let Some(file) = file {
        output::say(format_args!(
            "Sign in as {} with the password in {}. Press Ctrl-C to stop.",
            output::escape_controls(&name),
            file.display()
        ))?;
    }
    let service = explorer
        .router()
        .into_make_service_with_connect_info::<SocketAddr>();
    // No graceful shutdown: browsers keep their connections open.
    tokio::select! {
        served = async { axum::serve(listener, service).await } => served.context("the server stopped")?,
        () = stop => {}
    }
    Ok(ExitCode::SUCCESS)
}

/// Generates a password of 122 random bits, in a file that only its owner can read.
fn generate_password() -> anyhow::Result<(String, NamedTempFile)> {
    let password = Uuid::new_v4().simple().to_string();
    let file = tempfile::Builder::new()
        .prefix("platform-audit-password.")
        .tempfile();
    let mut file =
        file.context("the password cannot be stored: no temporary file can be created")?;
    writeln!(file, "{password}")?;
    Ok((password, file))
}

fn read_password(path: &Path) -> anyhow::Result<String> {
    let file = path.display();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let permissions = std::fs::metadata(path)
            .with_context(|| format!("{file} cannot be read"))?
            .permissions();
        if permissions.mode() & 0o077 != 0 {
            bail!(
                "{file} can be read by users other than its owner: run chmod 600 on it, and change the password"
            );
        }
    }
    let text = std::fs::read_to_string(path).with_context(|| format!("{file} cannot be read"))?;
    let password = text.lines().next().unwrap_or_default();
    if password.chars().count() < 12 {
        bail!("the first line of {file} is the password, and must have at least 12 characters");
    }
    Ok(password.to_owned())
}

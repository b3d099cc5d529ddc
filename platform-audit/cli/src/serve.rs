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

use crate::asking::Asker;
use crate::interrupted::interrupted;
use crate::output;

/// Shows the records as a page in a browser, until it is interrupted
///
/// Whoever looks gives a name, that of --as, and a password. Each view leaves records of its
/// readings.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  platform-audit serve --service accounting --as grace --because 'ticket 4711'
  platform-audit serve --service accounting --trace-url 'https://app.axiom.co/my-org/trace?traceId={trace_id}'

Exit status: 0 interrupted, 2 it could not be served.")]
pub(crate) struct Options {
    #[command(flatten)]
    asker: Asker,
    /// Where to listen; port 0 is any that is free
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8478")]
    listen: SocketAddr,
    /// A proxy with TLS is before it, so that it may listen on other addresses than this machine's
    /// own
    #[arg(long)]
    behind_tls: bool,
    /// The password is the first line of this file, which only its owner may read; by default a new
    /// one, in a file that is gone afterwards
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// Where a trace is shown, with {trace_id} in its place
    #[arg(long, value_name = "URL")]
    trace_url: Option<String>,
}

pub(crate) async fn run(options: Options) -> anyhow::Result<ExitCode> {
    let Options { listen, .. } = options;
    if !listen.ip().is_loopback() && !options.behind_tls {
        bail!(
            "{listen} can be reached from other machines, and the page has no TLS of its own: its password and the records could be read on the way. Put a proxy with TLS before it and say --behind-tls, or listen on 127.0.0.1"
        );
    }
    // Before there is a password: a signal would else end the process and leave its file behind.
    let stop = interrupted()?;
    // Dropped, and so gone, when this ends.
    let (password, made) = match &options.password_file {
        Some(file) => (read(file)?, None),
        None => {
            let (password, file) = make()?;
            (password, Some(file))
        }
    };
    let visitor = options.asker.visitor()?;
    let name = visitor.actor.id.clone();
    if name.contains(':') {
        bail!("a browser cannot sign in with a colon in its name: write another --as NAME");
    }
    let access = BasicAuth::new(name.clone(), password, visitor);
    let reader = options.asker.reader().await?;
    reader.check().await?;
    let mut explorer = Explorer::new(reader, access);
    if let Some(template) = options.trace_url {
        explorer = explorer.trace_url(template);
    }
    let listener = TcpListener::bind(listen).await.with_context(|| {
        format!("cannot listen on {listen}: write --listen 127.0.0.1:0 for any free port")
    })?;
    output::say(format_args!("http://{}/", listener.local_addr()?))?;
    let file = made
        .as_ref()
        .map(NamedTempFile::path)
        .or(options.password_file.as_deref());
    if let Some(file) = file {
        output::say(format_args!(
            "Sign in as {} with the password in {}. Ctrl-C ends it.",
            output::escape_controls(&name),
            file.display()
        ))?;
    }
    let service = explorer
        .router()
        .into_make_service_with_connect_info::<SocketAddr>();
    // Not waited for: a browser keeps its connections open.
    tokio::select! {
        served = async { axum::serve(listener, service).await } => served.context("the page ended")?,
        () = stop => {}
    }
    Ok(ExitCode::SUCCESS)
}

/// A password of 122 random bits, in a file that its owner alone may read.
fn make() -> anyhow::Result<(String, NamedTempFile)> {
    let password = Uuid::new_v4().simple().to_string();
    let file = tempfile::Builder::new()
        .prefix("platform-audit-password.")
        .tempfile();
    let mut file = file.context("the password cannot be kept: no temporary file can be made")?;
    writeln!(file, "{password}")?;
    Ok((password, file))
}

fn read(path: &Path) -> anyhow::Result<String> {
    let file = path.display();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let permissions = std::fs::metadata(path)
            .with_context(|| format!("{file} cannot be read"))?
            .permissions();
        if permissions.mode() & 0o077 != 0 {
            bail!(
                "{file} can be read by others than its owner: chmod 600 it, and change the password"
            );
        }
    }
    let text = std::fs::read_to_string(path).with_context(|| format!("{file} cannot be read"))?;
    let password = text.lines().next().unwrap_or_default();
    if password.chars().count() < 12 {
        bail!("the first line of {file} is the password, and has to have 12 characters or more");
    }
    Ok(password.to_owned())
}

//! `with-server COMMAND…` runs a command with a private Postgres, and deletes it afterwards.
//!
//! This process exits with the command's exit code. A signal ends the command with all its
//! descendants, and then the server.

use std::ffi::OsString;
use std::process::{Child, Command, ExitCode, ExitStatus};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::Signals;
use test_server::Server;

/// The variable that passes the server's URL to the command.
const URL: &str = "PLATFORM_TEST_POSTGRES";

/// How long a command may take to exit after Ctrl-C, which the terminal also sends to it.
const CTRL_C: Duration = Duration::from_secs(5);

enum Event {
    Signal(i32),
    Ended(std::io::Result<ExitStatus>),
}

fn main() -> ExitCode {
    let mut command = std::env::args_os().skip(1);
    let Some(program) = command.next() else {
        say("a command is missing: write with-server COMMAND…");
        return ExitCode::from(2);
    };
    let code = run(program, command.collect()).unwrap_or_else(|error| {
        say(&format!("FAILED: {error}"));
        1
    });
    ExitCode::from(code)
}

fn run(program: OsString, arguments: Vec<OsString>) -> Result<u8, String> {
    let (send, events) = channel();
    listen(send.clone()).map_err(|error| format!("signals cannot be handled: {error}"))?;
    let server = Server::start();
    // Ctrl-C interrupted the start, too.
    if let Ok(Event::Signal(signal)) = events.try_recv() {
        return Ok(stopped(signal));
    }
    let server = server?;
    let child = Command::new(&program)
        .args(arguments)
        .env(URL, server.url())
        .spawn()
        .map_err(|error| format!("{} does not start: {error}", program.display()))?;
    let id = child.id();
    wait_for(child, send);
    let code = watch(id, &events)?;
    if server.is_running() {
        return Ok(code);
    }
    say("the private Postgres died during the tests; the end of its log:");
    say(&server.log());
    Ok(code.max(1))
}

/// The exit code of the command, or that of the signal that ended it.
fn watch(child: u32, events: &Receiver<Event>) -> Result<u8, String> {
    let signal = match events.recv() {
        Ok(Event::Signal(signal)) => signal,
        ended => return exit_code(ended.ok()),
    };
    // The terminal has sent these to the command, too. A second signal could prevent its clean-up.
    let from_terminal = [SIGINT, SIGQUIT].contains(&signal);
    let ended = from_terminal.then(|| events.recv_timeout(CTRL_C));
    if !matches!(ended, Some(Ok(Event::Ended(_)))) {
        terminate(child);
        while let Ok(Event::Signal(_)) = events.recv() {}
    }
    Ok(stopped(signal))
}

fn exit_code(ended: Option<Event>) -> Result<u8, String> {
    use std::os::unix::process::ExitStatusExt;
    let Some(Event::Ended(Ok(status))) = ended else {
        return Err("waiting for the command failed".to_owned());
    };
    let code = status.code().or(status.signal().map(|signal| 128 + signal));
    Ok(code.and_then(|code| code.try_into().ok()).unwrap_or(1))
}

fn stopped(signal: i32) -> u8 {
    let name = signal_hook::low_level::signal_name(signal).unwrap_or("a signal");
    say(&format!("stopped by {name}"));
    u8::try_from(128 + signal).unwrap_or(1)
}

fn listen(send: Sender<Event>) -> std::io::Result<()> {
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGQUIT, SIGTERM])?;
    std::thread::spawn(move || {
        for signal in signals.forever() {
            send.send(Event::Signal(signal)).ok();
        }
    });
    Ok(())
}

fn wait_for(mut child: Child, send: Sender<Event>) {
    std::thread::spawn(move || send.send(Event::Ended(child.wait())).ok());
}

/// Ends a process and its descendants. They are listed first, because they are reparented when
/// their parent ends.
fn terminate(process: u32) {
    let listed = Command::new("ps").args(["-A", "-o", "pid=,ppid="]).output();
    let listed = listed.map(|it| String::from_utf8_lossy(&it.stdout).into_owned());
    let pairs: Vec<(u32, u32)> = listed
        .unwrap_or_default()
        .lines()
        .filter_map(|line| {
            let (id, parent) = line.trim().split_once(' ')?;
            Some((id.parse().ok()?, parent.trim().parse().ok()?))
        })
        .collect();
    let mut family = vec![process];
    let mut next = 0;
    while let Some(&parent) = family.get(next) {
        let children = pairs.iter().filter(|(_, it)| *it == parent);
        family.extend(children.map(|(id, _)| *id));
        next += 1;
    }
    for id in family {
        if let Some(id) = id.try_into().ok().and_then(Pid::from_raw) {
            // It may have ended already.
            kill_process(id, Signal::TERM).ok();
        }
    }
}

#[expect(clippy::print_stderr, reason = "a command-line program")]
fn say(text: &str) {
    eprintln!("test: {text}");
}

//! How long processors worked for processes, where there is a `/proc`: less at the mercy of
//! neighbours than how long something took.

use std::fs;

/// What the kernel counts in, as `/proc` has it: `USER_HZ`, which is 100 on every Linux.
const TICK: f64 = 1e6 / 100.0;

/// Microseconds of this process, its ended threads too; `None` without a `/proc`.
pub(crate) fn of_this_process() -> Option<f64> {
    Some(Stat::of("self")?.worked)
}

/// Microseconds of all processes that `parent` started and that still run; `None` without a
/// `/proc`.
pub(crate) fn of_children(parent: u32) -> Option<f64> {
    let processes = fs::read_dir("/proc").ok()?.flatten();
    let stats = processes.filter_map(|process| Stat::of(process.file_name().to_str()?));
    let mut children = stats.filter(|stat| stat.parent == parent).peekable();
    children.peek()?;
    Some(children.map(|child| child.worked).sum())
}

/// Microseconds of the processes that this one started, and theirs, once they have ended; `None`
/// without a `/proc`.
pub(crate) fn of_ended_children() -> Option<f64> {
    Some(Stat::of("self")?.children_worked)
}

/// The process that started process `pid`.
pub(crate) fn parent(pid: u32) -> Option<u32> {
    Some(Stat::of(&pid.to_string())?.parent)
}

struct Stat {
    parent: u32,
    worked: f64,
    /// Of the children that have ended and were waited for.
    children_worked: f64,
}

impl Stat {
    fn of(process: &str) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
        // The name before it may hold anything; see proc_pid_stat(5).
        let (_, after) = stat.rsplit_once(')')?;
        let mut fields = after.split_whitespace();
        let parent = fields.nth(1)?.parse().ok()?;
        let mut ticks = fields.skip(9).map_while(|field| field.parse::<f64>().ok());
        let mut both = || Some((ticks.next()? + ticks.next()?) * TICK);
        Some(Self {
            parent,
            worked: both()?,
            children_worked: both()?,
        })
    }
}

//! The CPU time of processes, on systems with `/proc`. Other processes of the machine affect it
//! less than elapsed time.

use std::fs;

/// The length of a tick, the unit of `/proc`, in microseconds: `USER_HZ` is 100 on every Linux.
const TICK: f64 = 1e6 / 100.0;

/// The CPU time of this process in microseconds, including ended threads; `None` without `/proc`.
pub(crate) fn of_this_process() -> Option<f64> {
    Some(Stat::of("self")?.used)
}

/// The CPU time of all running child processes of `parent` in microseconds; `None` without `/proc`.
pub(crate) fn of_children(parent: u32) -> Option<f64> {
    let processes = fs::read_dir("/proc").ok()?.flatten();
    let stats = processes.filter_map(|process| Stat::of(process.file_name().to_str()?));
    let mut children = stats.filter(|stat| stat.parent == parent).peekable();
    children.peek()?;
    Some(children.map(|child| child.used).sum())
}

/// The CPU time of the ended descendants of this process in microseconds; `None` without `/proc`.
pub(crate) fn of_ended_children() -> Option<f64> {
    Some(Stat::of("self")?.used_by_children)
}

/// The parent of process `pid`.
pub(crate) fn parent(pid: u32) -> Option<u32> {
    Some(Stat::of(&pid.to_string())?.parent)
}

struct Stat {
    parent: u32,
    used: f64,
    /// CPU time of the children that have ended and were waited for.
    used_by_children: f64,
}

impl Stat {
    fn of(process: &str) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
        // The program's name in parentheses may contain any character; see proc_pid_stat(5).
        let (_, after) = stat.rsplit_once(')')?;
        let mut fields = after.split_whitespace();
        let parent = fields.nth(1)?.parse().ok()?;
        let mut ticks = fields.skip(9).map_while(|field| field.parse::<f64>().ok());
        let mut both = || Some((ticks.next()? + ticks.next()?) * TICK);
        Some(Self {
            parent,
            used: both()?,
            used_by_children: both()?,
        })
    }
}

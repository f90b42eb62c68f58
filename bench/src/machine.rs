//! The machine, and what else it had to do meanwhile.

use std::{fs, process::Command};

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Machine {
    pub(crate) cpu: String,
    pub(crate) cores: usize,
    pub(crate) memory_gib: f64,
    pub(crate) kernel: String,
}

impl Machine {
    pub(crate) fn here() -> Self {
        let field = |file: &str, name: &str| {
            let text = fs::read_to_string(file).unwrap_or_default();
            let line = text.lines().find(|line| line.starts_with(name));
            line.and_then(|line| line.split_once(':')).map(|(_, value)| value.trim().to_owned())
        };
        let memory = field("/proc/meminfo", "MemTotal").unwrap_or_default();
        let kib: f64 = memory.trim_end_matches(" kB").parse().unwrap_or(0.0);
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        Self {
            cpu: field("/proc/cpuinfo", "model name").unwrap_or_default(),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            memory_gib: (kib / 1_048_576.0 * 10.0).round() / 10.0,
            kernel: kernel.trim().to_owned(),
        }
    }
}

/// What the machine had to do before, after and during a suite.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Load {
    /// The load average of a minute before it began.
    pub(crate) before: f64,
    /// And when it ended: its own share is in it.
    pub(crate) after: f64,
    /// How much of the time others had the processors that a hypervisor runs, in percent.
    pub(crate) steal_percent: f64,
}

/// Looked at when a suite begins.
pub(crate) struct Watch {
    before: f64,
    ticks: Ticks,
}

impl Watch {
    pub(crate) fn start() -> Self {
        Self { before: load_average(), ticks: Ticks::now() }
    }

    pub(crate) fn end(&self) -> Load {
        let now = Ticks::now();
        let (all, stolen) = (now.all - self.ticks.all, now.steal - self.ticks.steal);
        let steal_percent = if all > 0.0 { 100.0 * stolen / all } else { 0.0 };
        Load { before: self.before, after: load_average(), steal_percent }
    }
}

fn load_average() -> f64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().and_then(|first| first.parse().ok()).unwrap_or(f64::NAN)
}

struct Ticks {
    all: f64,
    steal: f64,
}

impl Ticks {
    fn now() -> Self {
        let text = fs::read_to_string("/proc/stat").unwrap_or_default();
        let first = text.lines().next().unwrap_or_default();
        let ticks: Vec<f64> = first.split_whitespace().filter_map(|t| t.parse().ok()).collect();
        // user, nice, system, idle, iowait, irq, softirq, steal; guests are in user already.
        Self { all: ticks.iter().take(8).sum(), steal: ticks.get(7).copied().unwrap_or(0.0) }
    }
}

/// Processor time that the process `pid` has used, in seconds.
pub(crate) fn cpu_seconds(pid: u32) -> Option<f64> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name is in parentheses and may hold anything; the third field follows it.
    let (_, rest) = text.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let (user, system): (f64, f64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    // Linux counts them in hundredths on every machine that we meet.
    Some((user + system) / 100.0)
}

/// The most memory that the process `pid` had resident at once, in MiB.
pub(crate) fn peak_mib(pid: u32) -> Option<f64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = text.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kib: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib / 1_024.0)
}

/// The commit that is checked out, marked when the tree differs from it.
pub(crate) fn commit() -> String {
    let git = |arguments: &[&str]| {
        let done = Command::new("git").args(arguments).output().ok()?;
        done.status.success().then(|| String::from_utf8_lossy(&done.stdout).trim().to_owned())
    };
    let Some(commit) = git(&["rev-parse", "--short=12", "HEAD"]) else {
        return "unknown".to_owned();
    };
    // What a run itself writes says nothing of what was measured.
    let changed =
        git(&["status", "--porcelain", "--", ".", ":!bench/results", ":!bench/RESULTS.md"]);
    match changed.as_deref() {
        Some("") => commit,
        _ => format!("{commit}-dirty"),
    }
}

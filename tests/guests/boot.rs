// SPDX-License-Identifier: MIT OR Apache-2.0
//! Switching a guest on: systemd-nspawn, whether or not this machine's own init is systemd.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::tree::Guest;

/// A boot takes two seconds; nothing that is still at it after this long will ever end.
const LIMIT: Duration = Duration::from_secs(180);

const COLLECT: &str = include_str!("collect.sh");

/// Where control groups may be made: a legacy hierarchy that systemd names, the unified one beside it, or it alone.
const HIERARCHIES: &[&str] = &["/sys/fs/cgroup/systemd", "/sys/fs/cgroup/unified", "/sys/fs/cgroup"];

/// How a guest is to be booted.
#[derive(Debug, Default)]
pub struct Boot<'a> {
    /// A shell script to run in the guest once it is up, before anything is collected.
    pub task: &'a str,
    /// More options for systemd-nspawn.
    pub options: &'a [&'a str],
}

/// What a guest said of itself after it had come up; see collect.sh.
#[derive(Debug)]
pub struct Facts {
    files: BTreeMap<String, String>,
    /// What was printed on the console.
    pub console: String,
    /// From power on to power off.
    pub took: Duration,
}

impl Guest {
    /// Boots the guest and waits until it has switched itself off.
    pub fn boot(&self) -> Facts {
        self.boot_with(&Boot::default())
    }

    /// The same, otherwise.
    pub fn boot_with(&self, boot: &Boot) -> Facts {
        let start = Instant::now();
        let mut running = self.switch_on(boot);
        while running.is_on() {
            assert!(start.elapsed() < LIMIT, "still up after {LIMIT:?}\n{}", self.console());
            sleep(Duration::from_millis(20));
        }
        let took = start.elapsed();
        drop(running);
        let facts = Facts { files: read_all(&self.facts()), console: self.console(), took };
        assert!(facts.files.contains_key("complete"), "the guest never came up\n{}", facts.console);
        facts
    }

    /// Boots the guest and cuts its power as soon as `now` says so. False if it had switched itself off by then.
    pub fn boot_and_cut(&self, mut now: impl FnMut(Duration) -> bool) -> bool {
        let start = Instant::now();
        let mut running = self.switch_on(&Boot::default());
        while running.is_on() {
            if now(start.elapsed()) {
                return true;
            }
            sleep(Duration::from_millis(2));
        }
        false
    }

    fn switch_on(&self, boot: &Boot) -> Running {
        let facts = self.facts();
        fs::remove_dir_all(&facts).and_then(|()| fs::create_dir(&facts)).expect("emptying the facts");
        fs::write(facts.join("collect.sh"), COLLECT).expect("writing the collector");
        if !boot.task.is_empty() {
            fs::write(facts.join("task.sh"), boot.task).expect("writing the task");
        }

        let groups = control_groups();
        let console = File::create(self.console_log()).expect("making the console's log");
        let mut command = self.container(&groups);
        command.args(["--boot", "--console=read-only"]);
        command.arg(format!("--bind={}:/run/facts", facts.display()));
        command.args(boot.options);
        command.stdin(Stdio::null()).stderr(console.try_clone().expect("a second handle")).stdout(console);
        let nspawn = command.spawn().expect("starting systemd-nspawn");
        Running { nspawn, groups }
    }

    /// Runs a program in the guest, which is not booted, and calls it `name` meanwhile.
    pub fn run_inside(&self, name: &str, options: &[&str], argv: &[&str]) -> Output {
        let groups = control_groups();
        let mut command = self.container(&groups);
        command.args(["--as-pid2", "--console=pipe"]).arg(format!("--hostname={name}")).args(options);
        command.arg("--setenv=DEBIAN_FRONTEND=noninteractive").args(argv);
        let output = command.stdin(Stdio::null()).output().expect("starting systemd-nspawn");
        for group in &groups {
            remove_group(group);
        }
        output
    }

    /// systemd-nspawn on the guest's tree, in these control groups.
    fn container(&self, groups: &[PathBuf]) -> Command {
        // The shell moves itself, and with it what it becomes, into the groups.
        let mut command = Command::new("sh");
        command.args([
            "-ec",
            "while [ \"$1\" != -- ]; do echo $$ >\"$1/cgroup.procs\"; shift; done; shift; exec \"$@\"",
            "sh",
        ]);
        command.args(groups).args(["--", "systemd-nspawn", "--quiet", "--register=no", "--private-network"]);
        command.args(["--link-journal=no", "--resolv-conf=off", "--timezone=off"]);
        if !groups.is_empty() {
            command.arg("--keep-unit");
        }
        command.arg("--directory").arg(self.root());
        command.env("SYSTEMD_NSPAWN_UNIFIED_HIERARCHY", "1").env("LC_ALL", "C").env("TERM", "dumb");
        command
    }

    fn console_log(&self) -> PathBuf {
        self.facts().with_file_name("console.log")
    }

    fn console(&self) -> String {
        fs::read(self.console_log()).map(|text| String::from_utf8_lossy(&text).into_owned()).unwrap_or_default()
    }
}

impl Facts {
    /// One fact without white space at its ends; empty where nothing was written down.
    pub fn get(&self, name: &str) -> &str {
        self.files.get(name).map(|text| text.trim()).unwrap_or_default()
    }

    /// A property of one of the units that collect.sh asks for.
    pub fn unit(&self, unit: &str, property: &str) -> &str {
        let lines = self.get(&format!("unit.{unit}")).lines();
        lines.filter_map(|line| line.split_once('=')).find(|(name, _)| *name == property).map_or("", |(_, value)| value)
    }

    /// The journal of this boot.
    pub fn journal(&self) -> Vec<serde_json::Value> {
        self.get("journal.json").lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// The messages in this boot's journal of one unit, and of PID 1 about it; or all of them.
    pub fn messages(&self, unit: Option<&str>) -> String {
        let journal = self.journal();
        let is_of = |entry: &serde_json::Value, unit| entry["_SYSTEMD_UNIT"] == unit || entry["UNIT"] == unit;
        let of_unit = journal.iter().filter(|entry| unit.is_none_or(|unit| is_of(entry, unit)));
        of_unit.filter_map(|entry| entry["MESSAGE"].as_str()).map(|line| format!("{line}\n")).collect()
    }

    /// All there is to say when a test fails.
    pub fn story(&self) -> String {
        let failed = self.get("failed");
        let reseal = self.messages(Some("reseal.service"));
        let (status, task) = (self.get("reseal.status"), self.get("task.log"));
        let tail =
            self.console.lines().rev().take(40).collect::<Vec<_>>().into_iter().rev().collect::<Vec<_>>().join("\n");
        format!(
            "state: {}\nfailed units:\n{failed}\nreseal.service:\n{reseal}\nreseal status:\n{status}\ntask:\n{task}\n\
             console:\n{tail}",
            self.get("state")
        )
    }
}

/// A guest that is switched on; dropping it cuts the power.
struct Running {
    nspawn: Child,
    groups: Vec<PathBuf>,
}

impl Running {
    fn is_on(&mut self) -> bool {
        self.nspawn.try_wait().expect("asking after systemd-nspawn").is_none()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Everything at one instant (cgroup_v2, "cgroup.kill", Linux 5.14). Without it nspawn takes PID 1 of the guest
        // with it (PR_SET_PDEATHSIG), and that its whole process namespace: the same, some milliseconds later.
        for group in &self.groups {
            let _ = fs::OpenOptions::new()
                .write(true)
                .open(group.join("cgroup.kill"))
                .and_then(|mut it| it.write_all(b"1"));
        }
        let _ = self.nspawn.kill();
        let _ = self.nspawn.wait();
        let end = Instant::now() + Duration::from_secs(10);
        while !self.groups.iter().all(|group| remove_group(group)) && Instant::now() < end {
            sleep(Duration::from_millis(5));
        }
    }
}

/// Why control groups cannot be made here; nothing when they can.
pub fn missing_cgroup() -> Option<String> {
    let groups = control_groups();
    for group in &groups {
        remove_group(group);
    }
    (!booted_by_systemd() && groups.is_empty()).then(|| "no control group can be made here".into())
}

fn booted_by_systemd() -> bool {
    Path::new("/run/systemd/system").is_dir()
}

/// A control group of one's own in each hierarchy; none where systemd-nspawn can ask this machine's systemd for them.
fn control_groups() -> Vec<PathBuf> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    if booted_by_systemd() {
        return Vec::new();
    }
    let name = format!("reseal-test-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    let hierarchies = HIERARCHIES.iter().map(Path::new).filter(|dir| dir.join("cgroup.procs").is_file());
    hierarchies.map(|dir| dir.join(&name)).filter(|group| fs::create_dir(group).is_ok()).collect()
}

/// Removes a group and those below it, which takes until the last process in them is gone.
fn remove_group(group: &Path) -> bool {
    for entry in fs::read_dir(group).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            remove_group(&entry.path());
        }
    }
    fs::remove_dir(group).is_ok() || !group.exists()
}

fn read_all(dir: &Path) -> BTreeMap<String, String> {
    let files = fs::read_dir(dir).expect("reading the facts").flatten();
    let text = |path: PathBuf| String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned();
    files.map(|file| (file.file_name().to_string_lossy().into_owned(), text(file.path()))).collect()
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! Clones on one wire: network namespaces that each test makes for itself, and never a link of this machine.

mod guests;

use std::fs;
use std::net::IpAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use guests::boot::{Boot, Facts};
use guests::tree::Guest;
use guests::{Need, packages, ready, run};
use nix::sched::{CloneFlags, unshare};
use reseal::apply::probe::probe;
use reseal::plan::probed::{Clash, Probed, Wanted};

/// Gives the calling thread network and mounts of its own, with a place where ip-netns(8) names namespaces.
fn own_network() {
    guests::own_mounts();
    unshare(CloneFlags::CLONE_NEWNET).expect("making a network namespace");
    run(Command::new("mount").args(["-t", "tmpfs", "tmpfs", "/run"]));
    ip("link set lo up");
}

fn ip(arguments: &str) -> String {
    run(Command::new("ip").args(arguments.split(' ')))
}

const WIRE: &[Need] = &[Need::Root, Need::Program("ip")];

/// A namespace `squatter` on the other end of the link `probe0`, with these addresses.
fn squatter(addresses: &[&str]) -> String {
    own_network();
    ip("netns add squatter");
    ip("link add probe0 type veth peer name squat0 netns squatter");
    let inside = |arguments: &str| ip(&format!("-n squatter {arguments}"));
    inside("link set squat0 up");
    for address in addresses {
        inside(&format!("addr add {address} dev squat0{}", if address.contains(':') { " nodad" } else { "" }));
    }
    let shown = inside("-br link show squat0");
    shown.split_whitespace().nth(2).expect("an address").to_owned()
}

fn wanted(addresses: &[&str]) -> Vec<Wanted> {
    let addresses = addresses.iter().map(|address| address.parse::<IpAddr>().expect("an address")).collect();
    vec![Wanted { link: "probe0".into(), addresses }]
}

#[test]
fn a_probe_finds_who_has_an_address_and_leaves_the_link_as_it_was() {
    if !ready("a_probe_finds_who_has_an_address_and_leaves_the_link_as_it_was", WIRE) {
        return;
    }
    let owner = squatter(&["192.0.2.7/24", "2001:db8::7/64"]);
    let begun = Instant::now();
    let probed = probe(&wanted(&["192.0.2.7", "192.0.2.8", "2001:db8::7", "2001:db8::8"]));
    let clash = |address: &str| Clash {
        link: "probe0".into(),
        address: address.parse().expect("an address"),
        owner: owner.parse().expect("a MAC address"),
    };
    assert_eq!(probed.clashes, [clash("192.0.2.7"), clash("2001:db8::7")]);
    assert_eq!(probed.unasked, []);
    assert!(ip("-br link show probe0").contains("DOWN"), "it was down before");
    eprintln!("four addresses on one link: {:.1} s", begun.elapsed().as_secs_f32());
    ip("link set probe0 up");
    let asked = wanted(&["192.0.2.9"]);
    assert_eq!(probe(&asked), Probed { asked, ..Probed::default() });
    assert!(ip("-br link show probe0").contains(",UP"), "it was up before");
}

/// Two clones that come up at the same moment ask for the same addresses: of each at least one must learn. Whoever hears the
/// other first asks no more, and leaves the address to it.
#[test]
fn of_two_that_probe_at_the_same_time_one_at_least_yields() {
    if !ready("of_two_that_probe_at_the_same_time_one_at_least_yields", WIRE) {
        return;
    }
    squatter(&[]);
    ip("link add probe1 type veth peer name bridged1");
    ip("link add wire type bridge");
    ip("link del probe0");
    ip("link add probe0 type veth peer name bridged0");
    for arguments in ["bridged0 master wire up", "bridged1 master wire up", "wire up", "probe0 up", "probe1 up"] {
        ip(&format!("link set {arguments}"));
    }
    let both = ["probe0", "probe1"].map(|link| {
        let addresses = vec!["192.0.2.7".parse().unwrap(), "2001:db8::7".parse().unwrap()];
        std::thread::spawn(move || probe(&[Wanted { link: link.into(), addresses }]))
    });
    let clashes: Vec<Clash> = both.into_iter().flat_map(|one| one.join().expect("a thread").clashes).collect();
    for address in ["192.0.2.7", "2001:db8::7"] {
        let address: IpAddr = address.parse().expect("an address");
        assert!(clashes.iter().any(|clash| clash.address == address), "{address}: {clashes:?}");
    }
}

#[test]
fn what_cannot_be_asked_is_told_and_the_others_are_asked() {
    if !ready("what_cannot_be_asked_is_told_and_the_others_are_asked", WIRE) {
        return;
    }
    squatter(&["192.0.2.7/24"]);
    ip("link add probe1 type veth peer name unplugged");
    let links = ["probe1", "nowhere", "lo", "a-name-that-is-too-long", "probe0"];
    let address: IpAddr = "192.0.2.7".parse().expect("an address");
    let probed = probe(&links.map(|link| Wanted { link: link.into(), addresses: vec![address] }));
    let why =
        |link: &str| probed.unasked.iter().find(|unasked| unasked.link == link).map_or("", |unasked| &unasked.why);
    assert_eq!(why("probe1"), "it has no carrier");
    assert!(why("nowhere").contains("no such link"), "{probed:?}");
    assert!(why("lo").contains("no Ethernet"), "{probed:?}");
    assert!(why("a-name-that-is-too-long").contains("no name of a link"), "{probed:?}");
    let clashes: Vec<&str> = probed.clashes.iter().map(|clash| clash.link.as_str()).collect();
    assert_eq!(clashes, ["probe0"]);
}

const NETWORKD: &str = "etc/systemd/network/20-probe0.network";

/// A directory to be "/" of a program that takes it for the running system: with a configuration of `probe0`, the programs
/// and libraries of this machine, which it cannot change, and the network of the calling thread.
struct Running(tempfile::TempDir);

impl Running {
    fn new(on_clash: &str) -> Running {
        nix::sched::unshare(CloneFlags::CLONE_NEWUTS).expect("making a host name of its own");
        let running = Running(tempfile::tempdir().expect("making a directory"));
        for dir in ["usr", "proc", "sys", "dev", "run", "var/lib", "etc/reseal", "etc/systemd/network"] {
            fs::create_dir_all(running.path(dir)).expect("making a directory");
        }
        for merged in ["bin", "sbin", "lib", "lib64"] {
            std::os::unix::fs::symlink(format!("usr/{merged}"), running.path(merged)).expect("making a link");
        }
        run(Command::new("mount").args(["--bind", "-o", "ro", "/usr"]).arg(running.path("usr")));
        run(Command::new("mount").args(["-t", "proc", "proc"]).arg(running.path("proc")));
        run(Command::new("mount").args(["-t", "sysfs", "-o", "ro", "sysfs"]).arg(running.path("sys")));
        fs::copy(env!("CARGO_BIN_EXE_reseal"), running.path("reseal")).expect("copying the program");
        running.write("etc/os-release", "ID=debian\n");
        running.write("etc/hostname", "clone-7\n");
        running.write(
            NETWORKD,
            "[Match]\nName=probe0\n\n[Network]\nAddress=198.51.100.2/24\nAddress=2001:db8:100::2/64\nGateway=198.51.100.1\n",
        );
        let policy = format!(
            "[run]\nonly = [\"static-ip\"]\n[static-ip]\ncheck = true\non-clash = \"{on_clash}\"\n\
             [[static-ip.assign]]\nmatch = {{ hostname = \"clone-7\" }}\nlink = {{ name = \"probe0\" }}\n\
             addresses = [\"192.0.2.7/24\", \"2001:db8::7/64\"]\ngateways = [\"192.0.2.1\"]\n"
        );
        running.write("etc/reseal/policy.toml", &policy);
        running
    }

    fn path(&self, path: &str) -> std::path::PathBuf {
        self.0.path().join(path)
    }

    fn write(&self, path: &str, text: &str) {
        fs::write(self.path(path), text).expect("writing a file");
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).expect("reading a file")
    }

    /// What the program prints.
    fn reseal(&self, arguments: &[&str]) -> String {
        let out = Command::new("chroot").arg(self.0.path()).arg("/reseal").args(arguments).output().expect("a run");
        let said = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
        assert!(out.status.code().is_some_and(|code| code < 2), "{}\n{said}", out.status);
        said
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        for mounted in ["sys", "proc", "usr"] {
            let _ = nix::mount::umount2(&self.path(mounted), nix::mount::MntFlags::MNT_DETACH);
        }
    }
}

const RUNNING: &[Need] = &[Need::Root, Need::Program("ip"), Need::Program("chroot")];

#[test]
fn a_clone_asks_before_it_takes_an_address_and_policy_says_what_it_gets_instead() {
    if !ready("a_clone_asks_before_it_takes_an_address_and_policy_says_what_it_gets_instead", RUNNING) {
        return;
    }
    let owner = squatter(&["192.0.2.7/24", "2001:db8::7/64"]);
    for (on_clash, wanted) in [
        ("link-local", &["Address=169.254.", "Address=fe80::"][..]),
        ("dhcp", &["DHCP=yes"]),
        ("down", &["Address=169.254.", "ActivationPolicy=down"]),
    ] {
        let guest = Running::new(on_clash);
        let before = guest.read(NETWORKD);
        let shown = guest.reseal(&["apply", "--dry-run"]);
        assert!(shown.contains("ask on probe0 who has 192.0.2.7, 2001:db8::7"), "{shown}");
        assert!(!shown.contains(&owner), "nobody was asked: {shown}");
        assert_eq!(guest.read(NETWORKD), before);
        let said = guest.reseal(&["apply", "--yes"]);
        for address in ["192.0.2.7", "2001:db8::7"] {
            assert!(said.contains(&format!("{owner} has {address} already")), "{said}");
        }
        let after = guest.read(NETWORKD);
        assert!(wanted.iter().all(|line| after.contains(line)), "{on_clash}:\n{after}");
        assert!(!after.contains("192.0.2.") && !after.contains("2001:db8:"), "{on_clash}:\n{after}");
        assert!(!after.contains("Gateway="), "its network is not reached by the old gateway:\n{after}");
        assert!(ip("-br link show probe0").contains("DOWN"), "it was down before");
        // What was heard stays heard.
        ip("-n squatter addr flush dev squat0");
        let again = guest.reseal(&["apply", "--dry-run", "--force"]);
        assert!(again.contains("\n0 changes") && !again.contains("ask on"), "{again}");
        ip("-n squatter addr add 192.0.2.7/24 dev squat0");
        ip("-n squatter addr add 2001:db8::7/64 dev squat0 nodad");
    }
}

#[test]
fn a_clone_takes_an_address_that_nobody_has_and_one_of_which_nobody_can_be_asked() {
    if !ready("a_clone_takes_an_address_that_nobody_has_and_one_of_which_nobody_can_be_asked", RUNNING) {
        return;
    }
    squatter(&["192.0.2.8/24"]);
    for has_carrier in [true, false] {
        if !has_carrier {
            ip("-n squatter link set squat0 down");
        }
        let guest = Running::new("link-local");
        let said = guest.reseal(&["apply", "--yes"]);
        assert_eq!(
            said.contains("nobody could be asked for 192.0.2.7, 2001:db8::7: it has no carrier"),
            !has_carrier,
            "{said}"
        );
        assert!(!said.contains("already"), "{said}");
        let after = guest.read(NETWORKD);
        assert!(after.contains("Address=192.0.2.7/24\nAddress=2001:db8::7/64\nGateway=192.0.2.1\n"), "{after}");
    }
}

/// networkd asks by the machine-id alone: `IAID=` stands for what udev's name of the link gives, which two clones share
/// that have their link in the same slot. systemd.network(5), networkd's src/libsystemd-network/dhcp-identifier.c.
const NETWORK: &str = "\
[Match]
Name=host0
[Network]
DHCP=ipv4
LinkLocalAddressing=no
[DHCPv4]
ClientIdentifier=duid
IAID=1
SendRelease=no
";

/// Writes the address down once there is one.
const TASK: &str = "\
for turn in $(seq 300); do
    ip -4 -o address show dev host0 scope global >/run/facts/address
    [ -s /run/facts/address ] && exit
    sleep 0.1
done
networkctl status host0 >/run/facts/networkctl 2>&1
exit 1
";

const CLONES: &[Need] = &[Need::Root, Need::Nspawn, Need::Program("ip"), Need::Program("dnsmasq")];

/// The server of the network; dropping it ends it.
struct Dhcp(Child);

impl Dhcp {
    fn start(dir: &Path) -> Dhcp {
        ip("link add wire type bridge");
        ip("address add 192.0.2.1/24 dev wire");
        ip("link set wire up");
        let mut dnsmasq = Command::new("dnsmasq");
        dnsmasq.args(["--keep-in-foreground", "--conf-file=/dev/null", "--user=root", "--port=0", "--interface=wire"]);
        dnsmasq.args([
            "--bind-interfaces",
            "--dhcp-authoritative",
            "--dhcp-range=192.0.2.10,192.0.2.200,1h",
            "--no-ping",
        ]);
        dnsmasq.arg("--pid-file=").arg(format!("--dhcp-leasefile={}", dir.join("leases").display()));
        let log = fs::File::create(dir.join("log")).expect("making a log");
        dnsmasq.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        Dhcp(dnsmasq.spawn().expect("starting dnsmasq"))
    }
}

impl Drop for Dhcp {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Boots two clones side by side, each with a MAC address of its own, and says what addresses they got.
fn addresses(template: &Guest) -> [String; 2] {
    let clones = [template.copy(), template.copy()];
    let boot = |clone: &Guest, name: &str| -> Facts {
        let machine = format!("--machine={name}");
        let options = ["--network-bridge=wire", &machine];
        clone.boot_with(&Boot { task: TASK, options: &options })
    };
    let facts = std::thread::scope(|scope| {
        let one = scope.spawn(|| boot(&clones[0], "one"));
        let two = scope.spawn(|| boot(&clones[1], "two"));
        [one, two].map(|clone| clone.join().expect("a clone"))
    });
    facts.map(|facts| {
        let line = facts.get("address");
        let address = line.split_whitespace().nth(3).unwrap_or_default().to_owned();
        assert!(
            address.starts_with("192.0.2."),
            "no address: {line:?}\n{}\n{}",
            facts.get("networkctl"),
            facts.story()
        );
        address
    })
}

#[test]
fn two_clones_get_one_lease_without_reseal_and_two_with_it() {
    if !ready("two_clones_get_one_lease_without_reseal_and_two_with_it", CLONES) {
        return;
    }
    own_network();
    let dir = tempfile::tempdir().expect("making a directory");
    let _dhcp = Dhcp::start(dir.path());
    let template = Guest::debian();
    template.write("etc/hostname", "template\n");
    template.write("etc/systemd/network/10-host0.network", NETWORK);
    let wants = template.path("etc/systemd/system/multi-user.target.wants");
    fs::create_dir_all(&wants).expect("making a directory");
    std::os::unix::fs::symlink("/lib/systemd/system/systemd-networkd.service", wants.join("systemd-networkd.service"))
        .expect("enabling networkd");
    template.boot();
    let [one, two] = addresses(&template);
    assert_eq!(one, two, "the machine-id is the same, and so the client id");
    let resealed = template.copy();
    resealed.install_offline(packages::deb());
    let [first, second] = addresses(&resealed);
    assert_ne!(first, second);
    assert!(first != one && second != one, "{one} is the template's: {first}, {second}");
    let leases = fs::read_to_string(dir.path().join("leases")).expect("reading the leases");
    assert_eq!(leases.lines().filter(|line| line.contains("192.0.2.")).count(), 3, "{leases}");
    eprintln!("without reseal both got {one}; with it {first} and {second}");
}

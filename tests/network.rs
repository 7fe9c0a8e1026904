// SPDX-License-Identifier: MIT OR Apache-2.0
//! What reseal writes into network configuration, read by the programs that it is for: netplan, systemd-networkd, udev,
//! NetworkManager and ifupdown of Debian, each in namespaces of its own, on a tree that mmdebstrap made.

#[path = "guests/mod.rs"]
mod guests;
mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use guests::{Need, alone, outcome, ready, run, said, workplace};
use reseal::plan::draft::Past;
use reseal::regenerators::{self, OnError};
use reseal::run::{Outcome, Run};
use support::case::Case;

/// Debian 12's, with what reads the configuration.
const PACKAGES: &str = "ifupdown,iproute2,netplan.io,network-manager,systemd,udev";

/// Can the programs be had and put into namespaces?
fn is_ready(test: &str) -> bool {
    let needs: &[Need] = if tree().is_dir() { &[Need::Root] } else { &[Need::Root, Need::Program("mmdebstrap")] };
    ready(test, needs)
}

fn tree() -> PathBuf {
    workplace().join("network-parsers-1")
}

/// The tree with the programs, made once; it is only ever the lower layer of an overlay.
fn programs() -> PathBuf {
    alone("network-parsers", || {
        let tree = tree();
        if !tree.is_dir() {
            let fresh = tree.with_extension("new");
            let _ = fs::remove_dir_all(&fresh);
            let include = format!("--include={PACKAGES}");
            run(Command::new("mmdebstrap").args(["--quiet", "--variant=minbase", &include, "bookworm"]).arg(&fresh));
            fs::rename(&fresh, &tree).expect("naming the tree");
        }
        tree
    })
}

/// A case's guest after its run.
struct Resealed(tempfile::TempDir);

impl Resealed {
    fn of(name: &str) -> Resealed {
        let case = Case::all().into_iter().find(|case| case.name == name).unwrap();
        let dir = tempfile::tempdir().unwrap();
        case.make(dir.path());
        let guest = case.guest(dir.path());
        let (policy, past): (_, Past) = (case.policy(), case.past(&guest));
        let plan = regenerators::plan(&policy, &guest, past.clone(), case.purpose(), OnError::Stop).unwrap();
        assert!(!plan.steps.is_empty(), "{name} changes nothing");
        let run = Run { guest: &guest, policy: &policy, purpose: case.purpose(), on_error: OnError::Stop };
        assert_eq!(run.carry_out(&plan, &past, &mut |_| false).unwrap().0, Outcome::Done);
        Resealed(dir)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// Runs a script in the tree of programs with this guest's /etc laid over it, in namespaces that end with it.
    fn judge(&self, script: &str) -> Output {
        let outer = r#"
            scratch=$(mktemp -d)
            mount -t tmpfs tmpfs "$scratch"
            cd "$scratch"; mkdir up work all
            rm -rf up/etc; mkdir up/etc
            mount -t overlay overlay -o "lowerdir=$PROGRAMS,upperdir=up,workdir=work" all
            for part in netplan systemd/network network NetworkManager/system-connections; do
                rm -rf "all/etc/$part"; mkdir -p "all/etc/$part"
                if [ -d "$GUEST/etc/$part" ]; then cp -a "$GUEST/etc/$part/." "all/etc/$part"; fi
            done
            chown -R 0:0 all/etc/netplan all/etc/NetworkManager
            mount -t proc proc all/proc
            # Read-only, as in a container: networkd waits for no udev then.
            mount -t sysfs -o ro sysfs all/sys
            mount -t tmpfs tmpfs all/run
            mount --bind /dev all/dev
            ip link set lo up
            exec chroot all /bin/sh -euc "$SCRIPT"
        "#;
        let mut command = Command::new("unshare");
        command.args(["--mount", "--net", "--pid", "--ipc", "--uts", "--fork", "--kill-child", "sh", "-euc", outer]);
        command.env("PROGRAMS", programs()).env("GUEST", self.path()).env("SCRIPT", script);
        command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        outcome(&mut command)
    }

    fn accepted(&self, script: &str) -> String {
        let output = self.judge(script);
        assert!(output.status.success(), "{script}\n{}", said(&output));
        said(&output)
    }
}

/// Each of these, as a whole line or a part of one.
fn holds(text: &str, wanted: &[&str]) {
    for part in wanted {
        assert!(text.contains(part), "{part:?} is not in:\n{text}");
    }
}

#[test]
fn netplan_takes_what_was_written() {
    if !is_ready("netplan_takes_what_was_written") {
        return;
    }
    let show = "netplan generate; for f in /run/systemd/network/*; do echo \"# $f\"; cat \"$f\"; done";
    let shown = Resealed::of("ip-assigned-netplan").accepted(show);
    holds(
        &shown,
        &[
            "Address=10.0.4.17/24",
            "Address=2001:db8:4::17/64",
            "Gateway=10.0.4.1",
            "DNS=10.0.4.53",
            "Domains=example.com",
        ],
    );
    assert!(!shown.contains("192.0.2."), "{shown}");
    let shown = Resealed::of("mac-netplan-cloud-init").accepted(show);
    holds(&shown, &["MACAddress=52:54:00:aa:bb:01", "Name=eth0", "DHCP=ipv4"]);
    let shown = Resealed::of("mac-netplan-bond-bridge-vlan").accepted(show);
    holds(&shown, &["MACAddress=52:54:00:aa:bb:01", "MACAddress=52:54:00:aa:bb:02", "Kind=bond", "MTUBytes=1400"]);
    assert!(!shown.contains("52:54:00:11:22"), "{shown}");
    let shown = Resealed::of("ip-dhcp").accepted(show);
    holds(&shown, &["DHCP=yes", "DHCP=ipv4"]);
    assert!(!shown.contains("192.0.2.7") && !shown.contains("198.51.100.7"), "{shown}");
}

#[test]
fn networkd_and_udev_do_what_was_written() {
    if !is_ready("networkd_and_udev_do_what_was_written") {
        return;
    }
    // networkd itself, on a link of that name.
    let configure = "ip link add enp1s0 type veth peer name other; ip link set other up
        mkdir -p /run/systemd /run/dbus
        echo 0123456789abcdef0123456789abcdef > /etc/machine-id
        /lib/systemd/systemd-networkd & daemon=$!
        for try in $(seq 100); do
            ip -o address show dev enp1s0 | grep -q 10.0.4.17/24 && break
            sleep 0.1
        done
        sleep 0.5
        ip -o address show dev enp1s0; ip route; kill $daemon";
    let shown = Resealed::of("ip-networkd-drop-ins").accepted(configure);
    holds(&shown, &["10.0.4.17/24", "10.0.4.18/24", "2001:db8:4::17/64", "default via 10.0.4.1"]);
    assert!(!shown.contains("192.0.2."), "{shown}");
    let shown = Resealed::of("ip-unconfigured").accepted(configure);
    holds(&shown, &["10.0.4.17/24", "default via 10.0.4.1", "203.0.113.0/24 via 10.0.4.2"]);
    // udev's own reading of .link files, on a link with this machine's address. A link of software has no permanent one.
    let link = "ip link add enp1s0 address 52:54:00:aa:bb:01 type veth peer name other
        sed -i s/^Permanent// /etc/systemd/network/10-lan0.link
        udevadm test-builtin net_setup_link /sys/class/net/enp1s0 2>&1";
    let shown = Resealed::of("mac-networkd").accepted(link);
    holds(&shown, &["ID_NET_LINK_FILE=/etc/systemd/network/10-lan0.link", "ID_NET_NAME=lan0"]);
}

#[test]
fn network_manager_takes_what_was_written() {
    if !is_ready("network_manager_takes_what_was_written") {
        return;
    }
    let each = |name: &str| {
        let files = "for f in /etc/NetworkManager/system-connections/*; do
            nmcli --offline connection modify connection.autoconnect-retries 3 < \"$f\"; done";
        Resealed::of(name).accepted(files)
    };
    let shown = each("ip-assigned-network-manager");
    holds(&shown, &["address1=10.0.4.17/24,10.0.4.1", "address1=10.0.5.17/24", "method=manual", "dns=192.0.2.53;"]);
    assert!(!shown.contains("192.0.2.7"), "{shown}");
    let shown = each("mac-network-manager");
    holds(&shown, &["mac-address=52:54:00:AA:BB:01", "cloned-mac-address=stable"]);
    assert!(!shown.contains("52:54:00:11:22:99"), "{shown}");
    let shown = each("ip-unconfigured-network-manager");
    holds(
        &shown,
        &["10.0.4.17/24", "10.0.4.1", "dns=10.0.4.53;", "interface-name=enp1s0", "203.0.113.0/24,10.0.4.2,50"],
    );
}

#[test]
fn ifupdown_takes_what_was_written() {
    if !is_ready("ifupdown_takes_what_was_written") {
        return;
    }
    let shown = Resealed::of("ip-pool-ifupdown").accepted("ifquery --list --allow=hotplug; ifquery ens3");
    holds(&shown, &["ens3", "address: 192.0.2.117", "gateway: 192.0.2.1", "dns-search: example.com"]);
    let shown = Resealed::of("mac-ifupdown").accepted("ifquery br0; ifquery ens3");
    assert!(!shown.contains("hwaddress:"), "{shown}");
    let shown = Resealed::of("ip-unconfigured-ifupdown").accepted("ifquery enp1s0");
    holds(
        &shown,
        &["address: 10.0.4.17", "gateway: 10.0.4.1", "dns-nameservers: 10.0.4.53", "up: ip route add 203.0.113.0/24"],
    );
}

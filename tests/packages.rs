// SPDX-License-Identifier: MIT OR Apache-2.0
//! The .deb and the .rpm: what is in them, what lintian and rpmlint say, and that they leave nothing behind.

use std::collections::BTreeMap;
use std::process::Command;

use guests::tree::{Guest, differences};
use guests::{Need, packages, ready, run, source};

mod guests;

const UNITS: &[&str] = &[
    "reseal.service",
    "reseal-keys.service",
    "reseal-early.service",
    "reseal-early-volumes.service",
    "reseal-volume-keys.service",
    "reseal-clone.service",
];

/// Of 100, as `systemd-analyze security --threshold` counts; the tool itself calls less than 50 "OK". Running gpg as the owner of
/// a GnuPG home takes CAP_SETUID and CAP_SETGID; asking who has an address, CAP_NET_RAW and AF_PACKET.
const EXPOSURE: &str = "48";

/// Everything below these directories but the books that the package tools keep.
fn files(guest: &Guest) -> BTreeMap<String, String> {
    let mut all = ["etc", "usr", "var"].into_iter().flat_map(|dir| guest.digest(dir)).collect::<BTreeMap<_, _>>();
    let books = ["var/lib/dpkg", "var/lib/rpm", "usr/lib/sysimage/rpm", "var/log/dpkg.log", "var/cache/"];
    // Directories in which dpkg and deb-systemd-helper work; empty again.
    let workplaces = ["var/lib/systemd/deb-systemd-helper-masked", "var/lib/systemd/deb-systemd-helper-enabled"];
    all.retain(|path, _| !books.iter().any(|book| path.starts_with(book)) && !workplaces.contains(&path.as_str()));
    all
}

fn is_enabled(guest: &Guest) -> bool {
    guest.has("etc/systemd/system/sysinit.target.wants/reseal.service")
        && guest.has("etc/systemd/system/multi-user.target.wants/reseal-keys.service")
}

#[test]
fn deb_and_rpm_contain_the_same() {
    if !ready("deb_and_rpm_contain_the_same", &[Need::Packages, Need::Program("dpkg-deb"), Need::Program("rpm")]) {
        return;
    }
    // Where the two families of distributions differ.
    let place = |path: &str| {
        let path = path.replace("/usr/share/zsh/vendor-completions/", "/usr/share/zsh/site-functions/");
        path.strip_prefix("/lib/").map_or(path.clone(), |rest| format!("/usr/lib/{rest}"))
    };
    let is_paper = |path: &String| path.starts_with("/usr/share/doc/") || path.starts_with("/usr/share/licenses/");
    let mut deb = run(Command::new("sh").args(["-c", "dpkg-deb --fsys-tarfile \"$0\" | tar -t"]).arg(packages::deb()))
        .lines()
        .filter(|path| !path.ends_with('/'))
        .map(|path| place(path.trim_start_matches('.')))
        .filter(|path| !is_paper(path))
        // No distribution that uses rpm makes its initramfs with these.
        .filter(|path| !path.starts_with("/usr/share/initramfs-tools/"))
        .collect::<Vec<_>>();
    let mut rpm = run(Command::new("rpm").args(["-qlp"]).arg(packages::rpm()))
        .lines()
        .map(str::to_owned)
        .filter(|path| !is_paper(path))
        .collect::<Vec<_>>();
    deb.sort();
    rpm.sort();
    assert_eq!(deb, rpm);
    let generator = "/usr/lib/systemd/system-generators/reseal-generator";
    for needed in ["/usr/bin/reseal", "/usr/lib/systemd/system/reseal.service", "/etc/reseal/policy.toml", generator] {
        assert!(deb.iter().any(|path| path == needed), "{needed} is missing");
    }
    for unit in UNITS {
        let text = std::fs::read_to_string(source().join("units").join(unit)).expect("reading a unit");
        let page = text.lines().find_map(|line| line.strip_prefix("Documentation=man:")).expect("a man page");
        let (name, section) = page.trim_end_matches(')').split_once('(').expect("NAME(SECTION)");
        let page = format!("/usr/share/man/man{section}/{name}.{section}.gz");
        assert!(deb.contains(&page), "{unit} points to {page}, which is not packaged");
    }

    let conffiles = run(Command::new("dpkg-deb").args(["--info"]).arg(packages::deb()).arg("conffiles"));
    assert_eq!(conffiles.trim(), "/etc/reseal/policy.toml");
    let config = run(Command::new("rpm").args(["-qcp"]).arg(packages::rpm()));
    assert_eq!(config.trim(), "/etc/reseal/policy.toml");
    // Nothing but the C library: the program runs in initramfs images and early at boot.
    let depends = run(Command::new("dpkg-deb").arg("--field").arg(packages::deb()).arg("Depends"));
    assert!(depends.split(", ").all(|it| it.starts_with("libc6 ") || it.starts_with("libgcc-s1 ")), "{depends}");
}

#[test]
fn lintian_and_rpmlint_have_nothing_to_say() {
    if !ready(
        "lintian_and_rpmlint_have_nothing_to_say",
        &[Need::Packages, Need::Program("lintian"), Need::Program("rpmlint")],
    ) {
        return;
    }
    let mut lintian = Command::new("lintian");
    lintian.args(["--allow-root", "--fail-on", "error,warning"]);
    // This is the upstream's package; there is no bug to close in Debian's tracker.
    lintian.args(["--suppress-tags", "initial-upload-closes-no-bugs"]);
    run(lintian.arg(packages::deb()));
    run(Command::new("rpmlint").arg("--config").arg(source().join("dist/rpm/rpmlint.toml")).arg(packages::rpm()));
}

#[test]
fn scripts_are_clean() {
    if !ready("scripts_are_clean", &[Need::Program("shellcheck")]) {
        return;
    }
    run(Command::new("shellcheck").current_dir(source()).args([
        "dist/build",
        "dist/deb/postinst",
        "dist/deb/postrm",
        "dist/rpm/generator.sh",
        "tests/guests/collect.sh",
    ]));
    // rpm runs its scriptlets by /bin/sh; they have no first line to say so.
    run(Command::new("shellcheck").current_dir(source()).args([
        "--shell=sh",
        "dist/rpm/post.sh",
        "dist/rpm/preun.sh",
        "dist/rpm/postun.sh",
    ]));
}

#[test]
fn units_are_valid_and_confined() {
    if !ready("units_are_valid_and_confined", &[Need::Root, Need::Program("systemd-analyze")]) {
        return;
    }
    guests::own_mounts();
    let image = Guest::debian();
    image.install_offline(packages::deb());
    // In the guest, where the program and the units that ours name are; it has no man pages.
    let said = guests::said(&guests::outcome(
        image.chroot(&["systemd-analyze", "verify", "--man=no", "--recursive-errors=yes"]).args(UNITS),
    ));
    assert!(!said.contains("reseal"), "{said}");
    for unit in UNITS {
        let mut analyze = Command::new("systemd-analyze");
        analyze
            .args(["security", "--no-pager", "--offline=yes", "--threshold", EXPOSURE])
            .arg(source().join("units").join(unit));
        let table = run(&mut analyze);
        eprintln!("{unit}: {}", table.lines().last().unwrap_or_default());
    }
}

#[test]
fn the_deb_leaves_no_stamp_in_an_image_and_nothing_after_a_purge() {
    if !ready("the_deb_leaves_no_stamp_in_an_image_and_nothing_after_a_purge", &[Need::Root]) {
        return;
    }
    guests::own_mounts();
    let image = Guest::debian();
    let before = files(&image);
    image.install_offline(packages::deb());
    assert!(is_enabled(&image) && !image.has("etc/reseal/stamp"));
    // As an upgrade, which leaves a unit disabled that the administrator has disabled.
    run(&mut image.chroot(&["systemctl", "disable", "reseal-keys.service"]));
    image.install_offline(packages::deb());
    assert!(!is_enabled(&image) && !image.has("etc/reseal/stamp"));
    image.write("etc/reseal/stamp", "");
    image.write("etc/reseal/journal/run", "");
    image.write("var/lib/reseal/stamp", "");
    run(&mut image.chroot(&["dpkg", "--remove", "reseal"]));
    assert!(image.has("etc/reseal/stamp"), "a removal is not a purge");
    run(&mut image.chroot(&["dpkg", "--purge", "reseal"]));
    assert_eq!(differences(&before, &files(&image)), [""; 0]);
}

#[test]
fn the_rpm_leaves_no_stamp_in_a_tree_and_nothing_when_erased() {
    if !ready("the_rpm_leaves_no_stamp_in_a_tree_and_nothing_when_erased", &[Need::Root, Need::Program("rpm")]) {
        return;
    }
    guests::own_mounts();
    // The tree is Debian's, so rpm knows of no libc there; the scriptlets run in it all the same.
    let tree = Guest::debian();
    let before = files(&tree);
    let rpm = |options: &[&str]| {
        let mut command = Command::new("rpm");
        command.arg("--root").arg(tree.root()).args(["--nodeps", "--nosignature"]).args(options);
        command
    };
    run(rpm(&["--install"]).arg(packages::rpm()));
    assert!(is_enabled(&tree) && !tree.has("etc/reseal/stamp"));
    run(&mut tree.chroot(&["systemctl", "disable", "reseal-keys.service"]));
    run(rpm(&["--upgrade", "--force"]).arg(packages::rpm()));
    assert!(!is_enabled(&tree) && !tree.has("etc/reseal/stamp"), "an upgrade is not an installation");
    tree.write("etc/reseal/stamp", "");
    run(&mut rpm(&["--erase", "reseal"]));
    let mut left = differences(&before, &files(&tree));
    // Directories that other packages own on a distribution that uses rpm.
    let others = [
        "usr/lib/dracut",
        "usr/lib/dracut/modules.d",
        "usr/share/fish",
        "usr/share/fish/vendor_completions.d",
        "usr/share/licenses",
        "usr/share/zsh/site-functions",
    ];
    left.retain(|path| !others.contains(&path.as_str()));
    assert_eq!(left, [""; 0]);
}

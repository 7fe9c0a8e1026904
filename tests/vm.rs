// SPDX-License-Identifier: MIT OR Apache-2.0
//! Disks of clones: whole Debian machines in QEMU, with every kind of file system, container and reference.

#[path = "vm/facts.rs"]
mod facts;
mod guests;
#[path = "vm/image.rs"]
mod image;
#[path = "vm/machine.rs"]
mod machine;
#[path = "vm/template.rs"]
mod template;
#[path = "vm/userland.rs"]
mod userland;

use facts::{Facts, Ids};
use guests::{Need, packages, ready};
use image::Image;
use machine::Machine;
use template::Template;

const NEEDS: &[Need] = &[
    Need::Root,
    Need::Program("qemu-system-x86_64"),
    Need::Program("qemu-img"),
    Need::Program("sfdisk"),
    Need::Program("mke2fs"),
];

/// Boots machines side by side.
fn boot_all(machines: &mut [Machine]) -> Vec<Facts> {
    std::thread::scope(|scope| {
        let boots = machines.iter_mut().map(|machine| scope.spawn(|| machine.boot())).collect::<Vec<_>>();
        boots.into_iter().map(|boot| boot.join().expect("a boot")).collect()
    })
}

#[test]
fn clones_without_reseal_share_every_id() {
    if !ready("clones_without_reseal_share_every_id", NEEDS) {
        return;
    }
    guests::own_mounts();
    let image = Image::of_template();
    let facts = boot_all(&mut [image.copy("plain")]);
    for facts in &facts {
        eprintln!("{:?}\n{}", facts.took, facts.story());
    }
    eprintln!("template\n{}", Template::get().facts().story());
}

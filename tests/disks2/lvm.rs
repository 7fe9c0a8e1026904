// SPDX-License-Identifier: MIT OR Apache-2.0
//! LVM2, judged by pvck(8), vgck(8) and the reports. Its volumes come from edited metadata: making one takes
//! device-mapper.

use std::collections::BTreeMap;

use reseal::disks::lvm::{Ids, plan_all, probe};
use reseal::disks::{Blocks, Patch, Trouble};

use crate::rig::{self, Image, output};

#[path = "lvm/features.rs"]
mod features;
#[path = "lvm/groups.rs"]
mod groups;

const SIZE: u64 = 32 << 20;

/// Runs a script with the images as `$1` and so on, loop devices that only it sees and that go when it ends.
fn lvm(images: &[&Image], script: &str) -> Result<String, String> {
    let directory = images[0].path.parent().unwrap();
    let mut whole = String::from("set -e\n");
    let mut accepted = String::new();
    for (number, image) in images.iter().enumerate() {
        let (name, fd) = (number + 1, number + 4);
        // Detached while it is open, a loop device goes with its last user.
        whole +=
            &format!("d{name}=$(losetup --find --show {}); exec {fd}<$d{name}; losetup -d $d{name}\n", image.arg());
        accepted += &format!("\\\"a|^$d{name}\\$|\\\", ");
    }
    whole += &format!(
        "export LVM_SYSTEM_DIR={dir}/lvm LVM_SUPPRESS_FD_WARNINGS=1 DM_DISABLE_UDEV=1; mkdir -p {dir}/lvm\n\
         echo \"devices {{ filter=[{accepted}\\\"r|.*|\\\"] use_devicesfile=0 scan_lvs=0 }} global {{ event_activation=0 \
         use_lvmpolld=0 locking_dir=\\\"{dir}/lvm\\\" }} backup {{ backup=0 archive=0 }}\" > {dir}/lvm/lvm.conf\n{script}",
        dir = directory.display()
    );
    let output = output("sh", &["-c", &whole]);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

/// A group with two volumes, its metadata in so many areas.
fn make(directory: &tempfile::TempDir, name: &str, areas: u32) -> Image {
    let image = Image::new(directory.path(), name, SIZE);
    let script = format!("lvm pvcreate -q -ff -y --pvmetadatacopies {areas} $d1; lvm vgcreate -q golden $d1");
    lvm(&[&image], &script).unwrap();
    divide(&[&image], ["\"pv0\", 0", "\"pv0\", 2"]);
    image
}

/// Two volumes of two extents for each place, on these places.
fn divide(images: &[&Image], places: [&str; 2]) {
    let text = images[0].path.with_file_name("text").display().to_string();
    lvm(images, &format!("lvm vgcfgbackup -f {text} golden")).unwrap();
    let volume = |name: &str, id: &str, places: &str| {
        let count = places.matches("pv").count();
        format!(
            "{name} {{\nid = \"{id}\"\nstatus = [\"READ\", \"WRITE\", \"VISIBLE\"]\nflags = []\nsegment_count = 1\n\
             segment1 {{\nstart_extent = 0\nextent_count = {}\ntype = \"striped\"\nstripe_count = {count}\n{}\
             stripes = [\n{places}\n]\n}}\n}}\n",
            2 * count,
            if count > 1 { "stripe_size = 128\n" } else { "" }
        )
    };
    let volumes = volume("root", "aaaaaa-bbbb-cccc-dddd-eeee-ffff-gggggg", places[0])
        + &volume("var", "AAAAAA-bbbb-cccc-dddd-eeee-ffff-gggggg", places[1]);
    let made = std::fs::read_to_string(&text).unwrap();
    let at = made.rfind('}').unwrap();
    std::fs::write(&text, format!("{}\nlogical_volumes {{\n{volumes}}}\n{}", &made[..at], &made[at..])).unwrap();
    lvm(images, &format!("lvm vgcfgrestore -q -f {text} golden")).unwrap();
}

fn plan<B: Blocks + ?Sized>(blocks: &B, new: &Ids) -> Result<Patch, Trouble> {
    plan_all(&[blocks], new).map(|mut patches| patches.remove(0))
}

fn fresh() -> Ids {
    let id = || rig::fresh().simple().to_string();
    let logical_volumes = BTreeMap::from([("root".to_string(), id()), ("var".to_string(), id())]);
    Ids { physical_volumes: vec![id()], volume_group: Some(id()), logical_volumes }
}

fn value(image: &Image, name: &str) -> String {
    probe(image).unwrap().unwrap().ids.into_iter().find(|id| id.name == name).unwrap().value.replace('-', "")
}

/// The ids that LVM sees: physical volume, group, volumes.
fn seen(image: &Image) -> Vec<String> {
    let script = "lvm vgck golden; lvm pvck $d1 >/dev/null; lvm pvs --noheadings -o pv_uuid,vg_uuid; \
                  lvm lvs --noheadings -o lv_uuid -O lv_name golden";
    lvm(&[image], script)
        .unwrap_or_else(|error| panic!("{error}"))
        .replace('-', "")
        .split_whitespace()
        .map(str::to_owned)
        .collect()
}

fn listed(ids: &Ids) -> Vec<String> {
    let volumes = ["root", "var"].map(|name| ids.logical_volumes[name].clone());
    [ids.physical_volumes[0].clone(), ids.volume_group.clone().unwrap()].into_iter().chain(volumes).collect()
}

#[test]
fn a_group_is_old_or_new_at_every_cut() {
    let test = "lvm::cuts";
    if !rig::have(test, &["lvm", "losetup", "blkid"]) || !rig::loops(test) {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let mut count = 0;
    for (areas, rounds) in [(1, 4), (2, 3)] {
        count += rounds_of(make(&directory, &format!("golden-{areas}"), areas), rounds);
    }
    rig::report("LVM", count);
}

fn rounds_of(image: Image, rounds: u32) -> usize {
    let mut images = [image];
    let mut count = 0;
    for round in 0..rounds {
        let (old, new) = (seen(&images[0]), fresh());
        count += rig::cut_everywhere(
            &images,
            |images| vec![plan(&images[0], &new).unwrap()],
            |images, cut| {
                let now = seen(&images[0]);
                assert!(now == old || now == listed(&new), "{cut:?}: {now:?}");
                assert_eq!(value(&images[0], "uuid"), now[0]);
                assert_eq!(value(&images[0], "vg-uuid"), now[1]);
                assert_eq!(value(&images[0], "lv-uuid-var"), now[3]);
            },
        );
        assert_eq!(seen(&images[0]), listed(&new));
        assert_eq!(rig::blkid(&images[0], "UUID").replace('-', ""), new.physical_volumes[0]);
        // LVM goes on with what it finds, often enough for its ring to go around.
        lvm(&images.each_ref(), "for i in $(seq 12); do lvm vgchange -q --addtag t$i golden; done; lvm vgck golden")
            .unwrap();
        images = [images[0].copy(&format!("round-{round}"))];
    }
    count
}

#[test]
fn what_is_not_plain_is_left_alone() {
    let test = "lvm::bad";
    if !rig::have(test, &["lvm", "losetup", "blkid"]) || !rig::loops(test) {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let new = fresh();
    let refused = |image: &Image, word: &str| {
        let refused = plan(image, &new);
        assert!(matches!(&refused, Err(Trouble::Refused(why)) if why.contains(word)), "{refused:?}");
        assert!(probe(image).unwrap().unwrap().refusal.unwrap().contains(word));
    };
    let image = |name: &str| Image::new(directory.path(), name, SIZE);
    // In no group: the label alone.
    let alone = image("alone");
    lvm(&[&alone], "lvm pvcreate -q -ff -y $d1").unwrap();
    alone.apply(&plan(&alone, &new).unwrap());
    assert_eq!(rig::blkid(&alone, "UUID").replace('-', ""), new.physical_volumes[0]);
    assert_eq!(plan(&alone, &new).unwrap(), Patch::default());
    lvm(&[&alone], "lvm pvck $d1; lvm vgcreate -q golden $d1").unwrap();

    let (a, b) = (image("a"), image("b"));
    lvm(&[&a, &b], "lvm pvcreate -q -ff -y $d1 $d2; lvm vgcreate -q golden $d1 $d2").unwrap();
    assert!(matches!(plan(&a, &new), Err(Trouble::Refused(why)) if why.contains("at hand")));
    let exported = make(&directory, "exported", 1);
    lvm(&[&exported], "lvm vgexport -q golden").unwrap();
    refused(&exported, "exported");

    let sound = make(&directory, "sound", 1);
    let text = u64::from_le_bytes(sound.get(4096 + 40, 8).try_into().unwrap());
    rig::spoil(&sound, &[(512 + 8, 504), (4096, 512), (4096 + text, 600)], true, SIZE, |blocks| plan(blocks, &new));
    rig::spoil(&sound, &[(512, 512)], false, SIZE, |blocks| plan(blocks, &new));
    assert!(plan(&sound, &Ids { volume_group: Some("short".into()), ..new.clone() }).is_err());
}

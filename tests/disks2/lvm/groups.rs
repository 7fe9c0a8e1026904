// SPDX-License-Identifier: MIT OR Apache-2.0
//! Volume groups of several physical volumes, in every state that a cut leaves between them.

use std::collections::{BTreeMap, BTreeSet};

use reseal::disks::lvm::{Ids, plan_all, probe};
use reseal::disks::{self, Blocks, Format, Found, Id, Trouble};

use super::{SIZE, divide, fresh, lvm, plan};
use crate::rig::{self, Image};

/// Physical volumes with two areas, with one, without, and with one that is ignored, and a volume over all of them.
fn make_four(directory: &tempfile::TempDir, sizes: [u64; 4]) -> Vec<Image> {
    let names = ["two", "one", "none", "ignored"];
    let images = names.into_iter().zip(sizes).map(|(name, size)| Image::new(directory.path(), name, size << 20));
    let images: Vec<Image> = images.collect();
    let all: Vec<&Image> = images.iter().collect();
    let script = "lvm pvcreate -q -ff -y --pvmetadatacopies 2 $d1; lvm pvcreate -q -ff -y $d2; \
                  lvm pvcreate -q -ff -y --pvmetadatacopies 0 $d3; lvm pvcreate -q -ff -y $d4; \
                  lvm vgcreate -q golden $d1 $d2 $d3 $d4; lvm pvchange -q --metadataignore y $d4";
    lvm(&all, script).unwrap();
    divide(&all, ["\"pv0\", 0,\n\"pv3\", 0", "\"pv2\", 0,\n\"pv1\", 0"]);
    images
}

/// What probing all of them together finds, which must be one group.
fn together(images: &[Image]) -> Vec<Found> {
    let mut found: Vec<Found> = images.iter().map(|image| probe(image).unwrap().unwrap()).collect();
    disks::relate(&mut found.iter_mut().collect::<Vec<_>>());
    for one in &found {
        assert_eq!(one.group.as_ref().unwrap().members, images.len() as u32);
        assert_eq!((&one.group, &one.refusal), (&found[0].group, &None));
    }
    found
}

/// What LVM sees of the group: ids, and the extents of each volume.
fn seen_of(images: &[Image]) -> String {
    let script = "lvm vgck golden; lvm pvck $d1 >/dev/null; lvm pvck $d2 >/dev/null; lvm pvck $d3 >/dev/null; \
                  (lvm pvs --noheadings -o pv_name,pv_uuid,pv_missing,vg_name,pv_mda_count,pv_mda_used_count; \
                  lvm lvs --noheadings -o lv_name,lv_uuid,vg_uuid,seg_pe_ranges golden) \
                  | sed \"s,$d1\\\\b,d1,;s,$d2\\\\b,d2,;s,$d3\\\\b,d3,;s,$d4\\\\b,d4,\" | tr -s \" \" | sort";
    lvm(&images.iter().collect::<Vec<_>>(), script).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn a_group_of_several_completes_from_every_cut() {
    let test = "lvm::several";
    if !rig::have(test, &["lvm", "losetup"]) || !rig::loops(test) {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let images = make_four(&directory, [32, 32, 32, 40]);
    let mut count = 0;
    for round in 0..2 {
        let (found, before) = (together(&images), seen_of(&images));
        let mut now = before.clone();
        let mut renamed = BTreeMap::new();
        let ids: Vec<Vec<Id>> = found.iter().map(|one| one.ids.clone()).collect();
        let ids: Vec<Vec<Id>> = ids
            .into_iter()
            .map(|ids| {
                let mut new =
                    |old: &String| renamed.entry(old.clone()).or_insert_with(|| dashed(&rig::fresh())).clone();
                ids.into_iter().map(|Id { name, value }| Id { value: new(&value), name }).collect()
            })
            .collect();
        for (old, new) in &renamed {
            assert!(now.contains(old), "{now}: {old}");
            now = now.replace(old, new);
        }
        let mut judged = BTreeSet::new();
        count += rig::cut_everywhere(
            &images,
            |images| disks::plan_all(&images.iter().collect::<Vec<_>>(), Format::Lvm, &ids).unwrap(),
            |images, cut| {
                let states: Vec<bool> =
                    together(images).iter().zip(&ids).map(|(found, new)| found.ids[0] == new[0]).collect();
                if !judged.insert((states.clone(), cut.clean)) {
                    return;
                }
                if states.iter().all(|new| *new == states[0]) {
                    assert_eq!(seen_of(images), if states[0] { &*now } else { &*before }, "{cut:?}");
                } else if round == 0 {
                    // In the middle of two devices LVM misses some in every group, and starts nothing that is on them.
                    let script = "lvm vgs --noheadings -o vg_partial; lvm vgchange -aay --sysinit 2>&1 || true";
                    let said = lvm(&images.iter().collect::<Vec<_>>(), script).unwrap();
                    let groups = said.lines().take_while(|line| !line.contains(' ') || line.trim() == "partial");
                    assert!(groups.count() >= 1 && said.contains("Refusing activation of partial LV"), "{said}");
                    assert!(!said.contains("1 logical volume(s)"), "{said}");
                }
            },
        );
        assert_eq!(seen_of(&images), now);
        assert!(together(&images).iter().all(|found| found.refusal.is_none()), "{round}");
        let script = "for i in $(seq 12); do lvm vgchange -q --addtag t$i golden; done; lvm vgck golden; \
                      for i in $(seq 12); do lvm vgchange -q --deltag t$i golden; done";
        lvm(&images.iter().collect::<Vec<_>>(), script).unwrap();
        assert_eq!(seen_of(&images), now);
    }
    rig::report("LVM, four physical volumes", count);
}

fn dashed(id: &uuid::Uuid) -> String {
    let id = id.simple().to_string();
    [0..6, 6..10, 10..14, 14..18, 18..22, 22..26, 26..32].map(|range| &id[range]).join("-")
}

#[test]
fn a_group_that_is_not_whole_is_left_alone() {
    let test = "lvm::not-whole";
    if !rig::have(test, &["lvm", "losetup"]) || !rig::loops(test) {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let refused = |images: &[&Image], word: &str| {
        let id = || rig::fresh().simple().to_string();
        let physical_volumes = images.iter().map(|_| id()).collect();
        let refused = plan_all(images, &Ids { physical_volumes, ..fresh() });
        assert!(matches!(&refused, Err(Trouble::Refused(why)) if why.contains(word)), "{refused:?}");
    };
    let [two, one, none, ignored] = &make_four(&directory, [32, 32, 32, 40])[..] else { panic!() };
    refused(&[two, one, none], "3 are at hand");
    refused(&[two, one, ignored], "3 are at hand");
    refused(&[one, none, ignored], "3 are at hand");
    refused(&[two, one, none, ignored, &none.copy("clone")], "twice");
    refused(&[two, one, none, ignored, &two.copy("clone")], "twice");
    refused(&[none], "not at hand");
    refused(&[ignored, none], "no group together");
    for bare in [none, ignored] {
        assert!(probe(bare).unwrap().unwrap().refusal.unwrap().contains("not at hand"));
    }
    let other = Image::new(directory.path(), "other", SIZE);
    lvm(&[&other], "lvm pvcreate -q -ff -y $d1; lvm vgcreate -q other $d1").unwrap();
    refused(&[two, one, none, ignored, &other], "more than one volume group");
    let orphan = Image::new(directory.path(), "orphan", SIZE);
    lvm(&[&orphan], "lvm pvcreate -q -ff -y --pvmetadatacopies 0 $d1").unwrap();
    refused(&[two, one, none, ignored, &orphan], "and no others");
    // In no group, without an area: its label says so.
    orphan.apply(&plan(&orphan, &fresh()).unwrap());
    assert_eq!(probe(&orphan).unwrap().unwrap().group, None);
    assert!(disks::plan_all(&[two, one], Format::Lvm, &[vec![], vec![]]).is_err());
    // One that missed a version.
    let stale = one.copy("stale");
    lvm(&[two, one, none, ignored], "lvm vgchange -q --addtag later golden").unwrap();
    refused(&[two, &stale, none, ignored], "different times");
    // Two without text of one size: after a cut nobody could tell them apart.
    let directory = tempfile::tempdir().unwrap();
    let alike = make_four(&directory, [32, 32, 40, 40]);
    refused(&alike.iter().collect::<Vec<_>>(), "of the same size");
    // Nothing panics, and nothing is planned, over what is broken in one of them.
    let new = Ids { physical_volumes: vec![fresh().physical_volumes.remove(0); 4], ..fresh() };
    for (number, image) in [two, one, none, ignored].into_iter().enumerate() {
        let at = |offset: u64| u64::from_le_bytes(image.get(offset, 8).try_into().unwrap());
        let mut places = vec![(512 + 8, 504_u64)];
        if number != 2 {
            places.push((4096, 512));
        }
        if number < 2 {
            places.push((4096 + at(4096 + 40), 200));
        }
        for place in places.iter().flat_map(|(start, length)| *start..start + length) {
            let mut broken = image.get(0, 1 << 20);
            broken[place as usize] ^= 0x81;
            let found = Label(&broken, image.size());
            assert!(!matches!(probe(&found), Ok(Some(_))), "{number}: {place}");
            assert!(plan(&found, &new).is_err());
        }
    }
}

/// The start of a device, and zeros behind it.
struct Label<'a>(&'a [u8], u64);

impl Blocks for Label<'_> {
    fn size(&self) -> u64 {
        self.1
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> std::io::Result<()> {
        buffer.fill(0);
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(self.0.len());
        let some = (self.0.len() - start).min(buffer.len());
        buffer[..some].copy_from_slice(&self.0[start..start + some]);
        Ok(())
    }
}

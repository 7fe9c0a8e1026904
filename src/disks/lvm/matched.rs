// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which device is which physical volume of a group, when some have their new ids already.

use super::metadata::Metadata;
use super::{Ids, Volume, dashed};
use crate::disks::{Seat, Trouble};

/// The group's text under its new ids; none when no device has any text.
///
/// Sections of the text have names of their own, `pv0`, so texts that are alike but for ids tell which id became which.
pub(super) fn renamed(volumes: &[Volume], new: &Ids) -> Result<Option<Vec<u8>>, Trouble> {
    let texts: Vec<&Metadata> = volumes.iter().flat_map(Volume::texts).collect();
    let Some(first) = texts.first() else { return Ok(None) };
    let refuse = |why: String| Err(Trouble::Refused(why));
    let Some(group) = &new.volume_group else {
        return refuse(format!("the volume group {} needs a new id too", first.group));
    };
    let shape = |metadata: &Metadata| {
        let volumes = metadata.physical_volumes.iter().map(|one| (one.section.clone(), one.seat.size, one.seat.start));
        (metadata.group.clone(), volumes.collect::<Vec<_>>())
    };
    if texts.iter().any(|text| shape(text) != shape(first)) {
        return refuse("these physical volumes are of more than one volume group, or their metadata is of different times: see vgck(8)".into());
    }
    let seats = seats(first, &texts, volumes, new)?;
    let missing = seats.iter().filter(|seat| seat.is_none()).count();
    if missing > 0 || seats.len() != volumes.len() {
        return refuse(format!(
            "the volume group {} has {} physical volumes, of which {} are at hand: all are needed, and no others",
            first.group,
            seats.len(),
            seats.len() - missing
        ));
    }
    let ids = seats.iter().flatten().filter_map(|device| new.physical_volumes.get(*device));
    let ids: Vec<(&str, &str)> =
        first.physical_volumes.iter().map(|one| one.section.as_str()).zip(ids.map(String::as_str)).collect();
    let mut whole: Option<Vec<u8>> = None;
    for text in &texts {
        let renamed = text.renamed(&ids, group, &new.logical_volumes)?;
        if whole.as_ref().is_some_and(|whole| *whole != renamed) {
            return refuse(format!(
                "the metadata of the volume group {} is of different times: `vgck --updatemetadata` makes it alike",
                first.group
            ));
        }
        whole = Some(renamed);
    }
    Ok(whole)
}

/// The device of each physical volume, in the text's order.
fn seats(first: &Metadata, texts: &[&Metadata], volumes: &[Volume], new: &Ids) -> Result<Vec<Option<usize>>, Trouble> {
    let refuse = |why: String| Err(Trouble::Refused(why));
    let labels: Vec<Seat> = volumes.iter().map(|volume| volume.label.seat()).collect();
    let bare: Vec<bool> = volumes.iter().map(|volume| volume.metadata().is_none()).collect();
    let mut seats: Vec<Option<usize>> = Vec::new();
    for (number, one) in first.physical_volumes.iter().enumerate() {
        let described = texts.iter().filter_map(|text| text.physical_volumes.get(number));
        let ids: Vec<&str> = described.map(|one| one.seat.id.as_str()).collect();
        let is_it = |(_, (label, new)): &(usize, (&Seat, &String))| ids.iter().any(|id| *id == label.id || id == new);
        let mut devices = labels.iter().zip(&new.physical_volumes).enumerate().filter(is_it).map(|(device, _)| device);
        let device = devices.next();
        if devices.next().is_some() || device.is_some() && seats.contains(&device) {
            let id = dashed(&one.seat.id);
            return refuse(format!("the physical volume {id} is there twice: a clone is attached too"));
        }
        if device.is_some_and(|device| bare[device] && labels[device].place() != one.seat.place()) {
            return refuse(format!("the volume group {} knows a physical volume by another size", first.group));
        }
        seats.push(device);
    }
    // One without text, whose label is new while all texts are old, is known by its size and its extents.
    for device in (0..volumes.len()).filter(|device| bare[*device]) {
        let label = &labels[device];
        if label.id == new.physical_volumes[device] && !seats.contains(&Some(device)) {
            let empty = seats.iter_mut().zip(&first.physical_volumes).filter(|(seat, _)| seat.is_none());
            if let Some((seat, _)) = { empty }.find(|(_, one)| one.seat.place() == label.place()) {
                *seat = Some(device);
            }
        }
    }
    // So no two of those may be alike.
    let without_text = seats.iter().flatten().filter(|device| bare[**device]);
    let mut places: Vec<_> = without_text.map(|device| labels[*device].place()).collect();
    places.sort_unstable();
    if places.windows(2).any(|pair| pair[0] == pair[1]) {
        return refuse(format!(
            "two physical volumes of the volume group {} have no metadata in use and are of the same size, so after a \
             cut one could be taken for the other: give one some by `pvchange --metadataignore n`, or use vgimportclone",
            first.group
        ));
    }
    Ok(seats)
}

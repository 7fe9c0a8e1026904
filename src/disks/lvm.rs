// SPDX-License-Identifier: MIT OR Apache-2.0
//! Physical volumes of LVM2: known by their label, and left as they are.

use super::fields::{array, le32};
use super::{Blocks, Format, Found, Id, Trouble, read};

/// The label stands in one of the first four sectors, LVM2 lib/label/label.h `LABEL_SCAN_SECTORS`.
const SECTORS: u64 = 4;

/// The volume's own UUID, from its label; lib/label/label.c and lib/format_text/layout.h `pv_header`.
///
/// # Errors
/// When the device cannot be read.
pub fn probe(blocks: &(impl Blocks + ?Sized)) -> Result<Option<Found>, Trouble> {
    for sector in 0..SECTORS {
        if blocks.size() < (sector + 1) * 512 {
            break;
        }
        let label = read(blocks, sector * 512, 512)?;
        if !label.starts_with(b"LABELONE") || label[24..32] != *b"LVM2 001" {
            continue;
        }
        let uuid: [u8; 32] = array(&label, le32(&label, 20) as usize);
        let digits = String::from_utf8_lossy(&uuid).into_owned();
        if !digits.bytes().all(|digit| digit.is_ascii_alphanumeric()) {
            return Err(Trouble::Damaged("the label of the physical volume holds no UUID".into()));
        }
        // LVM2 writes it in groups of 6-4-4-4-4-4-6, lib/uuid/uuid.c.
        let cuts = [0, 6, 10, 14, 18, 22, 26, 32];
        let groups: Vec<&str> = cuts.windows(2).map(|cut| &digits[cut[0]..cut[1]]).collect();
        let refusal =
            "its volume group must be renamed in all its volumes at once; `vgimportclone` does that".to_owned();
        return Ok(Some(Found {
            format: Format::Lvm,
            variant: "LVM2_member".into(),
            ids: vec![Id { name: "uuid".into(), value: groups.join("-") }],
            label: None,
            refusal: Some(refusal),
        }));
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_read_and_refused() {
        let mut disk = vec![0; 2048];
        assert_eq!(probe(disk.as_slice()).unwrap(), None);
        disk[512..520].copy_from_slice(b"LABELONE");
        disk[532] = 32;
        disk[536..544].copy_from_slice(b"LVM2 001");
        assert!(probe(disk.as_slice()).is_err());
        disk[544..576].copy_from_slice(b"abcdefGHIJklmnOPQRstuvWXYZ012345");
        let found = probe(disk.as_slice()).unwrap().unwrap();
        assert_eq!(found.ids[0].value, "abcdef-GHIJ-klmn-OPQR-stuv-WXYZ-012345");
        assert!(found.refusal.is_some());
        // An offset that leads out of the sector.
        disk[534] = 255;
        assert!(probe(disk.as_slice()).is_err());
    }
}

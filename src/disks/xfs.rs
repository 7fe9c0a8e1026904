// SPDX-License-Identifier: MIT OR Apache-2.0
//! XFS: the UUID in the superblock of every allocation group and in the head of the log.
//!
//! Offsets and features are those of `struct xfs_dsb` in the kernel's fs/xfs/libxfs/xfs_format.h. Version 5 writes its
//! UUID into every metadata block; there the old one stays as `sb_meta_uuid` (Linux 4.3, GRUB 2.04) and only the
//! superblocks get the new one. The kernel refuses a log whose head has a UUID other than the primary superblock's, but
//! takes one without (`xlog_header_check_mount`), so the log loses its UUID first and gets the new one last.

mod log;

use uuid::Uuid;

use super::fields::{array, be16, be32, be64, patch, put, text, uuid, write};
use super::{Blocks, Format, Found, Id, Patch, SectorWrite, Trouble, crc, read};

const MAGIC: &[u8; 4] = b"XFSB";
const UUID: usize = 32;
const FEATURES_INCOMPAT: usize = 216;
const CRC: usize = 224;
const META_UUID: usize = 248;

/// `XFS_SB_FEAT_INCOMPAT_META_UUID`: the metadata carries `sb_meta_uuid`, not `sb_uuid`.
const INCOMPAT_META_UUID: u32 = 1 << 2;
/// `XFS_SB_FEAT_INCOMPAT_NEEDSREPAIR`.
const INCOMPAT_NEEDSREPAIR: u32 = 1 << 4;
/// Up to `XFS_SB_FEAT_INCOMPAT_PARENT`; the features after it, metadir and zoned, put superblocks elsewhere too.
const INCOMPAT_KNOWN: u32 = 0xff;
/// Up to `XFS_SB_FEAT_RO_COMPAT_INOBTCNT`.
const RO_COMPAT_KNOWN: u32 = 0xf;

/// `XFS_MIN_AG_BYTES`.
const AG_BYTES_MIN: u64 = 1 << 24;
/// `XFS_MAX_LOG_BYTES` is two gibibytes less one block.
const LOG_BYTES_MAX: u64 = 1 << 31;

/// What stands at the start of the device.
///
/// # Errors
/// [`Trouble::Damaged`] when a superblock or the log is not sound, [`Trouble::Unreadable`] when it cannot be read.
pub fn probe(blocks: &(impl Blocks + ?Sized)) -> Result<Option<Found>, Trouble> {
    if blocks.size() < 512 || !read(blocks, 0, 512)?.starts_with(MAGIC) {
        return Ok(None);
    }
    let primary = Superblock::primary(blocks)?;
    let refusal = match primary.unchangeable().and_then(|()| Survey::of(blocks, primary.clone())) {
        Ok(_) => None,
        Err(Trouble::Refused(why)) => Some(why),
        Err(trouble) => return Err(trouble),
    };
    let mut ids = vec![Id { name: "uuid".into(), value: primary.uuid().to_string() }];
    if primary.meta_uuid() != primary.uuid() {
        ids.push(Id { name: "meta-uuid".into(), value: primary.meta_uuid().to_string() });
    }
    let label = Some(text(&primary.sector, 108, 12)).filter(|label| !label.is_empty());
    let variant = if primary.v5() { "5" } else { "4" };
    Ok(Some(Found { label, refusal, ..Found::of(Format::Xfs, variant, ids) }))
}

/// The writes that give the filesystem the UUID `new`; none when it has it everywhere.
///
/// # Errors
/// [`Trouble::Refused`] with a log that must be replayed first, an external log, a realtime device, or a feature that
/// is not known here; [`Trouble::Damaged`] and [`Trouble::Unreadable`] as [`probe`].
pub fn plan(blocks: &(impl Blocks + ?Sized), new: Uuid) -> Result<Patch, Trouble> {
    if new.is_nil() {
        return Err(Trouble::Refused("XFS takes the nil UUID for no UUID".into()));
    }
    let primary = Superblock::primary(blocks)?;
    primary.unchangeable()?;
    let survey = Survey::of(blocks, primary)?;
    let old = survey.primary.uuid();
    let logged = survey.head.uuid();
    // `new` is what xfs_admin(8), killed, leaves: it rewrites the log before the superblock.
    if !logged.is_nil() && logged != old && logged != new {
        return Err(Trouble::Damaged(format!(
            "the log of this XFS belongs to the filesystem {logged}, not to {old}: the kernel does not mount it"
        )));
    }
    // While the primary keeps its id, the log may keep one that fits.
    let without = if old == new { survey.head.sectors.clone() } else { survey.head.with(Uuid::nil()) };
    let head = survey.head.offset;
    Ok(patch([
        vec![write(head, &survey.head.sectors, without.clone())],
        vec![survey.primary.renamed(new)],
        survey.secondaries.iter().map(|superblock| superblock.renamed(new)).collect(),
        vec![write(head, &without, survey.head.with(new))],
    ]))
}

/// All that a change touches.
struct Survey {
    primary: Superblock,
    secondaries: Vec<Superblock>,
    head: log::Head,
}

impl Survey {
    fn of(blocks: &(impl Blocks + ?Sized), primary: Superblock) -> Result<Survey, Trouble> {
        let secondaries =
            (1..primary.ag_count()).map(|ag| primary.secondary(blocks, ag)).collect::<Result<Vec<_>, _>>()?;
        let (start, length) = primary.log()?;
        let head = log::head(blocks, start, length, primary.sector_size())?;
        Ok(Survey { primary, secondaries, head })
    }
}

/// One superblock, as it stands.
#[derive(Clone)]
struct Superblock {
    offset: u64,
    sector: Vec<u8>,
}

impl Superblock {
    /// The superblock of the first allocation group, which is the one that is mounted, of sound geometry.
    fn primary(blocks: &(impl Blocks + ?Sized)) -> Result<Superblock, Trouble> {
        let start = read(blocks, 0, 512)?;
        let size = be16(&start, 102);
        if !start.starts_with(MAGIC) || !size.is_power_of_two() || !(512..=32768).contains(&size) {
            return Err(damaged("the superblock has no magic or no sector size"));
        }
        let primary = Superblock { offset: 0, sector: read(blocks, 0, size.into())? };
        primary.sound("the primary superblock")?;
        let (block, groups) = (primary.block_size(), primary.ag_count());
        if !block.is_power_of_two() || !(512..=65536).contains(&block) || u64::from(size) > block {
            return Err(damaged("the superblock has no block size"));
        }
        let (group, total) = (u64::from(be32(&primary.sector, 84)), be64(&primary.sector, 8));
        // Neither product overflows: both factors are of 32 bits.
        let fits = group * block >= AG_BYTES_MIN
            && total > u64::from(groups).saturating_sub(1) * group
            && total <= u64::from(groups) * group;
        if !fits {
            return Err(damaged("its allocation groups do not add up to its size"));
        }
        if total.checked_mul(block).is_none_or(|bytes| bytes > blocks.size()) {
            return Err(damaged("it is longer than its device"));
        }
        Ok(primary)
    }

    /// The copy in another allocation group; only its ids may differ from the primary's.
    fn secondary(&self, blocks: &(impl Blocks + ?Sized), ag: u32) -> Result<Superblock, Trouble> {
        let offset = u64::from(ag) * u64::from(be32(&self.sector, 84)) * self.block_size();
        let secondary = Superblock { offset, sector: read(blocks, offset, self.sector.len())? };
        let name = format!("the superblock of allocation group {ag}");
        secondary.sound(&name)?;
        // Block size, sizes, log, allocation groups, version and sector size.
        let same = [4..32, 48..56, 84..100, 102..104, 124..125]
            .into_iter()
            .all(|range| self.sector.get(range.clone()) == secondary.sector.get(range));
        if !same || self.v5() != secondary.v5() || (self.v5() && self.meta_uuid() != secondary.meta_uuid()) {
            return Err(damaged(&format!("{name} is not of the primary's filesystem")));
        }
        Ok(secondary)
    }

    /// Magic, version and checksum.
    fn sound(&self, name: &str) -> Result<(), Trouble> {
        let version = be16(&self.sector, 100) & 0xf;
        if !self.sector.starts_with(MAGIC) || !(4..=5).contains(&version) {
            return Err(damaged(&format!("{name} has no magic or no version")));
        }
        if self.v5() && array(&self.sector, CRC) != checksum(&self.sector) {
            return Err(damaged(&format!("{name} has a wrong checksum")));
        }
        Ok(())
    }

    /// Refuses what a change of these sectors alone would break.
    fn unchangeable(&self) -> Result<(), Trouble> {
        let refuse = |why: &str| Err(Trouble::Refused(why.into()));
        if self.sector.get(126) != Some(&0) {
            return refuse("mkfs.xfs did not end: the filesystem is marked as in the making");
        }
        if be64(&self.sector, 48) == 0 {
            return refuse("its log is on another device, which no superblock names: use xfs_admin -U with that log");
        }
        if be64(&self.sector, 16) != 0 {
            return refuse("it has a realtime device: use xfs_admin -U");
        }
        if !self.v5() {
            return Ok(());
        }
        let incompat = be32(&self.sector, FEATURES_INCOMPAT);
        if incompat & INCOMPAT_NEEDSREPAIR != 0 {
            return refuse("it is marked as in need of repair: run xfs_repair first");
        }
        if incompat & !INCOMPAT_KNOWN != 0 || be32(&self.sector, 212) & !RO_COMPAT_KNOWN != 0 {
            return refuse("it has features that are not known here: use xfs_admin -U of its own xfsprogs");
        }
        Ok(())
    }

    fn v5(&self) -> bool {
        be16(&self.sector, 100) & 0xf == 5
    }

    fn block_size(&self) -> u64 {
        be32(&self.sector, 4).into()
    }

    fn sector_size(&self) -> u64 {
        be16(&self.sector, 102).into()
    }

    fn ag_count(&self) -> u32 {
        be32(&self.sector, 88)
    }

    fn uuid(&self) -> Uuid {
        uuid(&self.sector, UUID)
    }

    fn has_meta_uuid(&self) -> bool {
        self.v5() && be32(&self.sector, FEATURES_INCOMPAT) & INCOMPAT_META_UUID != 0
    }

    /// What the metadata blocks carry.
    fn meta_uuid(&self) -> Uuid {
        uuid(&self.sector, if self.has_meta_uuid() { META_UUID } else { UUID })
    }

    /// Start and length in bytes of the log.
    fn log(&self) -> Result<(u64, u64), Trouble> {
        let bad = || damaged("its log is not inside an allocation group");
        // A filesystem block number is the group's number, then sb_agblklog bits of the block in it.
        let (number, shift) = (be64(&self.sector, 48), u32::from(array::<1>(&self.sector, 124)[0]));
        let group = u64::from(be32(&self.sector, 84));
        let mask = 1_u64.checked_shl(shift).filter(|reach| (group..=1 << 32).contains(reach)).ok_or_else(bad)? - 1;
        let (ag, first) = (number >> shift, number & mask);
        let length = u64::from(be32(&self.sector, 96));
        // Superblock, AGF, AGI and AGFL have the first four sectors of a group (`XFS_SB_DADDR` to `XFS_AGFL_DADDR`).
        let behind = first * self.block_size() >= 4 * self.sector_size();
        let inside = ag < self.ag_count().into() && behind && first + length <= group;
        let bytes = length * self.block_size();
        if !inside || bytes == 0 || bytes > LOG_BYTES_MAX {
            return Err(bad());
        }
        Ok(((ag * group + first) * self.block_size(), bytes))
    }

    /// This superblock with the UUID `new`.
    fn renamed(&self, new: Uuid) -> SectorWrite {
        let mut after = self.sector.clone();
        put(&mut after, UUID, new.as_bytes());
        if self.v5() {
            let meta = self.meta_uuid();
            let incompat = be32(&after, FEATURES_INCOMPAT);
            let (incompat, stored) = if meta == new {
                (incompat & !INCOMPAT_META_UUID, Uuid::nil())
            } else {
                (incompat | INCOMPAT_META_UUID, meta)
            };
            put(&mut after, FEATURES_INCOMPAT, &incompat.to_be_bytes());
            put(&mut after, META_UUID, stored.as_bytes());
            let sum = checksum(&after);
            put(&mut after, CRC, &sum);
        }
        write(self.offset, &self.sector, after)
    }
}

/// The checksum over the sector with its own field as zeros (`xfs_start_cksum_update`).
fn checksum(sector: &[u8]) -> [u8; 4] {
    let (head, rest) = sector.split_at(CRC.min(sector.len()));
    let register = crc::crc32c_raw(crc::crc32c_raw(!0, head), &[0; 4]);
    (!crc::crc32c_raw(register, rest.get(4..).unwrap_or_default())).to_le_bytes()
}

fn damaged(what: &str) -> Trouble {
    Trouble::Damaged(format!("this XFS is not sound, {what}: see xfs_repair(8)"))
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! `storage-names`: the names by which storage targets and file servers know this host.
//!
//! Two hosts of one name at a target take each other's sessions, and two NFSv4 clients of one name each other's locks. But
//! the target knows the old name, and gives the new one nothing, so a name changes only where the policy says so, and never
//! where the guest's own file systems come over it.

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use super::Regenerator;
use crate::catalogue::Value;
use crate::formats::assignments;
use crate::formats::fstab::{self, Source};
use crate::plan::derive::hex;
use crate::plan::draft::{Draft, Purpose};
use crate::plan::{Kind, Severity};

/// open-iscsi's iscsid(8); Debian's package makes a name where this says `GenerateName=yes`.
const ISCSI: &str = "etc/iscsi/initiatorname.iscsi";
/// With it, Debian's initramfs logs in by the name that stands in it.
const ISCSI_BOOT: &str = "etc/iscsi/iscsi.initramfs";
/// nvme-connect(1).
const NVME_ID: &str = "etc/nvme/hostid";
const NVME_NAME: &str = "etc/nvme/hostnqn";
/// gethostid(3): four bytes. ZFS takes a pool with another one for another machine's, zgenhostid(8).
const HOST_ID: &str = "etc/hostid";
const POOLS: &str = "etc/zfs/zpool.cache";
/// Parameter of the module nfs that names the client to servers, kernel-parameters.txt.
const NFS_PARAMETER: &str = "nfs4_unique_id=";
/// Where parameters of modules stand, modprobe.d(5).
const MODULES: &str = "etc/modprobe.d/*.conf";

/// The regenerator.
pub struct StorageNames;

/// What becomes of a name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Wish {
    #[default]
    Report,
    Renew,
    Keep,
}

/// The policy table.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Options {
    iscsi: Wish,
    nvme: Wish,
    hostid: Wish,
    nfs: Wish,
}

impl Regenerator for StorageNames {
    const ID: &'static str = "storage-names";
    const ABOUT: &'static str = "Report, or renew, the names by which storage targets and file servers know the host";
    const EXAMPLE: &'static str = r#"[storage-names]
# Each "report", "renew" or "keep". A target gives nothing to a name that it does not know, so let it know the new one; a
# name by which one of the guest's own file systems is reached stays in any case.
# The iSCSI initiator name in /etc/iscsi/initiatorname.iscsi.
iscsi = "report"
# The NVMe host id and the NVMe qualified name made of it, /etc/nvme/hostid and /etc/nvme/hostnqn.
nvme = "report"
# /etc/hostid, gethostid(3); it stays where there are pools of ZFS.
hostid = "report"
# The NFSv4 client's name, the parameter nfs4_unique_id of the module nfs in /etc/modprobe.d.
nfs = "report"
"#;
    type Options = Options;

    fn plan(options: &Options, draft: &mut Draft<'_>) -> Result<()> {
        // A template that is sealed keeps its names: each clone renews them.
        if draft.purpose == Purpose::Seal {
            return Ok(());
        }
        let over_network = over_network(draft)?;
        iscsi(draft, options.iscsi, over_network.as_deref())?;
        nvme(draft, options.nvme, over_network.as_deref())?;
        host_id(draft, options.hostid)?;
        nfs(draft, options.nfs)
    }
}

fn iscsi(draft: &mut Draft<'_>, wish: Wish, over_network: Option<&str>) -> Result<()> {
    let Some(text) = draft.text(ISCSI)? else { return Ok(()) };
    let Some(old) = assignments::value(&text, "InitiatorName").filter(|name| !name.is_empty()) else { return Ok(()) };
    let boots = if draft.exists(ISCSI_BOOT)? { Some("the initramfs logs in by it") } else { None };
    let new = |draft: &Draft<'_>| Value::Iqn.derive(draft.seed(), "iscsi", &old);
    let Some(new) = decide(draft, ISCSI, "iSCSI initiator name", wish, over_network.or(boots), &old, new)? else {
        return Ok(());
    };
    draft.write(ISCSI, assignments::set(&text, "InitiatorName", &new), "the name that iSCSI targets know the host by")
}

/// The two files are of one UUID: a target may refuse a host whose name and id do not go together.
fn nvme(draft: &mut Draft<'_>, wish: Wish, over_network: Option<&str>) -> Result<()> {
    for (path, what, value) in [(NVME_ID, "NVMe host id", Value::Uuid), (NVME_NAME, "NVMe qualified name", Value::Nqn)]
    {
        let Some(text) = draft.text(path)? else { continue };
        let old = text.trim();
        if old.is_empty() {
            continue;
        }
        let new = |draft: &Draft<'_>| value.derive(draft.seed(), "nvme", &old.to_lowercase());
        if let Some(new) = decide(draft, path, what, wish, over_network, old, new)? {
            draft.write(path, text.replacen(old, &new, 1), "the name that NVMe targets know the host by")?;
        }
    }
    Ok(())
}

fn host_id(draft: &mut Draft<'_>, wish: Wish) -> Result<()> {
    let Some(bytes) = draft.read(HOST_ID)?.filter(|bytes| bytes.len() == 4) else { return Ok(()) };
    let pools = if draft.exists(POOLS)? { Some("pools of ZFS were imported under it") } else { None };
    let new = |draft: &Draft<'_>| Ok(hex(&draft.seed().derive("hostid")[..4]));
    let Some(new) = decide(draft, HOST_ID, "host id", wish, pools, &hex(&bytes), new)? else { return Ok(()) };
    let bytes = u32::from_str_radix(&new, 16).context("reading the host id that was decided")?.to_be_bytes();
    draft.write(HOST_ID, bytes, "the number that gethostid(3) gives")
}

fn nfs(draft: &mut Draft<'_>, wish: Wish) -> Result<()> {
    let fstab = fstab::entries(&draft.text("etc/fstab")?.unwrap_or_default());
    let is_root = |entry: &fstab::Entry| entry.kind.starts_with("nfs") && matches!(entry.target.as_str(), "/" | "/usr");
    let root = if fstab.iter().any(is_root) { Some("the root comes over NFS") } else { None };
    for path in draft.glob(MODULES)? {
        let Some(text) = draft.text(&path)? else { continue };
        let line = text.lines().find(|line| {
            let mut words = line.split_whitespace();
            (words.next(), words.next()) == (Some("options"), Some("nfs"))
        });
        let Some((_, rest)) = line.and_then(|line| line.split_once(NFS_PARAMETER)) else { continue };
        let old = rest.split_whitespace().next().unwrap_or_default().trim_matches('"');
        if old.is_empty() {
            continue;
        }
        let new = |draft: &Draft<'_>| Value::Uuid.derive(draft.seed(), "nfs", "");
        if let Some(new) = decide(draft, &path, "NFSv4 client name", wish, root, old, new)? {
            let is = |quote: &str| format!("{NFS_PARAMETER}{quote}{old}");
            let after = text.replace(&is(""), &format!("{NFS_PARAMETER}{new}"));
            let after = after.replace(&is("\""), &format!("{NFS_PARAMETER}\"{new}"));
            draft.write(&path, after, "the name that NFS servers know the client by")?;
        }
    }
    Ok(())
}

/// The new name, where it is to be written; else what is to be told of the old one is told.
fn decide(
    draft: &mut Draft<'_>,
    path: &str,
    what: &str,
    wish: Wish,
    stays: Option<&str>,
    old: &str,
    new: impl FnOnce(&Draft<'_>) -> Result<String>,
) -> Result<Option<String>> {
    let place = format!("/{path}");
    match (wish, stays) {
        (Wish::Keep, _) => Ok(None),
        (Wish::Report, _) => {
            let message =
                format!("the {what} {old} is the template's; [storage-names] renews it, once the other side knows");
            draft.finding(Severity::Warning, &place, message);
            Ok(None)
        }
        (Wish::Renew, Some(why)) => {
            draft.finding(Severity::Error, &place, format!("the {what} {old} is left as it is: {why}"));
            Ok(None)
        }
        (Wish::Renew, None) => {
            let renewal = draft.decide(Kind::Residue, &place, Some(old.to_owned()), |draft| Ok(Some(new(draft)?)))?;
            // It was made by this run already, or set by somebody since.
            Ok(renewal.new.filter(|_| renewal.old.as_deref() == Some(old)))
        }
    }
}

/// Which of the guest's own file systems is reached over a network, as a disk.
fn over_network(draft: &Draft<'_>) -> Result<Option<String>> {
    let used = draft.guest.disks.parts().map(|(_, part)| part);
    let mut used = used.filter(|part| !part.usage.mount_points.is_empty() || !part.usage.carries.is_empty());
    if let Some(part) = used.find(|part| part.usage.network) {
        return Ok(Some(format!("{} is reached by it", part.place())));
    }
    let fstab = fstab::entries(&draft.text("etc/fstab")?.unwrap_or_default());
    let entry = fstab.into_iter().find(|entry| entry.has("_netdev") && !matches!(entry.source, Source::Other(_)));
    Ok(entry.map(|entry| format!("{} is reached by it", entry.target)))
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! The plan: everything a run will change, as inert data.

pub mod derive;
pub mod draft;
pub mod key;
pub mod probed;
pub mod show;

use anyhow::Result;
use serde::ser::SerializeMap as _;
use serde::{Deserialize, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

use crate::disks::{Format, Id};
use crate::root::{self, Meta};

use derive::{Seed, hex};
use key::{KeySpec, Secret};
use probed::Wanted;

/// Version of the plan's JSON form.
pub const VERSION: u32 = 1;

/// Kind of an identity; the word stands in policy, plan, journal and documentation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// machine-id(5).
    MachineId,
    /// The static host name, hostname(5).
    Hostname,
    /// The hardware address of a network link.
    MacAddress,
    /// An address of IPv4 or IPv6.
    IpAddress,
    /// A host key of sshd(8); its value is the SHA-256 fingerprint.
    SshHostKey,
    /// An OpenPGP certificate with a secret key; its value is the fingerprint.
    PgpKey,
    /// A file system, by the UUID or serial number that blkid(8) shows.
    FsUuid,
    /// Swap space.
    SwapUuid,
    /// A LUKS container.
    LuksUuid,
    /// A physical volume, volume group or logical volume of LVM2.
    LvmUuid,
    /// An array of Linux software RAID.
    MdUuid,
    /// A partition table: its disk GUID, or the signature of an MBR.
    DiskId,
    /// A partition, by the id that blkid(8) shows as `PARTUUID`.
    PartitionId,
    /// Something a clone must not keep; its value is a digest.
    Residue,
}

impl Kind {
    /// The kinds whose identities lie on disks.
    pub const ON_DISKS: [Kind; 7] =
        [Kind::FsUuid, Kind::SwapUuid, Kind::LuksUuid, Kind::LvmUuid, Kind::MdUuid, Kind::DiskId, Kind::PartitionId];

    /// Does it stand in no file, but on a disk?
    pub fn is_on_disk(self) -> bool {
        Kind::ON_DISKS.contains(&self)
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.serialize(out)
    }
}

/// One identity before and after: the single source of truth of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Renewal {
    /// What kind of identity it is.
    pub kind: Kind,
    /// Which one of its kind, usually an absolute path.
    pub subject: String,
    /// The template's value; none where it had none.
    pub old: Option<String>,
    /// The guest's own value; none where the identity just goes, and for a key until it is made.
    pub new: Option<String>,
}

impl Renewal {
    /// Is it about the same identity? A disk has another name in another boot, so its ids are known by themselves.
    pub fn is_of(&self, other: &Renewal) -> bool {
        let same = if self.kind.is_on_disk() { self.old == other.old } else { self.subject == other.subject };
        self.kind == other.kind && same
    }
}

/// What stood at a path before, or stands there now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Nothing.
    Absent,
    /// A file with this content.
    File(Content),
    /// A symbolic link with this target.
    Link(String),
    /// A file too large to be read, with its size in bytes.
    Large(u64),
    /// A directory, whatever is in it.
    Directory,
    /// A fifo, socket or device.
    Special,
}

impl State {
    /// What stands at a path of the guest now, its last link not followed.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn of(root: &root::Root, path: &str) -> Result<State> {
        let Some(stat) = root.stat(path)? else { return Ok(State::Absent) };
        Ok(match stat.kind {
            root::Kind::Directory => State::Directory,
            root::Kind::Special => State::Special,
            root::Kind::Link => State::Link(root.read_link(path)?.unwrap_or_default()),
            root::Kind::File if stat.size > root::LARGEST_FILE => State::Large(stat.size),
            root::Kind::File => match root.read(path)? {
                Some(bytes) => State::File(Content { bytes, public: stat.meta.is_public() }),
                None => State::Absent,
            },
        })
    }
}

/// The content of a file; it is shown only when everybody may read it.
#[derive(Clone, PartialEq, Eq)]
pub struct Content {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// May everybody read the file, so that its content may be shown?
    pub public: bool,
}

impl Content {
    /// The text that may be shown, if any.
    pub fn shown(&self) -> Option<&str> {
        if self.public { std::str::from_utf8(&self.bytes).ok() } else { None }
    }

    /// SHA-256 in hexadecimal digits.
    pub fn digest(&self) -> String {
        hex(&Sha256::digest(&self.bytes))
    }
}

/// What is written down of a secret, to tell it from its successor: 64 bits of a digest. A secret of more bits than that
/// cannot be found by it.
pub fn tag(secret: &[u8]) -> String {
    let digest = Sha256::new().chain_update("reseal secret\0").chain_update(secret).finalize();
    hex(&digest[..8])
}

/// A secret must not reach a log through `{:?}` either.
impl std::fmt::Debug for Content {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.shown() {
            Some(text) => write!(out, "{text:?}"),
            None => write!(out, "{} bytes, sha256 {}", self.bytes.len(), self.digest()),
        }
    }
}

impl Serialize for Content {
    fn serialize<S: Serializer>(&self, out: S) -> std::result::Result<S::Ok, S::Error> {
        let mut map = out.serialize_map(None)?;
        match self.shown() {
            Some(text) => map.serialize_entry("text", text)?,
            None => {
                map.serialize_entry("sha256", &self.digest())?;
                map.serialize_entry("size", &self.bytes.len())?;
            }
        }
        map.end()
    }
}

/// Everything that reseal can do to a guest. This list is the trusted base: each variant is shown, checked for being
/// done, done, and serialised, and nothing else in the program changes a guest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "do", rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum Change {
    /// Replaces (or makes) a file in one step, with the xattrs of the one it replaces.
    Write { path: String, before: State, after: Content, meta: Meta },
    /// Removes a file or link, or a directory with all that is in it.
    Remove { path: String, before: State },
    /// Renames.
    Move { from: String, to: String },
    /// Copies a file, or a directory with the files and directories in it, so that the old name can go later.
    Copy { from: String, to: String },
    /// Puts a symbolic link in place of what is there.
    Link { path: String, before: State, target: String },
    /// Makes a key; the secret is born in the executor.
    Keygen { path: String, key: KeySpec, before: State, meta: Meta },
    /// Replaces the secret in a file, which is known by its [`tag`]; the new one is born in the executor.
    Secret { path: String, secret: Secret, old: String },
    /// Runs a program of the guest that makes the file at `path` anew, which is known by its [`tag`].
    Run { path: String, command: Vec<String>, old: String },
    /// Puts the key that the file `from` holds into a key store, in place of the certificates `old` and the files `gone`.
    KeyStore { path: String, form: StoreForm, from: String, old: Vec<String>, gone: Vec<String> },
    /// Gives what lies on devices or images other ids: one verb for every on-disk format.
    SetId { format: Format, places: Vec<Place>, via: Via },
    /// Writes the public halves of host keys where other machines can pick them up.
    Publish { path: String, format: PublicForm, keys: Vec<String>, name: String, meta: Meta },
    /// Changes a variable of the firmware.
    Firmware(Firmware),
    /// Changes the running system.
    Live(Live),
}

impl Change {
    /// The file that it changes, where it is one.
    pub fn path(&self) -> Option<&str> {
        match self {
            Change::Write { path, .. }
            | Change::Remove { path, .. }
            | Change::Link { path, .. }
            | Change::Keygen { path, .. }
            | Change::Secret { path, .. }
            | Change::Run { path, .. }
            | Change::KeyStore { path, .. }
            | Change::Publish { path, .. } => Some(path),
            Change::Move { from, .. } | Change::Copy { from, .. } => Some(from),
            Change::SetId { .. } | Change::Firmware(_) | Change::Live(_) => None,
        }
    }
}

/// A variable of UEFI firmware, as efivarfs shows it: four bytes of attributes, then the value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Firmware {
    /// `Boot0003`.
    pub name: String,
    /// What the plan found; none where there is no such variable.
    pub before: Option<Content>,
    /// What it is to be; none where it goes.
    pub after: Option<Content>,
    /// Only when the ids on disks have changed?
    pub settles: bool,
}

impl Firmware {
    /// Where the variables are, as files.
    pub const DIR: &str = "sys/firmware/efi/efivars";
    /// What follows the name in the file's: the name space of the specification, `EFI_GLOBAL_VARIABLE`.
    pub const GLOBAL: &str = "-8be4df61-93ca-11d2-aa0d-00e098032b8c";

    /// A change of a variable that everybody may read.
    pub fn new(name: &str, before: Option<Vec<u8>>, after: Option<Vec<u8>>) -> Firmware {
        let content = |bytes: Option<Vec<u8>>| bytes.map(|bytes| Content { bytes, public: true });
        Firmware { name: name.to_owned(), before: content(before), after: content(after), settles: false }
    }

    /// The file that is the variable.
    pub fn path(&self) -> String {
        format!("{}/{}{}", Firmware::DIR, self.name, Firmware::GLOBAL)
    }
}

/// Which program's key store it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "of", rename_all = "kebab-case")]
pub enum StoreForm {
    /// A home of GnuPG with the key ring of this name.
    GnuPg { ring: String },
    /// Directories of Sequoia's: secret keys, certificates, revocations.
    Sequoia { secrets: String, certificates: String, revocations: String },
}

/// Where ids are set: what lies at an offset of a device or image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Place {
    /// The device or image.
    pub device: String,
    /// In bytes.
    pub offset: u64,
    /// In bytes.
    pub size: u64,
    /// The ids that the plan found.
    pub before: Vec<Id>,
    /// The ids that it shall have.
    pub after: Vec<Id>,
}

/// How ids are set, by the use that is made of the device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "by", rename_all = "kebab-case")]
pub enum Via {
    /// By writing sectors: nobody uses it.
    Sectors,
    /// By writing sectors of a table whose partitions are in use: the kernel read it once, and reads it no more.
    Shared,
    /// By the kernel, which has the file system mounted there.
    Kernel { mounted: String },
    /// By writing sectors while what reseal has mounted for itself is unmounted.
    Aside,
    /// By writing sectors while the root file system, and all that is mounted in it, is unmounted: in the initramfs.
    Root,
    /// By writing sectors while the swap space is not in use.
    Swap,
    /// By writing sectors while what stands on it is stopped, in this order; afterwards it starts again.
    Stopped { stop: Vec<Active>, start: Vec<Active> },
}

/// Something that the kernel has put together from devices.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum Active {
    /// A volume group, by its name.
    VolumeGroup { name: String },
    /// An array of software RAID: its device, and those of its members.
    Array { device: String, members: Vec<String> },
}

/// How public host keys are written down for others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PublicForm {
    /// Lines of a `known_hosts` file, sshd(8).
    KnownHosts,
    /// DNS records, RFC 4255.
    Sshfp,
}

/// A change of the running system that no file brings about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "what", rename_all = "kebab-case")]
pub enum Live {
    /// The kernel's host name, sethostname(2).
    Hostname { before: String, after: String },
    /// The id that PID 1 and journald hold; both read it once, when they start.
    MachineId { before: String, after: String },
    /// Rules of udev(7) that keep the old names of devices alive beside the new ones, for the rest of this boot: PID 1
    /// unmounts what is mounted by a name that goes.
    DeviceNames { rules: String },
    /// Units that PID 1 made from files that have changed: all are read anew, these started.
    Units { start: Vec<String> },
    /// The address of a network link that is down.
    LinkAddress { link: String, before: String, after: String },
    /// Names and addresses that udev gave these links by files that have changed: it goes over them once more.
    LinkSetup { links: Vec<String> },
}

impl Stage {
    /// Is it one whose run leaves its journal to a stage that follows in the same boot, and that looks at disks alone?
    pub fn is_of_disks(self) -> bool {
        matches!(self, Stage::Initrd | Stage::Early)
    }
}

impl Live {
    /// Must it not fail? What follows would take away names that the running system waits for.
    pub fn is_needed(&self) -> bool {
        matches!(self, Live::DeviceNames { .. })
    }
}

/// When in the life of a boot a step may run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// In the initramfs, which can take the root file system away for the time of a change.
    Initrd,
    /// Before other file systems are mounted.
    Early,
    /// All files are there; before anything reads an identity.
    System,
    /// What had to wait for the kernel's random pool.
    Keys,
}

/// One change, who wants it, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Step {
    /// When it may run.
    pub stage: Stage,
    /// What it does.
    #[serde(flatten)]
    pub change: Change,
    /// The regenerators that asked for it.
    pub by: Vec<String>,
    /// The reason, for the reader.
    pub why: String,
}

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Good to know.
    Note,
    /// Something is left that a person should look at.
    Warning,
    /// An identity was not reset.
    Error,
}

/// What the operator should know: nothing is skipped in silence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Finding {
    /// How much it matters.
    pub severity: Severity,
    /// The regenerator that found it.
    pub by: String,
    /// What it is about, usually an absolute path.
    pub subject: String,
    /// The sentence.
    pub message: String,
}

impl Plan {
    /// A plan without steps, that says why.
    ///
    /// # Errors
    /// When the kernel gives no random bytes.
    pub fn nothing(message: &str) -> Result<Plan> {
        let (by, subject) = ("run".to_owned(), "/etc/reseal/stamp".to_owned());
        let finding = Finding { severity: Severity::Note, by, subject, message: message.to_owned() };
        let seed = Seed::random(b"")?;
        Ok(Plan {
            version: VERSION,
            seed,
            renewals: Vec::new(),
            probes: Vec::new(),
            steps: Vec::new(),
            findings: vec![finding],
        })
    }
}

/// The finished list: what a dry run prints and a run carries out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// [`VERSION`].
    pub version: u32,
    /// Where new public values are derived from; it makes no keys.
    pub seed: Seed,
    /// Every identity that changes.
    pub renewals: Vec<Renewal>,
    /// Addresses that others are asked for before anything is done; the plan is then made again, with the answers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub probes: Vec<Wanted>,
    /// What is done, in order.
    pub steps: Vec<Step>,
    /// What the operator should know.
    pub findings: Vec<Finding>,
}

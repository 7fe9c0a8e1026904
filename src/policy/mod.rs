// SPDX-License-Identifier: MIT OR Apache-2.0
//! What to reset and how: TOML from several places, merged, with every mistake named by file and line.

pub mod instance;
mod layer;
mod path_pattern;

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::guest::instance::{Answer, Instance};
use crate::guest::machine::{Part, Place};
use crate::regenerators::{self, PIPELINE};
use crate::root::{LARGEST_FILE, Root};
use instance::{INSTANCE_EXAMPLE, InstancePolicy};
use layer::{Layer, check_id};

pub use layer::PolicyError;
pub use path_pattern::PathPattern;

/// Where policy is read from in a guest, weakest first; `policy.toml` stands alone, `.d` are all `*.toml` files by name.
const PLACES: [(&str, bool); 4] = [
    ("usr/lib/reseal/policy.d", false),
    ("etc/reseal/policy.toml", true),
    ("etc/reseal/policy.d", true),
    ("run/reseal/policy.d", false),
];

/// A place that `run.where` names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Where {
    /// A virtual machine.
    Vm,
    /// A container.
    Container,
    /// A machine of its own.
    BareMetal,
}

/// What a boot does on a copy of a machine that has its identity, stamp and all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnClone {
    /// It gets an identity of its own.
    Reset,
    /// It is told, and nothing else.
    #[default]
    Warn,
    /// Nothing.
    Ignore,
}

/// Table `[run]`: what holds for the whole run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct RunPolicy {
    /// Where the boot unit acts by itself.
    pub r#where: Vec<Where>,
    /// If not empty, only these regenerators run.
    pub only: Vec<String>,
    /// These regenerators do not run.
    pub skip: Vec<String>,
    /// How long a first boot waits for devices that fstab(5) and crypttab(5) name, in seconds.
    pub device_wait: u32,
    /// What a boot does where the stamp is of another machine.
    pub on_clone: OnClone,
    /// What tells this machine from the stamp's.
    pub clone_by: Vec<Part>,
}

impl Default for RunPolicy {
    fn default() -> RunPolicy {
        RunPolicy {
            r#where: vec![Where::Vm, Where::Container],
            only: Vec::new(),
            skip: Vec::new(),
            device_wait: 10,
            on_clone: OnClone::Warn,
            clone_by: Part::USUAL.to_vec(),
        }
    }
}

impl RunPolicy {
    /// Does the boot unit act in such a place? Where it is not known, no.
    pub fn acts_in(&self, place: Place) -> bool {
        let named = match place {
            Place::Vm => Where::Vm,
            Place::Container => Where::Container,
            Place::BareMetal => Where::BareMetal,
            Place::Offline | Place::Unknown => return false,
        };
        self.r#where.contains(&named)
    }
}

/// The annotated `[run]` table of the shipped policy and the reference.
pub const RUN_EXAMPLE: &str = r#"[run]
# Where the boot unit acts by itself: "vm", "container", "bare-metal". Elsewhere it says so and does nothing, unless
# the machine was sealed.
where = ["vm", "container"]
# If not empty, only these regenerators run.
only = []
# These regenerators do not run.
skip = []
# How long a first boot waits for the devices that fstab and crypttab name before it changes ids, in seconds.
device-wait = 10
# What a boot does on a copy of a machine that has its identity, which the stamp shows, because it knows the machine that it
# was made on: "reset" gives the copy an identity of its own, "warn" says so and does nothing, "ignore" does nothing. A
# backup that is restored into a new machine looks like any other copy.
on-clone = "warn"
# What makes it another machine. "smbios-uuid": its UUID; "disks": none of its disks' serial numbers and WWNs is known;
# "macs": none of its interfaces' permanent addresses is known; "generation-id": Microsoft's VM generation id, where it can
# be read, which differs in a snapshot that is restored, too. One of them is enough, and what cannot be read counts for
# nothing: a migration, a restored backup, one more disk or interface make no other machine.
clone-by = ["smbios-uuid", "disks", "macs"]
"#;

/// Table `[scan]`: what `reseal scan` lets stand.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct ScanPolicy {
    /// Places where an old value may stand.
    pub allow: Vec<PathPattern>,
}

impl ScanPolicy {
    /// May an old value stand at this path, which has no slash in front?
    pub fn allows(&self, path: &str) -> bool {
        self.allow.iter().any(|pattern| pattern.matches(path))
    }
}

/// The annotated `[scan]` table of the shipped policy and the reference.
pub const SCAN_EXAMPLE: &str = r#"[scan]
# Places where `reseal scan` lets old values stand: absolute paths with * and ? inside a component, ** for any number of
# components, as in ["/var/log/**"]. They are counted, and are no failure.
allow = []
"#;

/// The merged policy.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    /// Table `[run]`.
    pub run: RunPolicy,
    /// Table `[instance]`.
    pub instance: InstancePolicy,
    /// Table `[scan]`.
    pub scan: ScanPolicy,
    tables: BTreeMap<String, toml::Table>,
    /// What `--set` said: it stands above instance data, too.
    set: BTreeMap<String, toml::Table>,
    /// The files and options it was made from, weakest first.
    pub sources: Vec<String>,
}

impl Policy {
    /// Reads and merges the policy of a guest: the files below its root, or `file` in place of those under /etc, then
    /// the `--set` assignments.
    ///
    /// # Errors
    /// [`PolicyError`] for a mistake in it, otherwise what reading gave.
    pub fn load(root: &Root, file: Option<&Path>, set: &[String]) -> Result<Policy> {
        let mut layers = Vec::new();
        for (place, under_etc) in PLACES {
            if under_etc && file.is_some() {
                continue;
            }
            let paths = if place.ends_with(".toml") {
                vec![place.to_owned()]
            } else {
                let names = root.list(place)?.into_iter().filter(|name| name.ends_with(".toml"));
                names.map(|name| format!("{place}/{name}")).collect()
            };
            for path in paths {
                if let Some(bytes) = root.read(&path)? {
                    layers.push(Layer::of(&format!("/{path}"), bytes)?);
                }
            }
        }
        if let Some(file) = file {
            let name = file.display().to_string();
            let read = || -> Result<Vec<u8>> {
                let size = std::fs::metadata(file)?.len();
                anyhow::ensure!(
                    size <= LARGEST_FILE,
                    "{size} bytes, more than the {LARGEST_FILE} that a policy may have"
                );
                Ok(std::fs::read(file)?)
            };
            let bytes = read().with_context(|| format!("reading {name}"))?;
            // The runtime drop-ins still come after it.
            let at = layers.iter().position(|layer| layer.name.starts_with("/run/")).unwrap_or(layers.len());
            layers.insert(at, Layer::of(&name, bytes)?);
        }
        let mut above = Vec::new();
        for assignment in set {
            above.push(Layer::assignment(assignment)?);
        }
        let set = Policy::merge(&above)?.tables;
        layers.extend(above);
        Ok(Policy { set, ..Policy::merge(&layers)? })
    }

    /// A policy from one text, as a test or a program has it.
    ///
    /// # Errors
    /// [`PolicyError`].
    pub fn parse(name: &str, text: &str) -> Result<Policy> {
        Policy::merge(&[Layer { name: name.to_owned(), text: text.to_owned() }])
    }

    /// What a boot does with a policy that cannot be read: machine-id, SSH keys and seeds by built-in defaults, nothing
    /// else. A clone that shares a key is worse than one that an admin must look at.
    pub fn fallback() -> Policy {
        let only = regenerators::WITHOUT_POLICY.map(str::to_owned).to_vec();
        let instance = InstancePolicy::nobody();
        Policy { run: RunPolicy { only, ..RunPolicy::default() }, instance, ..Policy::default() }
    }

    /// Lays one more text over the policy, as a program has it.
    ///
    /// # Errors
    /// [`PolicyError`].
    pub fn overlay(&mut self, text: &str) -> Result<()> {
        let above = Policy::parse("built in", text)?;
        for (id, table) in above.tables {
            overlay(self.tables.entry(id).or_default(), table);
        }
        Ok(())
    }

    /// Leaves what is on these devices as it is, whatever the policy says, in the tables of these regenerators.
    ///
    /// # Errors
    /// Never with paths of devices.
    pub fn keep_devices(&mut self, ids: &[&str], devices: &[String]) -> Result<()> {
        for id in ids.iter().filter(|id| PIPELINE.iter().any(|entry| entry.id == **id && entry.has_options())) {
            let table = self.tables.entry((*id).to_owned()).or_default();
            let keep = table.entry("keep").or_insert_with(|| toml::Value::Array(Vec::new()));
            let list = keep.as_array_mut().context("`keep` is no list")?;
            list.extend(devices.iter().map(|device| toml::Value::String(device.clone())));
        }
        Ok(())
    }

    /// The policy with what instance data sets of it, which is only what it allows; `--set` stands above.
    ///
    /// # Errors
    /// [`PolicyError`] that names the source.
    pub fn told(&self, instance: &Instance) -> Result<Policy> {
        let mut policy = self.clone();
        for (key, Answer { value, from }) in &instance.policy {
            let Some((table, key)) = key.split_once('.') else { continue };
            let keys = toml::Table::from_iter([(key.to_owned(), value.clone())]);
            let layer = toml::Table::from_iter([(table.to_owned(), toml::Value::Table(keys.clone()))]);
            Layer { name: from.clone(), text: toml::to_string(&layer)? }.check()?;
            overlay(policy.tables.entry(table.to_owned()).or_default(), keys);
        }
        for (id, table) in &self.set {
            overlay(policy.tables.entry(id.clone()).or_default(), table.clone());
        }
        Ok(policy)
    }

    /// Did `--set` give this key?
    pub fn was_set(&self, table: &str, key: &str) -> bool {
        self.set.get(table).is_some_and(|table| table.contains_key(key))
    }

    /// Leaves the firmware's boot entries, and what they name, as they are, whatever the policy says.
    pub fn keep_boot_entries(&mut self) {
        let table = self.tables.entry("disk-ids".to_owned()).or_default();
        table.insert("boot-entries".to_owned(), "keep".into());
    }

    fn merge(layers: &[Layer]) -> Result<Policy> {
        let mut merged = toml::Table::new();
        for layer in layers {
            layer.check()?;
            let table: toml::Table = toml::from_str(&layer.text).map_err(|error| layer.error(&error))?;
            overlay(&mut merged, table);
        }
        let mut policy =
            Policy { sources: layers.iter().map(|layer| layer.name.clone()).collect(), ..Policy::default() };
        for (key, value) in merged {
            match (key.as_str(), value) {
                ("run", value) => policy.run = value.try_into().context("in the merged table [run]")?,
                ("instance", value) => {
                    policy.instance = value.try_into().context("in the merged table [instance]")?;
                }
                ("scan", value) => policy.scan = value.try_into().context("in the merged table [scan]")?,
                (_, toml::Value::Table(table)) => {
                    policy.tables.insert(key, table);
                }
                _ => {}
            }
        }
        Ok(policy)
    }

    /// The options of one regenerator.
    ///
    /// # Errors
    /// When the merged table does not fit, which each layer's own check has ruled out.
    pub fn options<T: DeserializeOwned + Default>(&self, id: &str) -> Result<T> {
        match self.tables.get(id) {
            Some(table) => table.clone().try_into().with_context(|| format!("in the merged table [{id}]")),
            None => Ok(T::default()),
        }
    }

    /// Keeps to these regenerators, or leaves these out, beside what `[run]` says.
    ///
    /// # Errors
    /// [`PolicyError`] for an unknown id.
    pub fn select(&mut self, only: &[String], skip: &[String]) -> Result<()> {
        for (option, ids) in [("--only", only), ("--skip", skip)] {
            for id in ids {
                check_id(id, option, None)?;
            }
        }
        if !only.is_empty() {
            self.run.only = only.to_vec();
        }
        self.run.skip.extend_from_slice(skip);
        Ok(())
    }

    /// Does this regenerator run?
    pub fn selects(&self, id: &str) -> bool {
        let named = |list: &[String]| list.iter().any(|name| name == id);
        // What quotes a renewed identity goes with it, whatever identities are chosen.
        let always = id == regenerators::REFERENCES;
        (always || self.run.only.is_empty() || named(&self.run.only)) && !named(&self.run.skip)
    }

    /// Every setting in force, as TOML.
    ///
    /// # Errors
    /// When a table cannot be written, which no valid one gives.
    pub fn show(&self) -> Result<String> {
        let mut all = toml::Table::new();
        all.insert("run".to_owned(), toml::Value::try_from(&self.run)?);
        all.insert("instance".to_owned(), toml::Value::try_from(&self.instance)?);
        all.insert("scan".to_owned(), toml::Value::try_from(&self.scan)?);
        for entry in PIPELINE {
            if let Some(table) = (entry.effective)(self)? {
                all.insert(entry.id.to_owned(), table);
            }
        }
        Ok(toml::to_string_pretty(&all)?)
    }

    /// The shipped policy: every setting with its explanation, at its default and commented out.
    pub fn shipped() -> String {
        let mut text = String::from(
            "# Policy of reseal, see reseal-policy(5). Every setting stands here at its default, commented out.\n\
             # Later files win: /usr/lib/reseal/policy.d/*.toml, this file, /etc/reseal/policy.d/*.toml,\n\
             # /run/reseal/policy.d/*.toml. `reseal policy check` reads them all.\n",
        );
        let ours = [RUN_EXAMPLE, INSTANCE_EXAMPLE].into_iter();
        let examples = ours.chain(PIPELINE.iter().map(|entry| entry.example)).chain([SCAN_EXAMPLE]);
        for example in examples {
            text.push('\n');
            for line in example.lines() {
                let setting = !line.is_empty() && !line.starts_with(['#', '[']) || line.starts_with("[[");
                text.push_str(if setting { "#" } else { "" });
                text.push_str(line);
                text.push('\n');
            }
        }
        text
    }
}

/// Later wins: tables are merged, everything else is replaced.
fn overlay(below: &mut toml::Table, above: toml::Table) {
    for (key, value) in above {
        match (below.get_mut(&key), value) {
            (Some(toml::Value::Table(below)), toml::Value::Table(above)) => overlay(below, above),
            (_, value) => {
                below.insert(key, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        Policy::parse("policy.toml", text).unwrap_err().to_string()
    }

    #[test]
    fn mistakes_are_named_with_line_and_the_nearest_name() {
        assert_eq!(error("\n[hostnam]\n"), "policy.toml: line 2: unknown table `hostnam`; did you mean `hostname`?");
        let message = error("[machine-id]\nmoode = \"keep\"\n");
        assert!(message.starts_with("policy.toml: line 2: unknown field `moode`"), "{message}");
        assert!(message.ends_with("did you mean `mode`?"), "{message}");
        assert!(error("[machine-id]\nmode = 3\n").starts_with("policy.toml: line 2: "));
        assert!(error("[machine-id]\nmode = \"kep\"\n").ends_with("did you mean `keep`?"));
        assert!(error("[hostname]\nname = \"-bad-\"\n").contains("line 2"));
        assert!(error("[run]\nonly = [\"hostnme\"]\n").ends_with("did you mean `hostname`?"));
        assert!(error("x = = 1").contains("line 1"));
    }

    #[test]
    fn later_layers_win_and_set_takes_plain_words() {
        let layers = [
            Layer { name: "a".into(), text: "[hostname]\nname = \"a\"\nmode = \"set\"\n".into() },
            Layer::assignment("hostname.name=web-1").unwrap(),
            Layer::assignment("run.skip=[\"residue\"]").unwrap(),
        ];
        let policy = Policy::merge(&layers).unwrap();
        assert_eq!(policy.tables["hostname"]["name"].as_str(), Some("web-1"));
        assert_eq!(policy.tables["hostname"]["mode"].as_str(), Some("set"));
        assert!(!policy.selects("residue"));
        assert!(policy.selects("hostname"));
        assert!(Layer::assignment("novalue").is_err());
    }

    #[test]
    fn the_shipped_policy_changes_nothing_and_its_examples_are_the_defaults() {
        let shipped = Policy::parse("shipped", &Policy::shipped()).unwrap();
        assert_eq!(shipped.show().unwrap(), Policy::default().show().unwrap());
        let mut examples = [RUN_EXAMPLE, INSTANCE_EXAMPLE, SCAN_EXAMPLE].concat();
        PIPELINE.iter().for_each(|entry| examples.push_str(entry.example));
        let examples = Policy::parse("examples", &examples).unwrap();
        assert_eq!(examples.show().unwrap(), Policy::default().show().unwrap());
    }
}

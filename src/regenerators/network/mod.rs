// SPDX-License-Identifier: MIT OR Apache-2.0
//! The network configuration of a guest: every file of every system that configures links, read once, and edited.

mod places;

use anyhow::{Context as _, Result};

use crate::formats::network::{self, Definition, Edit, LinkKind, Mac, Syntax, What};
use crate::guest::links::{Charge, Configurator, Link};
use crate::plan::draft::Draft;
use crate::plan::{Live, Severity};

/// All files that configure links.
#[derive(Debug, Default)]
pub struct Survey {
    /// In the order of their paths.
    pub files: Vec<File>,
    /// The systems that the guest starts.
    pub charge: Charge,
}

/// One file.
#[derive(Debug)]
pub struct File {
    /// Where it is, root-relative.
    pub path: String,
    /// Whose it is.
    pub owner: Configurator,
    /// How it is written.
    pub syntax: Syntax,
    /// What it holds.
    pub text: String,
    /// What it says of links.
    pub definitions: Vec<Definition>,
    /// What is to be changed in it.
    pub edits: Vec<Edit>,
}

impl Survey {
    /// Reads them all.
    ///
    /// # Errors
    /// With file and line: a file that is not understood might hold just what must change.
    pub fn of(draft: &Draft<'_>) -> Result<Survey> {
        let mut files = Vec::new();
        for (path, owner, syntax) in places::files(draft)? {
            let read = || -> Result<(String, Vec<Definition>)> {
                let text = draft.text(&path)?.unwrap_or_default();
                let name = path.rsplit('/').next().unwrap_or(&path);
                // Most of cloud-init's files are about anything else, and may be written in any way.
                let is_about = owner != Configurator::CloudInit
                    || text.lines().any(|line| line.starts_with("network:") || line.starts_with("version:"));
                let definitions = if is_about { syntax.read(name, &text)? } else { Vec::new() };
                Ok((text, definitions))
            };
            let (text, definitions) = read().with_context(|| format!("reading /{path}"))?;
            files.push(File { path, owner, syntax, text, definitions, edits: Vec::new() });
        }
        let mut survey = Survey { files, charge: Charge::of(&draft.guest.root) };
        survey.name_drop_ins();
        survey.mark_virtual();
        Ok(survey)
    }

    /// A drop-in is about what the file is about that it adds to.
    fn name_drop_ins(&mut self) {
        for index in 0..self.files.len() {
            let path = &self.files[index].path;
            let Some((main, _)) = path.rsplit_once(".d/") else { continue };
            let main = self.files.iter().find(|file| file.path == main && file.owner == Configurator::Networkd);
            let Some(main) = main.and_then(|file| file.definitions.first()) else { continue };
            let (id, kind, mut selector) = (main.id.clone(), main.kind, main.selector.clone());
            for definition in &mut self.files[index].definitions {
                selector.names.extend(definition.selector.names.iter().cloned());
                definition.selector = selector.clone();
                (definition.id, definition.kind) = (id.clone(), kind);
            }
        }
    }

    /// What a .netdev makes is no device, though the .network that configures it does not say so.
    fn mark_virtual(&mut self) {
        let made = self.files.iter().filter(|file| file.syntax == Syntax::NetworkdNetdev);
        let made: Vec<String> =
            made.flat_map(|file| &file.definitions).map(|definition| definition.id.clone()).collect();
        for definition in self.files.iter_mut().flat_map(|file| &mut file.definitions) {
            if definition.selector.names.iter().any(|name| made.contains(name)) {
                definition.kind = LinkKind::Virtual;
            }
        }
    }

    /// Drafts what was changed.
    ///
    /// # Errors
    /// When a file cannot be replaced.
    pub fn write(&self, draft: &mut Draft<'_>, why: &str) -> Result<()> {
        for file in self.files.iter().filter(|file| !file.edits.is_empty()) {
            let new = network::apply(&file.text, &file.edits);
            if new != file.text {
                draft.write(&file.path, new, &format!("{why}; {} reads it", file.owner))?;
            }
        }
        Ok(())
    }

    /// Was a file of this owner changed?
    pub fn touches(&self, owner: Configurator) -> bool {
        self.files.iter().any(|file| file.owner == owner && !file.edits.is_empty())
    }

    /// The systems that configure a link by a definition of their own, each once. netplan's own files for networkd and
    /// NetworkManager lie in /run, and do not count.
    pub fn in_charge(&self, link: &Link) -> Vec<Configurator> {
        let mut found: Vec<Configurator> = Vec::new();
        for file in &self.files {
            let started = self.charge.is_unknown() || self.charge.has(file.owner);
            let configures =
                started && !matches!(file.syntax, Syntax::Link | Syntax::UdevRules | Syntax::NetworkManagerConf);
            if configures
                && file.owner != Configurator::CloudInit
                && !found.contains(&file.owner)
                && file.definitions.iter().any(|definition| selects(definition, link))
            {
                found.push(file.owner);
            }
        }
        found.sort_unstable();
        found
    }

    /// What the running system still has from files that changed: netplan's are made into others anew, and by hand the rest
    /// is left to the person.
    pub fn tell_running(&self, draft: &mut Draft<'_>) {
        if !draft.guest.running {
            return;
        }
        if self.touches(Configurator::Netplan) && draft.guest.systemd {
            // Its generator has run by now, systemd.generator(7), and made files of the old names and addresses.
            draft.live(Live::Units { start: Vec::new() }, "netplan's generator reads its files again");
        }
        let changed = self.files.iter().find(|file| !file.edits.is_empty()).map(|file| file.path.clone());
        if let (Some(path), None) = (changed, draft.guest.stage) {
            draft.finding(
                Severity::Note,
                &format!("/{path}"),
                "takes effect when the network is configured anew, at the next boot at the latest",
            );
        }
    }

    /// Tells of links that several systems configure.
    pub fn tell_rivals(&self, draft: &mut Draft<'_>) {
        for link in draft.guest.links.list.clone() {
            let rivals = self.in_charge(&link);
            if rivals.len() > 1 {
                let names: Vec<String> = rivals.iter().map(Configurator::to_string).collect();
                let message = format!("{} configure this link, each on its own", names.join(" and "));
                draft.finding(Severity::Warning, &link.name, message);
            }
        }
    }
}

/// Does a definition mean this link, as far as name, place and address tell?
pub fn selects(definition: &Definition, link: &Link) -> bool {
    let macs: Vec<Mac> = definition.all(What::Match).filter_map(network::Item::mac).collect();
    let selector = &definition.selector;
    let by_mac = macs.is_empty() || [link.mac, link.permanent_mac].into_iter().flatten().any(|mac| macs.contains(&mac));
    // What is given a name by a definition has it only after that; what else it has was asked already.
    let by_name = selector.names.is_empty() || any(&selector.names, &link.name);
    let by_path = selector.paths.is_empty() || link.path.as_ref().is_some_and(|path| any(&selector.paths, path));
    let says = !macs.is_empty() || !selector.names.is_empty() || !selector.paths.is_empty();
    says && by_mac && by_name && by_path
}

/// Is a word one of these, or does it match one of these patterns? A `!` before all turns it round, systemd.network(5).
fn any(patterns: &[String], word: &str) -> bool {
    let negated = patterns.first().is_some_and(|first| first.starts_with('!'));
    let fits = |pattern: &String| {
        let pattern = pattern.trim_start_matches('!');
        pattern == word || glob::Pattern::new(pattern).is_ok_and(|pattern| pattern.matches(word))
    };
    patterns.iter().any(fits) != negated
}

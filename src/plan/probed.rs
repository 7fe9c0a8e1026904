// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the network is asked of addresses before a link takes them, and what it answered: a fact that a run decides by, and
//! remembers.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::formats::network::Mac;

/// Addresses that one link shall have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Wanted {
    /// The link's name.
    pub link: String,
    /// The addresses.
    pub addresses: Vec<IpAddr>,
}

/// An address that somebody else has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Clash {
    /// The link on which it was asked for.
    pub link: String,
    /// The address.
    pub address: IpAddr,
    /// Who has it, or wants it at this very moment.
    pub owner: Mac,
}

/// A link on which nobody could be asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Unasked {
    /// The link.
    pub link: String,
    /// The sentence that says why.
    pub why: String,
}

/// What was asked, and all answers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Probed {
    /// What was asked: it is not asked again.
    pub asked: Vec<Wanted>,
    /// What others have.
    pub clashes: Vec<Clash>,
    /// Links of which nothing is known.
    pub unasked: Vec<Unasked>,
}

impl Probed {
    /// Who has an address on a link, if anybody.
    pub fn owner(&self, link: &str, address: IpAddr) -> Option<Mac> {
        self.clashes.iter().find(|clash| clash.link == link && clash.address == address).map(|clash| clash.owner)
    }

    /// Was it asked who has an address on a link?
    pub fn was_asked(&self, link: &str, address: IpAddr) -> bool {
        self.asked.iter().any(|asked| asked.link == link && asked.addresses.contains(&address))
    }

    /// Was nothing asked?
    pub fn is_empty(&self) -> bool {
        self.asked.is_empty()
    }

    /// Takes further answers in.
    pub fn add(&mut self, more: Probed) {
        self.asked.extend(more.asked);
        self.clashes.extend(more.clashes);
        self.unasked.extend(more.unasked);
    }
}

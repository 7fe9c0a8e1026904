// SPDX-License-Identifier: MIT OR Apache-2.0
//! Files `ifcfg-*` in both dialects: Red Hat's (sysconfig.txt of initscripts, nm-settings-ifcfg-rh(5)) and SUSE's (ifcfg(5) of
//! wicked); and the files of routes beside them.

use std::ops::Range;

use anyhow::{Result, bail};

use super::sections::{line_end, words};
use super::{Addresses, Definition, Edit, Family, Group, Item, LinkKind, Mac, Place, Selector, Syntax, What, fit};

/// A line `KEY=value`.
struct Entry<'t> {
    key: &'t str,
    item: Item,
}

/// The one definition of a file.
///
/// # Errors
/// With the line: on what is no assignment, on a quote without its end, and on a key that stands twice.
pub fn read(syntax: Syntax, name: &str, text: &str) -> Result<Vec<Definition>> {
    let entries = entries(text)?;
    let value = |key: &str| entries.iter().find(|entry| entry.key == key).map(|entry| entry.item.value.as_str());
    let link = name.strip_prefix("ifcfg-").unwrap_or(name);
    let link = value("DEVICE").filter(|device| syntax == Syntax::IfcfgRedHat && !device.is_empty()).unwrap_or(link);
    let link = link.split(':').next().unwrap_or(link).to_owned();
    let is_on = |key: &str| value(key).is_some_and(|word| ["yes", "y", "true", "1"].contains(&word));
    let made =
        ["BONDING_OPTS", "BONDING_MODULE_OPTS", "ETHERDEVICE", "BRIDGE_PORTS", "TEAM_CONFIG", "TUNNEL", "VLAN_ID"];
    let kinds = ["Bond", "Bridge", "Vlan", "Team", "OVSBridge", "IPIP", "GRE"];
    let is_made = made.iter().any(|key| value(key).is_some())
        || ["VLAN", "BONDING_MASTER"].iter().any(|key| is_on(key))
        || syntax == Syntax::IfcfgSuse && is_on("BRIDGE")
        || value("TYPE").is_some_and(|kind| kinds.iter().any(|known| known.eq_ignore_ascii_case(kind)));
    let mut items = Vec::new();
    for Entry { key, item } in &entries {
        match what(syntax, key) {
            Some(What::Search) => items.extend(each_word(text, item, What::Search)),
            Some(What::Address) if *key == "IPV6ADDR_SECONDARIES" => items.extend(each_word(text, item, What::Address)),
            Some(what) if !item.value.is_empty() => items.push(Item { what, ..item.clone() }),
            _ => {}
        }
    }
    Ok(vec![Definition {
        id: link.clone(),
        kind: if is_made { LinkKind::Virtual } else { LinkKind::Device },
        selector: Selector { names: vec![link], ..Selector::default() },
        items,
        end: Some(Place { at: text.len(), indent: String::new() }),
        line: 1,
    }])
}

fn what(syntax: Syntax, key: &str) -> Option<What> {
    let is_red_hat = syntax == Syntax::IfcfgRedHat;
    // IPADDR, IPADDR0 and IPADDR_1 alike.
    let stem = key.split('_').next().unwrap_or(key).trim_end_matches(|c: char| c.is_ascii_digit());
    Some(match (key, stem) {
        ("HWADDR", _) if is_red_hat => What::Match,
        ("MACADDR", _) if is_red_hat => What::Pin,
        ("LLADDR", _) if !is_red_hat => What::Pin,
        ("IPV6ADDR" | "IPV6ADDR_SECONDARIES", _) => What::Address,
        ("IPV6_DEFAULTGW", _) => What::Gateway,
        ("BOOTPROTO", _) => What::Method,
        ("DOMAIN", _) => What::Search,
        (_, "IPADDR") => What::Address,
        (_, "PREFIX" | "PREFIXLEN" | "NETMASK") => What::Prefix,
        (_, "GATEWAY") => What::Gateway,
        (_, "DNS") => What::Dns,
        (_, "BROADCAST" | "NETWORK") => What::Derived,
        _ => return None,
    })
}

fn entries(text: &str) -> Result<Vec<Entry<'_>>> {
    let (mut at, mut line, mut found) = (0, 0, Vec::<Entry<'_>>::new());
    while at < text.len() {
        let start = at;
        at = line_end(text, at);
        line += 1;
        let body = text[start..at].trim_end();
        let bare = body.trim_start();
        if bare.is_empty() || bare.starts_with('#') {
            continue;
        }
        let Some(equals) = body.find('=') else { bail!("line {line}: neither an assignment nor a comment") };
        let key = body[..equals].trim();
        let key = key.strip_prefix("export ").unwrap_or(key).trim();
        let from = start + equals + 1;
        let raw = &text[from..start + body.len()];
        let (value, span) = match raw.chars().next() {
            Some(quote @ ('"' | '\'')) => match raw[1..].find(quote) {
                Some(length) => (&raw[1..=length], from + 1..from + 1 + length),
                None => bail!("line {line}: a quote without its end"),
            },
            // A comment may follow.
            _ => {
                let value = raw.split_whitespace().next().filter(|_| !raw.starts_with([' ', '\t'])).unwrap_or_default();
                (value, from..from + value.len())
            }
        };
        if found.iter().any(|entry| entry.key == key) {
            bail!("line {line}: `{}` stands twice", crate::plan::show::printable(key));
        }
        let item = Item {
            what: What::Method,
            value: value.to_owned(),
            piece: span.clone(),
            group: Group::alone(start..at),
            span,
            quote: "",
            line,
        };
        found.push(Entry { key, item });
    }
    Ok(found)
}

fn each_word(text: &str, item: &Item, what: What) -> Vec<Item> {
    let all: Vec<(&str, Range<usize>)> = words(text, item.span.clone()).collect();
    let one = |(index, (value, span)): (usize, &(&str, Range<usize>))| Item {
        what,
        value: (*value).to_owned(),
        piece: if index == 0 { span.clone() } else { all[index - 1].1.end..span.end },
        span: span.clone(),
        group: Group { size: all.len(), ..item.group.clone() },
        ..item.clone()
    };
    all.iter().enumerate().map(one).collect()
}

/// The line that pins an address.
pub fn pin(syntax: Syntax, mac: Mac) -> String {
    if syntax == Syntax::IfcfgRedHat { format!("MACADDR={mac}\n") } else { format!("LLADDR='{mac}'\n") }
}

/// See [`Syntax::readdress`].
///
/// # Errors
/// When the file cannot be read; and where there are routes, which have files of their own.
pub fn readdress(syntax: Syntax, text: &str, to: &Addresses, only_clear: bool) -> Result<Vec<Edit>> {
    let mut change = Change { syntax, entries: entries(text)?, edits: Vec::new(), lines: Vec::new(), only_clear };
    if !to.routes.is_empty() && !only_clear {
        bail!("line 1: routes stand in a file of their own, which is not made");
    }
    match syntax {
        Syntax::IfcfgRedHat => change.red_hat(to),
        _ => change.suse(to),
    }
    Ok(change.into_edits(text))
}

/// See [`Syntax::stay_down`]: sysconfig.txt of initscripts, ifcfg(5) of wicked.
///
/// # Errors
/// With the line.
pub fn stay_down(syntax: Syntax, text: &str) -> Result<Vec<Edit>> {
    let (key, word) = if syntax == Syntax::IfcfgRedHat { ("ONBOOT", "no") } else { ("STARTMODE", "off") };
    let mut change =
        Change { syntax, entries: entries(text)?, edits: Vec::new(), lines: Vec::new(), only_clear: false };
    change.set(key, word);
    Ok(change.into_edits(text))
}

struct Change<'t> {
    syntax: Syntax,
    entries: Vec<Entry<'t>>,
    edits: Vec<Edit>,
    lines: Vec<String>,
    only_clear: bool,
}

impl Change<'_> {
    fn into_edits(self, text: &str) -> Vec<Edit> {
        let Change { mut edits, lines, .. } = self;
        if !lines.is_empty() {
            let end = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
            let lines: String = lines.iter().map(|line| format!("{line}\n")).collect();
            edits.push(Edit { span: text.len()..text.len(), new: format!("{end}{lines}") });
        }
        edits
    }

    fn get(&self, key: &str) -> Option<&Item> {
        self.entries.iter().find(|entry| entry.key == key).map(|entry| &entry.item)
    }

    /// Gives a key a value; an empty one takes it away.
    fn set(&mut self, key: &str, value: &str) {
        let value = if self.only_clear { "" } else { value };
        let edit = match self.get(key) {
            Some(item) if item.value == value => return,
            Some(item) if value.is_empty() => item.without(),
            Some(item) => item.with(value),
            None if value.is_empty() => return,
            None => {
                let quote = if self.syntax == Syntax::IfcfgSuse { "'" } else { "" };
                let quote = if value.contains(' ') && quote.is_empty() { "\"" } else { quote };
                self.lines.push(format!("{key}={quote}{value}{quote}"));
                return;
            }
        };
        self.edits.push(edit);
    }

    /// The suffixes under which addresses of a family stand, in their order.
    fn suffixes(&self, family: Option<Family>) -> Vec<String> {
        let fits = |item: &Item| family.is_none_or(|family| item.ip().is_some_and(|ip| Family::of(ip) == family));
        let all = self
            .entries
            .iter()
            .filter(|entry| what(self.syntax, entry.key) == Some(What::Address) && fits(&entry.item));
        all.filter_map(|entry| entry.key.strip_prefix("IPADDR")).map(str::to_owned).collect()
    }

    /// Puts addresses of a family under the suffixes that it has, and under new ones.
    fn addresses(&mut self, family: Family, to: &Addresses) {
        let mut suffixes = self.suffixes(Some(family));
        let wanted = if self.only_clear { Vec::new() } else { to.of(family) };
        let mut number = 0;
        while suffixes.len() < wanted.len() {
            let next = match (number, self.syntax) {
                (0, _) => String::new(),
                (number, Syntax::IfcfgRedHat) => number.to_string(),
                (number, _) => format!("_{number}"),
            };
            number += 1;
            if !suffixes.contains(&next) && self.get(&format!("IPADDR{next}")).is_none() {
                suffixes.push(next);
            }
        }
        for (index, suffix) in suffixes.iter().enumerate() {
            let key = format!("IPADDR{suffix}");
            let lengths = [format!("PREFIX{suffix}"), format!("PREFIXLEN{suffix}"), format!("NETMASK{suffix}")];
            let Some(one) = wanted.get(index) else {
                for key in lengths.iter().chain([&key]) {
                    self.set(key, "");
                }
                continue;
            };
            let changes = self.get(&key).is_none_or(|item| item.ip() != Some(one.address));
            let is_apart = lengths.iter().any(|key| self.get(key).is_some()) || self.syntax == Syntax::IfcfgRedHat;
            let has_slash = self.get(&key).is_some_and(|item| item.value.contains('/'));
            self.set(&key, &if is_apart && !has_slash { one.address.to_string() } else { one.to_string() });
            let mask = one.netmask().map_or(one.length.to_string(), |mask| mask.to_string());
            let length = one.length.to_string();
            for (key, value) in lengths.iter().zip([&length, &length, &mask]) {
                // A mask may be written as a length.
                let value = if self.get(key).is_some_and(|item| !item.value.contains('.')) { &length } else { value };
                if self.get(key).is_some() {
                    self.set(key, value);
                }
            }
            if is_apart && !has_slash && !lengths.iter().any(|key| self.get(key).is_some()) {
                self.set(&lengths[0], &length);
            }
            if changes {
                for key in ["BROADCAST", "NETWORK"] {
                    self.set(&format!("{key}{suffix}"), "");
                }
            }
        }
    }

    fn red_hat(&mut self, to: &Addresses) {
        if to.is_about(Family::V4) {
            self.addresses(Family::V4, to);
            if let Some(gateway) = to.gateways_wanted(Family::V4) {
                let key = if self.get("GATEWAY0").is_some() { "GATEWAY0" } else { "GATEWAY" };
                self.set(key, gateway.first().map_or("", String::as_str));
            }
            let now = self.get("BOOTPROTO").map_or("none", |item| item.value.as_str()).to_owned();
            let word = if to.of(Family::V4).is_empty() { "dhcp" } else { "none" };
            let is_static = |word: &str| ["none", "static", ""].contains(&word);
            if !self.only_clear && now != word && !(is_static(&now) && is_static(word)) {
                self.set("BOOTPROTO", word);
            }
        }
        if to.is_about(Family::V6) {
            let all: Vec<String> = to.of(Family::V6).iter().map(ToString::to_string).collect();
            self.set("IPV6ADDR", all.first().map_or("", String::as_str));
            self.set("IPV6ADDR_SECONDARIES", &all.get(1..).unwrap_or_default().join(" "));
            if let Some(gateway) = to.gateways_wanted(Family::V6) {
                self.set("IPV6_DEFAULTGW", gateway.first().map_or("", String::as_str));
            }
            if !self.only_clear {
                self.set("IPV6INIT", "yes");
                if to.dhcp6 || self.get("DHCPV6C").is_some() {
                    self.set("DHCPV6C", if to.dhcp6 { "yes" } else { "no" });
                }
            }
        }
        if !to.dns.is_empty() && !self.only_clear {
            let numbers: Vec<&str> = self.entries.iter().filter_map(|entry| entry.key.strip_prefix("DNS")).collect();
            let last = numbers.iter().filter_map(|number| number.parse::<usize>().ok()).max().unwrap_or(0);
            for number in 1..=last.max(to.dns.len()) {
                let server = to.dns.get(number - 1).map_or(String::new(), ToString::to_string);
                self.set(&format!("DNS{number}"), &server);
            }
        }
        if !to.search.is_empty() && !self.only_clear {
            self.set("DOMAIN", &to.search.join(" "));
        }
    }

    fn suse(&mut self, to: &Addresses) {
        for family in Family::ALL.into_iter().filter(|family| to.is_about(*family)) {
            self.addresses(family, to);
        }
        if self.only_clear {
            return;
        }
        let now = self.get("BOOTPROTO").map_or("static", |item| item.value.as_str()).to_owned();
        let asks = |family| match (to.is_about(family), family) {
            (true, family) => to.dhcp(family),
            (false, Family::V4) => ["dhcp", "dhcp4", "dhcp+autoip"].contains(&now.as_str()),
            (false, Family::V6) => ["dhcp", "dhcp6", "dhcp+autoip"].contains(&now.as_str()),
        };
        let word = match (asks(Family::V4), asks(Family::V6)) {
            (true, true) => "dhcp",
            (true, false) => "dhcp4",
            (false, true) => "dhcp6",
            (false, false) => "static",
        };
        if now != word {
            self.set("BOOTPROTO", word);
        }
    }
}

/// Files of routes: `default via 192.0.2.1 dev eth0` of Red Hat, `default 192.0.2.1 - eth0` of SUSE.
///
/// # Errors
/// Never; a line that is none is left alone.
pub fn read_routes(name: &str, text: &str) -> Result<Vec<Definition>> {
    let link = ["ifroute-", "route6-", "route-"].iter().find_map(|prefix| name.strip_prefix(prefix));
    let (mut at, mut line, mut found) = (0, 0, Vec::<Definition>::new());
    while at < text.len() {
        let start = at;
        at = line_end(text, at);
        line += 1;
        let body = text[start..at].trim_end();
        if body.trim_start().starts_with('#') {
            continue;
        }
        let all: Vec<(&str, Range<usize>)> = words(text, start..start + body.len()).collect();
        let Some((to, _)) = all.first() else { continue };
        let via = all.iter().position(|(word, _)| *word == "via").map_or(1, |at| at + 1);
        let Some((gateway, span)) = all.get(via).filter(|(word, _)| word.parse::<std::net::IpAddr>().is_ok()) else {
            continue;
        };
        let is_default = ["default", "0.0.0.0/0", "::/0"].contains(to);
        let named = all.get(3).map(|(word, _)| *word).filter(|word| *word != "-" && via == 1);
        let Some(link) = link.or(named) else { continue };
        let item = Item {
            what: if is_default { What::Gateway } else { What::Route },
            value: if is_default { (*gateway).to_owned() } else { format!("{to} {gateway}") },
            span: span.clone(),
            piece: span.clone(),
            group: Group::alone(start..at),
            quote: "",
            line,
        };
        match found.iter_mut().find(|definition| definition.id == link) {
            Some(definition) => definition.items.push(item),
            None => found.push(Definition {
                id: link.to_owned(),
                kind: LinkKind::Device,
                selector: Selector { names: vec![link.to_owned()], ..Selector::default() },
                items: vec![item],
                end: None,
                line,
            }),
        }
    }
    Ok(found)
}

/// See [`Syntax::readdress`]: only the default gateways that stand there.
pub fn reroute(definition: &Definition, to: &Addresses) -> Vec<Edit> {
    let mut edits = Vec::new();
    for family in Family::ALL.into_iter().filter(|family| to.is_about(*family)) {
        let of = |item: &&Item| item.ip().is_some_and(|ip| Family::of(ip) == family);
        if let Some(gateway) = to.gateways_wanted(family) {
            edits.extend(fit(&definition.all(What::Gateway).filter(of).collect::<Vec<_>>(), &gateway).0);
        }
    }
    edits
}

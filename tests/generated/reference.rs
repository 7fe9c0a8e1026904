// SPDX-License-Identifier: MIT OR Apache-2.0
//! The references in Markdown: policy, regenerators with the catalogue, and the README's table.

use std::fmt::Write as _;

use reseal::catalogue::{Catalogue, Residue};
use reseal::policy::instance::INSTANCE_EXAMPLE;
use reseal::policy::{RUN_EXAMPLE, SCAN_EXAMPLE};
use reseal::regenerators::{Entry, PIPELINE};
use serde::Serialize;

const NOTE: &str = "<!-- Generated: RESEAL_BLESS=1 cargo test --test generated -->\n";

const POLICY: &str = "\
Policy is TOML. Every setting has a default, so that an empty policy is a good one. `reseal policy default` prints all \
settings with their explanations, `reseal policy show` those in force, `reseal policy check` reads every file and names \
mistakes. The package installs `/etc/reseal/policy.toml` with every setting commented out.

## Files

Policy is merged from these places; later ones win:

1. The defaults below.
2. `/usr/lib/reseal/policy.d/*.toml`, by name: the vendor's.
3. `/etc/reseal/policy.toml`, then `/etc/reseal/policy.d/*.toml` by name: the administrator's.
4. `/run/reseal/policy.d/*.toml`, by name: for this boot.
5. `--set KEY=VALUE`, `--only` and `--skip` on the command line.

`--policy FILE` is read instead of the files below /etc. With `--root DIR` all these places are below DIR, but for FILE.

Tables are merged key by key; any other value, a list too, replaces the one before it.

## On the command line

`--set hostname.name=web-1` sets one key. The value is read as TOML, and as plain text where it is none:

```
reseal --dry-run --set 'run.skip=[\"residue\"]' --set hostname.name='web-{mac:6}'
```

`--only` takes the place of `run.only`; `--skip` adds to `run.skip`. Files that quote an identity are rewritten by the \
regenerator `references`, so `--only hostname` leaves /etc/hosts as it is, and `--only hostname,references` does not.

## Mistakes

An unknown table or key, a wrong type or an impossible value is an error with file, line and the nearest valid name; the \
exit status is 2, and nothing has been changed:

```
/etc/reseal/policy.toml: line 2: unknown table `hostnam`; did you mean `hostname`?
```

At boot nobody is there to mend it. Then reseal renews machine-id, credential secret, SSH host keys and residue by the \
built-in defaults, leaves everything else as it is, and says so on the console and in `reseal status`.
";

const INSTANCE: &str = "\
Who tells a clone who it is. Instance data may set its host name, its addresses, and those policy keys that `allow` names. \
Data that is malformed is an error that names its source, at boot a finding, and nothing of it counts; a source that is \
missing is passed over. Nothing is asked over the network. `reseal inspect` shows what the guest is told, and by whom.

A container has credentials, file and policy, an offline guest file, policy and a named drive. A host name from instance data goes before \
`hostname.name`, unless that was given with `--set`; `hostname.mode` and a domain that stays hold for both.

A value named `instance` has the form of /etc/reseal/instance.toml:

```toml
hostname = \"web-1\"
[[addresses]]
# Every fact that is given must hold: name, mac, path (udev's ID_PATH). None: the only link.
link = { mac = \"52:54:00:12:34:56\" }
addresses = [\"192.0.2.7/24\", \"2001:db8::7/64\"]
gateways = [\"192.0.2.1\"]
dns = [\"192.0.2.53\"]
search = [\"example.com\"]
routes = [{ to = \"198.51.100.0/24\", via = \"192.0.2.254\" }]
[[addresses]]
link = { name = \"eth1\" }
dhcp4 = true
[policy]
ssh-host-keys.types = [\"ed25519\"]
```
";

const CATALOGUE: &str = "\
## Entries of your own

Files `/usr/lib/reseal/catalogue.d/*.toml` and `/etc/reseal/catalogue.d/*.toml` add entries to the catalogue. A residue \
entry with the `id` of a built-in one takes its place.

```toml
[[residue]]
id = \"agent-id\"
about = \"Id under which the monitoring agent reports\"
# Absolute, with * and ? inside a component; ~/ is the home of root and of every user.
paths = [\"/var/lib/agent/id\", \"~/.agent/id\"]
# \"remove\", \"empty\", \"report\", \"renew\", which puts another value of the same form in its place, \"rekey\", which makes a
# private key in PEM and its self-signed certificate anew, or \"run\", which has a program make the file anew.
action = \"renew\"
# For renew: \"uuid\", \"hex-N\" and \"base64-N\" with N bytes, \"decimal-N\" and \"letters-N\" with N characters, \"iqn\" or
# \"nqn\"; if it is a secret, also \"password-N\", \"wireguard\" (a private key) or \"dropbear\" (a host key file).
value = \"uuid\"
# Where it stands, if not alone in its file: syntax \"assignment\" (key = value; SECTION/KEY for one section), \"json\",
# \"yaml\" (a line key: value) or \"xml\" (an element).
field = { syntax = \"json\", key = \"agent-id\" }
# A secret is drawn when it is written: no plan, record or message has it. It has at least 64 bits.
secret = false
# For rekey: the certificate's absolute path, or its name beside the key. It keeps subject, purposes and length of life; the
# host name in it is the new one. One that another key signed is left, and that is told.
# certificate = \"server.crt\"
# For run: an absolute path and arguments, which no shell reads. The entry's one path must be another file afterwards. It is
# run in a running system only, for 30 s at most; elsewhere, and when it fails, that is told.
# command = [\"/usr/bin/agent\", \"--new-id\"]
# While one of these runs it is left, and that is told: the unit could write back what it holds.
units = [\"agent.service\"]
# Applied when [residue] names the group, unless default is false.
group = \"core\"
default = true
# \"low\", \"medium\" or \"high\": how bad it is when two clones share it.
severity = \"high\"
source = \"agent(8)\"

[[reference]]
paths = [\"/etc/agent.conf\"]
# \"hostname\", \"machine-id\", or of disks: \"fs-uuid\", \"swap-uuid\", \"luks-uuid\", \"lvm-uuid\", \"md-uuid\", \"disk-id\",
# \"partition-id\".
kinds = [\"hostname\"]
# For names: \"hosts\", \"words\", or with fields \"keys\" and \"kernel-command-line\". For disks: \"device-tags\" and \"grub\" (with
# or without fields that hold a plain id), \"unit-names\", \"stale\" (the file goes when it quotes an old id) and \"report\".
format = \"keys\"
fields = [\"node-name\"]
source = \"agent.conf(5)\"
```
";

/// docs/policy.md, and the text of reseal-policy(5).
pub fn policy() -> String {
    let mut text = format!("# Policy\n\n{NOTE}\n{POLICY}");
    let _ = write!(text, "\n## run\n\nWhat holds for the whole run.\n\n```toml\n{RUN_EXAMPLE}```\n");
    let _ = write!(text, "\n## instance\n\n{INSTANCE}\n```toml\n{INSTANCE_EXAMPLE}```\n");
    for entry in PIPELINE.iter().filter(|entry| entry.has_options()) {
        let _ = write!(text, "\n## {}\n\n{}.\n\n```toml\n{}```\n", entry.id, entry.about, entry.example);
    }
    let _ = write!(text, "\n## scan\n\nWhat `reseal scan` lets stand.\n\n```toml\n{SCAN_EXAMPLE}```\n");
    let names: Vec<String> = without_table().map(|entry| format!("`{}`", entry.id)).collect();
    let _ = write!(text, "\n## Without a table\n\n{} have no settings; ", names.join(" and "));
    text.push_str("`run.skip` leaves them out.\n\n");
    text + CATALOGUE
}

fn without_table() -> impl Iterator<Item = &'static Entry> {
    PIPELINE.iter().filter(|entry| !entry.has_options())
}

/// docs/regenerators.md.
pub fn regenerators() -> String {
    let mut text = format!(
        "# Regenerators and catalogue\n\n{NOTE}\nA regenerator renews one kind of identity. They run in this order; each \
         may read what earlier ones drafted. What a guest holds of all this is shown by `reseal list`, and how policy is \
         read by [the policy reference](policy.md).\n"
    );
    for entry in PIPELINE {
        let _ = write!(text, "\n## {}\n\n{}.\n\n", entry.id, entry.about);
        match entry.has_options() {
            true => drop(write!(text, "```toml\n{}```\n", entry.example)),
            false => text.push_str("It has no settings.\n"),
        }
    }
    let catalogue = Catalogue::built_in().unwrap();
    text.push_str(
        "\n## Catalogue: residue\n\nWhat a clone must simply not keep, carried out by [residue](#residue). \
         [Entries of your own](policy.md#entries-of-your-own) are added in files.\n",
    );
    let mut groups: Vec<&str> = catalogue.residue.iter().map(|entry| entry.group.as_str()).collect();
    groups.dedup();
    for group in groups {
        let _ = write!(text, "\n### Group {group}\n\n");
        text.push_str("| id | what it is | paths | action | severity | default | source |\n");
        text.push_str("|---|---|---|---|---|---|---|\n");
        catalogue.residue.iter().filter(|entry| entry.group == group).for_each(|entry| text.push_str(&row(entry)));
    }
    text.push_str(
        "\n## Catalogue: references\n\nFiles that quote an identity that lives elsewhere, rewritten by \
         [references](#references).\n\n| paths | quotes | format | fields | source |\n|---|---|---|---|---|\n",
    );
    for entry in &catalogue.references {
        let kinds: Vec<String> = entry.kinds.iter().map(ToString::to_string).collect();
        let cells =
            [code(&entry.paths), kinds.join(", "), word(&entry.format), code(&entry.fields), entry.source.clone()];
        let _ = writeln!(text, "| {} |", cells.join(" | "));
    }
    text
}

fn row(entry: &Residue) -> String {
    let default = if entry.default { "yes" } else { "no" }.to_owned();
    let cells = [
        format!("`{}`", entry.id),
        entry.about.clone(),
        code(&entry.paths),
        word(&entry.action),
        word(&entry.severity),
        default,
        entry.source.clone(),
    ];
    format!("| {} |\n", cells.join(" | "))
}

fn code(words: &[String]) -> String {
    words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(" ")
}

fn word(value: &impl Serialize) -> String {
    serde_json::to_value(value).unwrap().as_str().unwrap().to_owned()
}

/// README.md with a fresh table between its marks.
pub fn readme(text: &str) -> String {
    let [begin, end] = ["<!-- regenerators: begin -->\n", "<!-- regenerators: end -->"];
    let (before, rest) = text.split_once(begin).expect("README.md has no mark where the table begins");
    let (_, after) = rest.split_once(end).expect("README.md has no mark where the table ends");
    let mut table = String::from("| regenerator | what it does |\n|---|---|\n");
    for entry in PIPELINE {
        let _ = writeln!(table, "| [`{0}`](docs/regenerators.md#{0}) | {1} |", entry.id, entry.about);
    }
    format!("{before}{begin}{table}{end}{after}")
}

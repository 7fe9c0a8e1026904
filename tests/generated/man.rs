// SPDX-License-Identifier: MIT OR Apache-2.0
//! The manual pages, man(7): reseal(8) from the command line's definition, reseal-policy(5) from the policy reference.

use std::fmt::Write as _;

use clap::{Command, CommandFactory as _};
use clap_mangen::Man;
use reseal::cli::Cli;

use super::support;

/// Of the last release, as in dist/deb/changelog.
const DATE: &str = "2026-11-23";
const SOURCE: &str = concat!("reseal ", env!("CARGO_PKG_VERSION"));

const DESCRIPTION: &str = "\
reseal looks at a guest, writes down everything that must change, and only then changes it. The list is the plan: \
`--dry-run` prints it, a run that was cut off goes on with it, and a run is verified by planning once more and finding \
nothing left.

A bare `reseal` changes nothing. On the running system `apply` and `seal` show the plan and ask at a terminal; without \
a terminal they want `--yes`. With `--root` they do not ask.

`apply --root` resets a tree for exactly one guest; a template that is copied wants `seal`.
";

const SECTIONS: &str = "\
## Notes

At boot `reseal.service` runs `reseal apply --stage system` when there is no `/etc/reseal/stamp`, before sshd, D-Bus, \
the network and the journal's flush to disk. It never fails a boot: a regenerator that cannot do its work is a finding, \
and the others go on. A policy that cannot be read means built-in defaults for machine-id, SSH host keys and seeds, and \
nothing else.

Before that, and before anything but the root file system is mounted, `reseal-early.service` runs `reseal apply --stage \
early`, which gives what is on the guest's disks new ids; `reseal-early-volumes.service` does the same for what is inside \
the volumes of crypttab(5). A device that is named in fstab(5) and does not come within `run.device-wait` seconds is told as \
pending.

Keys are made only when the kernel's random pool is ready. At boot reseal waits for it for at most 60 seconds, then \
leaves the keys to `reseal-keys.service`, which comes before sshd. `reseal-volume-keys.service` runs `reseal reencrypt` after the \
boot where the policy has scheduled volumes.

Installing the package on a running machine adopts it: a stamp is written, nothing else is changed, now or at the next \
boot. Only `reseal seal` arms the unit. Installed into an image that does not run, the package leaves no stamp, and the \
image's first boot resets it.

`reseal scan` reads every file on the guest's disks, and tells where a value that the guest had before still stands: as text or \
bytes, in names and in targets of links, in every spelling. What it looks for is what the records of earlier runs say, and \
what is named. It follows no link, and leaves out what the kernel makes (/proc), what is in memory (/run) and what is on other \
machines (NFS). The policy's `scan.allow` names places that may keep old values. When nothing is found but something could not be \
read, the status is 1.

With `--format json` standard output is one document with a `version`; messages and logs go to standard error. A plan in \
JSON holds the seed of its public values, so that `apply --plan` comes to the same ones; it holds no secret key.

## Exit status

- **0**: Done, or nothing to do; findings alone are no failure.
- **1**: Failed, with nothing to resume.
- **2**: A mistake on the command line or in the policy; nothing was changed.
- **3**: Stopped on the way; the journal is kept, and another run goes on.
- **4**: Verification found something left over, `scan` an old value, or guests of an audit share what they may not.

## Files

- **/etc/reseal/policy.toml**, **/etc/reseal/policy.d/\\*.toml**: What to reset and how, reseal-policy(5).
- **/usr/lib/reseal/policy.d/\\*.toml**, **/run/reseal/policy.d/\\*.toml**: The vendor's policy, and that of this boot.
- **/usr/lib/reseal/catalogue.d/\\*.toml**, **/etc/reseal/catalogue.d/\\*.toml**: Entries that are added to the built-in \
catalogue.
- **/etc/reseal/stamp**: Proof that this machine was reset or adopted; with it nothing runs at boot. A copy is in \
`/var/lib/reseal/stamp`.
- **/etc/reseal/journal/run**: The run that is under way or was cut off.
- **/etc/reseal/sealed**: What the template was when it was sealed.
- **/etc/reseal/template**: The same in a clone that has an identity of its own, for `verify` to compare with.
- **/etc/reseal/offline**: What an offline `apply` made; it keeps no boot from resetting the guest.

## Environment

- **RESEAL_LOG**: As `--log-level`, which wins.
- **NO_COLOR**: If not empty, no colours.

## Examples

What would a reset change on this machine?

```
reseal --dry-run
```

Make this machine a template, then power it off and copy it:

```
reseal seal && systemctl poweroff
```

Seal an image that is mounted below /mnt/image:

```
reseal seal --root /mnt/image
```

Apply exactly the plan that was read before:

```
reseal --dry-run --format json >plan.json
reseal apply --plan plan.json
```

## See also

reseal-policy(5), machine-id(5), hostname(5), sshd_config(5), systemd-machine-id-setup(1), virt-sysprep(1)
";

/// reseal(8): one page with all subcommands.
pub fn reseal() -> String {
    let mut command = Cli::command();
    command.build();
    let man = Man::new(command.clone())
        .title("reseal")
        .section("8")
        .date(DATE)
        .source(SOURCE)
        .manual("System Administration");
    let mut page = head();
    page.push_str(&rendered(|out| man.render_title(out)));
    page.push_str(&rendered(|out| man.render_name_section(out)));
    page.push_str(".SH SYNOPSIS\n");
    page.push_str("\\fBreseal\\fR [\\fIoptions\\fR] \\fB\\-\\-dry\\-run\\fR\n.br\n");
    for (name, command) in leaves(&command, "reseal") {
        let usage = command.clone().render_usage().to_string();
        let words = if usage.contains("[OPTIONS]") { " [\\fIoptions\\fR]" } else { "" };
        let _ = writeln!(page, "\\fB{}\\fR{words}\n.br", escape(&name));
    }
    page.push_str(&rendered(|out| man.render_description_section(out)));
    page.push_str(".PP\n");
    page.push_str(&roff(DESCRIPTION));
    page.push_str(".SH COMMANDS\n");
    for (name, command) in leaves(&command, "") {
        let _ = writeln!(page, ".SS \"{}\"", escape(name.trim()));
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        let _ = writeln!(page, "{}.", escape(&about));
        let options = rendered(|out| Man::new(own_options(&command)).render_options_section(out));
        page.push_str(&options.replace(".SH OPTIONS\n", ""));
    }
    page.push_str(&rendered(|out| man.render_options_section(out)));
    page.push_str(&roff(SECTIONS));
    tidy(&page)
}

/// reseal-policy(5): the policy reference as a manual page.
pub fn policy(reference: &str) -> String {
    let mut page = head();
    let _ = writeln!(page, ".TH reseal\\-policy 5 {DATE} \"{SOURCE}\" \"File Formats\"");
    page.push_str(".SH NAME\nreseal\\-policy \\- what reseal resets, and how\n.SH DESCRIPTION\n");
    // The title is the page's name, and the note to editors is not for readers.
    let body = reference.split_once("\n\n").map_or("", |(_, body)| body);
    page.push_str(&roff(body));
    page.push_str(".SH SEE ALSO\nreseal(8)\n");
    tidy(&page)
}

fn head() -> String {
    format!(".\\\" {}\n", super::LICENCE)
}

/// The commands that do something, with the words that call them.
fn leaves(command: &Command, words: &str) -> Vec<(String, Command)> {
    let mut found = Vec::new();
    for command in command.get_subcommands().filter(|it| !it.is_hide_set() && it.get_name() != "help") {
        let name = format!("{words} {}", command.get_name());
        if command.has_subcommands() {
            found.extend(leaves(command, &name));
        } else {
            found.push((name, command.clone()));
        }
    }
    found
}

/// The command without what holds for every command.
fn own_options(command: &Command) -> Command {
    let all = |name: &str| matches!(name, "help" | "version");
    let shared = command.get_arguments().filter(|arg| arg.is_global_set() || all(arg.get_id().as_str()));
    let shared: Vec<_> = shared.map(|arg| arg.get_id().clone()).collect();
    shared.into_iter().fold(command.clone(), |command, id| command.mut_arg(id, |arg| arg.hide(true)))
}

fn rendered(render: impl Fn(&mut dyn std::io::Write) -> std::io::Result<()>) -> String {
    let mut out = Vec::new();
    render(&mut out).unwrap();
    // Every part brings a preamble that defines the apostrophe; `tidy` drops it.
    let text = String::from_utf8(out).unwrap().replace("\\*(Aq", "\\(aq");
    text.lines().map(|line| code(line) + "\n").collect()
}

/// Takes away what mandoc(1) finds superfluous: the preamble that every rendered part brings, blanks at line ends,
/// breaks before a heading.
fn tidy(page: &str) -> String {
    let mut out: Vec<&str> = Vec::new();
    for line in page.lines().map(str::trim_end) {
        let preamble = line.starts_with(".ie ") || line.starts_with(".el ") || line.is_empty();
        let heading = line.starts_with(".SH") || line.starts_with(".SS");
        while heading && out.last().is_some_and(|last| matches!(*last, ".br" | ".PP")) {
            out.pop();
        }
        let after_heading = out.last().is_some_and(|last| last.starts_with(".SH") || last.starts_with(".SS"));
        let again = line == ".br" && out.last() == Some(&line);
        if !(preamble || again || after_heading && line == ".PP") {
            out.push(line);
        }
    }
    out.join("\n") + "\n"
}

/// Markdown as the references are written: headings, paragraphs, lists, fenced code, `code`, **words**, links.
fn roff(markdown: &str) -> String {
    let mut out = String::new();
    let mut verbatim = false;
    for line in markdown.lines() {
        if line.starts_with("```") {
            verbatim = !verbatim;
            out.push_str(if verbatim { ".PP\n.RS 4\n.nf\n" } else { ".fi\n.RE\n" });
        } else if verbatim {
            // An empty line stands in code, and `tidy` takes empty lines away.
            let _ = writeln!(out, "\\&{}", escape(line));
        } else if let Some(heading) = line.strip_prefix("## ") {
            let _ = writeln!(out, ".SH \"{}\"", escape(&heading.replace('`', "").to_uppercase()));
        } else if let Some((number, text)) = line.split_once(". ").filter(|(n, _)| n.parse::<u8>().is_ok()) {
            let _ = writeln!(out, ".IP {number}. 4\n{}", inline(text));
        } else if let Some((term, text)) = line.strip_prefix("- ").and_then(|item| item.split_once(": ")) {
            let _ = writeln!(out, ".TP\n{}\n{}", inline(term), inline(text));
        } else if line.starts_with("<!--") {
        } else if line.is_empty() {
            out.push_str(".PP\n");
        } else {
            let _ = writeln!(out, "{}", inline(line));
        }
    }
    out.replace(".PP\n.PP\n", ".PP\n").replace(".PP\n.SH", ".SH").replace(".PP\n.TP", ".TP").replace(".PP\n.IP", ".IP")
}

/// Code and words that stand out in bold, links as their text.
fn inline(line: &str) -> String {
    let mut text = String::new();
    let mut rest = line.replace("**", "`").replace("\\*", "*");
    while let Some((before, link)) = rest.split_once('[')
        && let Some((words, after)) = link.split_once("](")
        && let Some((_, after)) = after.split_once(')')
        && !words.contains(']')
    {
        text.push_str(&format!("{before}{words}"));
        rest = after.to_owned();
    }
    text.push_str(&rest);
    let line = code(&escape(&text));
    if line.starts_with(['.', '\'']) { format!("\\&{line}") } else { line }
}

/// What stands between backticks in bold.
fn code(line: &str) -> String {
    let parts = line.split('`').enumerate();
    parts.map(|(number, part)| if number % 2 == 1 { format!("\\fB{part}\\fR") } else { part.to_owned() }).collect()
}

fn escape(text: &str) -> String {
    text.replace('\\', "\\e").replace('-', "\\-").replace('\'', "\\(aq")
}

#[test]
fn manual_pages_pass_mandoc() {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in [("reseal.8", reseal()), ("reseal-policy.5", policy(&super::reference::policy()))] {
        let page = dir.path().join(name);
        std::fs::write(&page, text).unwrap();
        let Ok(out) = std::process::Command::new("mandoc").args(["-Tlint", "-W", "warning"]).arg(page).output() else {
            return support::skip("manual_pages_pass_mandoc", "mandoc is not installed");
        };
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stdout));
    }
}

# SPDX-License-Identifier: MIT OR Apache-2.0
# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_reseal_global_optspecs
    string join \n root= image= device= policy= set= only= skip= format= dry-run log-level= h/help V/version
end

function __fish_reseal_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_reseal_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_reseal_using_subcommand
    set -l cmd (__fish_reseal_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c reseal -n "__fish_reseal_needs_command" -l root -d 'Work on the guest below this directory instead of the running system' -r -F
complete -c reseal -n "__fish_reseal_needs_command" -l image -d 'Work on the guest inside this disk image, or on the ids inside it beside the guest of --root; can be repeated' -r -F
complete -c reseal -n "__fish_reseal_needs_command" -l device -d 'As --image, for a disk of this machine that nothing uses, as /dev/sdb; can be repeated' -r -F
complete -c reseal -n "__fish_reseal_needs_command" -l policy -d 'Read this policy instead of the files under /etc/reseal' -r -F
complete -c reseal -n "__fish_reseal_needs_command" -l set -d 'Set one policy key, as in hostname.name=web-1; can be repeated' -r
complete -c reseal -n "__fish_reseal_needs_command" -l only -d 'Run only these regenerators' -r
complete -c reseal -n "__fish_reseal_needs_command" -l skip -d 'Leave these regenerators out' -r
complete -c reseal -n "__fish_reseal_needs_command" -l format -d 'For people, or one JSON document on standard output' -r -f -a "human\t'Text, coloured on a terminal'
json\t'One JSON document'"
complete -c reseal -n "__fish_reseal_needs_command" -l log-level -d 'How much to log on standard error' -r -f -a "error\t'What failed'
warn\t'What a person should look at, too'
info\t'What was done, too'
debug\t'Every step, too'"
complete -c reseal -n "__fish_reseal_needs_command" -l dry-run -d 'Show what would be done, and do nothing'
complete -c reseal -n "__fish_reseal_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c reseal -n "__fish_reseal_needs_command" -s V -l version -d 'Print version'
complete -c reseal -n "__fish_reseal_needs_command" -f -a "apply" -d 'Give the guest an identity of its own'
complete -c reseal -n "__fish_reseal_needs_command" -f -a "seal" -d 'Make the guest generic before it is copied'
complete -c reseal -n "__fish_reseal_needs_command" -f -a "inspect" -d 'Show where the guest runs and every identity that it holds'
complete -c reseal -n "__fish_reseal_needs_command" -f -a "boot-check" -d 'Show whether everything that the boot names, from the firmware to /, is there'
complete -c reseal -n "__fish_reseal_needs_command" -f -a "status" -d 'Show whether the guest was reset, and what is still to do'
complete -c reseal -n "__fish_reseal_needs_command" -f -a "list" -d 'List the regenerators and the catalogue, and what applies to the guest'
complete -c reseal -n "__fish_reseal_needs_command" -f -a "scan" -d 'Look through every file for what is left of the identity that the guest had before'
complete -c reseal -n "__fish_reseal_needs_command" -f -a "policy" -d 'Show, check or print policy'
complete -c reseal -n "__fish_reseal_needs_command" -f -a "verify" -d 'Prove that the guest shares nothing with its template, and that what it was given stands and works'
complete -c reseal -n "__fish_reseal_needs_command" -f -a "audit" -d 'Show which identities the guests of a fleet share, from their inventories'
complete -c reseal -n "__fish_reseal_needs_command" -f -a "reencrypt" -d 'Give the LUKS volumes that the policy scheduled volume keys of their own, which takes hours'
complete -c reseal -n "__fish_reseal_needs_command" -f -a "demo" -d 'Reset two copies of a throw-away guest in a temporary directory, and compare them'
complete -c reseal -n "__fish_reseal_needs_command" -f -a "adopt" -d 'Take the running machine as it is, so that no boot resets it (what installing the package does)'
complete -c reseal -n "__fish_reseal_needs_command" -f -a "generator" -d 'What systemd starts in every boot, systemd.generator(7)'
complete -c reseal -n "__fish_reseal_needs_command" -f -a "tell-clone" -d 'Say so where the stamp is not of this machine'
complete -c reseal -n "__fish_reseal_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c reseal -n "__fish_reseal_using_subcommand apply" -l plan -d 'Apply exactly this plan, as `--dry-run --format json` printed it' -r -F
complete -c reseal -n "__fish_reseal_using_subcommand apply" -l stage -d 'Run as the boot unit of this stage does, without asking' -r -f -a "initrd\t'In the initramfs, which can take the root file system away for the time of a change'
early\t'Before other file systems are mounted'
system\t'All files are there; before anything reads an identity'
keys\t'What had to wait for the kernel\'s random pool'"
complete -c reseal -n "__fish_reseal_using_subcommand apply" -l root -d 'Work on the guest below this directory instead of the running system' -r -F
complete -c reseal -n "__fish_reseal_using_subcommand apply" -l image -d 'Work on the guest inside this disk image, or on the ids inside it beside the guest of --root; can be repeated' -r -F
complete -c reseal -n "__fish_reseal_using_subcommand apply" -l device -d 'As --image, for a disk of this machine that nothing uses, as /dev/sdb; can be repeated' -r -F
complete -c reseal -n "__fish_reseal_using_subcommand apply" -l policy -d 'Read this policy instead of the files under /etc/reseal' -r -F
complete -c reseal -n "__fish_reseal_using_subcommand apply" -l set -d 'Set one policy key, as in hostname.name=web-1; can be repeated' -r
complete -c reseal -n "__fish_reseal_using_subcommand apply" -l only -d 'Run only these regenerators' -r
complete -c reseal -n "__fish_reseal_using_subcommand apply" -l skip -d 'Leave these regenerators out' -r
complete -c reseal -n "__fish_reseal_using_subcommand apply" -l format -d 'For people, or one JSON document on standard output' -r -f -a "human\t'Text, coloured on a terminal'
json\t'One JSON document'"
complete -c reseal -n "__fish_reseal_using_subcommand apply" -l log-level -d 'How much to log on standard error' -r -f -a "error\t'What failed'
warn\t'What a person should look at, too'
info\t'What was done, too'
debug\t'Every step, too'"
complete -c reseal -n "__fish_reseal_using_subcommand apply" -s y -l yes -d 'Do not ask'
complete -c reseal -n "__fish_reseal_using_subcommand apply" -l force -d 'Lift a refusal; a machine that has its identity keeps it'
complete -c reseal -n "__fish_reseal_using_subcommand apply" -l renew -d 'Give a machine that has an identity a new one'
complete -c reseal -n "__fish_reseal_using_subcommand apply" -l inside -d 'The process of the stage `initrd` that has the root as its `/`'
complete -c reseal -n "__fish_reseal_using_subcommand apply" -l dry-run -d 'Show what would be done, and do nothing'
complete -c reseal -n "__fish_reseal_using_subcommand apply" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c reseal -n "__fish_reseal_using_subcommand seal" -l root -d 'Work on the guest below this directory instead of the running system' -r -F
complete -c reseal -n "__fish_reseal_using_subcommand seal" -l image -d 'Work on the guest inside this disk image, or on the ids inside it beside the guest of --root; can be repeated' -r -F
complete -c reseal -n "__fish_reseal_using_subcommand seal" -l device -d 'As --image, for a disk of this machine that nothing uses, as /dev/sdb; can be repeated' -r -F
complete -c reseal -n "__fish_reseal_using_subcommand seal" -l policy -d 'Read this policy instead of the files under /etc/reseal' -r -F
complete -c reseal -n "__fish_reseal_using_subcommand seal" -l set -d 'Set one policy key, as in hostname.name=web-1; can be repeated' -r
complete -c reseal -n "__fish_reseal_using_subcommand seal" -l only -d 'Run only these regenerators' -r
complete -c reseal -n "__fish_reseal_using_subcommand seal" -l skip -d 'Leave these regenerators out' -r
complete -c reseal -n "__fish_reseal_using_subcommand seal" -l format -d 'For people, or one JSON document on standard output' -r -f -a "human\t'Text, coloured on a terminal'
json\t'One JSON document'"
complete -c reseal -n "__fish_reseal_using_subcommand seal" -l log-level -d 'How much to log on standard error' -r -f -a "error\t'What failed'
warn\t'What a person should look at, too'
info\t'What was done, too'
debug\t'Every step, too'"
complete -c reseal -n "__fish_reseal_using_subcommand seal" -s y -l yes -d 'Do not ask'
complete -c reseal -n "__fish_reseal_using_subcommand seal" -l dry-run -d 'Show what would be done, and do nothing'
complete -c reseal -n "__fish_reseal_using_subcommand seal" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c reseal -n "__fish_reseal_using_subcommand inspect" -l root -d 'Work on the guest below this directory instead of the running system' -r -F
complete -c reseal -n "__fish_reseal_using_subcommand inspect" -l image -d 'Work on the guest inside this disk image, or on the ids inside it beside the guest of --root; can be repeated' -r -F
complete -c reseal -n "__fish_reseal_using_subcommand inspect" -l device -d 'As --image, for a disk of this machine that nothing uses, as /dev/sdb; can be repeated' -r -F
complete -c reseal -n "__fish_reseal_using_subcommand inspect" -l policy -d 'Read this policy instead of the files under /etc/reseal' -r -F
complete -c reseal -n "__fish_reseal_using_subcommand inspect" -l set -d 'Set one policy key, as in hostname.name=web-1; can be repeated' -r
complete -c reseal -n "__fish_reseal_using_subcommand inspect" -l only -d 'Run only these regenerators' -r
complete -c reseal -n "__fish_reseal_using_subcommand inspect" -l skip -d 'Leave these regenerators out' -r
complete -c reseal -n "__fish_reseal_using_subcommand inspect" -l format -d 'For people, or one JSON document on standard output' -r -f -a "human\t'Text, coloured on a terminal'
json\t'One JSON document'"
complete -c reseal -n "__fish_reseal_using_subcommand inspect" -l log-level -d 'How much to log on standard error' -r -f -a "error\t'What failed'
warn\t'What a person should look at, too'
info\t'What was done, too'
debug\t'Every step, too'"
complete -c reseal -n "__fish_reseal_using_subcommand inspect" -l dry-run -d 'Show what would be done, and do nothing'
complete -c reseal -n "__fish_reseal_using_subcommand inspect" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c reseal -n "__fish_reseal_using_subcommand boot-check" -l root -d 'Work on the guest below this directory instead of the running system' -r -F
complete -c reseal -n "__fish_reseal_using_subcommand boot-check" -l image -d 'Work on the guest inside this disk image, or on the ids inside it beside the guest of --root; can be repeated' -r -F
complete -c reseal -n "__fish_reseal_using_subcommand boot-check" -l device -d 'As --image, for a disk of this machine that nothing uses, as /dev/sdb; can be repeated' -r -F
complete -c reseal -n "__fish_reseal_using_subcommand boot-check" -l policy -d 'Read this policy instead of the files under /etc/reseal' -r -F
complete -c reseal -n "__fish_reseal_using_subcommand boot-check" -l set -d 'Set one policy key, as in hostname.name=web-1; can be repeated' -r
complete -c reseal -n "__fish_reseal_using_subcommand boot-check" -l only -d 'Run only these regenerators' -r
complete -c reseal -n "__fish_reseal_using_subcommand boot-check" -l skip -d 'Leave these regenerators out' -r
complete -c reseal -n "__fish_reseal_using_subcommand boot-check" -l format -d 'For people, or one JSON document on standard output' -r -f -a "human\t'Text, coloured on a terminal'
json\t'One JSON document'"
complete -c reseal -n "__fish_reseal_using_subcommand boot-check" -l log-level -d 'How much to log on standard error' -r -f -a "error\t'What failed'
warn\t'What a person should look at, too'
info\t'What was done, too'
debug\t'Every step, too'"
complete -c reseal -n "__fish_reseal_using_subcommand boot-check" -l dry-run -d 'Show what would be done, and do nothing'
complete -c reseal -n "__fish_reseal_using_subcommand boot-check" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c reseal -n "__fish_reseal_using_subcommand status" -l root -d 'Work on the guest below this directory instead of the running system' -r -F
complete -c reseal -n "__fish_reseal_using_subcommand status" -l image -d 'Work on the guest inside this disk image, or on the ids inside it beside the guest of --root; can be repeated' -r -F
complete -c reseal -n "__fish_reseal_using_subcommand status" -l device -d 'As --image, for a disk of this machine that nothing uses, as /dev/sdb; can be repeated' -r -F
complete -c reseal -n "__fish_reseal_using_subcommand status" -l policy -d 'Read this policy instead of the files under /etc/reseal' -r -F
complete -c reseal -n "__fish_reseal_using_subcommand status" -l set -d 'Set one policy key, as in hostname.name=web-1; can be repeated' -r
complete -c reseal -n "__fish_reseal_using_subcommand status" -l only -d 'Run only these regenerators' -r
complete -c reseal -n "__fish_reseal_using_subcommand status" -l skip -d 'Leave these regenerators out' -r
complete -c reseal -n "__fish_reseal_using_subcommand status" -l format -d 'For people, or one JSON document on standard output' -r -f -a "human\t'Text, coloured on a terminal'
json\t'One JSON document'"
complete -c reseal -n "__fish_reseal_using_subcommand status" -l log-level -d 'How much to log on standard error' -r -f -a "error\t'What failed'
warn\t'What a person should look at, too'
info\t'What was done, too'
debug\t'Every step, too'"
complete -c reseal -n "__fish_reseal_using_subcommand status" -l dry-run -d 'Show what would be done, and do nothing'
complete -c reseal -n "__fish_reseal_using_subcommand status" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c reseal -n "__fish_reseal_using_subcommand list" -l root -d 'Work on the guest below this directory instead of the running system' -r -F
complete -c reseal -n "__fish_reseal_using_subcommand list" -l image -d 'Work on the guest inside this disk image, or on the ids inside it beside the guest of --root; can be repeated' -r -F
complete -c reseal -n "__fish_reseal_using_subcommand list" -l device -d 'As --image, for a disk of this machine that nothing uses, as /dev/sdb; can be repeated' -r -F
complete -c reseal -n "__fish_reseal_using_subcommand list" -l policy -d 'Read this policy instead of the files under /etc/reseal' -r -F
complete -c reseal -n "__fish_reseal_using_subcommand list" -l set -d 'Set one policy key, as in hostname.name=web-1; can be repeated' -r
complete -c reseal -n "__fish_reseal_using_subcommand list" -l only -d 'Run only these regenerators' -r
complete -c reseal -n "__fish_reseal_using_subcommand list" -l skip -d 'Leave these regenerators out' -r
complete -c reseal -n "__fish_reseal_using_subcommand list" -l format -d 'For people, or one JSON document on standard output' -r -f -a "human\t'Text, coloured on a terminal'
json\t'One JSON document'"
complete -c reseal -n "__fish_reseal_using_subcommand list" -l log-level -d 'How much to log on standard error' -r -f -a "error\t'What failed'
warn\t'What a person should look at, too'
info\t'What was done, too'
debug\t'Every step, too'"
complete -c reseal -n "__fish_reseal_using_subcommand list" -l dry-run -d 'Show what would be done, and do nothing'
complete -c reseal -n "__fish_reseal_using_subcommand list" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c reseal -n "__fish_reseal_using_subcommand scan" -l old -d 'Look for this value too, as in hostname=web-1; can be repeated' -r
complete -c reseal -n "__fish_reseal_using_subcommand scan" -l values -d 'Look for the values in this file too, KIND=VALUE a line; can be repeated' -r -F
complete -c reseal -n "__fish_reseal_using_subcommand scan" -l against -d 'Look for what another guest is too, as `reseal inspect --format json` printed it there; can be repeated' -r -F
complete -c reseal -n "__fish_reseal_using_subcommand scan" -l root -d 'Work on the guest below this directory instead of the running system' -r -F
complete -c reseal -n "__fish_reseal_using_subcommand scan" -l image -d 'Work on the guest inside this disk image, or on the ids inside it beside the guest of --root; can be repeated' -r -F
complete -c reseal -n "__fish_reseal_using_subcommand scan" -l device -d 'As --image, for a disk of this machine that nothing uses, as /dev/sdb; can be repeated' -r -F
complete -c reseal -n "__fish_reseal_using_subcommand scan" -l policy -d 'Read this policy instead of the files under /etc/reseal' -r -F
complete -c reseal -n "__fish_reseal_using_subcommand scan" -l set -d 'Set one policy key, as in hostname.name=web-1; can be repeated' -r
complete -c reseal -n "__fish_reseal_using_subcommand scan" -l only -d 'Run only these regenerators' -r
complete -c reseal -n "__fish_reseal_using_subcommand scan" -l skip -d 'Leave these regenerators out' -r
complete -c reseal -n "__fish_reseal_using_subcommand scan" -l format -d 'For people, or one JSON document on standard output' -r -f -a "human\t'Text, coloured on a terminal'
json\t'One JSON document'"
complete -c reseal -n "__fish_reseal_using_subcommand scan" -l log-level -d 'How much to log on standard error' -r -f -a "error\t'What failed'
warn\t'What a person should look at, too'
info\t'What was done, too'
debug\t'Every step, too'"
complete -c reseal -n "__fish_reseal_using_subcommand scan" -l no-records -d 'Look for the named values only, not for those that the guest\'s own records say it had before'
complete -c reseal -n "__fish_reseal_using_subcommand scan" -l compressed -d 'Look inside files that gzip, xz or zstd packed, too, initramfs images among them'
complete -c reseal -n "__fish_reseal_using_subcommand scan" -l suspect -d 'Instead, look for what seems to be an identity of this installation and neither the catalogue nor a regenerator knows'
complete -c reseal -n "__fish_reseal_using_subcommand scan" -l dry-run -d 'Show what would be done, and do nothing'
complete -c reseal -n "__fish_reseal_using_subcommand scan" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c reseal -n "__fish_reseal_using_subcommand policy; and not __fish_seen_subcommand_from show check default help" -l root -d 'Work on the guest below this directory instead of the running system' -r -F
complete -c reseal -n "__fish_reseal_using_subcommand policy; and not __fish_seen_subcommand_from show check default help" -l image -d 'Work on the guest inside this disk image, or on the ids inside it beside the guest of --root; can be repeated' -r -F
complete -c reseal -n "__fish_reseal_using_subcommand policy; and not __fish_seen_subcommand_from show check default help" -l device -d 'As --image, for a disk of this machine that nothing uses, as /dev/sdb; can be repeated' -r -F
complete -c reseal -n "__fish_reseal_using_subcommand policy; and not __fish_seen_subcommand_from show check default help" -l policy -d 'Read this policy instead of the files under /etc/reseal' -r -F
complete -c reseal -n "__fish_reseal_using_subcommand policy; and not __fish_seen_subcommand_from show check default help" -l set -d 'Set one policy key, as in hostname.name=web-1; can be repeated' -r
complete -c reseal -n "__fish_reseal_using_subcommand policy; and not __fish_seen_subcommand_from show check default help" -l only -d 'Run only these regenerators' -r
complete -c reseal -n "__fish_reseal_using_subcommand policy; and not __fish_seen_subcommand_from show check default help" -l skip -d 'Leave these regenerators out' -r
complete -c reseal -n "__fish_reseal_using_subcommand policy; and not __fish_seen_subcommand_from show check default help" -l format -d 'For people, or one JSON document on standard output' -r -f -a "human\t'Text, coloured on a terminal'
json\t'One JSON document'"
complete -c reseal -n "__fish_reseal_using_subcommand policy; and not __fish_seen_subcommand_from show check default help" -l log-level -d 'How much to log on standard error' -r -f -a "error\t'What failed'
warn\t'What a person should look at, too'
info\t'What was done, too'
debug\t'Every step, too'"
complete -c reseal -n "__fish_reseal_using_subcommand policy; and not __fish_seen_subcommand_from show check default help" -l dry-run -d 'Show what would be done, and do nothing'
complete -c reseal -n "__fish_reseal_using_subcommand policy; and not __fish_seen_subcommand_from show check default help" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c reseal -n "__fish_reseal_using_subcommand policy; and not __fish_seen_subcommand_from show check default help" -f -a "show" -d 'Show every setting in force'
complete -c reseal -n "__fish_reseal_using_subcommand policy; and not __fish_seen_subcommand_from show check default help" -f -a "check" -d 'Check every policy file, and say which were read'
complete -c reseal -n "__fish_reseal_using_subcommand policy; and not __fish_seen_subcommand_from show check default help" -f -a "default" -d 'Print the shipped policy: every setting, explained'
complete -c reseal -n "__fish_reseal_using_subcommand policy; and not __fish_seen_subcommand_from show check default help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c reseal -n "__fish_reseal_using_subcommand policy; and __fish_seen_subcommand_from show" -l root -d 'Work on the guest below this directory instead of the running system' -r -F
complete -c reseal -n "__fish_reseal_using_subcommand policy; and __fish_seen_subcommand_from show" -l image -d 'Work on the guest inside this disk image, or on the ids inside it beside the guest of --root; can be repeated' -r -F
complete -c reseal -n "__fish_reseal_using_subcommand policy; and __fish_seen_subcommand_from show" -l device -d 'As --image, for a disk of this machine that nothing uses, as /dev/sdb; can be repeated' -r -F
complete -c reseal -n "__fish_reseal_using_subcommand policy; and __fish_seen_subcommand_from show" -l policy -d 'Read this policy instead of the files under /etc/reseal' -r -F
complete -c reseal -n "__fish_reseal_using_subcommand policy; and __fish_seen_subcommand_from show" -l set -d 'Set one policy key, as in hostname.name=web-1; can be repeated' -r
complete -c reseal -n "__fish_reseal_using_subcommand policy; and __fish_seen_subcommand_from show" -l only -d 'Run only these regenerators' -r
complete -c reseal -n "__fish_reseal_using_subcommand policy; and __fish_seen_subcommand_from show" -l skip -d 'Leave these regenerators out' -r
complete -c reseal -n "__fish_reseal_using_subcommand policy; and __fish_seen_subcommand_from show" -l format -d 'For people, or one JSON document on standard output' -r -f -a "human\t'Text, coloured on a terminal'
json\t'One JSON document'"
complete -c reseal -n "__fish_reseal_using_subcommand policy; and __fish_seen_subcommand_from show" -l log-level -d 'How much to log on standard error' -r -f -a "error\t'What failed'
warn\t'What a person should look at, too'
info\t'What was done, too'
debug\t'Every step, too'"
complete -c reseal -n "__fish_reseal_using_subcommand policy; and __fish_seen_subcommand_from show" -l dry-run -d 'Show what would be done, and do nothing'
complete -c reseal -n "__fish_reseal_using_subcommand policy; and __fish_seen_subcommand_from show" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c reseal -n "__fish_reseal_using_subcommand policy; and __fish_seen_subcommand_from check" -l root -d 'Work on the guest below this directory instead of the running system' -r -F
complete -c reseal -n "__fish_reseal_using_subcommand policy; and __fish_seen_subcommand_from check" -l image -d 'Work on the guest inside this disk image, or on the ids inside it beside the guest of --root; can be repeated' -r -F
complete -c reseal -n "__fish_reseal_using_subcommand policy; and __fish_seen_subcommand_from check" -l device -d 'As --image, for a disk of this machine that nothing uses, as /dev/sdb; can be repeated' -r -F
complete -c reseal -n "__fish_reseal_using_subcommand policy; and __fish_seen_subcommand_from check" -l policy -d 'Read this policy instead of the files under /etc/reseal' -r -F
complete -c reseal -n "__fish_reseal_using_subcommand policy; and __fish_seen_subcommand_from check" -l set -d 'Set one policy key, as in hostname.name=web-1; can be repeated' -r
complete -c reseal -n "__fish_reseal_using_subcommand policy; and __fish_seen_subcommand_from check" -l only -d 'Run only these regenerators' -r
complete -c reseal -n "__fish_reseal_using_subcommand policy; and __fish_seen_subcommand_from check" -l skip -d 'Leave these regenerators out' -r
complete -c reseal -n "__fish_reseal_using_subcommand policy; and __fish_seen_subcommand_from check" -l format -d 'For people, or one JSON document on standard output' -r -f -a "human\t'Text, coloured on a terminal'
json\t'One JSON document'"
complete -c reseal -n "__fish_reseal_using_subcommand policy; and __fish_seen_subcommand_from check" -l log-level -d 'How much to log on standard error' -r -f -a "error\t'What failed'
warn\t'What a person should look at, too'
info\t'What was done, too'
debug\t'Every step, too'"
complete -c reseal -n "__fish_reseal_using_subcommand policy; and __fish_seen_subcommand_from check" -l dry-run -d 'Show what would be done, and do nothing'
complete -c reseal -n "__fish_reseal_using_subcommand policy; and __fish_seen_subcommand_from check" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c reseal -n "__fish_reseal_using_subcommand policy; and __fish_seen_subcommand_from default" -l root -d 'Work on the guest below this directory instead of the running system' -r -F
complete -c reseal -n "__fish_reseal_using_subcommand policy; and __fish_seen_subcommand_from default" -l image -d 'Work on the guest inside this disk image, or on the ids inside it beside the guest of --root; can be repeated' -r -F
complete -c reseal -n "__fish_reseal_using_subcommand policy; and __fish_seen_subcommand_from default" -l device -d 'As --image, for a disk of this machine that nothing uses, as /dev/sdb; can be repeated' -r -F
complete -c reseal -n "__fish_reseal_using_subcommand policy; and __fish_seen_subcommand_from default" -l policy -d 'Read this policy instead of the files under /etc/reseal' -r -F
complete -c reseal -n "__fish_reseal_using_subcommand policy; and __fish_seen_subcommand_from default" -l set -d 'Set one policy key, as in hostname.name=web-1; can be repeated' -r
complete -c reseal -n "__fish_reseal_using_subcommand policy; and __fish_seen_subcommand_from default" -l only -d 'Run only these regenerators' -r
complete -c reseal -n "__fish_reseal_using_subcommand policy; and __fish_seen_subcommand_from default" -l skip -d 'Leave these regenerators out' -r
complete -c reseal -n "__fish_reseal_using_subcommand policy; and __fish_seen_subcommand_from default" -l format -d 'For people, or one JSON document on standard output' -r -f -a "human\t'Text, coloured on a terminal'
json\t'One JSON document'"
complete -c reseal -n "__fish_reseal_using_subcommand policy; and __fish_seen_subcommand_from default" -l log-level -d 'How much to log on standard error' -r -f -a "error\t'What failed'
warn\t'What a person should look at, too'
info\t'What was done, too'
debug\t'Every step, too'"
complete -c reseal -n "__fish_reseal_using_subcommand policy; and __fish_seen_subcommand_from default" -l dry-run -d 'Show what would be done, and do nothing'
complete -c reseal -n "__fish_reseal_using_subcommand policy; and __fish_seen_subcommand_from default" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c reseal -n "__fish_reseal_using_subcommand policy; and __fish_seen_subcommand_from help" -f -a "show" -d 'Show every setting in force'
complete -c reseal -n "__fish_reseal_using_subcommand policy; and __fish_seen_subcommand_from help" -f -a "check" -d 'Check every policy file, and say which were read'
complete -c reseal -n "__fish_reseal_using_subcommand policy; and __fish_seen_subcommand_from help" -f -a "default" -d 'Print the shipped policy: every setting, explained'
complete -c reseal -n "__fish_reseal_using_subcommand policy; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c reseal -n "__fish_reseal_using_subcommand verify" -l against -d 'The template\'s inventory, as `inspect --format json` prints it, instead of what `seal` left' -r -F
complete -c reseal -n "__fish_reseal_using_subcommand verify" -l allow -d 'What the guest may share with its template: a kind of identity, or one value of it; can be repeated' -r
complete -c reseal -n "__fish_reseal_using_subcommand verify" -l root -d 'Work on the guest below this directory instead of the running system' -r -F
complete -c reseal -n "__fish_reseal_using_subcommand verify" -l image -d 'Work on the guest inside this disk image, or on the ids inside it beside the guest of --root; can be repeated' -r -F
complete -c reseal -n "__fish_reseal_using_subcommand verify" -l device -d 'As --image, for a disk of this machine that nothing uses, as /dev/sdb; can be repeated' -r -F
complete -c reseal -n "__fish_reseal_using_subcommand verify" -l policy -d 'Read this policy instead of the files under /etc/reseal' -r -F
complete -c reseal -n "__fish_reseal_using_subcommand verify" -l set -d 'Set one policy key, as in hostname.name=web-1; can be repeated' -r
complete -c reseal -n "__fish_reseal_using_subcommand verify" -l only -d 'Run only these regenerators' -r
complete -c reseal -n "__fish_reseal_using_subcommand verify" -l skip -d 'Leave these regenerators out' -r
complete -c reseal -n "__fish_reseal_using_subcommand verify" -l format -d 'For people, or one JSON document on standard output' -r -f -a "human\t'Text, coloured on a terminal'
json\t'One JSON document'"
complete -c reseal -n "__fish_reseal_using_subcommand verify" -l log-level -d 'How much to log on standard error' -r -f -a "error\t'What failed'
warn\t'What a person should look at, too'
info\t'What was done, too'
debug\t'Every step, too'"
complete -c reseal -n "__fish_reseal_using_subcommand verify" -l dry-run -d 'Show what would be done, and do nothing'
complete -c reseal -n "__fish_reseal_using_subcommand verify" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c reseal -n "__fish_reseal_using_subcommand audit" -l allow -d 'What guests may share: a kind of identity, or one value of it; can be repeated' -r
complete -c reseal -n "__fish_reseal_using_subcommand audit" -l html -d 'Write the report to this file, too, as a page that opens without a network' -r -F
complete -c reseal -n "__fish_reseal_using_subcommand audit" -l root -d 'Work on the guest below this directory instead of the running system' -r -F
complete -c reseal -n "__fish_reseal_using_subcommand audit" -l image -d 'Work on the guest inside this disk image, or on the ids inside it beside the guest of --root; can be repeated' -r -F
complete -c reseal -n "__fish_reseal_using_subcommand audit" -l device -d 'As --image, for a disk of this machine that nothing uses, as /dev/sdb; can be repeated' -r -F
complete -c reseal -n "__fish_reseal_using_subcommand audit" -l policy -d 'Read this policy instead of the files under /etc/reseal' -r -F
complete -c reseal -n "__fish_reseal_using_subcommand audit" -l set -d 'Set one policy key, as in hostname.name=web-1; can be repeated' -r
complete -c reseal -n "__fish_reseal_using_subcommand audit" -l only -d 'Run only these regenerators' -r
complete -c reseal -n "__fish_reseal_using_subcommand audit" -l skip -d 'Leave these regenerators out' -r
complete -c reseal -n "__fish_reseal_using_subcommand audit" -l format -d 'For people, or one JSON document on standard output' -r -f -a "human\t'Text, coloured on a terminal'
json\t'One JSON document'"
complete -c reseal -n "__fish_reseal_using_subcommand audit" -l log-level -d 'How much to log on standard error' -r -f -a "error\t'What failed'
warn\t'What a person should look at, too'
info\t'What was done, too'
debug\t'Every step, too'"
complete -c reseal -n "__fish_reseal_using_subcommand audit" -l dry-run -d 'Show what would be done, and do nothing'
complete -c reseal -n "__fish_reseal_using_subcommand audit" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c reseal -n "__fish_reseal_using_subcommand reencrypt" -l root -d 'Work on the guest below this directory instead of the running system' -r -F
complete -c reseal -n "__fish_reseal_using_subcommand reencrypt" -l image -d 'Work on the guest inside this disk image, or on the ids inside it beside the guest of --root; can be repeated' -r -F
complete -c reseal -n "__fish_reseal_using_subcommand reencrypt" -l device -d 'As --image, for a disk of this machine that nothing uses, as /dev/sdb; can be repeated' -r -F
complete -c reseal -n "__fish_reseal_using_subcommand reencrypt" -l policy -d 'Read this policy instead of the files under /etc/reseal' -r -F
complete -c reseal -n "__fish_reseal_using_subcommand reencrypt" -l set -d 'Set one policy key, as in hostname.name=web-1; can be repeated' -r
complete -c reseal -n "__fish_reseal_using_subcommand reencrypt" -l only -d 'Run only these regenerators' -r
complete -c reseal -n "__fish_reseal_using_subcommand reencrypt" -l skip -d 'Leave these regenerators out' -r
complete -c reseal -n "__fish_reseal_using_subcommand reencrypt" -l format -d 'For people, or one JSON document on standard output' -r -f -a "human\t'Text, coloured on a terminal'
json\t'One JSON document'"
complete -c reseal -n "__fish_reseal_using_subcommand reencrypt" -l log-level -d 'How much to log on standard error' -r -f -a "error\t'What failed'
warn\t'What a person should look at, too'
info\t'What was done, too'
debug\t'Every step, too'"
complete -c reseal -n "__fish_reseal_using_subcommand reencrypt" -s y -l yes -d 'Do not ask'
complete -c reseal -n "__fish_reseal_using_subcommand reencrypt" -l dry-run -d 'Show what would be done, and do nothing'
complete -c reseal -n "__fish_reseal_using_subcommand reencrypt" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c reseal -n "__fish_reseal_using_subcommand demo" -l root -d 'Work on the guest below this directory instead of the running system' -r -F
complete -c reseal -n "__fish_reseal_using_subcommand demo" -l image -d 'Work on the guest inside this disk image, or on the ids inside it beside the guest of --root; can be repeated' -r -F
complete -c reseal -n "__fish_reseal_using_subcommand demo" -l device -d 'As --image, for a disk of this machine that nothing uses, as /dev/sdb; can be repeated' -r -F
complete -c reseal -n "__fish_reseal_using_subcommand demo" -l policy -d 'Read this policy instead of the files under /etc/reseal' -r -F
complete -c reseal -n "__fish_reseal_using_subcommand demo" -l set -d 'Set one policy key, as in hostname.name=web-1; can be repeated' -r
complete -c reseal -n "__fish_reseal_using_subcommand demo" -l only -d 'Run only these regenerators' -r
complete -c reseal -n "__fish_reseal_using_subcommand demo" -l skip -d 'Leave these regenerators out' -r
complete -c reseal -n "__fish_reseal_using_subcommand demo" -l format -d 'For people, or one JSON document on standard output' -r -f -a "human\t'Text, coloured on a terminal'
json\t'One JSON document'"
complete -c reseal -n "__fish_reseal_using_subcommand demo" -l log-level -d 'How much to log on standard error' -r -f -a "error\t'What failed'
warn\t'What a person should look at, too'
info\t'What was done, too'
debug\t'Every step, too'"
complete -c reseal -n "__fish_reseal_using_subcommand demo" -l dry-run -d 'Show what would be done, and do nothing'
complete -c reseal -n "__fish_reseal_using_subcommand demo" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c reseal -n "__fish_reseal_using_subcommand adopt" -l root -d 'Work on the guest below this directory instead of the running system' -r -F
complete -c reseal -n "__fish_reseal_using_subcommand adopt" -l image -d 'Work on the guest inside this disk image, or on the ids inside it beside the guest of --root; can be repeated' -r -F
complete -c reseal -n "__fish_reseal_using_subcommand adopt" -l device -d 'As --image, for a disk of this machine that nothing uses, as /dev/sdb; can be repeated' -r -F
complete -c reseal -n "__fish_reseal_using_subcommand adopt" -l policy -d 'Read this policy instead of the files under /etc/reseal' -r -F
complete -c reseal -n "__fish_reseal_using_subcommand adopt" -l set -d 'Set one policy key, as in hostname.name=web-1; can be repeated' -r
complete -c reseal -n "__fish_reseal_using_subcommand adopt" -l only -d 'Run only these regenerators' -r
complete -c reseal -n "__fish_reseal_using_subcommand adopt" -l skip -d 'Leave these regenerators out' -r
complete -c reseal -n "__fish_reseal_using_subcommand adopt" -l format -d 'For people, or one JSON document on standard output' -r -f -a "human\t'Text, coloured on a terminal'
json\t'One JSON document'"
complete -c reseal -n "__fish_reseal_using_subcommand adopt" -l log-level -d 'How much to log on standard error' -r -f -a "error\t'What failed'
warn\t'What a person should look at, too'
info\t'What was done, too'
debug\t'Every step, too'"
complete -c reseal -n "__fish_reseal_using_subcommand adopt" -l force -d 'Also where the stamp is of another machine, as after a backup was restored into a new one'
complete -c reseal -n "__fish_reseal_using_subcommand adopt" -l dry-run -d 'Show what would be done, and do nothing'
complete -c reseal -n "__fish_reseal_using_subcommand adopt" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c reseal -n "__fish_reseal_using_subcommand generator" -l root -d 'Work on the guest below this directory instead of the running system' -r -F
complete -c reseal -n "__fish_reseal_using_subcommand generator" -l image -d 'Work on the guest inside this disk image, or on the ids inside it beside the guest of --root; can be repeated' -r -F
complete -c reseal -n "__fish_reseal_using_subcommand generator" -l device -d 'As --image, for a disk of this machine that nothing uses, as /dev/sdb; can be repeated' -r -F
complete -c reseal -n "__fish_reseal_using_subcommand generator" -l policy -d 'Read this policy instead of the files under /etc/reseal' -r -F
complete -c reseal -n "__fish_reseal_using_subcommand generator" -l set -d 'Set one policy key, as in hostname.name=web-1; can be repeated' -r
complete -c reseal -n "__fish_reseal_using_subcommand generator" -l only -d 'Run only these regenerators' -r
complete -c reseal -n "__fish_reseal_using_subcommand generator" -l skip -d 'Leave these regenerators out' -r
complete -c reseal -n "__fish_reseal_using_subcommand generator" -l format -d 'For people, or one JSON document on standard output' -r -f -a "human\t'Text, coloured on a terminal'
json\t'One JSON document'"
complete -c reseal -n "__fish_reseal_using_subcommand generator" -l log-level -d 'How much to log on standard error' -r -f -a "error\t'What failed'
warn\t'What a person should look at, too'
info\t'What was done, too'
debug\t'Every step, too'"
complete -c reseal -n "__fish_reseal_using_subcommand generator" -l dry-run -d 'Show what would be done, and do nothing'
complete -c reseal -n "__fish_reseal_using_subcommand generator" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c reseal -n "__fish_reseal_using_subcommand tell-clone" -l root -d 'Work on the guest below this directory instead of the running system' -r -F
complete -c reseal -n "__fish_reseal_using_subcommand tell-clone" -l image -d 'Work on the guest inside this disk image, or on the ids inside it beside the guest of --root; can be repeated' -r -F
complete -c reseal -n "__fish_reseal_using_subcommand tell-clone" -l device -d 'As --image, for a disk of this machine that nothing uses, as /dev/sdb; can be repeated' -r -F
complete -c reseal -n "__fish_reseal_using_subcommand tell-clone" -l policy -d 'Read this policy instead of the files under /etc/reseal' -r -F
complete -c reseal -n "__fish_reseal_using_subcommand tell-clone" -l set -d 'Set one policy key, as in hostname.name=web-1; can be repeated' -r
complete -c reseal -n "__fish_reseal_using_subcommand tell-clone" -l only -d 'Run only these regenerators' -r
complete -c reseal -n "__fish_reseal_using_subcommand tell-clone" -l skip -d 'Leave these regenerators out' -r
complete -c reseal -n "__fish_reseal_using_subcommand tell-clone" -l format -d 'For people, or one JSON document on standard output' -r -f -a "human\t'Text, coloured on a terminal'
json\t'One JSON document'"
complete -c reseal -n "__fish_reseal_using_subcommand tell-clone" -l log-level -d 'How much to log on standard error' -r -f -a "error\t'What failed'
warn\t'What a person should look at, too'
info\t'What was done, too'
debug\t'Every step, too'"
complete -c reseal -n "__fish_reseal_using_subcommand tell-clone" -l dry-run -d 'Show what would be done, and do nothing'
complete -c reseal -n "__fish_reseal_using_subcommand tell-clone" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c reseal -n "__fish_reseal_using_subcommand help; and not __fish_seen_subcommand_from apply seal inspect boot-check status list scan policy verify audit reencrypt demo adopt generator tell-clone help" -f -a "apply" -d 'Give the guest an identity of its own'
complete -c reseal -n "__fish_reseal_using_subcommand help; and not __fish_seen_subcommand_from apply seal inspect boot-check status list scan policy verify audit reencrypt demo adopt generator tell-clone help" -f -a "seal" -d 'Make the guest generic before it is copied'
complete -c reseal -n "__fish_reseal_using_subcommand help; and not __fish_seen_subcommand_from apply seal inspect boot-check status list scan policy verify audit reencrypt demo adopt generator tell-clone help" -f -a "inspect" -d 'Show where the guest runs and every identity that it holds'
complete -c reseal -n "__fish_reseal_using_subcommand help; and not __fish_seen_subcommand_from apply seal inspect boot-check status list scan policy verify audit reencrypt demo adopt generator tell-clone help" -f -a "boot-check" -d 'Show whether everything that the boot names, from the firmware to /, is there'
complete -c reseal -n "__fish_reseal_using_subcommand help; and not __fish_seen_subcommand_from apply seal inspect boot-check status list scan policy verify audit reencrypt demo adopt generator tell-clone help" -f -a "status" -d 'Show whether the guest was reset, and what is still to do'
complete -c reseal -n "__fish_reseal_using_subcommand help; and not __fish_seen_subcommand_from apply seal inspect boot-check status list scan policy verify audit reencrypt demo adopt generator tell-clone help" -f -a "list" -d 'List the regenerators and the catalogue, and what applies to the guest'
complete -c reseal -n "__fish_reseal_using_subcommand help; and not __fish_seen_subcommand_from apply seal inspect boot-check status list scan policy verify audit reencrypt demo adopt generator tell-clone help" -f -a "scan" -d 'Look through every file for what is left of the identity that the guest had before'
complete -c reseal -n "__fish_reseal_using_subcommand help; and not __fish_seen_subcommand_from apply seal inspect boot-check status list scan policy verify audit reencrypt demo adopt generator tell-clone help" -f -a "policy" -d 'Show, check or print policy'
complete -c reseal -n "__fish_reseal_using_subcommand help; and not __fish_seen_subcommand_from apply seal inspect boot-check status list scan policy verify audit reencrypt demo adopt generator tell-clone help" -f -a "verify" -d 'Prove that the guest shares nothing with its template, and that what it was given stands and works'
complete -c reseal -n "__fish_reseal_using_subcommand help; and not __fish_seen_subcommand_from apply seal inspect boot-check status list scan policy verify audit reencrypt demo adopt generator tell-clone help" -f -a "audit" -d 'Show which identities the guests of a fleet share, from their inventories'
complete -c reseal -n "__fish_reseal_using_subcommand help; and not __fish_seen_subcommand_from apply seal inspect boot-check status list scan policy verify audit reencrypt demo adopt generator tell-clone help" -f -a "reencrypt" -d 'Give the LUKS volumes that the policy scheduled volume keys of their own, which takes hours'
complete -c reseal -n "__fish_reseal_using_subcommand help; and not __fish_seen_subcommand_from apply seal inspect boot-check status list scan policy verify audit reencrypt demo adopt generator tell-clone help" -f -a "demo" -d 'Reset two copies of a throw-away guest in a temporary directory, and compare them'
complete -c reseal -n "__fish_reseal_using_subcommand help; and not __fish_seen_subcommand_from apply seal inspect boot-check status list scan policy verify audit reencrypt demo adopt generator tell-clone help" -f -a "adopt" -d 'Take the running machine as it is, so that no boot resets it (what installing the package does)'
complete -c reseal -n "__fish_reseal_using_subcommand help; and not __fish_seen_subcommand_from apply seal inspect boot-check status list scan policy verify audit reencrypt demo adopt generator tell-clone help" -f -a "generator" -d 'What systemd starts in every boot, systemd.generator(7)'
complete -c reseal -n "__fish_reseal_using_subcommand help; and not __fish_seen_subcommand_from apply seal inspect boot-check status list scan policy verify audit reencrypt demo adopt generator tell-clone help" -f -a "tell-clone" -d 'Say so where the stamp is not of this machine'
complete -c reseal -n "__fish_reseal_using_subcommand help; and not __fish_seen_subcommand_from apply seal inspect boot-check status list scan policy verify audit reencrypt demo adopt generator tell-clone help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c reseal -n "__fish_reseal_using_subcommand help; and __fish_seen_subcommand_from policy" -f -a "show" -d 'Show every setting in force'
complete -c reseal -n "__fish_reseal_using_subcommand help; and __fish_seen_subcommand_from policy" -f -a "check" -d 'Check every policy file, and say which were read'
complete -c reseal -n "__fish_reseal_using_subcommand help; and __fish_seen_subcommand_from policy" -f -a "default" -d 'Print the shipped policy: every setting, explained'

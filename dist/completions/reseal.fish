# SPDX-License-Identifier: MIT OR Apache-2.0
complete -c reseal -n __fish_use_subcommand -a "apply seal inspect status list policy demo"

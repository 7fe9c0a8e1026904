# SPDX-License-Identifier: MIT OR Apache-2.0
complete -W "apply seal inspect status list policy demo --dry-run --root --policy --set --only --skip --format --plan --force --renew --yes" reseal

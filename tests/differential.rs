// SPDX-License-Identifier: MIT OR Apache-2.0
//! What differs between two independent installations of the same packages is an identity: each such file must be of a
//! catalogue entry or a regenerator, or have a written reason, and nothing of it is left in a copy that is reset.
//!
//! `RESEAL_DIFFERENTIAL` names the batches of `differential/packages.txt`: `sample` by default, `all`, or some of them. What
//! was installed is kept in `target/differential` and judged again by the next run, so that a run that ended goes on.

#[path = "differential/judge.rs"]
mod judge;
#[path = "differential/list.rs"]
mod list;
#[path = "differential/pair.rs"]
mod pair;
#[path = "differential/reset.rs"]
mod reset;

mod guests;

use guests::{Need, own_mounts, ready};

const NEEDS: &[Need] = &[Need::Root, Need::Nspawn];

#[test]
fn what_differs_between_two_installations_is_known_and_goes() {
    if !ready("what_differs_between_two_installations_is_known_and_goes", NEEDS) {
        return;
    }
    own_mounts();
    let wanted = std::env::var("RESEAL_DIFFERENTIAL").unwrap_or_else(|_| "sample".to_owned());
    let (mut wrong, mut packages) = (Vec::new(), 0);
    for batch in list::batches(&wanted) {
        let pair = pair::Pair::of(&batch);
        let verdict = judge::Verdict::of(&pair);
        let left = reset::check(&pair, &verdict);
        println!("differential {}: {} packages, {verdict}", batch.name, batch.packages.len());
        verdict.unknown.iter().for_each(|path| println!("  unknown: {path}"));
        left.iter().for_each(|what| println!("  {what}"));
        packages += batch.packages.len();
        wrong.extend(verdict.unknown.iter().map(|path| format!("{}: {path} differs, and nobody knows it", batch.name)));
        wrong.extend(left.into_iter().map(|what| format!("{}: {what}", batch.name)));
    }
    println!("differential: {packages} packages, {} complaints", wrong.len());
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! Audits of small fleets.

use super::*;
use crate::plan::Severity;

fn spill() -> Result<File> {
    Ok(tempfile::tempfile()?)
}

fn guest(name: &str, identities: &[(&str, &str)]) -> String {
    let identities: Vec<_> = identities
        .iter()
        .map(|(kind, value)| serde_json::json!({"kind": kind, "subject": "one", "value": value}))
        .collect();
    serde_json::json!({"version": 1, "guest": name, "identities": identities}).to_string() + "\n"
}

fn audit(allowed: &[&str], text: &str) -> Result<Report> {
    let allowed = allowed.iter().map(|text| Allowed::read(text).unwrap()).collect();
    let mut audit = Audit::new(allowed, spill);
    audit.read("fleet.ndjson", text.as_bytes())?;
    audit.finish()
}

fn shared(report: &Report) -> Vec<(String, String, Vec<String>)> {
    let names = |shared: &Shared| shared.guests.iter().map(|guest| report.guests.name(*guest)).collect();
    report.most(100).into_iter().map(|one| (one.kind.clone(), one.value.clone(), names(one))).collect()
}

#[test]
fn what_two_guests_have_is_shared_and_what_one_has_twice_is_not() {
    let text = guest("a", &[("machine-id", "1"), ("hostname", "x"), ("ssh-host-key", "k"), ("ssh-host-key", "k")])
        + &guest("b", &[("machine-id", "2"), ("hostname", "x")])
        + &guest("c", &[("machine-id", "1"), ("hostname", "2")]);
    let report = audit(&[], &text).unwrap();
    let expected = [("machine-id", "1", ["a", "c"]), ("hostname", "x", ["a", "b"])];
    let expected =
        expected.map(|(kind, value, names)| (kind.to_owned(), value.to_owned(), names.map(str::to_owned).to_vec()));
    assert_eq!(shared(&report), expected);
    assert_eq!((report.shared(), report.sharing_guests(), report.values), (2, 3, 8));
    assert_eq!(report.kinds()[0].severity, Severity::Error);
}

#[test]
fn what_is_allowed_is_told_and_not_counted() {
    let text =
        guest("a", &[("hostname", "x"), ("luks-uuid", "1")]) + &guest("b", &[("hostname", "x"), ("luks-uuid", "1")]);
    let report = audit(&["hostname", "luks-uuid=2"], &text).unwrap();
    assert_eq!((report.shared(), report.allowed()), (1, 1));
    assert_eq!(report.shared_by, [1, 1]);
    assert!(human(&report).contains("allowed   hostname"), "{}", human(&report));
    assert_eq!(audit(&["hostname", "luks-uuid=1"], &text).unwrap().shared(), 0);
    assert!(Allowed::read("hostnam").is_err());
}

#[test]
fn what_stands_for_nothing_is_not_shared() {
    let text = guest("a", &[("hostname", "localhost"), ("machine-id", "")])
        + &guest("b", &[("hostname", "localhost"), ("machine-id", "")]);
    let report = audit(&[], &text).unwrap();
    assert_eq!((report.shared(), report.values), (0, 0));
}

#[test]
fn a_broken_document_is_named_and_the_others_count() {
    let long = guest("c", &[("hostname", &"x".repeat(5000))]);
    let text = guest("a", &[("hostname", "x")])
        + "{\"version\": 2, \"guests\": []}\n{\"version\": 1}\n{\n\nnonsense\n"
        + &long
        + &guest("d", &[("<b>", "x")])
        + &guest("b", &[("hostname", "x")]);
    let report = audit(&[], &text).unwrap();
    assert_eq!(report.shared(), 1);
    let places: Vec<&str> = report.broken.iter().map(|broken| &*broken.place).collect();
    assert_eq!(places, ["fleet.ndjson:2", "fleet.ndjson:3", "fleet.ndjson:4", "fleet.ndjson:7", "fleet.ndjson:8"]);
    assert!(report.broken[0].message.contains("version 2"), "{:?}", report.broken);
    assert!(audit(&[], "nonsense\n").is_err());
    assert!(audit(&[], "").is_err());
}

#[test]
fn guests_are_named_by_what_tells_them_apart() {
    let machine = r#"{"version":1,"machine":{"smbios-uuid":"uuid-1"},"identities":[]}"#;
    let host = r#"{"version":1,"identities":[{"kind":"hostname","subject":"static","value":"web"}]}"#;
    let mut audit = Audit::new(Vec::new(), spill);
    audit.read("dir/web-1.json", host.as_bytes()).unwrap();
    audit.read("-", format!("{host}\n{host}\n{machine}\n").as_bytes()).unwrap();
    let report = audit.finish().unwrap();
    let names: Vec<String> = (0..4).map(|guest| report.guests.name(guest)).collect();
    assert_eq!(names, ["web-1", "web (-:1)", "web (-:2)", "uuid-1"]);
}

/// So many values that parts go to their files (in tests they do early), against a plain comparison.
#[test]
fn what_does_not_fit_into_memory_is_found_as_well() {
    const GUESTS: usize = 1000;
    let value = |guest: usize, at: usize| format!("{:0>90}", if at == 0 { guest / 2 } else { guest * 100 + at });
    let mut text = String::new();
    let mut holders: HashMap<String, Vec<usize>> = HashMap::new();
    for number in 0..GUESTS {
        let values: Vec<String> = (0..20).map(|at| value(number, at)).collect();
        let identities: Vec<_> = values.iter().map(|value| ("ssh-host-key", &**value)).collect();
        text.push_str(&guest(&format!("g{number}"), &identities));
        values.into_iter().for_each(|value| holders.entry(value).or_default().push(number));
    }
    holders.retain(|_, guests| guests.iter().any(|guest| *guest != guests[0]));
    assert!(holders.len() >= GUESTS / 2);
    let mut report = audit(&[], &text).unwrap();
    assert_eq!(report.shared() as usize, holders.len());
    assert!(report.most(usize::MAX).len() < holders.len(), "the report goes to its file, too");
    let mut json = Vec::new();
    report.write_json(&mut json).unwrap();
    let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
    let all = json["shared"].as_array().unwrap();
    assert_eq!(all.len(), holders.len());
    for one in all {
        let names: Vec<String> = holders[one["value"].as_str().unwrap()].iter().map(|n| format!("g{n}")).collect();
        assert_eq!(one["guests"], serde_json::json!(names));
    }
}

#[test]
fn the_json_form_is_json_and_the_page_holds_no_markup_of_a_guest() {
    let evil = "</script><script>alert(1)</script><img src=x onerror=alert(1)>\"'";
    let text = guest(evil, &[("hostname", evil)]) + &guest("b", &[("hostname", evil)]) + "<script>\n";
    let mut report = audit(&[], &text).unwrap();
    let mut json = Vec::new();
    report.write_json(&mut json).unwrap();
    let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
    assert_eq!(json["shared"][0]["value"], evil);
    assert_eq!(json["shared"][0]["guests"], serde_json::json!([evil, "b"]));
    let mut html = Vec::new();
    page(&report, &mut html).unwrap();
    let html = String::from_utf8(html).unwrap();
    assert_eq!(html.matches("<script").count(), 1);
    for loads in ["<img", "<link", "<iframe", "http:", "https:", "@import", "url("] {
        assert!(!html.contains(loads), "{loads}");
    }
}

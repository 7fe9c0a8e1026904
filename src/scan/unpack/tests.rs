// SPDX-License-Identifier: MIT OR Apache-2.0
//! Pieces made by hand; what the real programs make is in tests/scan/packed.rs.

use std::io::Read;

use flate2::Compression;
use flate2::read::GzEncoder;

use super::*;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    GzEncoder::new(bytes, Compression::fast()).read_to_end(&mut out).unwrap();
    out
}

fn member(name: &str, content: &[u8]) -> Vec<u8> {
    let pad = |length: usize| vec![0; length.wrapping_neg() % 4];
    let mut out = b"070701".to_vec();
    for field in [1, 0o100_644, 0, 0, 1, 0, content.len(), 0, 0, 0, 0, name.len() + 1, 0] {
        out.extend_from_slice(format!("{field:08X}").as_bytes());
    }
    out.extend_from_slice(name.as_bytes());
    out.push(0);
    out.extend(pad(110 + name.len() + 1));
    out.extend_from_slice(content);
    out.extend(pad(content.len()));
    out
}

fn archive(members: &[(&str, &[u8])]) -> Vec<u8> {
    let members = members.iter().map(|(name, content)| member(name, content));
    members.chain([member("TRAILER!!!", b"")]).flatten().collect()
}

/// What is looked at: the way, where it begins, and the text.
/// What, the way to it, where, and what it is.
type Seen = (What, String, u64, String);

fn seen(file: &[u8]) -> (Vec<Seen>, Result<(), String>) {
    let mut all = Vec::new();
    let mut look = |what: What, way: &str, at: u64, reader: &mut dyn Read| {
        let mut text = Vec::new();
        reader.read_to_end(&mut text)?;
        text.truncate(40);
        all.push((what, way.to_owned(), at, String::from_utf8_lossy(&text).into_owned()));
        Ok(())
    };
    let result = look_inside(&mut &file[..], &Large::default(), &mut look);
    (all, result)
}

fn ways(file: &[u8]) -> Vec<String> {
    let (all, result) = seen(file);
    result.unwrap();
    all.into_iter()
        .filter(|(what, ..)| *what == What::Content)
        .map(|(_, way, _, text)| format!("{way}={text}"))
        .collect()
}

#[test]
fn pieces_stand_one_behind_and_one_inside_of_the_other() {
    assert_eq!(ways(b"plain"), [""; 0]);
    assert_eq!(ways(b""), [""; 0]);
    assert_eq!(ways(&gzip(b"one")), ["gzip=one"]);
    assert_eq!(ways(&[gzip(b"one"), gzip(b"two")].concat()), ["gzip=one", "gzip=two"]);
    assert_eq!(ways(&gzip(&gzip(b"one"))), ["gzip > gzip=one"]);
    let (all, _) = seen(&gzip(b"\0\0\0\0\0text"));
    assert_eq!(all, [(What::Content, "gzip".to_owned(), 5, "text".to_owned())]);
    // What stands in an archive that is not packed was seen as it stands; what is packed in it was not.
    let early = archive(&[("microcode", b"code"), ("module.ko.gz", &gzip(b"module"))]);
    let main = gzip(&archive(&[("etc/id", b"value"), ("lib/m.gz", &gzip(b"other")), ("empty", b"")]));
    assert_eq!(
        ways(&[&early[..], &[0; 500], &main, &[0; 7]].concat()),
        ["module.ko.gz > gzip=module", "gzip > etc/id=value", "gzip > lib/m.gz > gzip=other"]
    );
    let (all, _) = seen(&main);
    assert_eq!(all[0], (What::Name, "gzip > etc/id".to_owned(), 0, "etc/id".to_owned()));
}

#[test]
fn what_is_damaged_or_endless_is_said() {
    let whole = gzip(&archive(&[("etc/id", &b"value".repeat(5000)[..])]));
    for cut in 0..whole.len() {
        let (_, result) = seen(&whole[..cut]);
        assert!(cut < 3 || result.is_err(), "cut at {cut}");
    }
    for at in 0..whole.len() {
        for flip in [1, 0x80, 0xff] {
            let mut file = whole.clone();
            file[at] ^= flip;
            let _ = seen(&file);
        }
    }
    let mut deep = b"x".to_vec();
    for _ in 0..5 {
        deep = gzip(&deep);
    }
    assert_eq!(seen(&deep).1, Err("packed more than 3 times".to_owned()));
    assert_eq!(seen(b"BZh91AY&SY").1, Err("packed by bzip2, which is not unpacked".to_owned()));
    // A dictionary of 64 MiB.
    assert_eq!(
        seen(b"\xfd7zXZ\0\0\x04\xe6\xd6\xb4\x46\x02\0\x21\x01\x1c\0\0\0\x10\xcf\x58\xcc").1,
        Err("unpacking it takes 64 MiB of memory".to_owned())
    );
    assert_eq!(seen(b"\x28\xb5\x2f\xfd\x04\x88").1, Err("unpacking it takes 128 MiB of memory".to_owned()));
}

#[test]
fn no_more_is_unpacked_than_is_allowed() {
    let left = Cell::new(100_000);
    let bomb = gzip(&vec![b'x'; 300_000]);
    let mut look = |_: What, _: &str, _: u64, reader: &mut dyn Read| io::copy(reader, &mut io::sink()).map(drop);
    let mut unpacking = Unpacking { look: &mut look, left: &left, large: &Large::default(), held: None };
    let mut file = &bomb[..];
    let error = unpacking.pieces(&mut Stream::new(&mut file, None), "", 0).unwrap_err();
    assert!(error.to_string().contains("more in it than is looked at"), "{error}");
}

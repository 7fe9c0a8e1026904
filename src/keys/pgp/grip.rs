// SPDX-License-Identifier: MIT OR Apache-2.0
//! Keygrips: GnuPG names the file of a secret key after its public parameters, whatever packet or certificate they are in.
//!
//! The SHA-1 of the parameters that libgcrypt's `gcry_pk_get_keygrip` hashes: `comp_keygrip` in its cipher/rsa.c, dsa.c,
//! elgamal.c and ecc.c.

use anyhow::Result;
use sequoia_openpgp::crypto::mpi::PublicKey;
use sequoia_openpgp::types::{Curve, HashAlgorithm};

use crate::plan::derive::hex;

/// The keygrip in capital hexadecimal digits, as the file is named; `None` for an algorithm that is not known here.
pub fn of(key: &PublicKey) -> Result<Option<String>> {
    let Some(hashed) = hashed(key) else { return Ok(None) };
    let mut sha1 = HashAlgorithm::SHA1.context()?.for_digest();
    sha1.update(&hashed);
    let mut digest = [0; 20];
    sha1.digest(&mut digest)?;
    Ok(Some(hex(&digest).to_uppercase()))
}

fn hashed(key: &PublicKey) -> Option<Vec<u8>> {
    match key {
        // The number as the S-expression holds it: signed, so that a high first bit has a zero before it.
        PublicKey::RSA { n, .. } => {
            let sign = n.value().first().is_some_and(|first| first & 0x80 != 0);
            Some([&[0][..usize::from(sign)], n.value()].concat())
        }
        PublicKey::DSA { p, q, g, y } => {
            Some(parts([("p", p.value()), ("q", q.value()), ("g", g.value()), ("y", y.value())].map(signed)))
        }
        PublicKey::ElGamal { p, g, y } => {
            Some(parts([("p", p.value()), ("g", g.value()), ("y", y.value())].map(signed)))
        }
        PublicKey::EdDSA { curve, q } | PublicKey::ECDSA { curve, q } | PublicKey::ECDH { curve, q, .. } => {
            let (constants, native) = match curve {
                Curve::Ed25519 => (ED25519, true),
                Curve::Cv25519 => (CURVE25519, true),
                Curve::NistP256 => (P256, false),
                Curve::NistP384 => (P384, false),
                Curve::NistP521 => (P521, false),
                _ => return None,
            };
            // The octet 0x40 says that a point is in its curve's own form, RFC 4880bis; it is no part of the point.
            let point = if native { q.value().strip_prefix(&[0x40])? } else { q.value() };
            let mut all: Vec<(&str, Vec<u8>)> =
                ["p", "a", "b", "g", "n"].into_iter().zip(constants.map(bytes)).collect();
            all.push(("q", point.to_vec()));
            Some(parts(all))
        }
        _ => None,
    }
}

fn signed((name, value): (&'static str, &[u8])) -> (&'static str, Vec<u8>) {
    let sign = value.first().is_some_and(|first| first & 0x80 != 0);
    (name, [&[0][..usize::from(sign)], value].concat())
}

fn parts<'a>(all: impl IntoIterator<Item = (&'a str, Vec<u8>)>) -> Vec<u8> {
    let one = |(name, value): (&str, Vec<u8>)| [format!("(1:{name}{}:", value.len()).as_bytes(), &value, b")"].concat();
    all.into_iter().flat_map(one).collect()
}

fn bytes(digits: &str) -> Vec<u8> {
    let nibble = |digit: u8| (digit as char).to_digit(16).unwrap_or_default() as u8;
    digits.as_bytes().chunks(2).map(|pair| pair.iter().fold(0, |sum, digit| sum << 4 | nibble(*digit))).collect()
}

/// RFC 8032, 5.1; libgcrypt hashes the absolute values of its negative a and b.
const ED25519: [&str; 5] = [
    "7fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffed",
    "01",
    "2dfc9311d490018c7338bf8688861767ff8ff5b2bebe27548a14b235eca6874a",
    concat!(
        "04216936d3cd6e53fec0a4e231fdd6dc5c692cc7609525a7b2c9562d608f25d51a6666666666666666666666666666666666",
        "666666666666666666666666666658",
    ),
    "1000000000000000000000000000000014def9dea2f79cd65812631a5cf5d3ed",
];

/// RFC 7748, 4.1; a as (A - 2) / 4.
const CURVE25519: [&str; 5] = [
    "7fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffed",
    "01db41",
    "01",
    concat!(
        "04000000000000000000000000000000000000000000000000000000000000000920ae19a1b8a086b4e01edd2c7748d14c92",
        "3d4d7e6d7c61b229e9c5a27eced3d9",
    ),
    "1000000000000000000000000000000014def9dea2f79cd65812631a5cf5d3ed",
];

/// FIPS 186-4, D.1.2.3.
const P256: [&str; 5] = [
    "ffffffff00000001000000000000000000000000ffffffffffffffffffffffff",
    "ffffffff00000001000000000000000000000000fffffffffffffffffffffffc",
    "5ac635d8aa3a93e7b3ebbd55769886bc651d06b0cc53b0f63bce3c3e27d2604b",
    concat!(
        "046b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c2964fe342e2fe1a7f9b8ee7eb4a7c0f9e162b",
        "ce33576b315ececbb6406837bf51f5",
    ),
    "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551",
];

/// FIPS 186-4, D.1.2.4.
const P384: [&str; 5] = [
    "fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffeffffffff0000000000000000ffffffff",
    "fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffeffffffff0000000000000000fffffffc",
    "b3312fa7e23ee7e4988e056be3f82d19181d9c6efe8141120314088f5013875ac656398d8a2ed19d2a85c8edd3ec2aef",
    concat!(
        "04aa87ca22be8b05378eb1c71ef320ad746e1d3b628ba79b9859f741e082542a385502f25dbf55296c3a545e3872760ab736",
        "17de4a96262c6f5d9e98bf9292dc29f8f41dbd289a147ce9da3113b5f0b8c00a60b1ce1d7e819d7a431d7c90ea0e5f",
    ),
    "ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973",
];

/// FIPS 186-4, D.1.2.5.
const P521: [&str; 5] = [
    concat!(
        "01ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "ffffffffffffffffffffffffffffffff",
    ),
    concat!(
        "01ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "fffffffffffffffffffffffffffffffc",
    ),
    concat!(
        "51953eb9618e1c9a1f929a21a0b68540eea2da725b99b315f3b8b489918ef109e156193951ec7e937b1652c0bd3bb1bf0735",
        "73df883d2c34f1ef451fd46b503f00",
    ),
    concat!(
        "0400c6858e06b70404e9cd9e3ecb662395b4429c648139053fb521f828af606b4d3dbaa14b5e77efe75928fe1dc127a2ffa8",
        "de3348b3c1856a429bf97e7e31c2e5bd66011839296a789a3bc0045c8a5fb42c7d1bd998f54449579b446817afbd17273e66",
        "2c97ee72995ef42640c550b9013fad0761353c7086a272c24088be94769fd16650",
    ),
    concat!(
        "01fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffa51868783bf2f966b7fcc0148f709a5d0",
        "3bb5c9b8899c47aebb6fb71e91386409",
    ),
];

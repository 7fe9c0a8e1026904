// SPDX-License-Identifier: MIT OR Apache-2.0
//! Host keys in the file format of Dropbear: the fields of the SSH protocol, without a header. `buf_put_priv_key` in
//! Dropbear's src/signkey.c, rsa.c, ecdsa.c and ed25519.c.

use anyhow::{Context as _, Result, bail};
use ssh_key::EcdsaCurve;
use ssh_key::private::{EcdsaKeypair, Ed25519Keypair};
use zeroize::Zeroizing;

use super::{entropy, rsa};
use crate::plan::key::SshAlgorithm;

/// The algorithm of a key file, or of its successor where it is of a size that is not made.
///
/// # Errors
/// When it is no key file of Dropbear, or of an algorithm that is not made.
pub(super) fn algorithm(file: &[u8]) -> Result<SshAlgorithm> {
    let mut rest = file;
    let mut next = || -> Result<&[u8]> {
        let (size, tail) = rest.split_first_chunk::<4>().context("it is no key file of Dropbear")?;
        let size = u32::from_be_bytes(*size) as usize;
        let (field, tail) = tail.split_at_checked(size).context("it is no key file of Dropbear")?;
        rest = tail;
        Ok(field)
    };
    Ok(match next()? {
        b"ssh-ed25519" => SshAlgorithm::Ed25519,
        b"ecdsa-sha2-nistp256" => SshAlgorithm::EcdsaP256,
        b"ecdsa-sha2-nistp384" => SshAlgorithm::EcdsaP384,
        b"ecdsa-sha2-nistp521" => SshAlgorithm::EcdsaP521,
        b"ssh-rsa" => {
            next()?;
            // A positive number whose highest bit is set has a zero before it, RFC 4251, 5.
            match next()?.strip_prefix(&[0]).map_or(0, <[u8]>::len) {
                256 => SshAlgorithm::Rsa2048,
                512 => SshAlgorithm::Rsa4096,
                _ => SshAlgorithm::Rsa3072,
            }
        }
        b"ssh-dss" => bail!("a DSA key, which is not made any more"),
        _ => bail!("it is no key file of Dropbear"),
    })
}

/// Makes a key file.
pub(super) fn make(algorithm: SshAlgorithm) -> Result<Zeroizing<Vec<u8>>> {
    let mut file = Zeroizing::new(Vec::with_capacity(8 << 10));
    let mut put = |field: &[u8]| -> Result<()> {
        file.extend_from_slice(&u32::try_from(field.len())?.to_be_bytes());
        file.extend_from_slice(field);
        Ok(())
    };
    let (curve, name) = match algorithm {
        SshAlgorithm::Ed25519 => {
            put(b"ssh-ed25519")?;
            put(&*Zeroizing::new(Ed25519Keypair::random(&mut entropy()?).to_bytes()))?;
            return Ok(file);
        }
        SshAlgorithm::Rsa2048 | SshAlgorithm::Rsa3072 | SshAlgorithm::Rsa4096 => {
            let bits = match algorithm {
                SshAlgorithm::Rsa2048 => 2048,
                SshAlgorithm::Rsa3072 => 3072,
                _ => 4096,
            };
            let key = rsa::make(bits)?;
            put(b"ssh-rsa")?;
            for part in [&key.e, &key.n, &*key.d, &*key.p, &*key.q] {
                put(&number(part))?;
            }
            return Ok(file);
        }
        SshAlgorithm::EcdsaP256 => (EcdsaCurve::NistP256, "nistp256"),
        SshAlgorithm::EcdsaP384 => (EcdsaCurve::NistP384, "nistp384"),
        SshAlgorithm::EcdsaP521 => (EcdsaCurve::NistP521, "nistp521"),
    };
    let pair = EcdsaKeypair::random(&mut entropy()?, curve)?;
    put(format!("ecdsa-sha2-{name}").as_bytes())?;
    put(name.as_bytes())?;
    put(pair.public_key_bytes())?;
    put(&number(pair.private_key_bytes()))?;
    Ok(file)
}

/// A positive number: without zeros in front, but for one that keeps its highest bit from being a sign, RFC 4251, 5.
fn number(bytes: &[u8]) -> Zeroizing<Vec<u8>> {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    let sign = bytes.get(zeros).is_some_and(|first| *first >= 0x80);
    let mut number = Zeroizing::new(Vec::with_capacity(bytes.len() + 1));
    number.extend_from_slice(if sign { &[0] } else { &[] });
    number.extend_from_slice(&bytes[zeros..]);
    number
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::process::Command;

    use super::super::tests::{installed, run};
    use super::*;

    const ALL: [(SshAlgorithm, &str); 5] = [
        (SshAlgorithm::Ed25519, "ssh-ed25519 "),
        (SshAlgorithm::EcdsaP256, "ecdsa-sha2-nistp256 "),
        (SshAlgorithm::EcdsaP384, "ecdsa-sha2-nistp384 "),
        (SshAlgorithm::EcdsaP521, "ecdsa-sha2-nistp521 "),
        (SshAlgorithm::Rsa2048, "ssh-rsa "),
    ];

    #[test]
    fn a_file_tells_its_algorithm() {
        for (wanted, _) in ALL {
            let file = make(wanted).unwrap();
            assert_eq!(algorithm(&file).unwrap(), wanted);
            assert_ne!(make(wanted).unwrap(), file);
        }
        for wrong in
            [&b""[..], b"\0\0\0\x07ssh-dss", b"\xff\xff\xff\xffssh-rsa", b"-----BEGIN OPENSSH PRIVATE KEY-----"]
        {
            assert!(algorithm(wrong).is_err());
        }
    }

    #[test]
    fn dropbear_reads_what_is_made() {
        if !installed("dropbearkey") {
            return;
        }
        let file = tempfile::NamedTempFile::new().unwrap();
        for (algorithm, shown) in ALL {
            for _ in 0..4 {
                fs::write(file.path(), &*make(algorithm).unwrap()).unwrap();
                let public = run(Command::new("dropbearkey").arg("-y").arg("-f").arg(file.path()));
                assert!(public.contains(shown) && public.contains("Fingerprint"), "{public}");
            }
        }
    }
}

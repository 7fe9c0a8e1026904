// SPDX-License-Identifier: MIT OR Apache-2.0
//! SSH host keys: made and read in OpenSSH's own formats.

use std::str;

use anyhow::{Context as _, Result, bail, ensure};
use ssh_key::private::{EcdsaKeypair, Ed25519Keypair, KeypairData, RsaKeypair, RsaPrivateKey};
use ssh_key::public::{EcdsaPublicKey, KeyData, RsaPublicKey};
use ssh_key::{Algorithm, Certificate, EcdsaCurve, HashAlg, LineEnding, Mpint, PrivateKey, PublicKey};
use zeroize::Zeroizing;

use super::{Companion, NewKey, entropy, rsa};
use crate::plan::PublicForm;
use crate::plan::key::SshAlgorithm;

/// Makes a host key without a passphrase, which sshd(8) could not ask for.
pub(super) fn make(algorithm: SshAlgorithm, comment: &str) -> Result<NewKey> {
    ensure!(!comment.contains(char::is_control), "the comment {comment:?} does not fit on one line");
    let pair = match algorithm {
        SshAlgorithm::Ed25519 => KeypairData::from(Ed25519Keypair::random(&mut entropy()?)),
        SshAlgorithm::EcdsaP256 => ecdsa(EcdsaCurve::NistP256)?,
        SshAlgorithm::EcdsaP384 => ecdsa(EcdsaCurve::NistP384)?,
        SshAlgorithm::EcdsaP521 => ecdsa(EcdsaCurve::NistP521)?,
        SshAlgorithm::Rsa2048 => rsa_pair(&rsa::make(2048)?)?,
        SshAlgorithm::Rsa3072 => rsa_pair(&rsa::make(3072)?)?,
        SshAlgorithm::Rsa4096 => rsa_pair(&rsa::make(4096)?)?,
    };
    let key = PrivateKey::new(pair, comment)?;
    let mut private = key.to_openssh(LineEnding::LF)?;
    let public = SshKey(key.public_key().clone());
    Ok(NewKey {
        private: Zeroizing::new(std::mem::take(&mut *private).into_bytes()),
        companion: Companion { suffix: ".pub", content: public.line()?.into_bytes(), public: true },
        fingerprint: public.fingerprint(),
    })
}

fn ecdsa(curve: EcdsaCurve) -> Result<KeypairData> {
    Ok(EcdsaKeypair::random(&mut entropy()?, curve)?.into())
}

fn rsa_pair(parts: &rsa::Parts) -> Result<KeypairData> {
    let number = |bytes: &[u8]| Mpint::from_positive_bytes(bytes);
    let public = RsaPublicKey::new(number(&parts.e), number(&parts.n))?;
    let private = RsaPrivateKey::new(number(&parts.d), number(&parts.iqmp), number(&parts.p), number(&parts.q))?;
    Ok(RsaKeypair::new(public, private)?.into())
}

/// A public key: from a `.pub` file, out of a private key or out of a host certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SshKey(PublicKey);

impl SshKey {
    /// The algorithm's name in the SSH protocol, `ssh-ed25519`.
    pub fn name(&self) -> String {
        self.0.algorithm().as_str().to_owned()
    }

    /// The algorithm as policy names it; `None` for one that reseal does not make, such as DSA or RSA of 1024 bits.
    pub fn algorithm(&self) -> Option<SshAlgorithm> {
        match self.0.algorithm() {
            Algorithm::Ed25519 => Some(SshAlgorithm::Ed25519),
            Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 } => Some(SshAlgorithm::EcdsaP256),
            Algorithm::Ecdsa { curve: EcdsaCurve::NistP384 } => Some(SshAlgorithm::EcdsaP384),
            Algorithm::Ecdsa { curve: EcdsaCurve::NistP521 } => Some(SshAlgorithm::EcdsaP521),
            Algorithm::Rsa { .. } => match self.0.key_data().rsa()?.key_size() {
                2048 => Some(SshAlgorithm::Rsa2048),
                3072 => Some(SshAlgorithm::Rsa3072),
                4096 => Some(SshAlgorithm::Rsa4096),
                _ => None,
            },
            _ => None,
        }
    }

    /// Size of the key in bits, as `ssh-keygen -l` shows it.
    pub fn bits(&self) -> u32 {
        match self.0.key_data() {
            KeyData::Rsa(key) => key.key_size(),
            KeyData::Ecdsa(EcdsaPublicKey::NistP384(_)) => 384,
            KeyData::Ecdsa(EcdsaPublicKey::NistP521(_)) => 521,
            KeyData::Dsa(_) => 1024,
            _ => 256,
        }
    }

    /// The family's name in capitals, as `ssh-keygen -l` shows it.
    pub fn family(&self) -> &'static str {
        match self.0.algorithm() {
            Algorithm::Rsa { .. } => "RSA",
            Algorithm::Dsa => "DSA",
            Algorithm::Ecdsa { .. } => "ECDSA",
            Algorithm::Ed25519 => "ED25519",
            _ => "OTHER",
        }
    }

    /// `SHA256:...`, as `ssh-keygen -l` shows it.
    pub fn fingerprint(&self) -> String {
        self.0.fingerprint(HashAlg::Sha256).to_string()
    }

    /// The whole `.pub` file: algorithm, key, comment, newline.
    ///
    /// # Errors
    /// When the comment read with the key is not text.
    pub fn line(&self) -> Result<String> {
        Ok(self.0.to_openssh().context("writing a public SSH key")? + "\n")
    }

    /// The DNS record with which a resolver vouches for the key, RFC 4255, without a newline; `None` if the algorithm
    /// has no number there. The digest is SHA-256 (RFC 6594): the older SHA-1 record adds nothing but SHA-1.
    pub fn sshfp(&self, host: &str) -> Option<String> {
        // IANA, "DNS SSHFP Resource Record Parameters": RFC 4255, RFC 6594, RFC 7479.
        let algorithm = match self.0.algorithm() {
            Algorithm::Rsa { .. } => 1,
            Algorithm::Dsa => 2,
            Algorithm::Ecdsa { .. } => 3,
            Algorithm::Ed25519 => 4,
            _ => return None,
        };
        let digest: String =
            self.0.fingerprint(HashAlg::Sha256).as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        Some(format!("{host} IN SSHFP {algorithm} 2 {digest}"))
    }

    /// The line of an ssh_known_hosts file, sshd(8), with its newline. A name with another port than 22 is written
    /// `[name]:port`.
    ///
    /// # Errors
    /// When a name cannot stand in the file.
    pub fn known_hosts_line(&self, names: &[&str]) -> Result<String> {
        let fits = |name: &&str| !name.is_empty() && !name.contains(|c: char| c == ',' || c.is_whitespace());
        ensure!(!names.is_empty() && names.iter().all(fits), "no name for a known_hosts file in {names:?}");
        let mut bare = self.0.clone();
        bare.set_comment("");
        Ok(format!("{} {}\n", names.join(","), bare.to_openssh()?.trim_end()))
    }
}

/// The public halves of host keys, each the content of a `.pub` file, as `form` writes them down for others.
///
/// # Errors
/// When one is no public key, or the name cannot stand there.
pub fn publish(form: PublicForm, name: &str, publics: &[Vec<u8>]) -> Result<String> {
    let mut text = String::new();
    for file in publics {
        let key = read_public(file)?;
        match form {
            PublicForm::KnownHosts => text.push_str(&key.known_hosts_line(&[name])?),
            PublicForm::Sshfp => {
                text.push_str(&key.sshfp(name).unwrap_or_default());
                text.push('\n');
            }
        }
    }
    Ok(text)
}

/// What a private key file holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PrivateFile {
    /// OpenSSH's own format, the only one that ssh-keygen(1) has written since 7.8; also with a passphrase.
    OpenSsh(SshKey),
    /// PEM, as of old: the family it names (`RSA`, `ECDSA`, `DSA`), or `None` in PKCS#8, where only the inside tells.
    /// Size and fingerprint are those of the `.pub` beside it.
    Pem(Option<&'static str>),
}

/// Reads a private key file as far as its public part.
///
/// # Errors
/// When it holds no private key; the message says what it holds instead.
pub fn read_private(file: &[u8]) -> Result<PrivateFile> {
    let text = text(file).context("reading a private SSH key")?;
    let label = text.strip_prefix("-----BEGIN ").and_then(|rest| rest.split_once("-----")).map(|(label, _)| label);
    Ok(match label {
        Some("OPENSSH PRIVATE KEY") => {
            let key = PrivateKey::from_openssh(text).context("reading a private SSH key")?;
            PrivateFile::OpenSsh(SshKey(key.public_key().clone()))
        }
        Some("RSA PRIVATE KEY") => PrivateFile::Pem(Some("RSA")),
        Some("EC PRIVATE KEY") => PrivateFile::Pem(Some("ECDSA")),
        Some("DSA PRIVATE KEY") => PrivateFile::Pem(Some("DSA")),
        Some("PRIVATE KEY" | "ENCRYPTED PRIVATE KEY") => PrivateFile::Pem(None),
        Some(other) => bail!("reading a private SSH key: the file holds {other:?}"),
        None => bail!("reading a private SSH key: the file does not begin with -----BEGIN"),
    })
}

/// Reads a `.pub` file.
///
/// # Errors
/// When it is not one public key.
pub fn read_public(file: &[u8]) -> Result<SshKey> {
    let read = || -> Result<_> { Ok(SshKey(PublicKey::from_openssh(text(file)?)?)) };
    read().context("reading a public SSH key")
}

/// Reads a host certificate (`-cert.pub`): the key that it certifies. Its signature is not checked: a certificate
/// for an old key is stale whoever signed it.
///
/// # Errors
/// When it is not one certificate.
pub fn read_certificate(file: &[u8]) -> Result<SshKey> {
    let read = || -> Result<_> {
        let certificate = Certificate::from_openssh(text(file)?)?;
        Ok(SshKey(PublicKey::new(certificate.public_key().clone(), certificate.comment())))
    };
    read().context("reading an SSH host certificate")
}

/// The file as text, or in words what is wrong with it. A file of zero length, or of zero bytes, is what a crash
/// leaves of a key whose content never reached the disk.
fn text(file: &[u8]) -> Result<&str> {
    ensure!(!file.is_empty(), "the file is empty");
    ensure!(file.iter().any(|&byte| byte != 0), "the file holds nothing but zero bytes");
    let text = str::from_utf8(file).context("the file is not text")?;
    Ok(text.trim())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::Path;
    use std::process::Command;

    use super::super::tests::{installed, run};
    use super::*;

    const ALL: [(SshAlgorithm, &str); 7] = [
        (SshAlgorithm::Ed25519, "(ED25519)"),
        (SshAlgorithm::EcdsaP256, "256 "),
        (SshAlgorithm::EcdsaP384, "384 "),
        (SshAlgorithm::EcdsaP521, "521 "),
        (SshAlgorithm::Rsa2048, "2048 "),
        (SshAlgorithm::Rsa3072, "3072 "),
        (SshAlgorithm::Rsa4096, "4096 "),
    ];

    fn write(path: &Path, key: &NewKey) {
        fs::write(path, &*key.private).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(path.with_extension("pub"), &key.companion.content).unwrap();
    }

    fn keygen(arguments: &[&str], file: &Path) -> String {
        run(Command::new("ssh-keygen").args(arguments).arg(file))
    }

    #[test]
    fn openssh_agrees_on_every_algorithm() {
        if !installed("ssh-keygen") {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        for (algorithm, shown) in ALL {
            let file = dir.path().join("key");
            let key = make(algorithm, "root@clone of web 1").unwrap();
            write(&file, &key);
            let listed = keygen(&["-lf"], &file);
            assert!(listed.contains(&key.fingerprint) && listed.contains(shown), "{listed}");
            assert_eq!(keygen(&["-yf"], &file).as_bytes(), key.companion.content, "{algorithm:?}");

            let public = read_public(&key.companion.content).unwrap();
            assert_eq!(read_private(&key.private).unwrap(), PrivateFile::OpenSsh(public.clone()));
            assert_eq!((public.algorithm(), public.fingerprint()), (Some(algorithm), key.fingerprint));

            let records = run(Command::new("ssh-keygen").args(["-r", "web1", "-f"]).arg(file.with_extension("pub")));
            let sha256: Vec<_> = records.lines().filter(|line| line.contains(" 2 ")).collect();
            assert_eq!(sha256, [public.sshfp("web1").unwrap()], "{records}");

            let known = dir.path().join("known");
            fs::write(&known, public.known_hosts_line(&["web1", "192.0.2.1", "[web1]:2222"]).unwrap()).unwrap();
            for name in ["web1", "192.0.2.1", "[web1]:2222"] {
                let found = run(Command::new("ssh-keygen").args(["-l", "-F", name, "-f"]).arg(&known));
                assert!(found.contains(&public.fingerprint()), "{found}");
            }
        }
    }

    /// Half of all P-521 keys have a private number shorter than its field, where encoders differ.
    #[test]
    fn openssh_takes_many_p521_keys() {
        if !installed("ssh-keygen") {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("key");
        for _ in 0..20 {
            let key = make(SshAlgorithm::EcdsaP521, "").unwrap();
            write(&file, &key);
            assert_eq!(keygen(&["-yf"], &file).trim_end(), str::from_utf8(&key.companion.content).unwrap().trim_end());
        }
    }

    #[test]
    fn sshd_loads_every_key() {
        if !installed("sshd") {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let mut config = String::new();
        for (number, (algorithm, _)) in ALL.into_iter().enumerate() {
            let file = dir.path().join(number.to_string());
            write(&file, &make(algorithm, "").unwrap());
            config += &format!("HostKey {}\n", file.display());
        }
        let file = dir.path().join("sshd_config");
        let test = |config: &str| {
            fs::write(&file, config).unwrap();
            let output = Command::new("/usr/sbin/sshd").arg("-t").arg("-f").arg(&file).output().unwrap();
            String::from_utf8(output.stderr).unwrap()
        };
        // Where no sshd is running its directory is missing, which is looked for after all keys have been loaded.
        let complaints = test(&config);
        assert!(complaints.is_empty() || complaints.starts_with("Missing privilege separation directory"));
        assert!(test(&format!("{config}HostKey {}\n", file.display())).contains("load host key"), "it does look");
    }

    #[test]
    fn keys_of_ssh_keygen_are_read() {
        if !installed("ssh-keygen") {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let cases: [(&[&str], &str, Option<SshAlgorithm>); 6] = [
            (&["-t", "ed25519"], "ssh-ed25519", Some(SshAlgorithm::Ed25519)),
            (&["-t", "ecdsa", "-b", "521"], "ecdsa-sha2-nistp521", Some(SshAlgorithm::EcdsaP521)),
            (&["-t", "rsa", "-b", "2048"], "ssh-rsa", Some(SshAlgorithm::Rsa2048)),
            (&["-t", "rsa", "-b", "1024"], "ssh-rsa", None),
            (&["-t", "dsa"], "ssh-dss", None),
            (&["-t", "ed25519", "-N", "secret"], "ssh-ed25519", Some(SshAlgorithm::Ed25519)),
        ];
        for (number, (arguments, name, algorithm)) in cases.into_iter().enumerate() {
            let file = dir.path().join(number.to_string());
            let passphrase: &[&str] = if arguments.contains(&"-N") { &[] } else { &["-N", ""] };
            run(Command::new("ssh-keygen").args(["-q", "-f"]).arg(&file).args(arguments).args(passphrase));
            let PrivateFile::OpenSsh(key) = read_private(&fs::read(&file).unwrap()).unwrap() else {
                panic!("{name} is not OpenSSH's format")
            };
            assert_eq!((key.name().as_str(), key.algorithm()), (name, algorithm));
            assert!(keygen(&["-lf"], &file).contains(&key.fingerprint()));
            let public = read_public(&fs::read(file.with_extension("pub")).unwrap()).unwrap();
            assert_eq!(public.fingerprint(), key.fingerprint());
        }
    }

    #[test]
    fn pem_tells_its_family() {
        if !installed("ssh-keygen") {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        for (kind, format, family) in [
            ("rsa", "PEM", Some("RSA")),
            ("ecdsa", "PEM", Some("ECDSA")),
            ("dsa", "PEM", Some("DSA")),
            ("rsa", "PKCS8", None),
        ] {
            let file = dir.path().join(format!("{kind}{format}"));
            run(Command::new("ssh-keygen").args(["-q", "-N", "", "-t", kind, "-m", format, "-f"]).arg(&file));
            assert_eq!(read_private(&fs::read(&file).unwrap()).unwrap(), PrivateFile::Pem(family));
        }
    }

    #[test]
    fn a_certificate_tells_the_key_it_certifies() {
        if !installed("ssh-keygen") {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let authority = dir.path().join("ca");
        write(&authority, &make(SshAlgorithm::Ed25519, "ca").unwrap());
        for (algorithm, _) in ALL {
            let file = dir.path().join("host");
            let key = make(algorithm, "").unwrap();
            write(&file, &key);
            let public = file.with_extension("pub");
            run(Command::new("ssh-keygen").args(["-q", "-h", "-I", "web1", "-s"]).arg(&authority).arg(&public));
            let certificate = fs::read(dir.path().join("host-cert.pub")).unwrap();
            let certified = read_certificate(&certificate).unwrap();
            assert_eq!((certified.fingerprint(), certified.algorithm()), (key.fingerprint, Some(algorithm)));
            assert!(read_public(&certificate).is_err() && read_certificate(&fs::read(&public).unwrap()).is_err());
        }
    }

    #[test]
    fn what_is_wrong_with_a_file_is_said() {
        let key = make(SshAlgorithm::Ed25519, "").unwrap();
        let cut_short = key.private[..key.private.len() / 2].to_vec();
        for (file, complaint) in [
            (&b""[..], "empty"),
            (&[0; 411][..], "zero bytes"),
            (b"\xff\xfe", "not text"),
            (b"hello", "does not begin with -----BEGIN"),
            (b"-----BEGIN CERTIFICATE-----\n", "\"CERTIFICATE\""),
            (&cut_short, "reading a private SSH key: "),
        ] {
            let error = format!("{:#}", read_private(file).unwrap_err());
            assert!(error.contains(complaint), "{error}");
        }
        assert!(format!("{:#}", read_public(b"").unwrap_err()).contains("empty"));
        assert!(read_public(b"ssh-ed25519 AAAA").is_err());
        assert!(read_certificate(b"ssh-ed25519-cert-v01@openssh.com AAAA").is_err());
    }

    #[test]
    fn what_does_not_fit_on_a_line_is_refused() {
        assert!(make(SshAlgorithm::Ed25519, "a\nb").is_err());
        let key = read_public(&make(SshAlgorithm::Ed25519, "").unwrap().companion.content).unwrap();
        for names in [&[][..], &[""], &["a b"], &["a,b"], &["a", "b\n"]] {
            assert!(key.known_hosts_line(names).is_err());
        }
    }
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! Secrets in files of other programs: found in them, and drawn anew for them.

use anyhow::{Context as _, Result, ensure};
use rand::Rng as _;
use zeroize::Zeroizing;

use super::{dropbear, entropy, tls};
use crate::catalogue::{MOST, Value, split};
use crate::plan::key::Secret;
use crate::plan::tag;

/// Files with a new secret.
pub struct Made {
    /// The file that holds it. Wiped when dropped.
    pub file: Zeroizing<Vec<u8>>,
    /// The certificate's file, where it is another one.
    pub certificate: Option<Vec<u8>>,
}

/// The secret that a file holds; `None` where it has none.
///
/// # Errors
/// When the file is not of that form, or it stands there more than once.
pub fn held<'f>(file: &'f [u8], secret: &Secret) -> Result<Option<&'f [u8]>> {
    match secret {
        Secret::Value { value: Value::Dropbear, .. } => dropbear::algorithm(file).map(|_| Some(file)),
        Secret::Value { field, .. } => Ok(split(text(file)?, field.as_ref())?.map(|(_, held, _)| held.as_bytes())),
        Secret::Certificate { .. } => Ok(tls::key_block(text(file)?)?.map(str::as_bytes)),
    }
}

/// The same files with a new secret in place of the one that they hold. `certificate` is the certificate's file, where it
/// is another one.
///
/// # Errors
/// When they do not hold what is to be replaced, or the kernel gives no randomness.
pub fn renew(file: &[u8], certificate: Option<&[u8]>, secret: &Secret) -> Result<Made> {
    let old = held(file, secret)?.context("it holds no secret any more")?;
    let made = match secret {
        Secret::Value { value: Value::Dropbear, .. } => {
            let file = dropbear::make(dropbear::algorithm(file)?)?;
            Made { file, certificate: None }
        }
        Secret::Value { value, field } => {
            let (before, old, after) = split(text(file)?, field.as_ref())?.context("it holds no value any more")?;
            let mut bytes = Zeroizing::new([0; MOST]);
            entropy()?.fill_bytes(&mut *bytes);
            let new = Zeroizing::new(value.of(&bytes, old)?);
            let mut file = Zeroizing::new(Vec::with_capacity(before.len() + new.len() + after.len()));
            [before, &new, after].iter().for_each(|part| file.extend_from_slice(part.as_bytes()));
            Made { file, certificate: None }
        }
        Secret::Certificate { names, .. } => {
            let certificate = certificate.map(text).transpose()?;
            tls::renew(text(file)?, certificate, names)?
        }
    };
    let new = held(&made.file, secret)?.context("what was made holds no secret")?;
    ensure!(tag(new) != tag(old), "the new secret is taken for the old one");
    Ok(made)
}

fn text(file: &[u8]) -> Result<&str> {
    std::str::from_utf8(file).context("it is no text")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::Field;
    use crate::formats::field::Syntax;

    #[test]
    fn a_value_is_drawn_and_the_rest_stays() {
        let field = Some(Field { syntax: Syntax::Assignment, key: "SECRET_KEY".to_owned() });
        let secret = Secret::Value { value: Value::Base64(32), field };
        let file = b"# ours\nSECRET_KEY = \"old\" # of the template\nX=1\n";
        assert_eq!(held(file, &secret).unwrap(), Some(&b"old"[..]));
        let made = [(); 2].map(|()| renew(file, None, &secret).unwrap());
        assert_ne!(made[0].file, made[1].file);
        for made in made {
            let text = text(&made.file).unwrap();
            assert!(text.starts_with("# ours\nSECRET_KEY = \"") && text.ends_with("\" # of the template\nX=1\n"));
            assert_eq!(held(&made.file, &secret).unwrap().unwrap().len(), 44);
        }
        assert!(renew(b"X=1\n", None, &secret).is_err() && renew(b"\xff", None, &secret).is_err());
    }
}

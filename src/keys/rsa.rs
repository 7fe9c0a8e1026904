// SPDX-License-Identifier: MIT OR Apache-2.0
//! RSA key pairs, their two primes searched for on all cores at once.
//!
//! Sieve, Montgomery arithmetic and primality tests are those of `crypto-primes` and `crypto-bigint`; here is only
//! the order in which they are asked and what FIPS 186-5, A.1.3, demands of a pair of primes. Unlike there, candidates
//! follow one another from a random start, as the library's sieve gives them (Brandt and Damgård, CRYPTO '92). The search
//! takes more or less time depending on the primes it finds: it runs once, at boot, where nobody times it.

use std::sync::OnceLock;
use std::thread;

use anyhow::{Context as _, Error, Result, bail};
use crypto_bigint::modular::{FixedMontyForm, FixedMontyParams};
use crypto_bigint::{Concat, Limb, NonZero, Odd, U1024, U1536, U2048, Uint};
use crypto_primes::Flavor;
use crypto_primes::fips::{FipsOptions, is_prime};
use crypto_primes::hazmat::{SetBits, SieveFactory as _, SmallFactorsSieveFactory};
use rand::CryptoRng;
use zeroize::Zeroizing;

use super::entropy;

/// The public exponent, the one that everybody uses; a prime, the fourth of Fermat.
const E: u32 = 65537;

/// A composite passes for a prime with a probability below 2^-128, FIPS 186-5, appendix C.1.
const ERROR_BOUND: u32 = 128;

/// The numbers of an RSA key pair, big-endian, with the larger prime first. Wiped when dropped.
pub(super) struct Parts {
    /// Modulus.
    pub n: Vec<u8>,
    /// Public exponent.
    pub e: Vec<u8>,
    /// Private exponent, modulo lcm(p-1, q-1).
    pub d: Zeroizing<Vec<u8>>,
    /// q^-1 mod p.
    pub iqmp: Zeroizing<Vec<u8>>,
    /// Larger prime.
    pub p: Zeroizing<Vec<u8>>,
    /// Smaller prime.
    pub q: Zeroizing<Vec<u8>>,
}

/// Makes a key pair with a modulus of exactly `bits` bits: 2048, 3072 or 4096.
pub(super) fn make(bits: u32) -> Result<Parts> {
    match bits {
        2048 => assemble(two_primes::<{ U1024::LIMBS }>()?),
        3072 => assemble(two_primes::<{ U1536::LIMBS }>()?),
        4096 => assemble(two_primes::<{ U2048::LIMBS }>()?),
        _ => bail!("RSA of {bits} bits is not among 2048, 3072 and 4096"),
    }
}

/// Two primes, the larger one first, that suit each other and the public exponent.
type Primes<const LIMBS: usize> = Zeroizing<[Uint<LIMBS>; 2]>;

/// Every core searches upwards from random starts of its own; the first two primes found are the pair.
fn two_primes<const LIMBS: usize>() -> Result<Primes<LIMBS>> {
    let bits = Uint::<LIMBS>::BITS;
    let options = FipsOptions::with_error_bound(bits, ERROR_BOUND).context("choosing the number of prime tests")?;
    let first = OnceLock::new();
    let pair = OnceLock::new();

    let search = || -> Result<()> {
        let mut rng = entropy()?;
        // With its top two bits set a prime is at least 1.5 * 2^(bits-1), so the product of two has twice the bits.
        let mut starts =
            SmallFactorsSieveFactory::<Uint<LIMBS>>::new(Flavor::Any, bits, SetBits::TwoMsb).map_err(Error::msg)?;
        while pair.get().is_none() {
            let Some(sieve) = starts.make_sieve(&mut rng, None).map_err(Error::msg)? else { continue };
            let mut candidates = sieve.take_while(|_| pair.get().is_none());
            let Some(found) = candidates.find(|candidate| suits(candidate, options, &mut rng)) else { continue };
            let Err(second) = first.set(Zeroizing::new(found)) else { continue };
            if let Some(both) = first.get().and_then(|first| far_apart(first, &second)) {
                // Another thread may have been quicker; its pair is as good.
                let _ = pair.set(both);
            }
        }
        Ok(())
    };

    let cores = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 1..cores {
            // A thread that cannot be had makes the search slower, not impossible.
            let _ = thread::Builder::new().spawn_scoped(scope, search);
        }
        search()
    })?;
    pair.into_inner().context("searching for primes")
}

/// Is the candidate a prime p, and is p-1 coprime to the public exponent? The exponent is prime itself: p-1 must just
/// not be a multiple of it.
fn suits<const LIMBS: usize>(candidate: &Uint<LIMBS>, options: FipsOptions, rng: &mut impl CryptoRng) -> bool {
    passes_fermat(candidate)
        && is_prime(rng, Flavor::Any, candidate, options)
        && NonZero::<Limb>::new(Limb::from_u32(E)).into_option().is_some_and(|e| candidate.rem_limb(e) != Limb::ONE)
}

/// Fermat's test to base 2, 2^(n-1) = 1 (mod n): every prime passes, and next to no composite.
///
/// It only spares most candidates the Miller-Rabin test, whose power to any base takes a quarter more time: to base 2
/// the multiplications between the squarings are doublings.
fn passes_fermat<const LIMBS: usize>(candidate: &Uint<LIMBS>) -> bool {
    let Some(odd) = Odd::new(*candidate).into_option() else { return false };
    let params = FixedMontyParams::new_vartime(odd);
    let one = FixedMontyForm::one(&params);
    let exponent = candidate.wrapping_sub(&Uint::ONE);
    let mut power = one;
    for bit in (0..Uint::<LIMBS>::BITS).rev() {
        power = power.square();
        if exponent.bit_vartime(bit) {
            power = power.double();
        }
    }
    power == one
}

/// The two in order, if |p-q| > 2^(bits-100), FIPS 186-5, A.1.3: closer ones are found by Fermat's factorisation.
fn far_apart<const LIMBS: usize>(a: &Uint<LIMBS>, b: &Uint<LIMBS>) -> Option<Primes<LIMBS>> {
    let (p, q) = if a > b { (a, b) } else { (b, a) };
    (p.wrapping_sub(q) > Uint::ONE << (Uint::<LIMBS>::BITS - 100)).then(|| Zeroizing::new([*p, *q]))
}

/// The key pair that two primes make.
fn assemble<const HALF: usize, const FULL: usize>(primes: Primes<HALF>) -> Result<Parts>
where
    Uint<HALF>: Concat<HALF, Output = Uint<FULL>>,
{
    let [p, q] = &*primes;
    let n: Uint<FULL> = p.concatenating_mul(q);
    let lambda: Zeroizing<Uint<FULL>> = Zeroizing::new(p.wrapping_sub(&Uint::ONE).lcm(&q.wrapping_sub(&Uint::ONE)));
    let lambda = NonZero::new(*lambda).into_option().context("multiplying the primes")?;
    let d = Uint::from_u32(E).invert_mod(&lambda).into_option().context("inverting the public exponent")?;
    let odd_p = Odd::new(*p).into_option().context("multiplying the primes")?;
    let iqmp = q.invert_odd_mod(&odd_p).into_option().context("inverting q modulo p")?;
    Ok(Parts {
        n: n.to_be_bytes().as_slice().to_vec(),
        e: E.to_be_bytes().to_vec(),
        d: secret(d),
        iqmp: secret(iqmp),
        p: secret(*p),
        q: secret(*q),
    })
}

fn secret<const LIMBS: usize>(number: Uint<LIMBS>) -> Zeroizing<Vec<u8>> {
    let number = Zeroizing::new(number);
    Zeroizing::new(number.to_be_bytes().as_slice().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair_of<const HALF: usize, const FULL: usize>()
    where
        Uint<HALF>: Concat<HALF, Output = Uint<FULL>>,
    {
        let primes = two_primes::<HALF>().unwrap();
        let [p, q] = *primes;
        for prime in [p, q] {
            assert!(crypto_primes::is_prime(Flavor::Any, &prime), "Baillie-PSW, which is not the test of the search");
            assert_eq!(prime >> (Uint::<HALF>::BITS - 2), Uint::from_u32(3), "top two bits");
        }
        assert!(far_apart(&p, &q).is_some());

        let parts = assemble::<HALF, FULL>(primes).unwrap();
        let n = Uint::<FULL>::from_be_slice(&parts.n);
        let d = Uint::<FULL>::from_be_slice(&parts.d);
        assert_eq!(n.bit_width_vartime(), 2 * Uint::<HALF>::BITS);
        let params = FixedMontyParams::new_vartime(Odd::new(n).unwrap());
        let message = FixedMontyForm::new(&Uint::from_u32(0xC10E), &params);
        assert_eq!(message.pow(&d).pow(&Uint::<FULL>::from_u32(E)), message, "what d signs, e verifies");
        let iqmp = Uint::<HALF>::from_be_slice(&parts.iqmp);
        assert_eq!(iqmp.mul_mod_vartime(&q, &NonZero::new(p).unwrap()), Uint::ONE);
    }

    #[test]
    fn every_size_has_its_full_length_and_signs() {
        pair_of::<{ U1024::LIMBS }, { U2048::LIMBS }>();
        pair_of::<{ U1536::LIMBS }, { crypto_bigint::U3072::LIMBS }>();
        pair_of::<{ U2048::LIMBS }, { crypto_bigint::U4096::LIMBS }>();
        assert!(make(1024).is_err());
    }

    #[test]
    fn fermat_passes_primes_and_fails_composites() {
        let prime = Uint::<2>::from_u64(0xFFFF_FFFF_FFFF_FFC5); // 2^64 - 59
        assert!(passes_fermat(&prime));
        assert!(!passes_fermat(&(prime.wrapping_sub(&Uint::from_u32(2)))));
        assert!(!passes_fermat(&Uint::<2>::from_u64(1 << 40)));
    }

    #[test]
    fn close_primes_are_refused() {
        let p = Uint::<4>::MAX;
        let apart = |bits: u32| p.wrapping_sub(&(Uint::ONE << bits));
        assert!(far_apart(&p, &p).is_none());
        assert!(far_apart(&p, &apart(156)).is_none());
        assert_eq!(far_apart(&apart(157), &p).map(|pair| *pair), Some([p, apart(157)]), "the larger one first");
    }
}

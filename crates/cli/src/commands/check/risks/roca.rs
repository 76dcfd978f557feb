//! RSA keys with the ROCA fingerprint (CVE-2017-15361).
//!
//! A library in smart cards and security chips made primes of the form
//! k·M + (65537^a mod M), where M is the product of the first primes. Such a modulus
//! can be factored in practice. Modulo each of the small primes it is a power of
//! 65537 (Nemec, Sys, Svenda, Klinec, Matyas: The Return of Coppersmith's Attack,
//! CCS 2017, section 2); fewer than one of a hundred million other moduli
//! are.

#![forbid(unsafe_code)]

/// The generator of the subgroups.
const GENERATOR: u32 = 65_537;

/// The odd primes that divide M whatever the length of the key is.
const PRIMES: [u32; 38] = [
    3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97,
    101, 103, 107, 109, 113, 127, 131, 137, 139, 149, 151, 157, 163, 167,
];

/// What there is to say of such a key, with the remedy behind the semicolon.
pub(crate) const WHAT: &str = "this RSA key has the ROCA fingerprint (CVE-2017-15361): whoever factors it makes tokens for \
     everybody; have the issuer make a new key, by another device or library";

/// Whether a modulus, big-endian, has the fingerprint.
pub(crate) fn has_fingerprint(modulus: &[u8]) -> bool {
    PRIMES
        .iter()
        .all(|prime| is_power_of_generator(remainder(modulus, *prime), *prime))
}

fn remainder(number: &[u8], prime: u32) -> u32 {
    let next = |rest: u32, byte: &u8| (rest * 256 + u32::from(*byte)) % prime;
    number.iter().fold(0, next)
}

/// Whether `rest` is in the subgroup modulo `prime` that 65537 generates.
fn is_power_of_generator(rest: u32, prime: u32) -> bool {
    let mut power = 1;
    loop {
        if power == rest {
            return true;
        }
        power = power * GENERATOR % prime;
        if power == 1 {
            return false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::PublicKeyData;
    use x509_parser::prelude::FromDer;
    use x509_parser::public_key::PublicKey;
    use x509_parser::x509::SubjectPublicKeyInfo;

    /// A number in 32-bit digits, the least significant first.
    #[derive(Clone)]
    struct Number(Vec<u32>);

    impl Number {
        fn times(mut self, factor: u32) -> Self {
            let mut carry = 0;
            for digit in &mut self.0 {
                let product = u64::from(*digit) * u64::from(factor) + carry;
                *digit = product as u32;
                carry = product >> 32;
            }
            if carry > 0 {
                self.0.push(carry as u32);
            }
            self
        }

        fn plus(mut self, other: &Self) -> Self {
            self.0.resize(self.0.len().max(other.0.len()) + 1, 0);
            let mut carry = 0;
            for (index, digit) in self.0.iter_mut().enumerate() {
                let other = other.0.get(index).copied().unwrap_or(0);
                let sum = u64::from(*digit) + u64::from(other) + carry;
                *digit = sum as u32;
                carry = sum >> 32;
            }
            self
        }

        fn bytes(&self) -> Vec<u8> {
            self.0
                .iter()
                .rev()
                .flat_map(|digit| digit.to_be_bytes())
                .collect()
        }
    }

    /// k·M + 65537^a of about 2,048 bits, for a few k and a.
    fn of_the_vulnerable_form() -> Vec<Number> {
        let m = PRIMES
            .iter()
            .fold(Number(vec![2]), |m, prime| m.times(*prime));
        let mut numbers = Vec::new();
        for (a, k) in [(0, 0xdead_beef), (1, 3), (77, 0xffff_fffb), (120, 1)] {
            let power = (0..a).fold(Number(vec![1]), |power, _| power.times(GENERATOR));
            let multiple = (0..57).fold(m.clone(), |multiple, _| multiple.times(k | 0x8000_0001));
            numbers.push(multiple.plus(&power));
        }
        numbers
    }

    #[test]
    fn moduli_of_the_vulnerable_form_have_the_fingerprint() {
        for number in of_the_vulnerable_form() {
            let bytes = number.bytes();
            assert!(bytes.len() >= 250, "{}", bytes.len());
            assert!(has_fingerprint(&bytes));
            assert!(has_fingerprint(&[&[0, 0], &bytes[..]].concat()));
            // Beside it there is none.
            for addend in 1..200 {
                let beside = number.clone().plus(&Number(vec![addend]));
                assert!(!has_fingerprint(&beside.bytes()), "{addend}");
            }
        }
    }

    #[test]
    fn ordinary_keys_do_not_have_the_fingerprint() {
        for _ in 0..3 {
            let key =
                rcgen::KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048);
            let der = key.unwrap().subject_public_key_info();
            let (_, info) = SubjectPublicKeyInfo::from_der(&der).unwrap();
            let Ok(PublicKey::RSA(key)) = info.parsed() else {
                panic!("no RSA key");
            };
            assert!(!has_fingerprint(key.modulus));
        }
        assert!(!has_fingerprint(&[]));
        assert!(!has_fingerprint(&[0]));
    }

    #[test]
    fn every_prime_divides_the_product_and_none_is_missing() {
        let is_prime = |n: &u32| (2..*n).all(|divisor| !n.is_multiple_of(divisor));
        let primes: Vec<u32> = (3..168).filter(is_prime).collect();
        assert_eq!(primes, PRIMES);
    }
}

//! Digests of requests, by which the core knows a body that it never sees.
//!
//! Owns what goes into one. Anybody may send bodies, so it is a cryptographic hash: nobody can make another body that has
//! the digest of somebody else's.

use lifeboat_core::ids::Digest;
use sha2::{Digest as _, Sha256};

/// The digest of a method, by the name that the request has, and a body: 128 bits of SHA-256.
pub(super) fn digest(method: &str, body: &[u8]) -> Digest {
    let mut hash = Sha256::new();
    // With its length before it, so that no byte of one can be taken for one of the other.
    hash.update((method.len() as u64).to_be_bytes());
    hash.update(method);
    hash.update(body);
    let whole: [u8; 32] = hash.finalize().into();
    let [first, _] = whole.as_chunks().0 else { unreachable!("twice 16 is 32") };
    Digest(*first)
}

#[cfg(test)]
mod tests {
    use super::digest;

    #[test]
    fn method_and_body_are_told_apart() {
        let digests = [("a", &b"b"[..]), ("", b"ab"), ("ab", b""), ("a", b"c"), ("c", b"b")]
            .map(|(method, body)| digest(method, body));
        for (place, one) in digests.iter().enumerate() {
            assert!(!digests[..place].contains(one), "{digests:?}");
        }
        assert_eq!(digests[0], digest("a", b"b"));
    }

    #[test]
    fn it_is_what_others_can_work_out() {
        // (printf '\0\0\0\0\0\0\0\6resize'; printf poison) | sha256sum | cut -c1-32
        assert_eq!(digest("resize", b"poison").to_string(), "8061512721ff639f8566be741456552d");
    }
}

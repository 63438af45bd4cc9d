//! Keys and tags: who may speak for a device.
//!
//! device key = HKDF-SHA-256 (RFC 5869) of the master key with the device's id and its key generation; tag = the first 16
//! bytes of HMAC-SHA-256 (RFC 2104) over direction, device id and content.

use core::fmt;

use hkdf::Hkdf;
use hmac::{Hmac, Mac};
use sha2::Sha256;

use crate::DeviceId;

/// Length of every key in bytes.
pub const KEY_LEN: usize = 32;
/// Length of a tag in bytes: HMAC-SHA-256 cut to its leftmost half (RFC 2104, section 5, allows no less).
pub const TAG_LEN: usize = 16;
/// Length of the MQTT password in lower-case hex digits.
pub const PASSWORD_LEN: usize = 32;

const HKDF_SALT: &[u8] = b"taraz/1";
const KEY_INFO: &[u8] = b"device-key";
const PASSWORD_INFO: &[u8] = b"mqtt-password";

/// Counts the rotations of a device's key, from 1.
pub type KeyGeneration = u8;
/// The tag that proves who wrote a frame or an acknowledgement.
pub type Tag = [u8; TAG_LEN];

/// Which way a message goes; a frame can't be played back as an acknowledgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Device to gateway.
    Up,
    /// Gateway to device.
    Down,
}

/// The secret from which every device key is derived; a file (mode 0600) beside the data, never in `fleet.toml`.
#[derive(Clone)]
pub struct MasterKey([u8; KEY_LEN]);

/// A text is not a master key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a master key is 64 hexadecimal digits (32 bytes)")]
pub struct MasterKeyError;

impl MasterKey {
    /// From the raw bytes.
    #[must_use]
    pub const fn new(bytes: [u8; KEY_LEN]) -> Self {
        Self(bytes)
    }

    /// From 64 hexadecimal digits, white space around them allowed.
    ///
    /// # Errors
    /// [`MasterKeyError`] for anything else.
    pub fn from_hex(text: &str) -> Result<Self, MasterKeyError> {
        let digits = text.trim().as_bytes();
        if digits.len() != 2 * KEY_LEN {
            return Err(MasterKeyError);
        }
        let mut bytes = [0; KEY_LEN];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = hex_digit(pair[0])? << 4 | hex_digit(pair[1])?;
        }
        Ok(Self(bytes))
    }

    /// The device's key of this generation.
    #[must_use]
    pub fn device_key(&self, device: &DeviceId, generation: KeyGeneration) -> DeviceKey {
        let mut key = [0; KEY_LEN];
        expand(
            &self.0,
            &[KEY_INFO, device.as_str().as_bytes(), &[0, generation]],
            &mut key,
        );
        DeviceKey::new(key, generation)
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey(…)")
    }
}

/// The secret that a device and the gateway share.
#[derive(Clone)]
pub struct DeviceKey {
    bytes: [u8; KEY_LEN],
    generation: KeyGeneration,
    /// Where every tag begins: on a computer the key is hashed once, not twice for each tag.
    #[cfg(feature = "alloc")]
    keyed: Hmac<Sha256>,
}

impl DeviceKey {
    /// From the raw bytes, as they stand on the device's configuration page.
    #[must_use]
    pub fn new(bytes: [u8; KEY_LEN], generation: KeyGeneration) -> Self {
        Self {
            #[cfg(feature = "alloc")]
            keyed: keyed(&bytes),
            bytes,
            generation,
        }
    }

    /// The raw bytes, for the device's configuration page and nothing else.
    #[must_use]
    pub const fn bytes(&self) -> &[u8; KEY_LEN] {
        &self.bytes
    }

    /// Which rotation of the device's key this is.
    #[must_use]
    pub const fn generation(&self) -> KeyGeneration {
        self.generation
    }

    /// The tag over direction ‖ device id ‖ content, where the content begins with version and generation.
    #[must_use]
    pub fn tag(&self, direction: Direction, device: &DeviceId, content: &[u8]) -> Tag {
        let full = self.mac(direction, device, content).finalize().into_bytes();
        let mut tag = [0; TAG_LEN];
        tag.copy_from_slice(&full[..TAG_LEN]);
        tag
    }

    /// Compares a tag in constant time.
    #[must_use]
    pub fn verify(&self, direction: Direction, device: &DeviceId, content: &[u8], tag: &[u8]) -> bool {
        tag.len() == TAG_LEN
            && self
                .mac(direction, device, content)
                .verify_truncated_left(tag)
                .is_ok()
    }

    /// The password with which the device (user name = device id) signs in at the door: 32 lower-case hex digits.
    #[must_use]
    pub fn mqtt_password(&self) -> heapless::String<PASSWORD_LEN> {
        let mut secret = [0; PASSWORD_LEN / 2];
        expand(&self.bytes, &[PASSWORD_INFO], &mut secret);
        let digit = |nibble: u8| char::from(b"0123456789abcdef"[usize::from(nibble)]);
        secret
            .iter()
            .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)])
            .collect()
    }

    fn mac(&self, direction: Direction, device: &DeviceId, content: &[u8]) -> Hmac<Sha256> {
        #[cfg(feature = "alloc")]
        let mut mac = self.keyed.clone();
        #[cfg(not(feature = "alloc"))]
        let mut mac = keyed(&self.bytes);
        mac.update(match direction {
            Direction::Up => b"U",
            Direction::Down => b"D",
        });
        mac.update(device.as_str().as_bytes());
        mac.update(content);
        mac
    }
}

impl fmt::Debug for DeviceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DeviceKey(generation {}, …)", self.generation)
    }
}

fn keyed(key: &[u8; KEY_LEN]) -> Hmac<Sha256> {
    // HMAC takes a key of any length; this can't fail.
    #[allow(clippy::unwrap_used)]
    <Hmac<Sha256> as Mac>::new_from_slice(key).unwrap()
}

fn expand(secret: &[u8], info: &[&[u8]], out: &mut [u8]) {
    // RFC 5869, section 2.3: only an output above 255 · 32 bytes is refused.
    #[allow(clippy::unwrap_used)]
    Hkdf::<Sha256>::new(Some(HKDF_SALT), secret)
        .expand_multi_info(info, out)
        .unwrap();
}

fn hex_digit(digit: u8) -> Result<u8, MasterKeyError> {
    match digit {
        b'0'..=b'9' => Ok(digit - b'0'),
        b'a'..=b'f' => Ok(digit - b'a' + 10),
        b'A'..=b'F' => Ok(digit - b'A' + 10),
        _ => Err(MasterKeyError),
    }
}

#[cfg(test)]
mod tests {
    use std::format;

    use super::*;

    fn device(id: &str) -> DeviceId {
        DeviceId::new(id).unwrap()
    }

    #[test]
    fn a_master_key_is_64_digits() {
        let digits = "00ff10".repeat(11)[..64].to_ascii_uppercase();
        assert!(MasterKey::from_hex(&format!(" {digits}\n")).is_ok());
        for text in [
            "",
            &digits[1..],
            &format!("{digits}0"),
            &digits.replace('F', "g"),
            &"é".repeat(32),
        ] {
            assert_eq!(MasterKey::from_hex(text).err(), Some(MasterKeyError), "{text}");
        }
    }

    #[test]
    fn every_device_and_generation_has_its_own_key() {
        let master = MasterKey::new([1; KEY_LEN]);
        let key = *master.device_key(&device("a"), 1).bytes();
        assert_eq!(key, *master.device_key(&device("a"), 1).bytes());
        assert_ne!(key, *master.device_key(&device("b"), 1).bytes());
        assert_ne!(key, *master.device_key(&device("a"), 2).bytes());
        assert_ne!(
            key,
            *MasterKey::new([2; KEY_LEN]).device_key(&device("a"), 1).bytes()
        );
    }

    #[test]
    fn a_tag_holds_for_its_direction_device_and_content_only() {
        let key = DeviceKey::new([3; KEY_LEN], 1);
        let tag = key.tag(Direction::Up, &device("a"), &[1, 2]);
        assert!(key.verify(Direction::Up, &device("a"), &[1, 2], &tag));
        assert!(!key.verify(Direction::Down, &device("a"), &[1, 2], &tag));
        assert!(!key.verify(Direction::Up, &device("b"), &[1, 2], &tag));
        assert!(!key.verify(Direction::Up, &device("a"), &[1, 3], &tag));
        for len in 0..TAG_LEN {
            assert!(
                !key.verify(Direction::Up, &device("a"), &[1, 2], &tag[..len]),
                "a shorter tag proves nothing"
            );
        }
    }

    #[test]
    fn secrets_are_not_printed() {
        assert_eq!(format!("{:?}", MasterKey::new([9; KEY_LEN])), "MasterKey(…)");
        assert_eq!(
            format!("{:?}", DeviceKey::new([9; KEY_LEN], 4)),
            "DeviceKey(generation 4, …)"
        );
    }
}

//! How bytes are damaged, whatever they mean.

use rand::Rng as _;
use rand::rngs::StdRng;

/// Numbers at which decoders go wrong: ends of ranges, and of the lengths of varints.
const EDGES: [u64; 14] = [
    0,
    1,
    0x7F,
    0x80,
    0xFF,
    0x3FFF,
    0x4000,
    0x7FFF,
    0xFFFF,
    0x7FFF_FFFF,
    0xFFFF_FFFF,
    0x7FFF_FFFF_FFFF_FFFF,
    0x8000_0000_0000_0000,
    0xFFFF_FFFF_FFFF_FFFF,
];
/// The longest piece that is taken out, put in, or repeated.
const PIECE_MAX: usize = 64;
/// No input grows above this by mutations.
const LEN_MAX: usize = 1 << 20;

/// Damages `bytes` once.
pub(crate) fn mutate(bytes: &mut Vec<u8>, random: &mut StdRng) {
    if bytes.is_empty() {
        bytes.push(random.random());
        return;
    }
    let at = random.random_range(0..bytes.len());
    let piece = random.random_range(1..=PIECE_MAX.min(bytes.len() - at));
    match random.random_range(0..11) {
        0 | 1 => bytes[at] ^= 1 << random.random_range(0..8),
        2 => bytes[at] = random.random(),
        3 => bytes[at] = bytes[at].wrapping_add(random.random_range(0..9)).wrapping_sub(4),
        4 => bytes.truncate(at),
        5 => drop(bytes.drain(at..at + piece)),
        6 if bytes.len() < LEN_MAX => {
            let new: Vec<u8> = (0..piece).map(|_| random.random()).collect();
            bytes.splice(at..at, new);
        }
        7 if bytes.len() < LEN_MAX => {
            let again = bytes[at..at + piece].to_vec();
            let to = random.random_range(0..=bytes.len());
            bytes.splice(to..to, again);
        }
        8 => write_number(bytes, at, random),
        9 => write_varint(bytes, at, random),
        _ => {
            let to = random.random_range(0..bytes.len());
            bytes.swap(at, to);
        }
    }
}

/// An edge in 1, 2, 4 or 8 bytes, either end first.
fn write_number(bytes: &mut [u8], at: usize, random: &mut StdRng) {
    let number = edge(random);
    let len = 1 << random.random_range(0..4);
    let mut written = number.to_le_bytes()[..len].to_vec();
    if random.random() {
        written.reverse();
    }
    for (to, byte) in bytes[at..].iter_mut().zip(written) {
        *to = byte;
    }
}

/// An edge as a varint (LEB128) in the place of one byte.
fn write_varint(bytes: &mut Vec<u8>, at: usize, random: &mut StdRng) {
    let mut number = edge(random);
    let mut varint = Vec::new();
    while number >= 0x80 {
        varint.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    varint.push(number.to_le_bytes()[0]);
    bytes.splice(at..=at, varint);
}

fn edge(random: &mut StdRng) -> u64 {
    let edge = EDGES[random.random_range(0..EDGES.len())];
    edge.wrapping_add(random.random_range(0..3)).wrapping_sub(1)
}

//! A NOR flash that forgets nothing of what real ones do: bits only fall, pages rise whole, and power fails in between.

use std::collections::{BTreeMap, BTreeSet};
use std::vec::Vec;

use embedded_storage::nor_flash::{ErrorType, NorFlash, NorFlashError, NorFlashErrorKind, ReadNorFlash};

/// Small, fast, the same everywhere (SplitMix64).
#[derive(Clone, Debug)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, bound: u32) -> u32 {
        u32::try_from(((self.next() >> 32) * u64::from(bound)) >> 32).unwrap()
    }

    pub(crate) fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[0]
    }
}

/// What a power cut leaves of what was being programmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tearing {
    /// Each bit is programmed or not.
    Random,
    /// Some of the bits read differently every time.
    Unstable,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NorError {
    /// The power is off.
    Power,
    /// A word was programmed twice.
    Rewritten,
    /// The driver failed, as the test wanted.
    Injected,
    Bounds,
    Alignment,
}

impl NorFlashError for NorError {
    fn kind(&self) -> NorFlashErrorKind {
        match self {
            Self::Bounds => NorFlashErrorKind::OutOfBounds,
            Self::Alignment => NorFlashErrorKind::NotAligned,
            _ => NorFlashErrorKind::Other,
        }
    }
}

/// A word since its last erasure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Word {
    Erased,
    Programmed,
    Torn,
}

/// How a worn page fails, for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Death {
    /// Its erasure reports an error and does nothing.
    Erase,
    /// Some of its bits stay zero.
    Zeros,
    /// Its writes report an error, half done.
    Write,
    /// Its writes leave a bit out and say nothing.
    Ones,
}

/// Operations that fail by chance.
#[derive(Clone, Debug, Default)]
pub(crate) struct Faults {
    /// One in so many erasures and writes fails, and one in ten times as many reads; 0: none.
    pub(crate) one_in: u32,
    /// What failed so far: erasures, writes, reads.
    pub(crate) failed: [u64; 3],
    /// Pages that are worn out.
    pub(crate) dead: BTreeMap<usize, Death>,
    /// Pages whose reads fail.
    pub(crate) unreadable: BTreeSet<usize>,
    /// Of every page, only so many bytes at its beginning can be written; of what is written behind, a word.
    pub(crate) writable_len: Option<usize>,
}

#[derive(Clone, Debug)]
pub(crate) struct Nor<const WRITE: usize, const ERASE: usize, const READ: usize = 1> {
    pub(crate) bytes: Vec<u8>,
    words: Vec<Word>,
    /// Bits that read at random, by address.
    unstable: BTreeMap<usize, u8>,
    random: Random,
    tearing: Tearing,
    /// Power goes while this many words (an erasure counts as one) have been worked on.
    cut_after: Option<u32>,
    pub(crate) is_off: bool,
    /// Turns of each page: erasures, but for those that follow one of the same page.
    pub(crate) turns: Vec<u32>,
    pub(crate) erasures: u32,
    last_erased: Option<usize>,
    pub(crate) reads: u32,
    pub(crate) bytes_read: u32,
    /// Writes from the first of these on to the last fail; the second says how many words are programmed all the same.
    pub(crate) failing_writes: Option<(u32, usize)>,
    pub(crate) faults: Faults,
    /// After so many more operations one fails without effect.
    pub(crate) fail_once: Option<u32>,
}

impl<const WRITE: usize, const ERASE: usize, const READ: usize> Nor<WRITE, ERASE, READ> {
    pub(crate) fn new(pages: usize, seed: u64, tearing: Tearing) -> Self {
        Self {
            bytes: vec![0xff; pages * ERASE],
            words: vec![Word::Erased; pages * ERASE / WRITE],
            unstable: BTreeMap::new(),
            random: Random(seed),
            tearing,
            cut_after: None,
            is_off: false,
            turns: vec![0; pages],
            erasures: 0,
            last_erased: None,
            reads: 0,
            bytes_read: 0,
            failing_writes: None,
            faults: Faults::default(),
            fail_once: None,
        }
    }

    /// A flash with anything in it.
    pub(crate) fn garbage(pages: usize, seed: u64) -> Self {
        let mut flash = Self::new(pages, seed, Tearing::Random);
        for index in 0..flash.bytes.len() {
            flash.bytes[index] = flash.random.byte();
        }
        flash.words.fill(Word::Programmed);
        flash
    }

    pub(crate) const fn set_tearing(&mut self, tearing: Tearing) {
        self.tearing = tearing;
    }

    pub(crate) fn len(&self) -> u32 {
        u32::try_from(self.bytes.len()).unwrap()
    }

    /// Rot, or a stray write.
    pub(crate) fn damage(&mut self, address: usize, byte: u8) {
        self.bytes[address] = byte;
        self.words[address / WRITE] = Word::Torn;
    }

    /// Power comes (back), and goes again after this many words.
    pub(crate) fn power(&mut self, cut_after: Option<u32>) {
        self.is_off = false;
        self.cut_after = cut_after;
    }

    /// Counts one word; true when the power goes in it.
    fn is_cut(&mut self) -> bool {
        let Some(left) = &mut self.cut_after else {
            return false;
        };
        if *left > 0 {
            *left -= 1;
            return false;
        }
        self.is_off = true;
        true
    }

    fn program(&mut self, at: usize, bytes: &[u8]) {
        for (place, byte) in self.bytes[at..].iter_mut().zip(bytes) {
            *place &= byte;
        }
        for (index, byte) in bytes.iter().enumerate() {
            self.settle(at + index, !byte);
        }
        self.words[at / WRITE] = Word::Programmed;
    }

    /// These bits of a byte are steady from now on.
    fn settle(&mut self, at: usize, bits: u8) {
        if let Some(unstable) = self.unstable.get_mut(&at) {
            *unstable &= !bits;
            if *unstable == 0 {
                self.unstable.remove(&at);
            }
        }
    }

    fn tear(&mut self, at: usize, bytes: &[u8]) {
        // Sometimes the power goes so early or late that nearly nothing, or nearly everything, happened.
        let bias = self.random.below(4);
        for (index, byte) in bytes.iter().enumerate() {
            let wanted = !byte & self.bytes[at + index];
            let programmed = wanted & self.biased(bias);
            self.bytes[at + index] &= !programmed;
            if self.tearing == Tearing::Unstable {
                let unstable = wanted & !programmed & self.random.byte();
                if unstable != 0 {
                    *self.unstable.entry(at + index).or_default() |= unstable;
                }
            }
        }
        self.words[at / WRITE] = Word::Torn;
    }

    fn biased(&mut self, bias: u32) -> u8 {
        let (a, b, c) = (self.random.byte(), self.random.byte(), self.random.byte());
        match bias {
            0 => a & b & c,
            1 => a | b | c,
            _ => a,
        }
    }

    fn tear_erasure(&mut self, from: usize, to: usize) {
        let bias = self.random.below(4);
        for at in from..to {
            let risen = self.biased(bias);
            self.bytes[at] |= risen;
            let unstable = !self.bytes[at] & self.random.byte() & self.random.byte();
            if unstable != 0 && self.random.below(4) == 0 {
                self.unstable.insert(at, unstable);
            }
        }
        self.words[from / WRITE..to / WRITE].fill(Word::Torn);
    }

    /// By chance, an operation of this kind fails now.
    fn fails(&mut self, kind: usize) -> bool {
        if let Some(left) = self.fail_once {
            self.fail_once = left.checked_sub(1);
            if left == 0 {
                return true;
            }
        }
        let one_in = self.faults.one_in * if kind == 2 { 10 } else { 1 };
        let fails = one_in > 0 && self.random.below(one_in) == 0;
        self.faults.failed[kind] += u64::from(fails);
        fails
    }

    fn dies(&mut self, kind: usize, page: usize, deaths: [Death; 2]) -> Option<Death> {
        let death = self
            .faults
            .dead
            .get(&page)
            .copied()
            .filter(|death| deaths.contains(death));
        self.faults.failed[kind] += u64::from(death.is_some());
        death
    }

    fn check(&self, offset: u32, len: usize, unit: usize) -> Result<usize, NorError> {
        let at = offset as usize;
        if at + len > self.bytes.len() {
            return Err(NorError::Bounds);
        }
        if !at.is_multiple_of(unit) || !len.is_multiple_of(unit) {
            return Err(NorError::Alignment);
        }
        if self.is_off {
            return Err(NorError::Power);
        }
        Ok(at)
    }
}

impl<const WRITE: usize, const ERASE: usize, const READ: usize> ErrorType for Nor<WRITE, ERASE, READ> {
    type Error = NorError;
}

impl<const WRITE: usize, const ERASE: usize, const READ: usize> ReadNorFlash for Nor<WRITE, ERASE, READ> {
    const READ_SIZE: usize = READ;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), NorError> {
        let at = self.check(offset, bytes.len(), READ)?;
        if self.fails(2) || self.faults.unreadable.contains(&(at / ERASE)) {
            return Err(NorError::Injected);
        }
        self.reads += 1;
        self.bytes_read += u32::try_from(bytes.len()).unwrap();
        bytes.copy_from_slice(&self.bytes[at..at + bytes.len()]);
        if !self.unstable.is_empty() {
            for (address, bits) in self.unstable.range(at..at + bytes.len()) {
                bytes[address - at] ^= bits & self.random.byte();
            }
        }
        Ok(())
    }

    fn capacity(&self) -> usize {
        self.bytes.len()
    }
}

impl<const WRITE: usize, const ERASE: usize, const READ: usize> NorFlash for Nor<WRITE, ERASE, READ> {
    const WRITE_SIZE: usize = WRITE;
    const ERASE_SIZE: usize = ERASE;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), NorError> {
        let start = self.check(from, (to - from) as usize, ERASE)?;
        for page in start / ERASE..to as usize / ERASE {
            let (from, to) = (page * ERASE, (page + 1) * ERASE);
            let death = self.dies(0, page, [Death::Erase, Death::Zeros]);
            if death == Some(Death::Erase) {
                return Err(NorError::Injected);
            }
            if self.fails(0) {
                // Half done, or not at all.
                if self.random.below(2) == 0 {
                    self.tear_erasure(from, to);
                }
                return Err(NorError::Injected);
            }
            self.erasures += 1;
            if self.last_erased != Some(page) {
                self.turns[page] += 1;
                self.last_erased = Some(page);
            }
            if self.is_cut() {
                self.tear_erasure(from, to);
                return Err(NorError::Power);
            }
            self.bytes[from..to].fill(0xff);
            self.words[from / WRITE..to / WRITE].fill(Word::Erased);
            let steady: Vec<usize> = self.unstable.range(from..to).map(|(at, _)| *at).collect();
            for at in steady {
                self.unstable.remove(&at);
            }
            if death == Some(Death::Zeros) {
                self.bytes[from + ERASE / 3] = 0xef;
                self.words[(from + ERASE / 3) / WRITE] = Word::Torn;
            }
        }
        Ok(())
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), NorError> {
        let at = self.check(offset, bytes.len(), WRITE)?;
        let mut programmed_max = usize::MAX;
        if let Some((writes, programmed)) = &mut self.failing_writes {
            if *writes == 0 {
                programmed_max = *programmed;
            } else {
                *writes -= 1;
            }
        }
        if self.faults.writable_len.is_some_and(|len| at % ERASE >= len) {
            programmed_max = 1;
        }
        let death = self.dies(1, at / ERASE, [Death::Write, Death::Ones]);
        if death == Some(Death::Write) || death.is_none() && self.fails(1) {
            let words = u32::try_from(bytes.len() / WRITE).unwrap();
            programmed_max = self.random.below(words) as usize;
        }
        for (index, word) in bytes.chunks_exact(WRITE).enumerate() {
            let at = at + index * WRITE;
            if index >= programmed_max {
                return Err(NorError::Injected);
            }
            let is_allowed = match self.words[at / WRITE] {
                Word::Erased => true,
                // Zeroes, where there are zeroes.
                Word::Programmed => word
                    .iter()
                    .chain(&self.bytes[at..at + WRITE])
                    .all(|byte| *byte == 0),
                // Zeroes, which every flash takes; or nobody can see that it was touched.
                Word::Torn => {
                    word.iter().all(|byte| *byte == 0)
                        || self.bytes[at..at + WRITE].iter().all(|byte| *byte == 0xff)
                }
            };
            if !is_allowed {
                return Err(NorError::Rewritten);
            }
            if self.is_cut() {
                self.tear(at, word);
                return Err(NorError::Power);
            }
            self.program(at, word);
            if death == Some(Death::Ones) {
                self.bytes[at] |= 0x10;
            }
        }
        if programmed_max == usize::MAX {
            Ok(())
        } else {
            Err(NorError::Injected)
        }
    }
}

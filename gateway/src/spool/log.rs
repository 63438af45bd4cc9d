//! What `SQLite` passes over without a word: the end of a write-ahead log that can't be read.
//!
//! In: the log as it lies there before anybody opens the file. Out: how many of its pages are neither committed nor of an earlier log in
//! the same place. A power cut leaves such pages of the one commit that was under way, and that one was never acknowledged; anything
//! else is damage, and what it hits was. Layout: sqlite.org/fileformat2.html, section 4.

use std::fs::File;
use std::io::{BufReader, ErrorKind, Read};
use std::path::Path;

/// 4.1: "The WAL header is 32 bytes in size".
const HEAD_LEN: usize = 32;
/// 4.1: "Each frame consists of a 24-byte frame-header followed by a page-size bytes of page data."
const FRAME_HEAD_LEN: usize = 24;
/// 4.1: magic number, "0x377f0682 or 0x377f0683"; the last bit says that check sums are big-endian.
const MAGIC: u32 = 0x377F_0682;
/// What is taken for a page where the log does not tell.
const PAGE_LEN: usize = 4_096;
const PAGE_LENS: std::ops::RangeInclusive<usize> = 512..=65_536;

/// The end of a log that can't be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unreadable {
    /// Pages behind the last whole commit.
    pub(super) pages: u64,
    /// Commits that end among them, as far as they still say so.
    pub(super) commits: u64,
    /// It is the whole log, because its head can't be read.
    pub(super) is_whole_log: bool,
}

impl Unreadable {
    /// It may be no more than the commit that was under way, of which nothing was acknowledged: the one before it was whole.
    pub(super) const fn may_be_unfinished(self) -> bool {
        self.commits <= 1 && !self.is_whole_log
    }
}

const NOTHING: Unreadable = Unreadable {
    pages: 0,
    commits: 0,
    is_whole_log: false,
};

impl std::fmt::Display for Unreadable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { pages, commits, .. } = self;
        write!(
            f,
            "{pages} pages at the end of the spool's log can't be read, with {commits} commits among them: the commit that was under \
             way when the power went, which was not acknowledged, or damage to acknowledged ones; `taraz gaps` names what is missing"
        )
    }
}

/// Looks at the log of the spool `file`; `None` when all of it can be read, or there is none. Nobody must be writing to it.
pub(super) fn unreadable(log: &Path) -> std::io::Result<Option<Unreadable>> {
    let file = match File::open(log) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    let len = file.metadata()?.len();
    let mut reader = BufReader::new(file);
    let mut head = [0; HEAD_LEN];
    if len < HEAD_LEN as u64 {
        return Ok(None);
    }
    reader.read_exact(&mut head)?;
    let Some(mut log) = Log::begin(&head) else {
        // Nothing behind it counts for SQLite. All zeros is a log that was begun when the power went.
        let (mut pages, mut page) = (0, vec![0; PAGE_LEN]);
        while read_some(&mut reader, &mut page)? {
            pages += u64::from(page.iter().any(|&byte| byte != 0));
        }
        return Ok((pages > 0).then_some(Unreadable {
            pages,
            commits: 0,
            is_whole_log: true,
        }));
    };
    let mut frame = vec![0; FRAME_HEAD_LEN + log.page_len];
    // The last frame may have been cut.
    while read_some(&mut reader, &mut frame)? {
        log.next(&frame);
    }
    Ok(log.unreadable())
}

/// False at the end; what is missing of the last piece is 0.
fn read_some(reader: &mut impl Read, piece: &mut [u8]) -> std::io::Result<bool> {
    let mut len = 0;
    while len < piece.len() {
        match reader.read(&mut piece[len..])? {
            0 => break,
            more => len += more,
        }
    }
    piece[len..].fill(0);
    Ok(len > 0)
}

/// A log, read frame by frame.
struct Log {
    is_big_endian: bool,
    page_len: usize,
    salts: [u32; 2],
    sums: [u32; 2],
    /// Every frame so far is whole.
    is_whole: bool,
    /// Pages behind the last whole commit, and commits among them.
    behind: Unreadable,
}

impl Log {
    /// `None` when the head is damaged.
    fn begin(head: &[u8; HEAD_LEN]) -> Option<Self> {
        let magic = word(head, 0);
        let mut log = Self {
            is_big_endian: magic & 1 == 1,
            page_len: usize::try_from(word(head, 8)).ok()?,
            salts: [word(head, 16), word(head, 20)],
            sums: [0, 0],
            is_whole: true,
            behind: NOTHING,
        };
        log.add(&head[..24]);
        let is_good = magic & !1 == MAGIC
            && PAGE_LENS.contains(&log.page_len)
            && log.sums == [word(head, 24), word(head, 28)];
        is_good.then_some(log)
    }

    fn next(&mut self, frame: &[u8]) {
        let (commit, salts) = (word(frame, 4) != 0, [word(frame, 8), word(frame, 12)]);
        if self.is_whole && salts == self.salts {
            self.add(&frame[..8]);
            self.add(&frame[FRAME_HEAD_LEN..]);
            self.is_whole = self.sums == [word(frame, 16), word(frame, 20)];
        } else {
            self.is_whole = false;
        }
        // 4.1: the first salt is "incremented with each checkpoint": what is below is left over from an earlier log.
        let age = self.salts[0].wrapping_sub(salts[0]);
        let is_of_before = salts != self.salts && (1..1 << 16).contains(&age);
        if self.is_whole && commit {
            self.behind = NOTHING;
        } else if !is_of_before && frame.iter().any(|&byte| byte != 0) {
            self.behind.pages += 1;
            self.behind.commits += u64::from(commit && salts == self.salts);
        }
    }

    /// 4.2, "Checksum Algorithm".
    fn add(&mut self, bytes: &[u8]) {
        let [mut first, mut second] = self.sums;
        for pair in bytes.chunks_exact(8) {
            let number = |at: usize| {
                let word = word(pair, at);
                if self.is_big_endian {
                    word
                } else {
                    word.swap_bytes()
                }
            };
            first = first.wrapping_add(number(0)).wrapping_add(second);
            second = second.wrapping_add(number(4)).wrapping_add(first);
        }
        self.sums = [first, second];
    }

    fn unreadable(&self) -> Option<Unreadable> {
        (self.behind.pages > 0).then_some(self.behind)
    }
}

/// Four bytes, the highest first.
fn word(bytes: &[u8], at: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[at..at + 4]);
    u32::from_be_bytes(word)
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::*;

    /// A log of ten commits in a folder, whoever writes it, and the log.
    fn written() -> (tempfile::TempDir, Connection, std::path::PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let connection = Connection::open(folder.path().join("a")).unwrap();
        connection
            .pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))
            .unwrap();
        connection.execute_batch("CREATE TABLE t (x BLOB)").unwrap();
        for _ in 0..10 {
            connection
                .execute("INSERT INTO t VALUES (randomblob(3000))", [])
                .unwrap();
        }
        let log = folder.path().join("a-wal");
        (folder, connection, log)
    }

    #[test]
    fn a_whole_log_is_whole_and_one_that_began_anew_too() {
        let (folder, connection, log) = written();
        assert_eq!(unreadable(&folder.path().join("none")).unwrap(), None);
        assert_eq!(unreadable(&log).unwrap(), None);
        let len = std::fs::metadata(&log).unwrap().len();
        connection
            .pragma_update_and_check(None, "wal_checkpoint", "RESTART", |_| Ok(()))
            .unwrap();
        connection.execute("INSERT INTO t VALUES (1)", []).unwrap();
        assert_eq!(
            std::fs::metadata(&log).unwrap().len(),
            len,
            "behind it the old one is left over"
        );
        assert_eq!(unreadable(&log).unwrap(), None);
        drop(connection);
        std::fs::write(&log, b"").unwrap();
        assert_eq!(unreadable(&log).unwrap(), None);
    }

    #[test]
    fn what_sqlite_would_pass_over_is_told() {
        let (_folder, connection, log) = written();
        let good = std::fs::read(&log).unwrap();
        drop(connection);
        let damaged = |at: usize| {
            let mut bytes = good.clone();
            bytes[at] ^= 1;
            std::fs::write(&log, bytes).unwrap();
            unreadable(&log).unwrap()
        };
        let head = damaged(5).unwrap();
        assert!(head.pages > 10 && !head.may_be_unfinished(), "{head:?}");
        let middle = damaged(good.len() / 2).unwrap();
        assert!((2..9).contains(&middle.commits), "{middle:?}");
        assert!(!middle.may_be_unfinished());
        let last = damaged(good.len() - 1).unwrap();
        assert_eq!(last.commits, 1, "{last:?}");
        assert!(last.may_be_unfinished());
        std::fs::write(&log, &good[..good.len() - 100]).unwrap();
        assert_eq!(
            unreadable(&log).unwrap().map(|found| found.commits),
            Some(1),
            "cut"
        );
    }
}

//! What goes into the next commit when more waits than fits: live before backlog, and device by device in turn, so that neither a
//! week of backlog nor a device gone mad keeps the others' readings waiting.

use std::collections::HashMap;

use super::queue::Submission;

/// Frames in one commit: of a thousand devices with twenty frames each on their way most are told at once, which is one write to each and
/// one read from it instead of many. Frames of one reading are 1 MB then, less than [`GROUP_BYTES_MAX`] allows of longer ones.
pub(super) const GROUP_FRAMES_MAX: usize = 16_384;
/// Bytes in one commit.
const GROUP_BYTES_MAX: usize = 4 << 20;
/// The part of a commit that a backlog gets however much is live: it must end some day.
const BACKLOG_SHARE: usize = GROUP_FRAMES_MAX / 8;

/// What waits for a commit, in the order in which it came.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    submissions: Vec<Submission>,
    /// Of all records.
    bytes: usize,
}

impl Waiting {
    pub(super) fn extend(&mut self, submissions: impl IntoIterator<Item = Submission>) {
        let bytes = &mut self.bytes;
        let counted = submissions
            .into_iter()
            .inspect(|each| *bytes += each.accepted.bytes.len());
        self.submissions.extend(counted);
    }

    pub(super) const fn len(&self) -> usize {
        self.submissions.len()
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.submissions.is_empty()
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Takes the next group, in `group`, which is empty: its memory serves again. What fits is taken as it stands.
    pub(super) fn take_group(&mut self, mut group: Vec<Submission>) -> Vec<Submission> {
        if self.len() <= GROUP_FRAMES_MAX && self.bytes <= GROUP_BYTES_MAX {
            self.bytes = 0;
            return std::mem::replace(&mut self.submissions, group);
        }
        let mut is_chosen = choose(&self.submissions).into_iter();
        let chosen = self
            .submissions
            .extract_if(.., |_| is_chosen.next().unwrap_or(false));
        group.extend(chosen);
        let taken: usize = group.iter().map(|each| each.accepted.bytes.len()).sum();
        self.bytes -= taken;
        group
    }
}

/// Whose turn it is: the first frame of every device, then the second of every device, and so on, each lane for itself.
fn choose(waiting: &[Submission]) -> Vec<bool> {
    let mut turns: HashMap<(u32, bool), u32> = HashMap::new();
    let (mut live, mut backlog) = (Vec::new(), Vec::new());
    for (at, submission) in waiting.iter().enumerate() {
        let accepted = &submission.accepted;
        let turn = turns
            .entry((accepted.device.number, accepted.is_live))
            .or_default();
        if accepted.is_live { &mut live } else { &mut backlog }.push((*turn, at));
        *turn += 1;
    }
    live.sort_unstable();
    backlog.sort_unstable();
    let kept_for_backlog = backlog.len().min(BACKLOG_SHARE);
    let (first, later) = live.split_at(live.len().min(GROUP_FRAMES_MAX - kept_for_backlog));
    let mut is_chosen = vec![false; waiting.len()];
    let (mut frames, mut bytes) = (0, 0);
    for (_, at) in first.iter().chain(&backlog).chain(later) {
        bytes += waiting[*at].accepted.bytes.len();
        if frames == GROUP_FRAMES_MAX || (frames > 0 && bytes > GROUP_BYTES_MAX) {
            break;
        }
        frames += 1;
        is_chosen[*at] = true;
    }
    is_chosen
}

//! What goes into the next commit when more waits than fits: live before backlog, and device by device in turn, so that neither a
//! week of backlog nor a device gone mad keeps the others' readings waiting.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::queue::Submission;

/// Frames in one commit: of a thousand devices with twenty frames each on their way most are told at once, which is one write to each and
/// one read from it instead of many. Frames of one reading are 1 MB then, less than [`GROUP_BYTES_MAX`] allows of longer ones.
pub(super) const GROUP_FRAMES_MAX: usize = 16_384;
/// Bytes in one commit.
const GROUP_BYTES_MAX: usize = 4 << 20;
/// The part of a commit that a backlog gets however much is live: it must end some day.
const BACKLOG_SHARE: usize = GROUP_FRAMES_MAX / 8;

/// Takes the next group. What fits is taken as it stands.
pub(super) fn take_group(waiting: &mut VecDeque<Submission>) -> Vec<Submission> {
    let bytes: usize = waiting.iter().map(|each| each.accepted.bytes.len()).sum();
    if waiting.len() <= GROUP_FRAMES_MAX && bytes <= GROUP_BYTES_MAX {
        return waiting.drain(..).collect();
    }
    let is_chosen = choose(waiting);
    let (mut group, mut rest) = (
        Vec::with_capacity(GROUP_FRAMES_MAX),
        VecDeque::with_capacity(waiting.len()),
    );
    for (submission, is_chosen) in waiting.drain(..).zip(is_chosen) {
        if is_chosen {
            group.push(submission);
        } else {
            rest.push_back(submission);
        }
    }
    *waiting = rest;
    group
}

/// Whose turn it is: the first frame of every device, then the second of every device, and so on, each lane for itself.
fn choose(waiting: &VecDeque<Submission>) -> Vec<bool> {
    let mut turns: HashMap<(usize, bool), u32> = HashMap::new();
    let (mut live, mut backlog) = (Vec::new(), Vec::new());
    for (at, submission) in waiting.iter().enumerate() {
        let accepted = &submission.accepted;
        // The address of what is known of a device is as good as its id.
        let device = Arc::as_ptr(&accepted.device).addr();
        let turn = turns.entry((device, accepted.is_live)).or_default();
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

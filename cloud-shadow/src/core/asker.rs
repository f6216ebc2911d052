//! Who waits for what becomes of the commands of a round: nobody, one for one, or one for many that
//! are answered together.

use std::collections::VecDeque;

use super::handle::{Refusal, Replies, Reply};
use crate::domain::Answer;

/// Who waits for what becomes of a command.
pub(super) enum Asker {
    Nobody,
    One(Reply),
    /// The first group that is not answered yet: commands are answered in their order.
    Group,
}

/// Those of a round whose commands are answered together, in the order of their commands.
#[derive(Default)]
pub(super) struct Groups(VecDeque<Group>);

struct Group {
    replies: Replies,
    size: usize,
    results: Vec<Result<Answer, Refusal>>,
}

impl Groups {
    /// The next so many commands are answered together.
    pub(super) fn begin(&mut self, size: usize, replies: Replies) {
        self.0.push_back(Group { replies, size, results: Vec::with_capacity(size) });
    }

    /// Says what became of the next command: at once, or when its group is whole.
    pub(super) fn answer(&mut self, asker: Asker, result: Result<Answer, Refusal>) {
        match asker {
            Asker::Nobody => {}
            Asker::One(reply) => reply.send(result),
            Asker::Group => self.note(result),
        }
    }

    fn note(&mut self, result: Result<Answer, Refusal>) {
        let Some(group) = self.0.front_mut() else { return };
        group.results.push(result);
        if group.results.len() == group.size
            && let Some(Group { replies, results, .. }) = self.0.pop_front()
        {
            replies.send(results);
        }
    }
}

//! Whose turn it is, of a shard's places.

use std::collections::VecDeque;

use ropewalk_core::Reading;

use crate::ready::release_room;

/// The numbers of the places that have a turn before them, each once. While nobody is read, those that have stalled wait behind a
/// gate: to open it costs nothing, so that it may be opened and shut again for a few of them.
#[derive(Debug)]
pub(crate) struct Turns {
    marks: Vec<Mark>,
    ready: VecDeque<u32>,
    /// Those that were not read because nobody is, and some that have had a turn since, of which none is the first.
    stalled: VecDeque<u32>,
    /// Whether those have turns now.
    reading: Reading,
    /// Which list is next, as neither is to wait for the end of the other.
    next: List,
}

/// Where a place stands.
#[derive(Clone, Copy, Debug, Default)]
struct Mark {
    is_ready: bool,
    stalled: Stalled,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stalled {
    /// It is not on that list.
    #[default]
    No,
    Waits,
    /// It is on that list, but has had a turn since.
    Outdated,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum List {
    Ready,
    Stalled,
}

impl Turns {
    pub(crate) fn new() -> Self {
        Self {
            marks: Vec::new(),
            ready: VecDeque::new(),
            stalled: VecDeque::new(),
            reading: Reading::Resumed,
            next: List::Ready,
        }
    }

    /// Counts one place more.
    pub(crate) fn add_place(&mut self) {
        self.marks.push(Mark::default());
    }

    /// Gives a place a turn.
    pub(crate) fn schedule(&mut self, index: u32) {
        let mark = &mut self.marks[index as usize];
        if !mark.is_ready {
            mark.is_ready = true;
            self.ready.push_back(index);
        }
    }

    /// Gives a place that was not read in its turn another, if that was because nobody is: as soon as everybody is read again.
    pub(crate) fn stall(&mut self, index: u32) {
        if self.reading == Reading::Resumed {
            return;
        }
        let mark = &mut self.marks[index as usize];
        if mark.stalled == Stalled::No {
            self.stalled.push_back(index);
        }
        mark.stalled = Stalled::Waits;
    }

    /// From now on everybody is read, or nobody.
    pub(crate) fn set_reading(&mut self, reading: Reading) {
        self.reading = reading;
    }

    /// Whether there is a next one.
    pub(crate) fn any(&self) -> bool {
        !self.ready.is_empty() || (self.reading == Reading::Resumed && !self.stalled.is_empty())
    }

    /// The next place whose turn it is.
    pub(crate) fn next(&mut self) -> Option<u32> {
        if self.stalled.is_empty() {
            return self.next_ready();
        }
        let next = match (self.reading, self.next) {
            (Reading::Paused, _) => self.next_ready(),
            (Reading::Resumed, List::Ready) => {
                self.next = List::Stalled;
                self.next_ready().or_else(|| self.next_stalled())
            }
            (Reading::Resumed, List::Stalled) => {
                self.next = List::Ready;
                self.next_stalled().or_else(|| self.next_ready())
            }
        };
        self.drop_outdated();
        next
    }

    fn next_ready(&mut self) -> Option<u32> {
        let Some(index) = self.ready.pop_front() else {
            release_room(&mut self.ready);
            return None;
        };
        let mark = &mut self.marks[index as usize];
        mark.is_ready = false;
        if mark.stalled == Stalled::Waits {
            mark.stalled = Stalled::Outdated;
        }
        Some(index)
    }

    fn next_stalled(&mut self) -> Option<u32> {
        while let Some(index) = self.stalled.pop_front() {
            let mark = &mut self.marks[index as usize];
            let stalled = std::mem::take(&mut mark.stalled);
            if stalled == Stalled::Waits && !mark.is_ready {
                return Some(index);
            }
        }
        None
    }

    fn drop_outdated(&mut self) {
        while let Some(index) = self.stalled.front() {
            let mark = &mut self.marks[*index as usize];
            if mark.stalled != Stalled::Outdated {
                return;
            }
            mark.stalled = Stalled::No;
            self.stalled.pop_front();
        }
        release_room(&mut self.stalled);
    }
}

#[cfg(test)]
mod tests;

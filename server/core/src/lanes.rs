//! Which processes of a pool have room, in the order in which they are given work.
//!
//! It owns one waiting lane per load: the least loaded process comes first, and among equals the one that has been so
//! for longest. It must never look at requests. Every operation takes constant time, but for
//! skipping empty lanes, which is paid for by the moves that emptied them.

const NIL: u16 = u16::MAX;

#[derive(Clone, Copy, Debug)]
struct Lane {
    first: u16,
    last: u16,
}

#[derive(Clone, Copy, Debug)]
struct Link {
    prev: u16,
    next: u16,
    /// The lane it is in.
    lane: Option<u16>,
}

/// The lanes of one pool. Its members are the berths of its workers, numbered from 0 within the pool.
#[derive(Debug)]
pub(crate) struct Lanes {
    lanes: Vec<Lane>,
    links: Vec<Link>,
    /// The first lane that has a member.
    lowest: usize,
    members: usize,
}

impl Lanes {
    /// Lanes for `members` berths and so many different loads.
    pub(crate) fn new(members: usize, loads: usize) -> Self {
        Self {
            lanes: vec![Lane { first: NIL, last: NIL }; loads],
            links: vec![Link { prev: NIL, next: NIL, lane: None }; members],
            lowest: loads,
            members: 0,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.members == 0
    }

    /// The lane a member is in.
    pub(crate) fn lane_of(&self, member: u16) -> Option<u16> {
        self.links[usize::from(member)].lane
    }

    /// Puts a member at the end of a lane, or takes it out of all of them.
    pub(crate) fn set_load(&mut self, member: u16, load: Option<usize>) {
        self.remove(member);
        let Some(load) = load else { return };
        let lane = &mut self.lanes[load];
        let before = lane.last;
        lane.last = member;
        if before == NIL {
            lane.first = member;
        } else {
            self.links[usize::from(before)].next = member;
        }
        let place = u16::try_from(load).expect("slots and prefetch are bounded so that loads fit");
        self.links[usize::from(member)] = Link { prev: before, next: NIL, lane: Some(place) };
        self.lowest = self.lowest.min(load);
        self.members += 1;
    }

    /// Takes a member out, if it is in.
    pub(crate) fn remove(&mut self, member: u16) {
        let Link { prev, next, lane } = self.links[usize::from(member)];
        let Some(lane) = lane else { return };
        let lane = &mut self.lanes[usize::from(lane)];
        if prev == NIL {
            lane.first = next;
        } else {
            self.links[usize::from(prev)].next = next;
        }
        if next == NIL {
            lane.last = prev;
        } else {
            self.links[usize::from(next)].prev = prev;
        }
        self.links[usize::from(member)] = Link { prev: NIL, next: NIL, lane: None };
        self.members -= 1;
        while self.lanes.get(self.lowest).is_some_and(|lane| lane.first == NIL) {
            self.lowest += 1;
        }
    }

    /// The members in the lanes below that load, in the order in which they are given work.
    pub(crate) fn below(&self, load: usize) -> impl Iterator<Item = u16> {
        let lanes = self.lanes.get(self.lowest..load).unwrap_or_default();
        let next = |member: &u16| Some(self.links[usize::from(*member)].next).filter(|next| *next != NIL);
        let firsts = lanes.iter().map(|lane| Some(lane.first).filter(|first| *first != NIL));
        firsts.flat_map(move |first| std::iter::successors(first, next))
    }

    /// The next member to be given work, of those that are not shunned: at most the berths of one worker.
    pub(crate) fn pick(&self, shunned: impl Fn(u16) -> bool) -> Option<u16> {
        self.lanes[self.lowest..].iter().find_map(|lane| {
            let mut member = lane.first;
            while member != NIL && shunned(member) {
                member = self.links[usize::from(member)].next;
            }
            (member != NIL).then_some(member)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Lanes;

    #[test]
    fn the_longest_idle_comes_first_and_the_loaded_later() {
        let anybody = |_| false;
        let mut lanes = Lanes::new(3, 2);
        assert_eq!(lanes.pick(anybody), None);
        lanes.set_load(2, Some(0));
        lanes.set_load(0, Some(0));
        lanes.set_load(1, Some(1));
        assert_eq!(lanes.pick(anybody), Some(2));
        assert_eq!(lanes.pick(|member| member == 2), Some(0));
        assert_eq!(lanes.pick(|member| member != 1), Some(1));
        assert_eq!(lanes.below(1).collect::<Vec<_>>(), [2, 0]);
        assert_eq!(lanes.below(2).collect::<Vec<_>>(), [2, 0, 1]);
        lanes.set_load(2, Some(1));
        lanes.set_load(0, None);
        assert_eq!(lanes.lane_of(0), None, "a full process is in no lane");
        assert_eq!(lanes.pick(anybody), Some(1));
        assert_eq!(lanes.pick(|member| member == 1), Some(2));
        lanes.remove(2);
        assert_eq!(lanes.pick(|member| member == 1), None);
        lanes.remove(1);
        assert!(lanes.is_empty() && lanes.below(2).next().is_none());
    }
}

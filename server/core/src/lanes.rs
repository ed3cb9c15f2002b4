//! Which processes of a pool have room, in the order in which they are given work.
//!
//! It owns one waiting lane per number of held requests: the least loaded process comes first, and among equals the
//! one that has been so for longest. It must never look at requests. Every operation takes constant time, but for
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

/// The lanes of one pool. Members are numbered from 0 within the pool.
#[derive(Debug)]
pub(crate) struct Lanes {
    lanes: Vec<Lane>,
    links: Vec<Link>,
    /// The first lane that has a member.
    lowest: usize,
    members: usize,
}

impl Lanes {
    /// Lanes for `members` processes that hold fewer than `prefetch` requests.
    pub(crate) fn new(members: u16, prefetch: u16) -> Self {
        Self {
            lanes: vec![Lane { first: NIL, last: NIL }; usize::from(prefetch)],
            links: vec![Link { prev: NIL, next: NIL, lane: None }; usize::from(members)],
            lowest: usize::from(prefetch),
            members: 0,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.members == 0
    }

    /// The lane a member is in: the number of requests it was said to hold.
    pub(crate) fn lane_of(&self, member: u16) -> Option<u16> {
        self.links[usize::from(member)].lane
    }

    /// Puts a member at the end of the lane of its load, or takes it out if it has no room.
    pub(crate) fn set_load(&mut self, member: u16, load: usize) {
        self.remove(member);
        if load >= self.lanes.len() {
            return;
        }
        let lane = &mut self.lanes[load];
        let before = lane.last;
        lane.last = member;
        if before == NIL {
            lane.first = member;
        } else {
            self.links[usize::from(before)].next = member;
        }
        let place = u16::try_from(load).expect("prefetch is a u16");
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

    /// The next member to be given work, `avoid` left out.
    pub(crate) fn pick(&self, avoid: Option<u16>) -> Option<u16> {
        self.lanes[self.lowest..].iter().find_map(|lane| {
            let first = lane.first;
            if first == NIL {
                None
            } else if Some(first) != avoid {
                Some(first)
            } else {
                Some(self.links[usize::from(first)].next).filter(|next| *next != NIL)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Lanes;

    #[test]
    fn the_longest_idle_comes_first_and_the_loaded_later() {
        let mut lanes = Lanes::new(3, 2);
        assert_eq!(lanes.pick(None), None);
        lanes.set_load(2, 0);
        lanes.set_load(0, 0);
        lanes.set_load(1, 1);
        assert_eq!(lanes.pick(None), Some(2));
        assert_eq!(lanes.pick(Some(2)), Some(0));
        lanes.set_load(2, 1);
        lanes.set_load(0, 2);
        assert_eq!(lanes.lane_of(0), None, "a full process is in no lane");
        assert_eq!(lanes.pick(None), Some(1));
        assert_eq!(lanes.pick(Some(1)), Some(2));
        lanes.remove(2);
        assert_eq!(lanes.pick(Some(1)), None);
        lanes.remove(1);
        assert!(lanes.is_empty());
    }
}

//! The connected clients, each with the list of its open requests.
//!
//! It owns who is connected and which open requests are whose, in the order of acceptance. It must never settle a
//! request. The lists run through the records, so that a request costs no memory here.

use std::collections::BTreeMap;

use crate::ids::{ClientId, ClientTag, RequestId};
use crate::request::{NIL, Requests};

#[derive(Debug)]
struct Client {
    last_tag: Option<ClientTag>,
    /// Its oldest open request.
    first: u32,
    /// Its newest open request.
    last: u32,
}

/// The connected clients.
#[derive(Debug)]
pub(crate) struct Clients {
    by_id: BTreeMap<ClientId, u32>,
    places: Vec<Client>,
    free: Vec<u32>,
    /// The client that was looked up last: requests come in runs.
    recent: Option<(ClientId, u32)>,
}

impl Clients {
    pub(crate) fn new() -> Self {
        Self { by_id: BTreeMap::new(), places: Vec::new(), free: Vec::new(), recent: None }
    }

    pub(crate) fn open(&mut self, id: ClientId) {
        if self.by_id.contains_key(&id) {
            return;
        }
        let client = Client { last_tag: None, first: NIL, last: NIL };
        let place = match self.free.pop() {
            Some(place) => {
                self.places[place as usize] = client;
                place
            }
            None => {
                self.places.push(client);
                u32::try_from(self.places.len() - 1).expect("descriptors bound the clients")
            }
        };
        self.by_id.insert(id, place);
    }

    /// Forgets a client whose list is empty.
    pub(crate) fn close(&mut self, id: ClientId) {
        if let Some(place) = self.by_id.remove(&id) {
            self.free.push(place);
        }
        self.recent = None;
    }

    /// The place of a connected client.
    pub(crate) fn find(&mut self, id: ClientId) -> Option<u32> {
        if let Some((recent, place)) = self.recent
            && recent == id
        {
            return Some(place);
        }
        let place = *self.by_id.get(&id)?;
        self.recent = Some((id, place));
        Some(place)
    }

    /// Takes note of a tag; `false` if it does not rise.
    pub(crate) fn advance_tag(&mut self, place: u32, tag: ClientTag) -> bool {
        let client = &mut self.places[place as usize];
        if client.last_tag.is_some_and(|last| tag <= last) {
            return false;
        }
        client.last_tag = Some(tag);
        true
    }

    /// Appends a request to its client's list.
    pub(crate) fn link<Q>(&mut self, requests: &mut Requests<Q>, id: RequestId) {
        let index = u32::try_from(id.index()).expect("an index has 20 bits");
        let place = requests.at(index).client_slot;
        let client = &mut self.places[place as usize];
        let before = client.last;
        client.last = index;
        if before == NIL {
            client.first = index;
        } else {
            requests.at(before).client_next = index;
        }
        let record = requests.at(index);
        record.client_prev = before;
        record.client_next = NIL;
    }

    /// Takes a request out of its client's list, if its client is connected.
    pub(crate) fn unlink<Q>(&mut self, requests: &mut Requests<Q>, id: RequestId) {
        let record = requests.open_record(id);
        let (place, before, after) = (record.client_slot, record.client_prev, record.client_next);
        if place == NIL {
            return;
        }
        record.client_slot = NIL;
        record.client_prev = NIL;
        record.client_next = NIL;
        let client = &mut self.places[place as usize];
        if before == NIL {
            client.first = after;
        } else {
            requests.at(before).client_next = after;
        }
        if after == NIL {
            client.last = before;
        } else {
            requests.at(after).client_prev = before;
        }
    }

    /// The oldest open request of a client.
    pub(crate) fn oldest<Q>(&self, requests: &mut Requests<Q>, place: u32) -> Option<RequestId> {
        let first = self.places[place as usize].first;
        (first != NIL).then(|| requests.at(first).id)
    }

    /// The open request of a client with this tag. Walks the client's list from the nearer end.
    pub(crate) fn find_request<Q>(
        &self,
        requests: &mut Requests<Q>,
        place: u32,
        tag: ClientTag,
    ) -> Option<RequestId> {
        let client = &self.places[place as usize];
        if client.first == NIL {
            return None;
        }
        let (low, high) = (requests.at(client.first).tag, requests.at(client.last).tag);
        if tag < low || tag > high {
            return None;
        }
        let forward = tag.0 - low.0 <= high.0 - tag.0;
        let mut index = if forward { client.first } else { client.last };
        while index != NIL {
            let record = requests.at(index);
            if record.tag == tag {
                return Some(record.id);
            }
            if forward == (record.tag > tag) {
                return None;
            }
            index = if forward { record.client_next } else { record.client_prev };
        }
        None
    }

    /// Each connected client's open requests, in order: for the invariants.
    pub(crate) fn lists(&self) -> impl Iterator<Item = (ClientId, u32, u32)> {
        self.by_id.iter().map(|(id, place)| (*id, *place, self.places[*place as usize].first))
    }
}

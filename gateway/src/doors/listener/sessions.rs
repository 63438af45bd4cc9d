//! Sessions by their ids; places are used again under other ids.

use super::session::Session;
use super::turn::SessionId;

pub(super) struct Sessions<E> {
    places: Vec<Place<E>>,
    free: Vec<u32>,
    count: usize,
}

struct Place<E> {
    /// How often it was taken.
    round: u32,
    session: Option<Box<Session<E>>>,
}

impl<E> Default for Sessions<E> {
    fn default() -> Self {
        Self {
            places: Vec::new(),
            free: Vec::new(),
            count: 0,
        }
    }
}

impl<E> Sessions<E> {
    pub(super) const fn len(&self) -> usize {
        self.count
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub(super) fn add(&mut self, session: impl FnOnce(SessionId) -> Box<Session<E>>) -> SessionId {
        let at = self.free.pop().unwrap_or_else(|| {
            self.places.push(Place {
                round: 0,
                session: None,
            });
            // Far fewer connections than that are open at a time.
            u32::try_from(self.places.len() - 1).unwrap_or(u32::MAX)
        });
        let place = &mut self.places[at as usize];
        // Half of all numbers, so that none is a token of the listener's own.
        place.round = (place.round + 1) & (u32::MAX >> 1);
        let id = SessionId::new(at, place.round);
        place.session = Some(session(id));
        self.count += 1;
        id
    }

    /// The session, unless it has ended.
    pub(super) fn get(&mut self, id: SessionId) -> Option<&mut Session<E>> {
        let session = self.places.get_mut(id.place())?.session.as_deref_mut();
        session.filter(|session| session.id == id)
    }

    pub(super) fn remove(&mut self, id: SessionId) {
        if self.get(id).is_some()
            && let Some(place) = self.places.get_mut(id.place())
        {
            place.session = None;
            self.count -= 1;
            self.free.extend(u32::try_from(id.place()));
        }
    }

    /// Every session that there is now.
    pub(super) fn ids(&self) -> Vec<SessionId> {
        let sessions = self.places.iter().filter_map(|place| place.session.as_ref());
        sessions.map(|session| session.id).collect()
    }
}

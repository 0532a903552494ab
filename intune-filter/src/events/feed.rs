//! Events for whoever asks: the recent ones are kept, those to come are handed to followers.
//!
//! Nobody can hold the daemon up: what is kept is bounded, and a follower that falls too far
//! behind misses events, and is told how many.

use std::{collections::VecDeque, sync::Arc};

use tokio::sync::broadcast::{
    self,
    error::{RecvError, TryRecvError},
};

use super::{Event, Filter, What};

/// Events that are kept, of each of three kinds: however many flows come and go, the denials stay.
const RECENT: usize = 1000;

/// How many events a follower may be behind.
const BEHIND: usize = 4096;

/// Followers at once.
const FOLLOWERS: usize = 32;

/// The kept events, and the way to the followers.
#[derive(Debug)]
pub struct Feed {
    recent: [VecDeque<(u64, Arc<Event>)>; 3],
    count: u64,
    followers: broadcast::Sender<Arc<Event>>,
}

impl Default for Feed {
    fn default() -> Self {
        let (followers, _) = broadcast::channel(BEHIND);
        Self { recent: Default::default(), count: 0, followers }
    }
}

impl Feed {
    /// Takes an event in.
    pub fn push(&mut self, event: Event) {
        let [denials, lessons, flows] = &mut self.recent;
        let recent = match event.what {
            What::Denied(_) => denials,
            What::Learned(_) | What::Full(_) => lessons,
            What::Opened(_) | What::Closed(_) | What::Lost { .. } => flows,
        };
        let event = Arc::new(event);
        // Nobody may follow.
        let _ = self.followers.send(Arc::clone(&event));
        if recent.len() == RECENT {
            recent.pop_front();
        }
        recent.push_back((self.count, event));
        self.count += 1;
    }

    /// The last `last` of the kept events that a filter wants, from the oldest on; and those to
    /// come, if they are to be followed.
    ///
    /// # Errors
    ///
    /// There are too many followers.
    pub fn subscribe(
        &self,
        filter: Filter,
        last: usize,
        follow: bool,
    ) -> Result<Subscription, &'static str> {
        if follow && self.followers.receiver_count() >= FOLLOWERS {
            return Err("too many follow already");
        }
        let mut wanted: Vec<_> =
            self.recent.iter().flatten().filter(|(_, event)| filter.wants(&event.what)).collect();
        wanted.sort_unstable_by_key(|(number, _)| *number);
        let from = wanted.len().saturating_sub(last);
        let recent = wanted.iter().skip(from).map(|(_, event)| Arc::clone(event)).collect();
        let live = follow.then(|| self.followers.subscribe());
        Ok(Subscription { recent, live, filter })
    }
}

/// The events that someone has asked for.
#[derive(Debug)]
pub struct Subscription {
    recent: VecDeque<Arc<Event>>,
    live: Option<broadcast::Receiver<Arc<Event>>>,
    filter: Filter,
}

impl Subscription {
    /// Whether events to come are waited for.
    #[must_use]
    pub const fn follows(&self) -> bool {
        self.live.is_some()
    }

    /// The next event, `None` after the last. What was missed comes as [`What::Lost`].
    pub async fn next(&mut self) -> Option<Arc<Event>> {
        if let Some(event) = self.recent.pop_front() {
            return Some(event);
        }
        let live = self.live.as_mut()?;
        loop {
            match live.recv().await {
                Ok(event) if self.filter.wants(&event.what) => return Some(event),
                Ok(_) => {}
                Err(RecvError::Lagged(count)) => return Some(lost(count)),
                Err(RecvError::Closed) => return None,
            }
        }
    }

    /// The next event if there is one already, as [`Self::next`] gives it.
    pub fn next_now(&mut self) -> Option<Arc<Event>> {
        if let Some(event) = self.recent.pop_front() {
            return Some(event);
        }
        let live = self.live.as_mut()?;
        loop {
            match live.try_recv() {
                Ok(event) if self.filter.wants(&event.what) => return Some(event),
                Ok(_) => {}
                Err(TryRecvError::Lagged(count)) => return Some(lost(count)),
                Err(TryRecvError::Empty | TryRecvError::Closed) => return None,
            }
        }
    }
}

fn lost(count: u64) -> Arc<Event> {
    Arc::new(Event { time: jiff::Timestamp::now(), what: What::Lost { count } })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::{Denied, Kind, Learned};

    fn learned(number: usize) -> Event {
        let what = What::Learned(Learned {
            name: number.to_string(),
            addresses: Vec::new(),
            services: Vec::new(),
            client: [10, 0, 0, 1].into(),
            expires_in_s: 0,
        });
        Event { time: jiff::Timestamp::UNIX_EPOCH, what }
    }

    fn denied(reason: &str) -> Event {
        let what = What::Denied(Denied { reason: reason.into(), ..Denied::default() });
        Event { time: jiff::Timestamp::UNIX_EPOCH, what }
    }

    fn text(event: &Event) -> String {
        match &event.what {
            What::Learned(learned) => learned.name.clone(),
            What::Denied(denied) => denied.reason.clone(),
            other => format!("{other:?}"),
        }
    }

    fn all(subscription: &mut Subscription) -> Vec<String> {
        std::iter::from_fn(|| subscription.next_now()).map(|event| text(&event)).collect()
    }

    #[test]
    fn recent_events_are_kept_by_kind_and_told_in_order() {
        let mut feed = Feed::default();
        feed.push(denied("port"));
        for number in 0..RECENT + 5 {
            feed.push(learned(number));
        }
        feed.push(denied("service"));
        let told = all(&mut feed.subscribe(Filter::default(), usize::MAX, false).unwrap());
        assert_eq!(told.len(), RECENT + 2);
        assert_eq!((told[0].as_str(), told[1].as_str()), ("port", "5"));
        assert_eq!(told[RECENT + 1], "service");
        let filter = Filter { kinds: [Kind::Denied].into(), ..Filter::default() };
        let told = all(&mut feed.subscribe(filter, 1, false).unwrap());
        assert_eq!(told, ["service"]);
    }

    #[test]
    fn a_slow_follower_misses_events_and_is_told_how_many() {
        let mut feed = Feed::default();
        feed.push(learned(0));
        let mut slow = feed.subscribe(Filter::default(), 1, true).unwrap();
        let filter = Filter { reasons: ["port".to_owned()].into(), ..Filter::default() };
        let mut other = feed.subscribe(filter, 0, true).unwrap();
        for number in 1..=BEHIND + 10 {
            feed.push(learned(number));
            assert_eq!(all(&mut other), [""; 0], "it is not slow, and wants none of these");
        }
        feed.push(denied("port"));
        let told = all(&mut slow);
        assert_eq!(told[..2], ["0".to_owned(), format!("{:?}", What::Lost { count: 11 })]);
        assert_eq!(told.len(), 2 + BEHIND);
        assert_eq!(told.last().unwrap(), "port");
        assert_eq!(all(&mut other), ["port"]);
    }

    #[test]
    fn followers_are_limited() {
        let feed = Feed::default();
        let follow = || feed.subscribe(Filter::default(), 0, true);
        let followers: Vec<_> = (0..FOLLOWERS).map(|_| follow().unwrap()).collect();
        assert!(follow().is_err());
        assert!(feed.subscribe(Filter::default(), 0, false).is_ok());
        drop(followers);
        assert!(follow().is_ok());
    }
}

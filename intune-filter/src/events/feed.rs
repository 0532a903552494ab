//! Keeps recent events, and hands new ones to followers.
//!
//! No follower can delay the daemon: the kept events are bounded, and a follower that lags too far
//! misses events and is told their number.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use tokio::sync::broadcast::{self, error::RecvError};

use super::{Event, EventFilter, What};

/// Events kept of each of three kinds, so that a flood of flows does not displace the denials.
const RECENT: usize = 1000;

/// Denials kept of a client before those of clients with fewer have to make room for it.
const SHARE: usize = 50;

/// Events by which a follower may lag.
const BEHIND: usize = 4096;

/// Followers at once.
const FOLLOWERS: usize = 32;

/// Kept events, and the channel to the followers.
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
    /// Keeps an event, and hands it to the followers.
    pub fn push(&mut self, event: Event) {
        let [denials, lessons, flows] = &mut self.recent;
        let recent = match event.what {
            What::Denied(_) => denials,
            What::Learned(_) | What::Full(_) | What::Conflict(_) => lessons,
            What::Opened(_) | What::Closed(_) | What::Lost { .. } => flows,
        };
        let event = Arc::new(event);
        // Sending fails without followers.
        let _ = self.followers.send(Arc::clone(&event));
        if recent.len() == RECENT {
            let excess =
                matches!(event.what, What::Denied(_)).then(|| of_busiest(recent)).flatten();
            recent.remove(excess.unwrap_or(0));
        }
        recent.push_back((self.count, event));
        self.count += 1;
    }

    /// Returns the last `last` kept events that the filter accepts, oldest first, and with `follow`
    /// those to come.
    ///
    /// # Errors
    ///
    /// There are too many followers.
    pub fn subscribe(
        &self,
        filter: EventFilter,
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

/// Returns the place of the oldest event of the client with the most, if that has more than its share:
/// one client that is denied all the time does not displace what others were denied.
fn of_busiest(recent: &VecDeque<(u64, Arc<Event>)>) -> Option<usize> {
    let mut counts = HashMap::<_, usize>::new();
    for (_, event) in recent {
        *counts.entry(event.what.client()).or_default() += 1;
    }
    let (busiest, count) = counts.into_iter().max_by_key(|(_, count)| *count)?;
    let is_of = |(_, event): &(u64, Arc<Event>)| event.what.client() == busiest;
    if count > SHARE { recent.iter().position(is_of) } else { None }
}

/// Events that a subscriber has asked for.
#[derive(Debug)]
pub struct Subscription {
    recent: VecDeque<Arc<Event>>,
    live: Option<broadcast::Receiver<Arc<Event>>>,
    filter: EventFilter,
}

impl Subscription {
    /// Whether the subscription waits for events to come.
    #[must_use]
    pub const fn follows(&self) -> bool {
        self.live.is_some()
    }

    /// Returns the next event, `None` after the last. A gap comes as [`What::Lost`].
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

    /// Returns the next event if there is one already, else `None`; otherwise like [`Self::next`].
    #[cfg(test)]
    pub(crate) fn next_now(&mut self) -> Option<Arc<Event>> {
        if let Some(event) = self.recent.pop_front() {
            return Some(event);
        }
        let live = self.live.as_mut()?;
        loop {
            match live.try_recv() {
                Ok(event) if self.filter.wants(&event.what) => return Some(event),
                Ok(_) => {}
                Err(broadcast::error::TryRecvError::Lagged(count)) => return Some(lost(count)),
                Err(
                    broadcast::error::TryRecvError::Empty | broadcast::error::TryRecvError::Closed,
                ) => return None,
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
            targets: Vec::new(),
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
        let told = all(&mut feed.subscribe(EventFilter::default(), usize::MAX, false).unwrap());
        assert_eq!(told.len(), RECENT + 2);
        assert_eq!((told[0].as_str(), told[1].as_str()), ("port", "5"));
        assert_eq!(told[RECENT + 1], "service");
        let filter = EventFilter { kinds: [Kind::Denied].into(), ..EventFilter::default() };
        let told = all(&mut feed.subscribe(filter, 1, false).unwrap());
        assert_eq!(told, ["service"]);
    }

    #[test]
    fn a_client_that_is_denied_all_the_time_displaces_no_other_ones_denials() {
        let mut feed = Feed::default();
        let of = |client: u8, reason: &str| {
            let client = Some([10, 0, 0, client].into());
            let denied = Denied { client, reason: reason.into(), ..Denied::default() };
            Event { time: jiff::Timestamp::UNIX_EPOCH, what: What::Denied(denied) }
        };
        for number in 0..20 {
            feed.push(of(1, &number.to_string()));
        }
        for number in 0..5 * RECENT {
            feed.push(of(2, &format!("flood {number}")));
        }
        let told = all(&mut feed.subscribe(EventFilter::default(), usize::MAX, false).unwrap());
        assert_eq!(told.len(), RECENT);
        assert!((0..20).all(|number| told[number] == number.to_string()), "{told:?}");
        assert_eq!(told[RECENT - 1], format!("flood {}", 5 * RECENT - 1));
    }

    #[test]
    fn a_slow_follower_misses_events_and_is_told_how_many() {
        let mut feed = Feed::default();
        feed.push(learned(0));
        let mut slow = feed.subscribe(EventFilter::default(), 1, true).unwrap();
        let filter = EventFilter { reasons: ["port".to_owned()].into(), ..EventFilter::default() };
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
        let follow = || feed.subscribe(EventFilter::default(), 0, true);
        let followers: Vec<_> = (0..FOLLOWERS).map(|_| follow().unwrap()).collect();
        assert!(follow().is_err());
        assert!(feed.subscribe(EventFilter::default(), 0, false).is_ok());
        drop(followers);
        assert!(follow().is_ok());
    }
}

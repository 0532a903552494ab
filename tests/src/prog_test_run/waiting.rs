//! Waiting for the ring of events as the daemon does.

use std::os::fd::AsFd as _;

use aya::maps::{MapData, RingBuf};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};

/// A waiter for the ring, which begins empty: only a record that is submitted to wake readers ends
/// the waiting, and only as long as it was not read.
pub struct Waiting(Epoll);

impl Waiting {
    /// Begins to wait.
    ///
    /// # Panics
    /// If the kernel does not let anybody wait.
    pub fn on(ring: &RingBuf<MapData>) -> Self {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).expect("there are descriptors");
        let interest = EpollEvent::new(EpollFlags::EPOLLIN, 0);
        epoll.add(ring.as_fd(), interest).expect("a ring can be waited for");
        Self(epoll)
    }

    /// Whether a record has woken the waiter, or does so within this time.
    ///
    /// # Panics
    /// If waiting fails.
    #[must_use]
    pub fn is_woken_within(&self, milliseconds: u16) -> bool {
        self.0.wait(&mut [EpollEvent::empty()], milliseconds).expect("a ring can be waited for") > 0
    }
}

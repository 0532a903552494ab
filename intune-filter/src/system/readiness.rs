//! Waiting for a descriptor whose owner goes on using it.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
};

use tokio::io::{Interest, unix::AsyncFd};

/// What a descriptor is ready for.
#[derive(Debug)]
pub(crate) struct Readiness(AsyncFd<OwnedFd>);

impl Readiness {
    /// The readiness of what a descriptor is open on, watched by a descriptor of its own.
    ///
    /// # Errors
    /// It cannot be watched, as a file cannot.
    pub(crate) fn of(fd: impl AsFd, interest: Interest) -> io::Result<Self> {
        let own = fd.as_fd().try_clone_to_owned()?;
        // SAFETY: it is open as long as it is registered, and has one number.
        let registered = unsafe { AsyncFd::register_with_interest(own, interest) };
        registered.map(Self).map_err(|error| error.into_parts().1)
    }

    /// Waits until it is ready, once each time that it becomes so.
    ///
    /// # Errors
    /// The runtime ends.
    pub(crate) async fn wait(&self, interest: Interest) -> io::Result<()> {
        self.0.ready(interest).await?.clear_ready();
        Ok(())
    }
}

//! Keeps the table of names and the kernel's addresses in step: learns, expires, saves and
//! restores.

mod expiry;
mod learner;
mod lessons;
mod reports;
mod restore;
#[cfg(test)]
mod tests;
mod writer;

pub use expiry::{forget_due, forget_expired};
pub use learner::{Change, Learner};
pub use reports::Reports;
pub(crate) use restore::{restore, saved_names};
pub(crate) use writer::NamesWriter;

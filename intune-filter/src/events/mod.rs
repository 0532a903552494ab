//! Turns the kernel's reports into events for people and programs: denials, learned names, flows.
//!
//! The [`recorder`] makes events of the kernel's [`records`], and the [`feed`] hands them on.

pub mod denial_stats;
mod event;
pub mod feed;
mod filter;
pub mod flow_reaper;
mod labels;
pub(crate) mod recorder;
pub mod records;
mod text;

pub use event::{Closed, Denied, Event, Flow, Learned, Traffic, What, ZoneName};
pub use filter::{EventFilter, Kind};
pub use labels::Labels;
pub use text::protocol;

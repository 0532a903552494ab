//! What happens on the gateway, as people and programs are told of it: denials, lessons, flows.
//!
//! The kernel's [`records`] become events in the [`recorder`], which the [`feed`] hands on.

pub mod denial_stats;
mod event;
pub mod feed;
mod filter;
pub mod flow_reaper;
mod labels;
pub(crate) mod recorder;
pub mod records;
mod text;

pub use event::{Closed, Denied, Event, Flow, Learned, Place, Traffic, What};
pub use filter::{Filter, Kind};
pub use labels::Labels;
pub use text::protocol;

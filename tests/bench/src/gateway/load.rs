//! Loads: packets that a gateway is measured with.

use anyhow::{Context as _, Result, ensure};

use super::{
    generator::{Generator, List},
    traffic::{HOT, PACKETS, Traffic},
    variant::{Kind, Variant},
    wiring::Direction,
};

/// Kind of sent packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Load {
    /// Of few known flows, from clients.
    KnownHot,
    /// Of many.
    Known,
    /// Of many known flows, to clients.
    Back,
    /// Each opens a flow that is allowed.
    New,
    /// Each opens a flow that is not, of few.
    DeniedHot,
    /// Packets of many denied flows.
    Denied,
}

impl Load {
    /// Every one, in the order in which they are told.
    pub const ALL: [Self; 6] =
        [Self::KnownHot, Self::Known, Self::Back, Self::New, Self::DeniedHot, Self::Denied];

    /// Name of the measurement.
    pub fn name(self) -> String {
        match self {
            Self::KnownHot => format!("forwarded, {HOT} known flows"),
            Self::Known => format!("forwarded, {PACKETS} known flows"),
            Self::Back => format!("forwarded to clients, {PACKETS} known flows"),
            Self::New => "forwarded, each a new flow".to_owned(),
            Self::DeniedHot => format!("dropped, {HOT} flows"),
            Self::Denied => format!("dropped, {PACKETS} flows"),
        }
    }

    /// Whether a load is meaningful for variants of a kind.
    pub const fn is_for(self, kind: Kind) -> bool {
        match kind {
            Kind::Filter => true,
            Kind::Open => !self.is_denied(),
            // It knows nothing of the way back.
            Kind::Floor => !matches!(self, Self::New | Self::Back),
            Kind::Closed => self.is_denied(),
        }
    }

    const fn is_denied(self) -> bool {
        matches!(self, Self::DeniedHot | Self::Denied)
    }

    /// Sends packets, and tells how many a second were forwarded or, if they are to be, dropped.
    pub fn sample(
        self,
        generator: &mut Generator,
        variant: &Variant,
        packets: &Traffic,
    ) -> Result<f64> {
        let few;
        let list: &List = match self {
            Self::Known => &packets.known,
            Self::Back => &packets.back,
            Self::New => &packets.new,
            Self::Denied => &packets.denied,
            Self::KnownHot => {
                few = packets.known.first(HOT);
                &few
            }
            Self::DeniedHot => {
                few = packets.denied.first(HOT);
                &few
            }
        };
        let direction = if self == Self::Back { Direction::Back } else { Direction::Out };
        // What is dropped early takes less.
        let frames = if self.is_denied() { 2 * PACKETS } else { PACKETS };
        let received_before = variant.wiring.received(direction)?;
        let arrived_before = generator.arrived()?;
        let time = generator.send(variant.wiring.origin(direction), list, frames)?;
        let arrived = generator.arrived()? - arrived_before;
        let received = variant.wiring.received(direction)? - received_before;
        let done = if self.is_denied() { received.checked_sub(arrived) } else { Some(arrived) };
        let done = done.context("more arrived than was received")? as f64;
        // A few of the host's own may be among them, and a few of the last may be on their way.
        let all = f64::from(frames);
        ensure!(
            (0.97 * all..1.01 * all).contains(&done),
            "of {frames} packets {received} came to the gateway, {arrived} arrived"
        );
        Ok(done / all / time.as_secs_f64())
    }
}

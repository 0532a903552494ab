//! The flows that packets of a test run belong to, one after the other.

use crate::layout;

/// Flows and remote addresses of the packets of a test run.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowCycle {
    /// Number of the last packet.
    pub next: u32,
    /// Flows, at least 1, at most [`FlowCycle::FLOWS`].
    pub flows: u32,
    /// Remote addresses, at least 1: each flow has the one after the flow's before it.
    pub remotes: u32,
    /// 1 if flows follow each other in an order that no processor foresees, else 0.
    pub scattered: u32,
    /// 1 if packets are IPv6.
    pub v6: u32,
    /// 1 if packets go to clients.
    pub to_client: u32,
}
layout!(FlowCycle, 24, u32, u32, u32, u32, u32, u32);

impl FlowCycle {
    /// Clients have the last octets from here on.
    pub const FIRST_CLIENT: u8 = 16;
    /// Flows of each client, a power of two; their ports are the ones from here on.
    pub const PORTS: u32 = 1 << 14;
    /// Flows that there can be: of 64 clients.
    pub const FLOWS: u32 = 64 * Self::PORTS;

    /// The flow that a packet belongs to.
    #[inline(always)]
    #[must_use]
    pub const fn flow(&self, number: u32) -> u32 {
        /// Odd, so that no two numbers are mapped to one (Knuth's multiplicative hash).
        const ODD: u32 = 2_654_435_761;
        if self.scattered == 0 {
            return if self.flows == 0 { 0 } else { number % self.flows };
        }
        ((number.wrapping_mul(ODD) as u64 * self.flows as u64) >> 32) as u32
    }

    /// Index of a flow's remote address.
    #[inline(always)]
    #[must_use]
    pub const fn remote(&self, flow: u32) -> u32 {
        if self.remotes == 0 { 0 } else { flow % self.remotes }
    }

    /// Last octet of the address of a flow's client.
    #[inline(always)]
    #[must_use]
    pub const fn client(flow: u32) -> u8 {
        Self::FIRST_CLIENT + (flow / Self::PORTS % 64) as u8
    }

    /// A flow's port at its client, host byte order.
    #[inline(always)]
    #[must_use]
    pub const fn port(flow: u32) -> u16 {
        (Self::PORTS + flow % Self::PORTS) as u16
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn flows_have_clients_and_ports_of_their_own() {
        let flows = 3 * FlowCycle::PORTS;
        let all: BTreeSet<_> =
            (0..flows).map(|flow| (FlowCycle::client(flow), FlowCycle::port(flow))).collect();
        assert_eq!(all.len(), flows as usize);
        assert_eq!(all.first(), Some(&(16, 0x4000)));
        assert_eq!(FlowCycle::client(FlowCycle::FLOWS - 1), 79);
    }

    #[test]
    fn scattered_packets_are_of_every_flow_and_in_another_order() {
        let cycle = FlowCycle { flows: 1000, remotes: 7, scattered: 1, ..FlowCycle::default() };
        let flows: std::vec::Vec<_> = (0..20_000).map(|number| cycle.flow(number)).collect();
        assert_eq!(flows.iter().collect::<BTreeSet<_>>().len(), 1000);
        assert!(flows.windows(2).filter(|pair| pair[1] == pair[0] + 1).count() < 100);
        assert!(flows.iter().all(|flow| cycle.remote(*flow) < 7));
    }
}

//! Frames that the clients' interface had no room for: none of the filter's doing, and what the
//! kernel itself sends is sent again only a second later.

use std::fs;

use anyhow::{Context as _, Result};

use super::world::World;
use intune_filter_tests::network::WAN;

/// Frames that the clients' interface has dropped so far, of those that it was to send; none while
/// there is no such interface.
pub fn dropped(world: &World) -> Result<u64> {
    let text = world.network.client.run(|| fs::read_to_string("/proc/thread-self/net/dev"))?;
    transmit_drops(&text, WAN).map_or(Ok(0), |drops| drops.context("drops are a number"))
}

/// The column of an interface's line, if there is one.
fn transmit_drops(text: &str, interface: &str) -> Option<Option<u64>> {
    // Eight columns of what was received, then octets, packets and errors of what was sent.
    const DROPS: usize = 11;
    let of = |line: &str| line.trim().strip_prefix(interface)?.strip_prefix(':').map(str::to_owned);
    let columns = text.lines().find_map(of)?;
    Some(columns.split_whitespace().nth(DROPS).and_then(|drops| drops.parse().ok()))
}

#[cfg(test)]
mod tests {
    use super::transmit_drops;

    #[test]
    fn drops_are_those_of_the_interface_and_of_what_it_sends() {
        let text = "Inter-|   Receive |  Transmit\n face |bytes packets errs drop\n\
                    \x20   lo:   1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n\
                    \x20 eth0: 1 2 3 4 5 6 7 8 9 10 11 99 13 14 15 16\n";
        assert_eq!(transmit_drops(text, "eth0"), Some(Some(99)));
        assert_eq!(transmit_drops(text, "eth1"), None);
    }
}

//! Numbers of learned addresses: in all, by the client that asked for them, and by rule. Whoever has
//! more than a share of a crowded table inserts nothing.

use super::{LIMIT_ADDRESS, LimitKey, RULES, V6};

/// Numbers of clients' counts. A client's is chosen by a keyed hash, so that few clients share one.
pub const HOST_OWNERS: u32 = 4096;

/// Elements of `HOST_COUNTS` for one of the two tables.
const OF_TABLE: u32 = 2 * HOST_OWNERS;
/// Elements of `HOST_COUNTS`: those of `HOSTS4`, then those of `HOSTS6`.
pub const HOST_COUNTS: u32 = 2 * OF_TABLE;

/// Element of [`host_count`]: how many addresses the table has room for; 0 if nothing is counted.
pub const COUNT_ROOM: u32 = 0;
/// Element of [`host_count`]: addresses in the table.
pub const COUNT_ALL: u32 = 1;
/// Returns the index in `HOST_COUNTS` of an element of `HOSTS4` (`table` 0) or `HOSTS6` (1).
#[inline(always)]
#[must_use]
pub const fn host_count(table: u64, element: u32) -> u32 {
    (table & 1) as u32 * OF_TABLE + element
}

/// Returns the element of the count of a [`super::Host::owner`]'s client.
#[inline(always)]
#[must_use]
pub const fn count_of_client(owner: u64) -> u32 {
    HOST_OWNERS + (owner as u32 & (HOST_OWNERS - 1))
}

/// Returns the element of the count of a [`super::Host::owner`]'s rule.
#[inline(always)]
#[must_use]
pub const fn count_of_rule(owner: u64) -> u32 {
    const FIRST: u32 = 256;
    const _: () = assert!(RULES <= 256 && FIRST + 256 <= HOST_OWNERS);
    FIRST + ((owner >> 32) as u32 & 0xff)
}

/// Whether a [`super::Host::owner`] names no client: the gateway itself has learned the address.
#[inline(always)]
#[must_use]
pub const fn is_of_gateway(owner: u64) -> bool {
    owner as u32 == 0
}

/// Returns the [`super::Host::owner`] of an address that a client has asked for. `rule` is the first
/// rule that the name belongs to.
#[inline(always)]
#[must_use]
pub const fn host_owner(seed: u64, zone: u16, client: V6, rule: u8) -> u64 {
    let key = LimitKey { zone: zone as u32, bits: LIMIT_ADDRESS, address: client, mac: 0 };
    let number = key.owner(seed) as u32 % (HOST_OWNERS - 1) + 1;
    number as u64 | (rule as u64) << 32
}

/// Whether one more address may be inserted, by its owner and a table's counts. Up to three quarters
/// of the room anyone inserts; from there on a client, or a rule, that has less than a sixteenth of what
/// is free. What is left for a newcomer is therefore as much as each of those has who fill the table.
#[inline(always)]
#[must_use]
pub fn may_insert(owner: u64, count: impl Fn(u32) -> u64) -> bool {
    const PART: u64 = 16;
    let room = count(COUNT_ROOM);
    let free = room.saturating_sub(count(COUNT_ALL));
    // Where nothing is free, the insertion fails by itself.
    if free > room / 4 || free == 0 || is_of_gateway(owner) {
        return true;
    }
    let share = free.div_ceil(PART);
    count(count_of_client(owner)) < share || count(count_of_rule(owner)) < share
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLIENT: V6 = V6([0, 0, 0xffff_u32.to_be(), 0x0100_000a]);

    /// Counts of a table for 800 addresses.
    fn may(owner: u64, all: u64, of_client: u64, of_rule: u64) -> bool {
        may_insert(owner, |element| match element {
            COUNT_ROOM => 800,
            COUNT_ALL => all,
            client if client == count_of_client(owner) => of_client,
            rule if rule == count_of_rule(owner) => of_rule,
            _ => 0,
        })
    }

    #[test]
    fn above_three_quarters_a_client_or_a_rule_below_its_share_inserts() {
        let owner = host_owner(1, 1, CLIENT, 7);
        assert!(may(owner, 599, 599, 599));
        assert!(!may(owner, 600, 13, 13));
        assert!(may(owner, 600, 12, 13) && may(owner, 600, 13, 12));
        assert!(may(owner, 799, 0, 1) && !may(owner, 799, 1, 1) && may(owner, 800, 9, 9));
        assert!(may(7 << 32, 799, 799, 799), "the gateway's own");
        assert!(may_insert(owner, |_| 0), "nothing is counted");
    }

    #[test]
    fn clients_and_rules_have_counts_of_their_own() {
        let counts: std::collections::BTreeSet<_> = (0..100_u32)
            .map(|last| V6([0, 0, 0xffff_u32.to_be(), last]))
            .map(|client| count_of_client(host_owner(9, 1, client, 0)))
            .collect();
        assert!(counts.len() > 95 && counts.iter().all(|count| *count > HOST_OWNERS));
        let rules = (0..RULES as u64).map(|rule| count_of_rule(rule << 32));
        assert!(rules.clone().all(|count| (256..HOST_OWNERS).contains(&count)));
        assert_eq!(rules.collect::<std::collections::BTreeSet<_>>().len(), RULES);
        assert_eq!(host_count(1, count_of_client(u64::MAX)), HOST_COUNTS - 1);
    }
}

use super::*;

const ISN: u32 = u32::MAX - 50;
const SERVER: u32 = u32::MAX - 3;

fn numbers(sequence: u32, acknowledgment: u32, length: u32, flags: u8) -> Numbers {
    Numbers { sequence, acknowledgment, length, flags }
}

fn syn_acked(prefix: &mut JudgedPrefix) {
    let answer = numbers(SERVER, prefix.end, 0, TCP_SYN | TCP_ACK);
    assert_eq!(server(prefix, answer), Class::EMPTY);
}

fn established() -> JudgedPrefix {
    let mut prefix = begin(ISN, 0);
    syn_acked(&mut prefix);
    prefix
}

/// Returns a connection with this number of judged octets.
fn spoken(octets: u32) -> JudgedPrefix {
    let mut prefix = established();
    prefix.end = prefix.end.wrapping_add(octets);
    prefix.client_state |= client_state::SPOKE;
    prefix.server_state = server_state::ACKNOWLEDGED;
    prefix
}

/// Returns the class of client data at this distance behind the SYN.
fn data(prefix: &mut JudgedPrefix, at: u32, length: u32) -> Class {
    let begin = ISN.wrapping_add(1).wrapping_add(at);
    client(prefix, numbers(begin, SERVER.wrapping_add(1), length, TCP_ACK))
}

fn acknowledged(prefix: &mut JudgedPrefix, at: u32) {
    let number = ISN.wrapping_add(1).wrapping_add(at);
    server(prefix, numbers(SERVER.wrapping_add(1), number, 0, TCP_ACK));
}

#[test]
fn data_is_next_or_repeated_or_has_no_place() {
    let mut prefix = spoken(100);
    for (at, length, what) in [
        (100, 1, Class::NEXT),
        (100, SEGMENT_MAX, Class::NEXT),
        (100, SEGMENT_MAX + 1, Class::FOREIGN),
        (0, 100, Class::REPEATED),
        (0, 1, Class::REPEATED),
        (60, 40, Class::REPEATED),
        (0, 101, Class::FOREIGN),
        (60, 41, Class::FOREIGN),
        (101, 1, Class::FOREIGN),
        (u32::MAX, 1, Class::FOREIGN),
        (u32::MAX, 2, Class::FOREIGN),
        (1 << 31, 1, Class::FOREIGN),
        (50, u32::MAX, Class::FOREIGN),
    ] {
        assert_eq!(data(&mut prefix, at, length), what, "{length} at {at}");
    }
}

#[test]
fn what_was_acknowledged_is_not_repeated_and_makes_room() {
    const SPOKEN: u32 = KEPT_CAPACITY - 24;
    let mut prefix = spoken(SPOKEN);
    assert_eq!(data(&mut prefix, SPOKEN, 25), Class::FOREIGN);
    acknowledged(&mut prefix, 40);
    assert_eq!(data(&mut prefix, 39, 10), Class::FOREIGN);
    assert_eq!(data(&mut prefix, 40, 10), Class::REPEATED);
    assert_eq!(data(&mut prefix, SPOKEN, 64), Class::NEXT);
    assert_eq!(data(&mut prefix, SPOKEN, 65), Class::FOREIGN);
    acknowledged(&mut prefix, SPOKEN);
    assert_eq!(data(&mut prefix, SPOKEN - 1, 1), Class::FOREIGN);
    assert_eq!(data(&mut prefix, SPOKEN, SEGMENT_MAX), Class::NEXT);
    // An older acknowledgement, and one of octets that were never judged, change nothing.
    for at in [0, 500, SPOKEN + 1000, 1 << 31] {
        acknowledged(&mut prefix, at);
        assert_eq!(prefix.acknowledged, prefix.end, "{at}");
    }
}

/// A SYN cookie accepts a first acknowledgement that is a few octets out.
#[test]
fn until_an_octet_is_acknowledged_nothing_begins_just_behind_the_first() {
    let mut prefix = spoken(100);
    prefix.server_state = server_state::ANSWERED;
    for length in [0, 1, 10] {
        for at in [1, 2, 3, 15, 101, u32::MAX, u32::MAX - 2, 1 << 24] {
            assert_eq!(data(&mut prefix, at, length), Class::FOREIGN, "{length} at {at}");
        }
        let repeated = if length == 0 { Class::EMPTY } else { Class::REPEATED };
        for at in [0, 16, 90] {
            assert_eq!(data(&mut prefix, at, length), repeated, "{length} at {at}");
        }
    }
    assert_eq!(data(&mut prefix, 100, 10), Class::NEXT);
    acknowledged(&mut prefix, 0);
    assert_eq!(data(&mut prefix, 2, 10), Class::FOREIGN);
    acknowledged(&mut prefix, 1);
    assert_eq!(data(&mut prefix, 2, 10), Class::REPEATED);
}

#[test]
fn a_fin_is_acknowledged_beyond_the_end() {
    let mut prefix = spoken(10);
    acknowledged(&mut prefix, 11);
    assert_eq!(prefix.acknowledged, prefix.end);
}

#[test]
fn nothing_passes_before_the_server_has_answered_and_nothing_urgent_ever() {
    let mut prefix = begin(ISN, 0);
    assert_eq!(data(&mut prefix, 0, 0), Class::FOREIGN);
    assert_eq!(data(&mut prefix, 0, 10), Class::FOREIGN);
    syn_acked(&mut prefix);
    assert_eq!(data(&mut prefix, 0, 10), Class::NEXT);
    let acknowledgment = SERVER.wrapping_add(1);
    let begin = ISN.wrapping_add(1);
    for flags in [TCP_URG, TCP_SYN, TCP_RST] {
        for length in [0, 10] {
            let what = client(&mut prefix, numbers(begin, acknowledgment, length, TCP_ACK | flags));
            let reset = flags == TCP_RST && length == 0;
            assert_eq!(what, if reset { Class::EMPTY } else { Class::FOREIGN }, "{flags} {length}");
        }
    }
    // After the reset.
    assert_eq!(data(&mut prefix, 0, 10), Class::FOREIGN);
    assert_eq!(client(&mut established(), numbers(begin, acknowledgment, 10, 0)), Class::FOREIGN);
}

/// An acknowledgement chooses one of two SYNs that a server has answered with cookies.
#[test]
fn the_client_acknowledges_what_the_server_was_seen_to_send() {
    let mut prefix = spoken(100);
    let ack = |prefix: &mut JudgedPrefix, at: u32| {
        let number = SERVER.wrapping_add(1).wrapping_add(at);
        client(prefix, numbers(prefix.end, number, 0, TCP_ACK))
    };
    assert_eq!(ack(&mut prefix, 0), Class::EMPTY);
    for wrong in [1, 20, u32::MAX, 1 << 31] {
        assert_eq!(ack(&mut prefix, wrong), Class::FOREIGN, "{wrong}");
    }
    let answer = numbers(SERVER.wrapping_add(1), prefix.end, 20, TCP_ACK);
    assert_eq!(server(&mut prefix, answer), Class::DATA);
    assert_eq!(ack(&mut prefix, 20), Class::EMPTY);
    assert_eq!(ack(&mut prefix, 21), Class::FOREIGN);
    // Far ahead, and therefore forged.
    let forged = numbers(SERVER.wrapping_add(1 << 28), prefix.end, 20, TCP_ACK);
    assert_eq!(server(&mut prefix, forged), Class::DATA);
    assert_eq!(ack(&mut prefix, 1 << 28), Class::FOREIGN);
    let fin = numbers(SERVER.wrapping_add(21), prefix.end, 0, TCP_ACK | TCP_FIN);
    assert_eq!(server(&mut prefix, fin), Class::EMPTY);
    assert_eq!(ack(&mut prefix, 21), Class::EMPTY);
    assert_eq!(data(&mut prefix, 100, 1), Class::FOREIGN);
}

#[test]
fn a_syn_ack_has_to_answer_the_syn_that_counts() {
    let mut prefix = begin(ISN, 0);
    let answer = |prefix: &mut JudgedPrefix, sequence, acknowledgment| {
        server(prefix, numbers(sequence, acknowledgment, 0, TCP_SYN | TCP_ACK))
    };
    let first = prefix.end;
    assert_eq!(answer(&mut prefix, SERVER, first.wrapping_add(1)), Class::FOREIGN);
    assert_eq!(server(&mut prefix, numbers(SERVER, first, 0, TCP_SYN)), Class::FOREIGN);
    assert_eq!(prefix.server_state, server_state::SILENT);
    assert_eq!(answer(&mut prefix, SERVER, first), Class::EMPTY);
    assert_eq!(answer(&mut prefix, SERVER - 1, first), Class::EMPTY);
    assert_eq!(prefix.server_begin, SERVER);
    prefix = spoken(10);
    assert_eq!(answer(&mut prefix, SERVER, first), Class::EMPTY);
    assert_eq!(answer(&mut prefix, SERVER - 1, first), Class::FOREIGN);
    assert_eq!(prefix.server_begin, SERVER.wrapping_add(1));
}

#[test]
fn a_server_ends_what_it_has_the_numbers_for() {
    let reset = |prefix: &JudgedPrefix, sequence: u32, acknowledgment, flags| {
        let mut prefix = *prefix;
        server(&mut prefix, numbers(sequence, acknowledgment, 0, TCP_RST | flags));
        prefix.server_state == server_state::CLOSED
    };
    let prefix = begin(ISN, 0);
    assert!(reset(&prefix, 0, prefix.end, TCP_ACK));
    assert!(!reset(&prefix, 0, prefix.end, 0));
    assert!(!reset(&prefix, 0, prefix.end.wrapping_add(1), TCP_ACK));
    let prefix = spoken(10);
    assert!(reset(&prefix, SERVER.wrapping_add(1), 0, 0));
    assert!(!reset(&prefix, SERVER, 0, 0));
    assert!(!reset(&prefix, 0, prefix.end, TCP_ACK));
}

#[test]
fn another_connection_has_to_wait_until_one_has_ended() {
    const SECOND: u64 = 1_000_000_000;
    let far = ISN.wrapping_add(1 << 30);
    let after = |prefix: &JudgedPrefix, sequence, seconds: u64| {
        reopens(prefix, sequence, seconds * SECOND, seconds * SECOND, 120 * SECOND)
    };
    let open = spoken(10);
    assert_eq!(after(&open, far, 0), None);
    assert_eq!(after(&open, far, 120), None);
    assert_eq!(after(&open, far, 121), Some(0));
    // Without an answer.
    assert_eq!(after(&begin(ISN, 0), far, 10), None);
    assert_eq!(after(&begin(ISN, 0), far, 11), Some(client_state::REOPENED));
    let mut closed = open;
    closed.server_state = server_state::CLOSED;
    assert_eq!(after(&closed, far, 0), Some(client_state::REOPENED));
    assert_eq!(after(&closed, far, 121), Some(0));
    // So near that a server might take octets of one connection for octets of the other.
    for near in
        [0, 1, 60, 1 << 20, u32::MAX, 0_u32.wrapping_sub(1 << 20), 0_u32.wrapping_sub(1 << 29)]
    {
        for seconds in [0, 121] {
            assert_eq!(after(&closed, ISN.wrapping_add(near), seconds), None, "{near}");
        }
    }
    let mut reset = open;
    reset.client_state |= client_state::RESET;
    assert_eq!(after(&reset, far, 0), Some(client_state::REOPENED));
    // A third connection while a cookie of the first may live.
    reset.client_state |= client_state::REOPENED;
    assert_eq!(after(&reset, far, 120), None);
    assert_eq!(after(&reset, far, 121), Some(0));
}

#[test]
fn a_syn_is_the_same_until_the_client_speaks() {
    assert!(is_same_syn(&established(), ISN));
    assert!(!is_same_syn(&established(), ISN + 1));
    assert!(!is_same_syn(&spoken(10), ISN));
    assert!(!is_same_syn(&spoken(10), ISN.wrapping_add(10)));
}

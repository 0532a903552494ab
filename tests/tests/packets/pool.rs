//! A filter that one test has used is to the next one as if it had just been loaded.

use intune_filter_tests::prog_test_run::{
    Addresses, Fate, Flags, HookPoint, IngressHook, filter,
    pool::{contents, renew},
    run_at, site,
};

use crate::tables::{
    answers::{answer, answered, asked, query},
    flows::out,
};

#[test]
fn a_filter_that_was_used_is_as_new() {
    for hook in IngressHook::TEST_RUNS {
        let new = contents(&filter::load(hook).unwrap()).unwrap();
        run_at(hook, "", "", |filter| {
            // Perhaps one that another test has used.
            assert!(contents(filter).unwrap() == new, "{hook:?}: the first is not as new");
            filter.install(&site::config("", "")).unwrap();
            filter.install(&site::config("", "")).unwrap();
            for who in Addresses::both() {
                for (point, frame) in [
                    (HookPoint::Ingress(site::LAN), asked(&who, &query(&who)).frame),
                    (HookPoint::Egress(site::LAN), answered(&who, &answer(&who)).frame()),
                    (HookPoint::Ingress(site::LAN), out(&who, Flags::SYN)),
                ] {
                    assert_eq!(filter.judge(point, &frame).unwrap(), Fate::Passed);
                }
            }
            let used = contents(filter).unwrap();
            for name in ["HOSTS4", "HOSTS6", "HOSTS_ORDER4", "NEW_FLOWS4", "COUNTERS", "NETS4"] {
                assert!(used[name] != new[name], "nothing has used {name}");
            }
            renew(filter).unwrap();
            for (name, map) in contents(filter).unwrap() {
                assert!(map == new[name], "{hook:?}: {name} is not as new");
            }
        });
    }
}

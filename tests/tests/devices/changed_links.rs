//! An interface joins a bond under the filter.

use std::sync::Arc;

use anyhow::{Result, ensure};
use intune_filter_tests::{
    network::{GATEWAY, LAN},
    site::CONFIG,
    unjudged::{expect_judged, nothing_passes_unjudged},
};

use crate::wiring::testbed;

#[test]
#[ignore = "needs bonding"]
fn an_interface_that_joins_a_bond_is_judged_there_and_named() -> Result<()> {
    let mut testbed = testbed(format!("{CONFIG}boot: closed\n"))?;
    testbed.filter.start()?;
    expect_judged(&testbed)?;
    let gateway = Arc::clone(&testbed.network.gateway);
    nothing_passes_unjudged(&mut testbed, |_| {
        gateway.ip(&[
            "link add bond7 type bond mode active-backup miimon 50".to_owned(),
            format!("link set {LAN} down"),
            format!("link set {LAN} master bond7"),
            format!("link set {LAN} up"),
            format!("address flush dev {LAN} scope global"),
            "link set bond7 up".to_owned(),
            format!("address add {}/24 dev bond7", GATEWAY[0]),
            format!("address add {}/64 dev bond7 nodad", GATEWAY[1]),
        ])
    })?;
    testbed.expect_verdicts()?;
    let told = testbed.filter.succeed(&["status"])?;
    ensure!(told.contains("eth1 is a member of bond7: "), "{told}");
    Ok(())
}

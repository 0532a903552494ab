//! Replays of exchanges that were once judged wrongly.

use std::{fs, path::Path};

use crate::{
    answers::check,
    recorded::{FILES, read, text},
    site::{SECOND, START, Site, V4_ENDS, V6_ENDS},
};

#[test]
fn every_recorded_exchange_ends_as_its_file_says() {
    let site = Site::new();
    for (name, file) in FILES {
        let recorded = read(name, file);
        for ends in [V4_ENDS, V6_ENDS] {
            let what = || format!("{name}: {}", text(&recorded.query, &recorded.answer));
            let outcome = check(&site, ends, &recorded.query, &recorded.answer, what);
            assert_eq!(outcome.kind(), recorded.outcome, "{name}");
            let learned = site.learned().into_iter();
            let learned = learned.map(|(at, (_, expires))| (at, (expires - START) / SECOND));
            assert_eq!(learned.collect::<std::collections::BTreeMap<_, _>>(), recorded.learned);
        }
    }
}

#[test]
fn every_file_is_replayed() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/exchanges");
    let files = fs::read_dir(directory).unwrap();
    let mut names: Vec<String> =
        files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names, FILES.map(|(name, _)| format!("{name}.txt")));
}

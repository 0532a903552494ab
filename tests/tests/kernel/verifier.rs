//! Every program of the object loads, and stays far below what the verifier allows.

use aya::{EbpfLoader, programs::Program};

/// Instructions that the verifier may process for a program, on any kernel: Linux 6.1 takes most.
fn limit(program: &str) -> u32 {
    if program == "ingress" { 112_000 } else { 116_000 }
}

#[test]
fn programs_load_within_the_limit() {
    let mut object = EbpfLoader::new().load(intune_filter::OBJECT).expect("the object is whole");
    let mut too_many = Vec::new();
    for (name, program) in object.programs_mut() {
        let started = std::time::Instant::now();
        let info = match program {
            Program::Xdp(program) => program.load().map(|()| program.info()),
            Program::SchedClassifier(program) => program.load().map(|()| program.info()),
            other => panic!("{name} is of an unexpected kind: {other:?}"),
        };
        let info = info.unwrap_or_else(|error| panic!("{name}: {}", report(&error)));
        let processed = info.expect("a loaded program has an info").verified_instruction_count();
        let processed = processed.expect("the kernel counts instructions");
        let load = started.elapsed().as_millis();
        // `cargo xtask test --vm` tells it of each kernel.
        println!("{name}: {processed} instructions, loaded in {load} ms");
        if processed > limit(name) {
            too_many.push(format!("{name}: {processed}, of {} at most", limit(name)));
        }
    }
    assert!(too_many.is_empty(), "the verifier processed too many instructions: {too_many:?}");
}

fn report(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text += &format!(": {inner}");
        source = inner.source();
    }
    text
}

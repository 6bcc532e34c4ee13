//! Checks that every clip, of any source and cut in any way, is exact, in sync, and decodes without complaints. There
//! is one test per kind of source.
//!
//! `--nocapture` prints how well the clips conform.

#[path = "../common/mod.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod common;

use common::{
    conform::{Traits, assert_all_cuts_conform},
    ffmpeg::Folder,
    kinds::{Kind, footage, kinds},
    property::runtime,
};
use libtest_mimic::{Arguments, Trial};
use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let prints = arguments.nocapture;
    let kinds = kinds().into_iter().map(|kind| of_kind(kind, prints));
    let footage = footage().into_iter().map(|path| of_footage(path, prints));
    libtest_mimic::run(&arguments, kinds.chain(footage).collect()).exit_code()
}

fn of_kind(kind: Kind, prints: bool) -> Trial {
    Trial::test(kind.name, move || {
        let folder = Folder::new();
        check(kind.name, &kind.build(&folder), kind.traits, prints);
        Ok(())
    })
}

fn of_footage(path: PathBuf, prints: bool) -> Trial {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let name = format!("footage::{stem}");
    Trial::test(name.clone(), move || {
        check(&name, &path, Traits::default(), prints);
        Ok(())
    })
}

fn check(name: &str, path: &Path, traits: Traits, prints: bool) {
    let lines = runtime().block_on(assert_all_cuts_conform(name, path, traits));
    if prints {
        println!("{}", lines.join("\n"));
    }
}

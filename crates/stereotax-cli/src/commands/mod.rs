//! One file per command.

pub(crate) mod check;
pub(crate) mod cite;
pub(crate) mod compare;
pub(crate) mod convert;
pub(crate) mod demo;
mod demo_physiology;
pub(crate) mod extract;
pub(crate) mod figures;
pub(crate) mod info;
pub(crate) mod init;
pub(crate) mod plan;
pub(crate) mod report;
pub(crate) mod run;
pub(crate) mod why;

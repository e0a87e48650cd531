//! What inputs are fed to. A new target is a file here and a line in [`ALL`].

pub mod broken;
pub mod engine;
pub mod wire;

use std::time::Duration;

/// What an input cost.
pub struct Ran {
    /// Time of the kernel's own work, without what the target checks afterwards.
    pub time: Duration,
    /// Memory that the work took more than was in use before, at its peak.
    pub heap_bytes: usize,
}

/// A part of the kernel that takes bytes from outside.
pub trait Target {
    /// Its name on the command line and in `seeds/`.
    fn name(&self) -> &'static str;

    /// Memory that an input may take at most.
    fn heap_bytes_max(&self) -> usize;

    /// Runs one input; panics where the kernel does or where its answer cannot be right.
    fn run(&mut self, input: &[u8]) -> Ran;
}

type Make = fn() -> Box<dyn Target>;

/// Every target, by name.
pub const ALL: [(&str, Make); 3] =
    [("broken", || Box::new(broken::Broken)), ("engine", || Box::new(engine::Engine::new())), ("wire", || Box::new(wire::Wire))];

/// The target of that name, as new.
pub fn named(name: &str) -> Option<Box<dyn Target>> {
    ALL.iter().find(|(known, _)| *known == name).map(|(_, make)| make())
}

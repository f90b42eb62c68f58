//! Service A of the demo: registers users.

use std::process::ExitCode;

use clap::Parser;
use demo_common::Config;

/// Registers users, and tells the login service of them.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(flatten)]
    config: Config,
}

fn main() -> ExitCode {
    let Arguments { config } = Arguments::parse();
    demo_common::main(|stop| demo_register::run(config, stop))
}

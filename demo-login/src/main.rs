//! Service B of the demo: logs users in.

use std::process::ExitCode;

use clap::Parser;
use demo_common::Config;

/// Logs users in whom the register service told of.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(flatten)]
    config: Config,
}

fn main() -> ExitCode {
    let Arguments { config } = Arguments::parse();
    demo_common::main(|stop| demo_login::run(config, stop))
}

//! One of the demo's services as a process that a test can kill.

use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use demo_common::Config;

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Service {
    Register,
    Login,
}

#[derive(Parser)]
struct Arguments {
    service: Service,
    #[command(flatten)]
    config: Config,
}

fn main() -> ExitCode {
    let Arguments { service, config } = Arguments::parse();
    match service {
        Service::Register => demo_common::main(|stop| demo_register::run(config, stop)),
        Service::Login => demo_common::main(|stop| demo_login::run(config, stop)),
    }
}

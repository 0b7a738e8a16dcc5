//! A self-hosted chat backend in one binary.

use std::process::ExitCode;

use chatsphere::cli::{self, Cli, CliError};
use chatsphere::log;
use clap::Parser;

fn main() -> ExitCode {
    let cli = Cli::parse();
    keep_out_of_dumps();
    // The database and the secrets are private, whatever the permissions of their directory.
    rustix::process::umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let outcome = match runtime {
        Ok(runtime) => {
            let outcome = runtime.block_on(cli::run(cli));
            // The remaining tasks have nothing to complete, or were aborted.
            runtime.shutdown_background();
            outcome
        }
        Err(error) => Err(CliError::Machine(error)),
    };
    let code = match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            cli::tell(&error);
            ExitCode::from(error.exit_code())
        }
    };
    log::flush();
    code
}

/// Prevents core dumps, which would contain the secrets. The limit alone does not stop handlers such as systemd-coredump
/// (core(5)).
fn keep_out_of_dumps() {
    use rustix::process::{Resource, Rlimit, setrlimit};

    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    #[cfg(target_os = "linux")]
    let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
}

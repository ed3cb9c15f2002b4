//! How the processes of each pool are started: what the configuration says, and what the broker adds.

use std::path::{self, Path};

use crate::config::WorkerCommand;
use crate::link::SEND_BUFFER;
use crate::process::SpawnSpec;

/// Names the clients' socket to worker processes, as clients look for it.
const SOCKET_VARIABLE: &str = "LIFEBOAT_SOCKET";

/// One for each pool, in order. `open_files` is the limit that the broker itself was given.
pub(super) fn spawn_specs(
    commands: Vec<WorkerCommand>,
    open_files: Option<u64>,
    socket: &Path,
) -> Vec<SpawnSpec> {
    // Workers may start in another directory.
    let socket = path::absolute(socket).unwrap_or_else(|_| socket.to_owned());
    commands.into_iter().map(|command| spawn_spec(command, open_files, &socket)).collect()
}

/// A worker's handlers find the broker as clients do, unless they are to find another one.
fn spawn_spec(command: WorkerCommand, open_files: Option<u64>, socket: &Path) -> SpawnSpec {
    let WorkerCommand { program, argv, env, current_dir, memory_limit, memory_high, output } = command;
    let arguments = argv.into_iter().skip(1).map(Into::into);
    SpawnSpec {
        command: std::iter::once(program.into_os_string()).chain(arguments).collect(),
        env: std::iter::once((SOCKET_VARIABLE.into(), socket.into()))
            .chain(env.into_iter().map(|(name, value)| (name.into(), value.into())))
            .collect(),
        current_dir,
        memory_limit,
        memory_high,
        log_output: output.log,
        output_burst: output.burst,
        output_rate: output.per_second,
        send_buffer: SEND_BUFFER,
        // Programs that use select() or close every descriptor need the limit that the broker was given.
        open_files,
        ..SpawnSpec::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn what_the_file_says_of_a_process_reaches_its_spec() {
        let text = "[pools.p]\ncommand = [\"sh\", \"-c\"]\naccept_any_method = true\nenv.A = \"b\"\n\
                    limits = { memory = \"2MiB\" }\nrecycle = { memory = \"1MiB\" }\n\
                    output = { log = false, burst = 3, per_second = 4 }\n";
        let command = Config::parse(text, "lifeboat.toml", []).unwrap().commands.remove(0);
        let spec = spawn_spec(command, Some(7), Path::new("/run/l.sock"));
        assert_eq!(spec.command, ["sh", "-c"]);
        let env = [("LIFEBOAT_SOCKET".into(), "/run/l.sock".into()), ("A".into(), "b".into())];
        assert_eq!(spec.env, env);
        assert_eq!((spec.memory_limit, spec.memory_high), (Some(2 << 20), Some(1 << 20)));
        assert_eq!((spec.log_output, spec.output_burst, spec.output_rate), (false, 3, 4));
        assert_eq!(spec.open_files, Some(7));
    }
}

//! How the processes of each pool are started: what the configuration says, and what the broker adds.

use std::path::{self, Path};

use lifeboat_protocol::recorder_len;

use crate::config::{WorkerCommand, WorkerLimits};
use crate::link::SEND_BUFFER;
use crate::process::{ProcessLimits, SpawnSpec};

/// Names the clients' socket to worker processes, as clients look for it.
const SOCKET_VARIABLE: &str = "LIFEBOAT_SOCKET";

/// One for each pool, in order, which has so many slots. `soft_open_files` is the limit that the broker itself was given.
pub(super) fn spawn_specs(
    commands: impl Iterator<Item = (WorkerCommand, u16)>,
    soft_open_files: Option<u64>,
    socket: &Path,
) -> Vec<SpawnSpec> {
    // Workers may start in another directory.
    let socket = path::absolute(socket).unwrap_or_else(|_| socket.to_owned());
    let spec = |(command, slots)| SpawnSpec {
        recorder_len: recorder_len(u32::from(slots)),
        ..spawn_spec(command, soft_open_files, &socket)
    };
    commands.map(spec).collect()
}

/// A worker's handlers find the broker as clients do, unless they are to find another one.
fn spawn_spec(command: WorkerCommand, soft_open_files: Option<u64>, socket: &Path) -> SpawnSpec {
    let WorkerCommand { program, argv, inherit_env, env, current_dir, .. } = command;
    let (memory_limit, memory_high, output) = (command.memory_limit, command.memory_high, command.output);
    let WorkerLimits { processes, open_files, cpu_time, file_size, core_size, nice } = command.limits;
    let arguments = argv.into_iter().skip(1).map(Into::into);
    SpawnSpec {
        command: std::iter::once(program.into_os_string()).chain(arguments).collect(),
        inherit_env: inherit_env.map(|names| names.into_iter().map(Into::into).collect()),
        env: std::iter::once((SOCKET_VARIABLE.into(), socket.into()))
            .chain(env.into_iter().map(|(name, value)| (name.into(), value.into())))
            .collect(),
        current_dir,
        memory_limit,
        memory_high,
        processes,
        log_output: output.log,
        output_burst: output.burst,
        output_rate: output.per_second,
        send_buffer: SEND_BUFFER,
        limits: ProcessLimits {
            // Programs that use select() or close every descriptor need the limit that the broker was given.
            soft_open_files,
            open_files,
            cpu_time,
            file_size,
            core_size,
            nice,
        },
        ..SpawnSpec::default()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

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
        assert_eq!(spec.limits, ProcessLimits { soft_open_files: Some(7), ..ProcessLimits::default() });
        assert_eq!(spec.inherit_env, None);
    }

    #[test]
    fn so_does_what_the_kernel_is_to_bound() {
        let text = "[pools.p]\ncommand = [\"sh\"]\naccept_any_method = true\ninherit_env = [\"PATH\", \"LANG\"]\n\
                    limits = { processes = 9, open_files = 64, cpu_time = \"90s\", file_size = \"1MiB\", core_size = \"unlimited\", nice = 5 }\n";
        let command = Config::parse(text, "lifeboat.toml", []).unwrap().commands.remove(0);
        let spec = spawn_spec(command, None, Path::new("/run/l.sock"));
        assert_eq!(spec.inherit_env, Some(vec!["PATH".into(), "LANG".into()]));
        let limits = ProcessLimits {
            soft_open_files: None,
            open_files: Some(64),
            cpu_time: Some(Duration::from_secs(90)),
            file_size: Some(1 << 20),
            core_size: None,
            nice: 5,
        };
        assert_eq!((spec.limits, spec.processes), (limits, Some(9)));
    }
}
